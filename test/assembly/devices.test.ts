import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toHex, utf8 } from '../../src/core/bytes.ts'
import { bindingDates, createBinding } from '../../src/identity/binding.ts'
import { capabilityBits } from '../../src/identity/device-capabilities.ts'
import { createDeviceDocument, type DeviceStatus } from '../../src/identity/device-document.ts'
import { signEnvelope } from '../../src/mesh/messages/envelope.ts'
import { identitySigner, NOW, type TestDevice, type TestIdentity, testDevice, testIdentity } from '../mesh/fixtures.ts'
import { createTown, introduce, linked, type Member, type Town } from './support.ts'

const TIMEOUT = { timeout: 60_000 }

function documentOf(identity: TestIdentity, machines: readonly (readonly [TestDevice, DeviceStatus])[]): Uint8Array {
  const devices = machines.map(([device, status]) => ({ linkKey: device.linkSigner.publicKey, name: device.name, capabilities: 0n, status, sinceMs: NOW }))
  return createDeviceDocument({ chain: identity.chain, signer: identitySigner(identity, identity.generation) }, { version: 1, now: NOW, devices })
}

/** A machine that its identity certified for these alone. */
function limited(identity: TestIdentity, name: string, capabilities: bigint): TestDevice {
  const device = testDevice(identity, name)
  const issuer = { chain: identity.chain, signer: identitySigner(identity, identity.generation) }
  const keys = { ed25519: device.linkSigner, mldsa: device.mldsaSigner }
  device.binding = createBinding(issuer, keys, { ...bindingDates(NOW), serial: NOW, name, capabilities })
  return device
}

/** From now on every record of this node has one and the same number. */
function signAlways({ assembly, device }: Member, epoch: number, seq: number): void {
  const { messages } = assembly
  messages.signRecord = ({ topic, type, payload, suite = 'ed25519' }) => {
    const fields = { class: 'record', suite, topic, epoch, seq, type, payload, from: device.didKey, device: device.linkSigner.publicKey, timeMs: NOW } as const
    return messages.restoreRecord(signEnvelope(fields, { ed25519: device.linkSigner, mldsa: device.mldsaSigner }))
  }
}

const entriesOf = ({ assembly }: Member): number => assembly.gossip.topics().find(({ name }) => name === 'news')?.entries ?? 0

async function says(town: Town, member: Member, text: string, to: Member): Promise<void> {
  await member.assembly.gossip.define({ name: 'news', access: { kind: 'open' } })
  signAlways(member, 1, 7)
  const before = entriesOf(to)
  await town.world.settle(member.assembly.gossip.publish('news', utf8(text)))
  await town.world.until(() => entriesOf(to) > before)
}

test('evidence against a machine, isolates its identity until that has revoked the machine', TIMEOUT, async () => {
  const town = createTown({ latencyMs: 20 })
  const [ann, ben] = [await town.member('ann'), await town.member('ben')]
  for (const { assembly } of [ann, ben]) {
    await assembly.gossip.define({ name: 'news', access: { kind: 'open' } })
    assembly.gossip.listen('news', () => undefined)
  }
  const eve = testIdentity('eve', { mldsa: true })
  const stolen = testDevice(eve, 'phone')
  const phone = await town.member('phone', { identity: eve, device: stolen })
  await introduce(phone, ann)
  await linked(town, phone, ann)
  const rate = (): number => ann.assembly.mesh.policy.constraints(eve.chain.did).messagesPerSecond
  const usual = rate()
  await says(town, phone, 'to ann: yes', ann)
  await town.world.settle(phone.assembly.close())
  const again = await town.member('phone', { identity: eve, device: stolen })
  await introduce(again, ben)
  await linked(town, again, ben)
  await says(town, again, 'to ben: no', ben)
  await introduce(ann, ben)
  await linked(town, ann, ben)
  await town.world.until(() => rate() < usual)
  // The owner's other machine says what has become of it.
  const laptop = await town.member('laptop', { identity: eve, device: testDevice(eve, 'laptop') })
  await introduce(laptop, ann)
  await town.world.settle(
    laptop.assembly.devices.publish(
      documentOf(eve, [
        [laptop.device, 'active'],
        [stolen, 'compromised'],
      ]),
    ),
  )
  await town.world.until(() => ann.assembly.devices.isRevoked(eve.chain.did, stolen.linkSigner.publicKey))
  await town.world.until(() => rate() === usual)
  await town.close()
})

