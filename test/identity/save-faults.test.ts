import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { isKithError } from '../../src/core/errors.ts'
import { changePassphrase } from '../../src/daemon/identity/change-passphrase.ts'
import { openHome } from '../../src/identity/home.ts'
import { type Keystore, openKeystore, renewBinding } from '../../src/identity/keystore.ts'
import { Killed } from './faults.ts'
import { atEveryStep, options, template, whole } from './save-faults-support.ts'
import { secret } from './temp.ts'

/** Work on an open keystore; the home's lock is released as the system would. */
const opened =
  (work: (keystore: Keystore) => Promise<unknown>) =>
  async (path: string): Promise<void> => {
    const keystore = await openKeystore(path, options())
    try {
      await work(keystore)
    } finally {
      await keystore.close()
    }
  }

// The other saves, every step of a change of the passphrase, and the making of an identity: test/slow/save-faults.test.ts.
const SAVES: Record<string, (keystore: Keystore) => Promise<unknown>> = {
  'a renewed binding': ({ home, device, identity }) => renewBinding(home, device, identity, options()),
}

for (const [name, work] of Object.entries(SAVES)) {
  test(`${name}, killed at every step of saving, leaves a home that opens whole`, async (t) => {
    const before = await template(t)
    const steps = await atEveryStep(before, 'kill', opened(work), async (home, error) => {
      assert.ok(error === undefined || error instanceof Killed || isKithError(error, 'KEYSTORE_NOT_SAVED'), String(error))
      await whole(home, ['right'], before)
    })
    assert.ok(steps > 10, `${steps} steps`)
  })

  test(`${name}, the disk full at every step, says so and leaves a home that opens whole`, async (t) => {
    const before = await template(t)
    let refused = 0
    await atEveryStep(before, 'full', opened(work), async (home, error) => {
      if (error !== undefined) {
        refused++
        assert.ok(isKithError(error, 'KEYSTORE_NOT_SAVED'), String(error))
        assert.equal(error.details.reason, 'ENOSPC')
        assert.match(String(error.next), /^free some space/)
      }
      await whole(home, ['right'], before)
    })
    assert.ok(refused > 3)
  })
}

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
