import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { systemRandom } from '../../src/core/random.ts'
import { askToJoin, join as joinFiles, list } from '../../src/daemon/devices/offline.ts'
import { openDeviceWith } from '../../src/daemon/identity/open.ts'
import { openRuntime, type Runtime } from '../../src/daemon/runtime.ts'
import { readDeviceRequest, requestCode } from '../../src/identity/device-request.ts'
import { deviceText } from '../../src/identity/device-text.ts'
import { openHome } from '../../src/identity/home.ts'
import { createKeystore } from '../../src/identity/keystore.ts'
import { keepStatePassphrase } from '../../src/identity/passphrase.ts'
import { finish } from '../identity/device-steps.ts'
import { secret } from '../identity/temp.ts'

let folder = ''
const state = process.env.XDG_STATE_HOME
before(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-devices-')))
  process.env.XDG_STATE_HOME = join(folder, 'state')
})
after(async () => {
  if (state === undefined) delete process.env.XDG_STATE_HOME
  else process.env.XDG_STATE_HOME = state
  await rm(folder, { recursive: true, force: true })
})

const open = (name: string, create?: { name: string }): Promise<Runtime> =>
  openRuntime({ home: join(folder, name), flags: { listen: ['tcp://127.0.0.1:0'] }, control: false, ...(create === undefined ? {} : { create }) })

/** Waits for something that links and gossip bring about; fails after a bounded time. */
async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 1_000; tries++) {
    if (await holds()) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  assert.fail(`did not come to hold: ${what}`)
}

/** A machine of the identity that runs in `owner`, in a home of its own. */
async function addMachine(owner: Runtime, name: string): Promise<void> {
  await using home = await openHome(join(folder, name))
  const passphrase = await keepStatePassphrase(home, systemRandom)
  try {
    const request = await askToJoin(home, passphrase, { name, capabilities: 0n })
    const view = owner.devices.show(deviceText('request', request).join('\n'))
    assert.equal(view.code, requestCode(readDeviceRequest(request, Date.now())))
    const grant = await owner.devices.approve(undefined, view.id, { capabilities: 0n })
    const summary = await joinFiles(home, passphrase, grant)
    assert.equal(summary.did, owner.identity.device.did)
  } finally {
    passphrase.secret.wipe()
  }
}

const linkedTo = (runtime: Runtime, other: Runtime): boolean =>
  runtime.mesh.links().some(({ linkKey, state: link }) => linkKey === other.identity.summary?.link_key && link === 'connected')

test('a machine without its identity, runs, links, renews its binding over the link, restarts, and is refused by everybody once it was revoked', async () => {
  const laptop = await open('laptop', { name: 'laptop' })
  let phone: Runtime | undefined
  const ann = await open('ann', { name: 'ann' })
  try {
    await addMachine(laptop, 'phone')
    assert.equal(existsSync(join(folder, 'phone', 'identity.age')), false)
    assert.equal(existsSync(join(folder, 'phone', 'pending.age')), false)
    phone = await open('phone')
    const own = phone
    assert.deepEqual(own.status().degraded, [])
    assert.equal(own.devices.deviceOnly, true)
    await until('the two machines are linked', () => linkedTo(own, laptop) && linkedTo(laptop, own))

    const before = own.identity.summary?.serial ?? 0
    assert.equal(await own.devices.renewFromOthers(true), true)
    const renewed = own.identity.summary?.serial ?? 0
    assert.ok(renewed > before)

    await assert.rejects(own.identity.renew(undefined), (error: { code?: string; next?: string }) => {
      assert.equal(error.code, 'IDENTITY_MISSING')
      assert.match(error.next ?? '', /on the machine that holds the identity/)
      return true
    })
    await phone.close()
    phone = await open('phone')
    assert.equal(phone.identity.summary?.serial, renewed, 'the new binding is there after a restart')

    const machine = phone
    await ann.mesh.join((await machine.mesh.invites.create()).ticket)
    await until('a friend is linked with it', () => linkedTo(ann, machine))
    await ann.mesh.dial(laptop.identity.device.did, { url: laptop.mesh.addresses[0] as string })
    const listed = await laptop.devices.list()
    assert.deepEqual(
      listed.map(({ name, status, self }) => [name, status, self]),
      [
        ['laptop', 'active', true],
        ['phone', 'active', false],
      ],
    )

    await assert.rejects(laptop.devices.revoke(undefined, 'laptop', 'lost'), { code: 'USAGE' })
    await assert.rejects(laptop.devices.revoke(undefined, 'tablet', 'lost'), { code: 'NOT_FOUND' })
    await laptop.devices.revoke(undefined, 'phone', 'lost')
    const { did, linkSigner } = machine.identity.device
    await until('the friend refuses it', () => ann.assembly.devices.isRevoked(did, linkSigner.publicKey))
    await until('no link is left', () => !linkedTo(ann, machine) && !linkedTo(laptop, machine))
    machine.mesh.wake()
    await until('the machine says so', () => machine.status().degraded.some(({ code }) => code === 'DEVICE_REVOKED'))
    assert.equal((await laptop.devices.list()).find(({ name }) => name === 'phone')?.status, 'lost')
    await assert.rejects(machine.devices.renewFromOthers(true))
  } finally {
    await Promise.all([laptop.close(), phone?.close(), ann.close()])
  }
  // The files tell the same while nothing runs.
  const { devices, holds_identity } = await list(join(folder, 'laptop'))
  assert.equal(holds_identity, true)
  assert.deepEqual(
    devices.map(({ name, status }) => [name, status]),
    [
      ['laptop', 'active'],
      ['phone', 'lost'],
    ],
  )
})

