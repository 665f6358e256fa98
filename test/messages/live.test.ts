import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import type { LiveMessage } from '../../src/mesh/messages/types.ts'
import { acquaint, createWorld, type World, type WorldNode } from '../mesh/mesh-support.ts'
import { codeOf } from './messages-support.ts'

const TYPE = 0x8001
const worlds: World[] = []
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close()
})

async function pair(options: { a?: object; b?: object } = {}): Promise<{ world: World; ann: WorldNode; ben: WorldNode }> {
  const world = createWorld()
  worlds.push(world)
  const ann = await world.node('ann', options.a ?? {})
  const ben = await world.node('ben', options.b ?? {})
  await acquaint(ann, ben)
  return { world, ann, ben }
}

function heard(node: WorldNode, type = TYPE): LiveMessage[] {
  const messages: LiveMessage[] = []
  node.mesh.messages.handle(type, (message) => void messages.push(message))
  return messages
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const textOf = (message: LiveMessage | undefined): string => new TextDecoder().decode(message?.payload)

test('live messages, between two peers, arrive verified and in order', async () => {
  const { world, ann, ben } = await pair()
  const got = heard(ben)
  for (const word of ['one', 'two', 'three']) await world.settle(ann.mesh.messages.send(ben.mesh.did, TYPE, text(word)))
  await world.until(() => got.length === 3)
  assert.deepEqual(got.map(textOf), ['one', 'two', 'three'])
  assert.deepEqual(
    got.map(({ seq }) => seq),
    [1, 2, 3],
  )
  const [first] = got
  assert.equal(first?.from, ann.mesh.did)
  assert.equal(first?.to.kind === 'did' && first.to.did, ben.mesh.did)
  assert.deepEqual(first?.device, ann.device.linkSigner.publicKey)
  assert.equal(ben.mesh.messages.counters.accepted, 3)
})

test('live messages, both ways on one link, use one session and their own numbers', async () => {
  const { world, ann, ben } = await pair()
  const [atAnn, atBen] = [heard(ann), heard(ben)]
  await world.settle(ann.mesh.messages.send(ben.mesh.did, TYPE, text('ping')))
  await world.settle(ben.mesh.messages.send(ann.mesh.did, TYPE, text('pong')))
  await world.until(() => atAnn.length === 1 && atBen.length === 1)
  assert.deepEqual(atAnn[0]?.session, atBen[0]?.session)
  assert.deepEqual([atAnn[0]?.seq, atBen[0]?.seq], [1, 1])
})

test('live messages, from a stranger, reach only handlers that are open to everyone', async () => {
  const world = createWorld()
  worlds.push(world)
  const ann = await world.node('ann')
  const ben = await world.node('ben')
  await ann.mesh.book.add(ben.mesh.did, { name: 'ben', urls: [ben.url] })
  const closed = heard(ben, TYPE)
  const open: LiveMessage[] = []
  ben.mesh.messages.handle(TYPE + 1, (message) => void open.push(message), { access: 'everyone' })
  await world.settle(ann.mesh.messages.send(ben.mesh.did, TYPE, text('closed')))
  await world.settle(ann.mesh.messages.send(ben.mesh.did, TYPE + 1, text('open')))
  await world.until(() => open.length === 1)
  assert.equal(closed.length, 0)
  assert.equal(ben.mesh.messages.counters.refused.denied, 1)
})

test('live messages, of a type nobody handles, are counted and dropped', async () => {
  const { world, ann, ben } = await pair()
  await world.settle(ann.mesh.messages.send(ben.mesh.did, TYPE, text('x')))
  await world.until(() => ben.mesh.messages.counters.refused.unhandled === 1)
})

test('live messages, handler that fails, harms nobody else', async () => {
  const { world, ann, ben } = await pair()
  let calls = 0
  ben.mesh.messages.handle(TYPE, () => {
    calls++
    throw new Error('mine')
  })
  ben.mesh.messages.handle(TYPE + 1, async () => {
    calls++
    throw new Error('mine too')
  })
  await world.settle(ann.mesh.messages.send(ben.mesh.did, TYPE, text('x')))
  await world.settle(ann.mesh.messages.send(ben.mesh.did, TYPE + 1, text('x')))
  await world.settle(ann.mesh.messages.send(ben.mesh.did, TYPE, text('x')))
  await world.until(() => calls === 3)
  await world.until(() => ben.mesh.messages.counters.refused.failed === 3)
})

test('live messages, a second handler of a type, is the caller’s mistake', async () => {
  const { ann } = await pair()
  const end = ann.mesh.messages.handle(TYPE, () => undefined)
  assert.throws(() => ann.mesh.messages.handle(TYPE, () => undefined), TypeError)
  end()
  ann.mesh.messages.handle(TYPE, () => undefined)
  assert.throws(() => ann.mesh.messages.handle(65_536, () => undefined), TypeError)
})

test('live messages, to nobody, are refused', async () => {
  const { world, ann } = await pair()
  assert.equal(await codeOf(() => world.settle(ann.mesh.messages.send('nobody', TYPE, text('x')))), 'PEER_UNKNOWN')
  assert.equal(await codeOf(() => world.settle(ann.mesh.messages.send(ann.mesh.did, TYPE, text('x')))), 'SELF_DIAL')
})

test('live messages, many at once and larger than every window, all arrive', async () => {
  const { world, ann, ben } = await pair({ b: { config: { limits: { known: { messagesPerSecond: 1_000_000, burst: 1_000_000 } } } } })
  const got = heard(ben)
  const payload = new Uint8Array(100_000)
  const sends = Array.from({ length: 50 }, () => ann.mesh.messages.send(ben.mesh.did, TYPE, payload))
  await world.settle(Promise.all(sends))
  await world.until(() => got.length === 50)
  assert.deepEqual(
    got.map(({ seq }) => seq),
    Array.from({ length: 50 }, (_, at) => at + 1),
  )
})

test('live messages, after a restart of either side, are accepted again at once', async () => {
  // The original's receiver refused a thousand numbers after its restart, and an honest sender was banned after its own.
  const { world, ann, ben } = await pair()
  heard(ben)
  for (let i = 0; i < 3; i++) await world.settle(ann.mesh.messages.send(ben.mesh.did, TYPE, text('before')))
  await world.until(() => ben.mesh.messages.counters.accepted === 3)
  await world.settle(ben.mesh.close())
  const again = await world.node('ben', { identity: ben.identity, device: ben.device, store: ben.store })
  const got = heard(again)
  await world.settle(ann.mesh.messages.send(again.mesh.did, TYPE, text('after')))
  await world.until(() => got.length === 1)
  await world.settle(ann.mesh.close())
  const annAgain = await world.node('ann', { identity: ann.identity, device: ann.device, store: ann.store })
  await world.settle(annAgain.mesh.messages.send(again.mesh.did, TYPE, text('and again')))
  await world.until(() => got.length === 2)
  assert.deepEqual(got.map(textOf), ['after', 'and again'])
  assert.deepEqual(again.mesh.messages.counters.refused, {})
})

test('live messages, more than the sender’s class allows, are refused for the moment and not marked', async () => {
  const { world, ann, ben } = await pair({ b: { config: { limits: { known: { messagesPerSecond: 10, burst: 5 } } } } })
  const got = heard(ben)
  await world.settle(Promise.all(Array.from({ length: 8 }, () => ann.mesh.messages.send(ben.mesh.did, TYPE, text('x')))))
  await world.until(() => got.length + (ben.mesh.messages.counters.refused.RATE_LIMITED ?? 0) === 8)
  assert.equal(got.length, 5)
  await world.run(1_000)
  await world.settle(ann.mesh.messages.send(ben.mesh.did, TYPE, text('later')))
  await world.until(() => got.length === 6)
})

test('records, signed by one node, verify at another that is linked', async () => {
  const { world, ann, ben } = await pair()
  await world.settle(ann.mesh.dial(ben.mesh.did))
  const record = ann.mesh.messages.signRecord({ topic: 'a:b', type: 1, payload: text('entry') })
  assert.equal(record.epoch, ann.mesh.messages.epoch)
  assert.ok(record.seq >= 1)
  assert.equal(ann.mesh.messages.signRecord({ topic: 'a:b', type: 1, payload: text('entry') }).seq, record.seq + 1)
  assert.equal(ann.mesh.messages.signRecord({ topic: 'a:c', type: 1, payload: text('entry') }).seq, record.seq)
  const verified = await world.settle(ben.mesh.messages.verifyRecord(record.bytes, 'a:b', undefined))
  assert.deepEqual(verified.id, record.id)
  assert.equal(verified.from, ann.mesh.did)
  assert.equal(await codeOf(() => world.settle(ben.mesh.messages.verifyRecord(record.bytes, 'a:c', undefined))), 'NOT_FOR_US')
})

test('papers, of an author known to the neighbour only, are fetched from it when it shows them', async () => {
  const { world, ann, ben } = await pair()
  const cem = await world.node('cem')
  await acquaint(ben, cem)
  await world.settle(ann.mesh.dial(ben.mesh.did))
  await world.settle(ben.mesh.dial(cem.mesh.did))
  const device = ann.device.linkSigner.publicKey
  const record = ann.mesh.messages.signRecord({ topic: 'a:b', type: 1, payload: text('entry') })
  const verify = (): Promise<unknown> => world.settle(cem.mesh.messages.verifyRecord(record.bytes, 'a:b', undefined))
  assert.equal(await codeOf(verify), 'DEVICE_UNKNOWN')
  // Cem and Ann are both in Ben's book, so Ben would show them to each other.
  await ben.mesh.book.forget(ann.mesh.did)
  assert.equal(await codeOf(() => world.settle(cem.mesh.messages.fetchPapers(ben.mesh.did, ann.mesh.did, device))), 'DEVICE_UNKNOWN')
  const asked: unknown[] = []
  const end = ben.mesh.messages.showPapers((asker, did) => {
    asked.push(asker, did)
    return true
  })
  const keys = await world.settle(cem.mesh.messages.fetchPapers(ben.mesh.did, ann.mesh.did, device))
  assert.deepEqual(keys.device, device)
  // Once for the papers, once for what the identity says of its machines.
  assert.deepEqual(asked, [cem.mesh.did, ann.mesh.did, cem.mesh.did, ann.mesh.did])
  end()
  await verify()
})
