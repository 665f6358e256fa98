import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toHex } from '../../src/core/bytes.ts'
import { isKithError } from '../../src/core/errors.ts'
import { createDeviceDocument, type DeviceStatus } from '../../src/identity/device-document.ts'
import type { SimNode } from '../../src/testing/node.ts'
import { createSimulation, type Simulation } from '../../src/testing/simulation.ts'

const FAST = { postQuantum: false }

/** A document in which these machines have these states, signed by the identity they share. */
function documentOf(machines: readonly (readonly [SimNode, DeviceStatus])[], version = 1): Uint8Array {
  const now = machines[0]?.[0].clock.now() ?? 0
  const issuer = (machines[0] as readonly [SimNode, DeviceStatus])[0].identity.issuer
  const devices = machines.map(([{ device, name }, status]) => ({ linkKey: device.linkSigner.publicKey, name, capabilities: 0n, status, sinceMs: now }))
  return createDeviceDocument(issuer, { version, now, devices })
}

const isRevokedAt = (node: SimNode, machine: SimNode): boolean => node.assembly.devices.isRevoked(machine.did, machine.device.linkSigner.publicKey)
const linkedTo = (node: SimNode, machine: SimNode): boolean =>
  node.mesh.links().some(({ linkKey, state }) => linkKey === toHex(machine.device.linkSigner.publicKey) && state === 'connected')

async function household(sim: Simulation): Promise<{ laptop: SimNode; phone: SimNode; tablet: SimNode; ann: SimNode; ben: SimNode }> {
  const laptop = await sim.node('laptop', FAST)
  const phone = await sim.node('phone', { ...FAST, identityOf: 'laptop' })
  const tablet = await sim.node('tablet', { ...FAST, identityOf: 'laptop' })
  const [ann, ben] = [await sim.node('ann', FAST), await sim.node('ben', FAST)]
  for (const name of ['laptop', 'phone', 'tablet']) sim.link('ann', name)
  sim.link('ann', 'ben')
  sim.link('ben', 'phone')
  await sim.until(() => [laptop, phone, tablet].every((machine) => linkedTo(ann, machine)) && linkedTo(ben, phone))
  return { laptop, phone, tablet, ann, ben }
}

test('three machines of one identity, one revoked during a partition, everybody refuses it after the heal', async () => {
  await using sim = createSimulation({ seed: 7 })
  const { laptop, phone, tablet, ann, ben } = await household(sim)
  sim.partition(['laptop', 'ann'], ['phone', 'ben', 'tablet'])
  await sim.settle(
    laptop.assembly.devices.publish(
      documentOf([
        [laptop, 'active'],
        [phone, 'lost'],
        [tablet, 'active'],
      ]),
    ),
  )
  await sim.until(() => isRevokedAt(ann, phone))
  assert.equal(isRevokedAt(ben, phone), false)
  assert.ok(linkedTo(ben, phone))
  sim.heal()
  await sim.until(() => [laptop, ann, ben, tablet].every((node) => isRevokedAt(node, phone)), { withinMs: 1_800_000, everyMs: 1_000 })
  await sim.run({ forMs: 60_000 })
  for (const node of [ann, ben]) assert.equal(linkedTo(node, phone), false)
  assert.ok(linkedTo(ann, tablet), 'the other machines stay')
  // It dials again and again, and is told why.
  phone.mesh.wake()
  await sim.run({ forMs: 600_000 })
  for (const node of [ann, ben]) assert.equal(linkedTo(node, phone), false)
  assert.ok(phone.mesh.links().some(({ lastError }) => lastError?.code === 'DEVICE_REVOKED'))
  // Neither a later document without it nor a restart brings it back.
  await sim.settle(
    laptop.assembly.devices.publish(
      documentOf(
        [
          [laptop, 'active'],
          [phone, 'active'],
          [tablet, 'active'],
        ],
        99,
      ),
    ),
  )
  await sim.run({ forMs: 60_000 })
  ann.crash()
  await ann.restart()
  assert.ok(isRevokedAt(ann, phone))
})

test('a revoked machine, what it signs afterwards is refused, and its papers are not learned again', async () => {
  await using sim = createSimulation({ seed: 8 })
  const { laptop, phone, tablet, ann } = await household(sim)
  const before = phone.assembly.messages.signRecord({ topic: 'a:b', type: 1, payload: Uint8Array.of(1) })
  await sim.settle(ann.assembly.messages.verifyRecord(before.bytes, 'a:b', undefined))
  const papers = phone.assembly.messages.directory.own()
  await sim.settle(
    laptop.assembly.devices.publish(
      documentOf([
        [laptop, 'active'],
        [phone, 'compromised'],
        [tablet, 'active'],
      ]),
    ),
  )
  await sim.until(() => isRevokedAt(ann, phone))
  const after = phone.assembly.messages.signRecord({ topic: 'a:b', type: 1, payload: Uint8Array.of(2) })
  await assert.rejects(sim.settle(ann.assembly.messages.verifyRecord(after.bytes, 'a:b', undefined)), { code: 'DEVICE_REVOKED' })
  await assert.rejects(sim.settle(ann.assembly.messages.directory.learn(papers)), { code: 'DEVICE_REVOKED' })
  const machines = await sim.settle(ann.assembly.messages.directory.devicesOf(phone.did))
  assert.ok(machines.every(({ device }) => toHex(device) !== toHex(phone.device.linkSigner.publicKey)))
})

test('two machines of one identity, the first one away, the second tells everybody what the first had signed', async () => {
  await using sim = createSimulation({ seed: 9 })
  const { laptop, phone, tablet, ann, ben } = await household(sim)
  sim.link('laptop', 'tablet', { acquaint: false })
  sim.partition(['laptop', 'tablet'], ['ann', 'ben', 'phone'])
  await sim.settle(tablet.mesh.linkDevice(laptop.device.linkSigner.publicKey, [laptop.url]))
  await sim.settle(
    laptop.assembly.devices.publish(
      documentOf([
        [laptop, 'active'],
        [phone, 'lost'],
        [tablet, 'active'],
      ]),
    ),
  )
  await sim.until(() => isRevokedAt(tablet, phone))
  laptop.crash({ of: 'machine' })
  sim.heal()
  await sim.until(() => isRevokedAt(ann, phone) && isRevokedAt(ben, phone), { withinMs: 1_800_000, everyMs: 1_000 })
})

test('a document of one identity published by a machine of another, changes nothing', async () => {
  await using sim = createSimulation({ seed: 10 })
  const { laptop, phone, ann, ben } = await household(sim)
  const document = documentOf([
    [laptop, 'active'],
    [phone, 'lost'],
  ])
  await sim.settle(ben.assembly.gossip.publish('identity:updates', document, { type: 0x0105 }))
  await sim.run({ forMs: 30_000 })
  assert.equal(isRevokedAt(ann, phone), false)
  // Forged for another: refused whoever says it.
  const forged = Uint8Array.from(document)
  forged[forged.length - 2] = (forged[forged.length - 2] as number) ^ 1
  await assert.rejects(sim.settle(ann.assembly.messages.directory.learnDevices(forged)), (error) => isKithError(error, 'DEVICE_DOCUMENT_INVALID'))
})