test('a machine that may not link, is refused at the greeting; one that may not sign records, links and its records do not count', TIMEOUT, async () => {
  const town = createTown()
  const ann = await town.member('ann')
  const eve = testIdentity('eve', { mldsa: true })
  const silent = await town.member('silent', { identity: eve, device: limited(eve, 'silent', capabilityBits(['records'])) })
  await introduce(silent, ann)
  await assert.rejects(town.world.settle(silent.assembly.mesh.dial(ann.assembly.mesh.did)), { code: 'DEVICE_NOT_ALLOWED' })
  const reader = await town.member('reader', { identity: eve, device: limited(eve, 'reader', capabilityBits(['link'])) })
  await introduce(reader, ann)
  await linked(town, reader, ann)
  const record = reader.assembly.messages.signRecord({ topic: 'a:b', type: 1, payload: Uint8Array.of(1) })
  await assert.rejects(town.world.settle(ann.assembly.messages.verifyRecord(record.bytes, 'a:b', undefined)), { code: 'DEVICE_NOT_ALLOWED' })
  const own = reader.assembly.messages.signRecord({ topic: 'identity:updates', type: 1, payload: Uint8Array.of(1) })
  await town.world.settle(ann.assembly.messages.verifyRecord(own.bytes, 'identity:updates', undefined))
  await town.close()
})

test('a revoked machine, its prekey is dropped and nothing is sealed to it any more', TIMEOUT, async () => {
  const town = createTown()
  const ann = await town.member('ann')
  const eve = testIdentity('eve', { mldsa: true })
  const phone = await town.member('phone', { identity: eve, device: testDevice(eve, 'phone') })
  const laptop = await town.member('laptop', { identity: eve, device: testDevice(eve, 'laptop') })
  for (const machine of [phone, laptop]) {
    await introduce(machine, ann)
    await linked(town, machine, ann)
  }
  const { directory } = ann.assembly.messages
  const sealedTo = async (): Promise<string[]> => (await town.world.settle(directory.devicesOf(eve.chain.did))).map(({ device }) => toHex(device))
  assert.equal((await sealedTo()).length, 2)
  await town.world.settle(
    laptop.assembly.devices.publish(
      documentOf(eve, [
        [laptop.device, 'active'],
        [phone.device, 'lost'],
      ]),
    ),
  )
  await town.world.until(() => ann.assembly.devices.isRevoked(eve.chain.did, phone.device.linkSigner.publicKey))
  assert.deepEqual(await sealedTo(), [toHex(laptop.device.linkSigner.publicKey)])
  await town.close()
})

test('device documents, known to a peer, are asked for together with papers', TIMEOUT, async () => {
  const town = createTown()
  const [ann, ben] = [await town.member('ann'), await town.member('ben')]
  const eve = testIdentity('eve', { mldsa: true })
  const phone = testDevice(eve, 'phone')
  const laptop = await town.member('laptop', { identity: eve, device: testDevice(eve, 'laptop') })
  await introduce(laptop, ann)
  await linked(town, laptop, ann)
  await town.world.settle(
    ann.assembly.messages.directory.learn({ did: eve.chain.did, binding: phone.binding, chain: laptop.assembly.messages.directory.own().chain }),
  )
  await town.world.settle(
    ann.assembly.messages.directory.learnDevices(
      documentOf(eve, [
        [laptop.device, 'active'],
        [phone, 'lost'],
      ]),
    ),
  )
  await introduce(ann, ben)
  await linked(town, ann, ben)
  ann.assembly.messages.showPapers(() => true)
  const fetched = town.world.settle(ben.assembly.messages.fetchPapers(ann.assembly.mesh.did, eve.chain.did, phone.linkSigner.publicKey))
  await assert.rejects(fetched, { code: 'DEVICE_REVOKED' })
  assert.equal(ben.assembly.devices.isRevoked(eve.chain.did, phone.linkSigner.publicKey), true)
  await town.close()
})