test('a machine whose identity is locked with a passphrase, waits for its owner, and has its new binding afterwards', async () => {
  const owner = await open('owner', { name: 'owner' })
  try {
    await addMachine(owner, 'tablet')
    const tablet = await open('tablet')
    try {
      await until('linked', () => linkedTo(tablet, owner))
      Object.defineProperty(owner.identity, 'unattended', { value: false })
      await assert.rejects(tablet.devices.renewFromOthers(true), { code: 'RENEWAL_WAITING' })
      assert.ok(owner.status().degraded.some(({ code, next }) => code === 'RENEWAL_WAITING' && next === 'kith id device approve --renewals'))
      assert.equal((await owner.devices.list()).find(({ name }) => name === 'tablet')?.waiting, true)
      assert.deepEqual(await owner.devices.approveWaiting(undefined), ['tablet'])
      assert.equal(owner.devices.waiting, 0)
      const serial = tablet.identity.summary?.serial ?? 0
      assert.equal(await tablet.devices.renewFromOthers(true), true)
      assert.ok((tablet.identity.summary?.serial ?? 0) > serial)
      // By file, without a link.
      const request = await tablet.devices.renewalRequest()
      const view = owner.devices.show(deviceText('request', request).join('\n'))
      assert.equal(view.renewal, true)
      await tablet.devices.takeRenewal(await owner.devices.approve(undefined, view.id, { capabilities: 0n }))
      assert.ok((tablet.identity.summary?.serial ?? 0) > serial + 1)
    } finally {
      await tablet.close()
    }
  } finally {
    await owner.close()
  }
})

test('a damaged file beside the keys, of papers or fellows, is passed over; one of the documents is named', async () => {
  const owner = await open('careful', { name: 'careful' })
  try {
    await addMachine(owner, 'watch')
    const watch = await open('watch')
    await until('linked', () => linkedTo(watch, owner))
    await watch.devices.renewFromOthers(true)
    await watch.close()
    const root = join(folder, 'watch')
    for (const name of ['device.papers', 'device.fellows']) {
      const path = join(root, name)
      const bytes = await readFile(path)
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 0x40
      await writeFile(path, bytes)
    }
    const again = await open('watch')
    assert.equal(again.status().degraded.length, 0)
    await again.close()
  } finally {
    await owner.close()
  }
})

test('a machine without its identity, a wrong passphrase, is told as that and leaves its keys where they are', async () => {
  const machine = join(folder, 'locked')
  const owner = join(folder, 'locked-owner')
  const options = { random: systemRandom, workFactor: 2 }
  await (await createKeystore(owner, { ...options, passphrase: secret('right'), name: 'owner' })).close()
  await finish(owner, machine)
  await using home = await openHome(machine)
  await assert.rejects(openDeviceWith(home, { ...options, passphrase: secret('wrong') }), { code: 'PASSPHRASE_WRONG' })
  using device = await openDeviceWith(home, { ...options, passphrase: secret('right') })
  assert.equal(device.name, 'phone')
})
