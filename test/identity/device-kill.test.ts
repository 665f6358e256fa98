import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { equal } from '../../src/core/bytes.ts'
import { systemRandom } from '../../src/core/random.ts'
import { verifyBinding } from '../../src/identity/binding.ts'
import { joinIdentity, requestMachine } from '../../src/identity/device-add.ts'
import { isDeviceOnly, loadRoster } from '../../src/identity/device-home.ts'
import { openHome } from '../../src/identity/home.ts'
import { createKeystore, openDevice, openIdentity } from '../../src/identity/keystore.ts'
import { finish } from './device-steps.ts'
import { secret, temporaryDirectory } from './temp.ts'

const JOINER = fileURLToPath(new URL('./device-joiner.ts', import.meta.url))

test('a machine, the process killed at any moment of asking, approving and joining, has joined with the keys it asked for once the same was done again', async (t) => {
  const folder = temporaryDirectory(t)
  const options = { passphrase: secret('right'), random: systemRandom, workFactor: 2 }
  const owner = join(folder, 'owner')
  const made = await createKeystore(owner, { ...options, name: 'laptop' })
  const { did } = made.identity
  await made.close()
  let cut = 0
  for (let round = 0; round < 9; round++) {
    const machine = join(folder, `machine-${round}`)
    const child = fork(JOINER, [owner, machine], { execArgv: process.execArgv })
    const exited = once(child, 'exit')
    const last = round % 3
    await new Promise<void>((resolve) => {
      child.on('message', (step: number | 'done') => {
        if (step === 'done') return resolve()
        if (step < last) return
        let turns = round * 4
        const kill = (): void => {
          if (turns-- > 0) setImmediate(kill)
          else resolve()
        }
        kill()
      })
    })
    child.kill('SIGKILL')
    const [, signal] = (await exited) as [number | null, string | null]
    if (signal === 'SIGKILL') cut++
    await finish(owner, machine)
    await using home = await openHome(machine, { create: false })
    assert.equal(await isDeviceOnly(home), true)
    assert.equal(existsSync(join(machine, 'pending.age')), false)
    using device = await openDevice(home, options)
    assert.equal(device.did, did)
    const { linkKey } = verifyBinding(device.binding, { chain: device.chain, now: Date.now() })
    assert.deepEqual(linkKey, device.linkSigner.publicKey)
    await using place = await openHome(owner, { create: false })
    using identity = await openIdentity(place, options)
    const roster = await loadRoster(place, { chain: identity.chain, now: Date.now() })
    const active = roster?.latest.devices.filter(({ status }) => status === 'active') ?? []
    // This machine, and one for each round: no half of one is left behind.
    assert.equal(active.length, round + 2)
    assert.ok(active.some((listed) => equal(listed.linkKey, linkKey)))
  }
  assert.ok(cut > 0)
})

test('a machine that has joined, needs the identity, says where it is; a second grant and a second request are refused', async (t) => {
  const folder = temporaryDirectory(t)
  const options = { passphrase: secret('right'), random: systemRandom, workFactor: 2 }
  const owner = join(folder, 'owner')
  await (await createKeystore(owner, { ...options, name: 'laptop' })).close()
  const machine = join(folder, 'machine')
  await finish(owner, machine)
  await using home = await openHome(machine)
  await assert.rejects(openIdentity(home, options), (error: { code?: string; next?: string }) => {
    assert.equal(error.code, 'IDENTITY_MISSING')
    assert.equal(error.next, 'run this on the machine that holds the identity')
    return true
  })
  await assert.rejects(createKeystore(home, options), { code: 'IDENTITY_EXISTS' })
  await assert.rejects(requestMachine(home, { ...options, name: 'again' }), { code: 'IDENTITY_EXISTS' })
  await assert.rejects(joinIdentity(home, Uint8Array.of(1), options), { code: 'NOT_FOUND' })
})
