import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { isKithError } from '../../src/core/errors.ts'
import { changePassphrase } from '../../src/daemon/identity/change-passphrase.ts'
import { openHome } from '../../src/identity/home.ts'
import { renewBinding } from '../../src/identity/keystore.ts'
import { atEveryStep, options, saveSuite, template, whole } from './save-faults-support.ts'
import { secret } from './temp.ts'

// The other saves, every step of a change of the passphrase, and the making of an identity: test/slow/save-faults.test.ts.
saveSuite({
  'a renewed binding': ({ home, device, identity }) => renewBinding(home, device, identity, options()),
})

test('passphrase, its change killed at every sixth step, opens both files by the old one or both by the new one, with the same link key', async (t) => {
  const before = await template(t)
  const seen = new Set<string>()
  const change = (home: string) => changePassphrase(home, secret('right'), secret('better'), { environment: {}, workFactor: 1 })
  const check = async (home: string): Promise<void> => {
    seen.add(await whole(home, ['right', 'better'], before, true))
  }
  await atEveryStep(before, 'kill', change, check, 6)
  assert.deepEqual([...seen].sort(), ['better', 'right'])
})

test('home, taken while a change of the key files waits and the note of it is damaged, is refused with the way out', async (t) => {
  const before = await template(t)
  const path = join(before.base, 'home')
  const note = join(path, 'keys.change')
  for (const content of [
    '',
    '{',
    '{"version":2,"files":[]}',
    '{"version":1,"files":[{"name":"../identity.age","sum":"00"}]}',
    '{"version":1,"files":[],"remove":["/etc/passwd"]}',
  ]) {
    writeFileSync(note, content, { mode: 0o600 })
    await assert.rejects(openHome(path), (error: unknown) => isKithError(error, 'KEYSTORE_DAMAGED') && String(error.next).startsWith('mv '))
  }
  rmSync(note)
  await whole(path, ['right'], before)
})
