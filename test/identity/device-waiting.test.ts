import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemRandom } from '../../src/core/random.ts'
import { requestMachine } from '../../src/identity/device-add.ts'
import { identityMissing } from '../../src/identity/device-home.ts'
import { openHome } from '../../src/identity/home.ts'
import { secret } from './temp.ts'

test('a machine that waits for its grant is told so, and an empty one to begin', async (t) => {
  const parent = await mkdtemp(join(tmpdir(), 'kith-waiting-'))
  t.after(() => rm(parent, { recursive: true, force: true }))
  await using home = await openHome(join(parent, 'phone'))
  assert.equal((await identityMissing(home)).next, 'kith init')
  await requestMachine(home, { passphrase: secret('right'), random: systemRandom, workFactor: 2, name: 'phone' })
  assert.equal((await identityMissing(home)).next, 'kith id device add --grant FILE')
})
