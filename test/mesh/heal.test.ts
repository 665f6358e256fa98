import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { encode } from '../../src/core/codec.ts'
import { KithError } from '../../src/core/errors.ts'
import { seededRandom } from '../../src/core/random.ts'
import { decodeChain } from '../../src/identity/chain-codec.ts'
import type { Did } from '../../src/identity/did.ts'
import { encodeForGreeting } from '../../src/mesh/hello-chain.ts'
import { knownExtension, readStaleDetail, staleDetail } from '../../src/mesh/hello-codec.ts'
import { createMemoryTransport } from '../../src/transport/memory.ts'
import type { Transport } from '../../src/transport/types.ts'
import { conformance } from '../conformance.ts'
import { certify, NOW, rotateIdentity, testDevice, testIdentity, testNode } from './fixtures.ts'
import { assertRefused, assertTold, meet } from './meeting.ts'
import { createWorld, type World, type WorldNode } from './mesh-support.ts'

const MANY = 3

function world(t: TestContext): World {
  const made = createWorld()
  t.after(() => made.close())
  return made
}

/** The identity goes on so often that its chain fits into no greeting. */
function rotateMany({ identity, device }: Pick<WorldNode, 'identity' | 'device'>, name: string): void {
  for (let at = 1; at <= MANY; at++) rotateIdentity(identity, { now: NOW - 3_600_000 + at })
  device.chain = identity.chain
  device.binding = certify(identity, name, { serial: 2, notBefore: NOW - 60_000 })
}

async function chainIndex({ mesh }: WorldNode, did: Did): Promise<number | undefined> {
  return (await mesh.messages.directory.chainOf(did))?.index
}

test('stranger whose chain fits into no greeting, dials in and is linked', async (t) => {
  const w = world(t)
  const bob = await w.node('bob')
  const identity = testIdentity('ann', { mldsa: true })
  const device = testDevice(identity, 'ann')
  rotateMany({ identity, device }, 'ann')
  const ann = await w.node('ann', { identity, device, listen: null })
  await ann.mesh.book.add(bob.mesh.did, { name: 'bob', urls: [bob.url] })
  await w.settle(ann.mesh.dial('bob'))
  assert.equal(await chainIndex(bob, ann.mesh.did), MANY)
})

test('peer whose identity rotated three times since it was met, dials in and is linked, although nobody can dial it', async (t) => {
  const w = world(t)
  const bob = await w.node('bob')
  const ann = await w.node('ann', { identity: testIdentity('ann', { mldsa: true }), listen: null })
  await ann.mesh.book.add(bob.mesh.did, { name: 'bob', urls: [bob.url] })
  await w.settle(ann.mesh.dial('bob'))
  assert.equal(await chainIndex(bob, ann.mesh.did), 0)
  w.network.sever('ann', 'bob')
  rotateMany(ann, 'ann')
  await w.until(() => ann.mesh.links().every(({ state }) => state !== 'connected'))
  await w.settle(ann.mesh.dial('bob'))
  assert.equal(await chainIndex(bob, ann.mesh.did), MANY)
  assert.equal(bob.mesh.links().find(({ did }) => did === ann.mesh.did)?.state, 'connected')
})

test('dialer that is behind, over a path on which nobody can be asked, is shown what it is missing', async (t) => {
  const w = world(t)
  const ann = await w.node('ann', { identity: testIdentity('ann', { mldsa: true }) })
  const device = testDevice(testIdentity('bob'), 'bob')
  const memory = createMemoryTransport({ network: w.network, signer: device.linkSigner, random: seededRandom('bob'), clock: w.clock, name: 'bob' })
  let mute = false
  const transport: Transport = {
    scheme: 'memory',
    listen: (...given) => memory.listen(...given),
    dial: (...given) => memory.dial(...given),
    get locate() {
      return mute ? undefined : memory.locate?.bind(memory)
    },
  } as Transport
  const bob = await w.node('bob', { device, transports: [transport], listen: null })
  await bob.mesh.book.add(ann.mesh.did, { name: 'ann', urls: [ann.url] })
  await w.settle(bob.mesh.dial('ann'))
  mute = true
  w.network.sever('ann', 'bob')
  rotateMany(ann, 'ann')
  await w.until(() => bob.mesh.links().every(({ state }) => state !== 'connected'))
  await w.settle(bob.mesh.dial('ann'))
  assert.equal(await chainIndex(bob, ann.mesh.did), MANY)
})

test('greeting to one who knows part of a chain, shows what joins on', () => {
  const identity = testIdentity('ann', { mldsa: true })
  for (let at = 1; at <= MANY; at++) rotateIdentity(identity, { now: NOW + at })
  const { entries } = identity.chain
  const shown = (has: number | undefined): number[] => decodeChain(encodeForGreeting(entries, has, 16_384) as Uint8Array).map(({ index }) => index)
  assert.deepEqual([shown(undefined), shown(-1), shown(0), shown(1), shown(2), shown(3), shown(9)], [[3], [0, 1], [1], [2], [3], [3], [3]])
})

test('verdict CHAIN_STALE, says how far the other side has come and each greeting goes further', async () => {
  const identity = testIdentity('ann', { mldsa: true })
  for (let at = 1; at <= MANY; at++) rotateIdentity(identity, { now: NOW - 3_600_000 + at })
  const [ann, bob] = [await testNode('ann', { identity, notBefore: NOW - 60_000 }), await testNode('bob')]
  const told: unknown[] = []
  for (const peerHas of [undefined, -1, 1]) {
    const { dialer, listener } = await meet(ann, bob, { ...(peerHas === undefined ? {} : { peerHas }) })
    assertRefused(listener, 'CHAIN_STALE')
    assertTold(dialer, 'CHAIN_STALE')
    assert.ok(dialer instanceof KithError)
    told.push(dialer.details.haveIndex)
  }
  assert.deepEqual(told, [-1, 1, 2])
})

test('details of a verdict that say something else, are not read as how far somebody has come', () => {
  assert.deepEqual([-1, 0, 999].map(staleDetail).map(readStaleDetail), [-1, 0, 999])
  for (const detail of ['', 'have', 'have x', 'have -2', 'have 1 ', 'have 99999999', undefined, 7]) assert.equal(readStaleDetail(detail), undefined)
})

conformance('icn/hello/v1 extension 2', (g) => encode(knownExtension, { index: g.integer(1001) - 1, forked: g.integer(2) === 1 }))
