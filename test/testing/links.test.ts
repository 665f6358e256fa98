import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSigner, randomSeed } from '../../src/core/crypto/ed25519.ts'
import { seededRandom } from '../../src/core/random.ts'
import { type LinkConditions, Links, SEGMENT_BYTES } from '../../src/testing/links.ts'
import { Scheduler } from '../../src/testing/scheduler.ts'
import { createMemoryNetwork, createMemoryTransport } from '../../src/transport/memory.ts'
import type { Channel } from '../../src/transport/types.ts'
import { hasCode } from '../transport/support.ts'

const random = seededRandom('links')

function links(conditions: LinkConditions, seed = 'links'): { readonly links: Links; readonly scheduler: Scheduler } {
  const scheduler = new Scheduler()
  return { scheduler, links: new Links(scheduler, seed, conditions, () => undefined) }
}

test('a link without faults, takes its latency whatever the size', () => {
  const { links: way } = links({ latencyMs: 25 })
  assert.equal(way.travelMs('a', 'b', 1), 25)
  assert.equal(way.travelMs('a', 'b', 1e6), 25)
})

test('jitter, over many writes, spreads evenly above the latency', () => {
  const { links: way } = links({ latencyMs: 20, jitterMs: 10 })
  const times = Array.from({ length: 5_000 }, () => way.travelMs('a', 'b', 100))
  assert.ok(Math.min(...times) >= 20 && Math.max(...times) < 30)
  const mean = times.reduce((sum, ms) => sum + ms, 0) / times.length
  assert.ok(Math.abs(mean - 25) < 0.2, `mean ${mean}`)
})

test('bandwidth, with writes at once, is shared by all connections of one direction and not with the other', async () => {
  const { links: way, scheduler } = links({ latencyMs: 10, bytesPerSecond: 1_000 })
  assert.equal(way.travelMs('a', 'b', 500), 510)
  assert.equal(way.travelMs('a', 'b', 500), 1_010)
  assert.equal(way.travelMs('b', 'a', 500), 510)
  await scheduler.advance(5_000)
  assert.equal(way.travelMs('a', 'b', 500), 510, 'a direction that was idle begins anew')
})

test('loss, over many segments, costs the timeouts that the model names', () => {
  const { links: way } = links({ latencyMs: 20, loss: 0.2 })
  const rounds = 20_000
  const counts = new Map<number, number>()
  for (let round = 0; round < rounds; round++) {
    const ms = way.travelMs('a', 'b', SEGMENT_BYTES)
    counts.set(ms, (counts.get(ms) ?? 0) + 1)
  }
  // 20 ms; then 200 ms more, 600, 1400: the timeout doubles.
  const part = (ms: number): number => (counts.get(ms) ?? 0) / rounds
  for (const [ms, expected] of [
    [20, 0.8],
    [220, 0.16],
    [620, 0.032],
    [1_420, 0.0064],
  ] as const) {
    assert.ok(Math.abs(part(ms) - expected) < 0.01, `${part(ms)} of all took ${ms} ms, expected ${expected}`)
  }
})

test('a write of many segments, is late as often as any of them is lost', () => {
  const { links: way } = links({ latencyMs: 20, loss: 0.01 })
  const rounds = 2_000
  let late = 0
  for (let round = 0; round < rounds; round++) if (way.travelMs('a', 'b', 50 * SEGMENT_BYTES) > 20) late++
  const expected = 1 - 0.99 ** 50
  assert.ok(Math.abs(late / rounds - expected) < 0.04, `${late / rounds}, expected ${expected}`)
})

test('a link that loses everything, never delivers', () => {
  const { links: way } = links({ loss: 1 })
  assert.equal(way.travelMs('a', 'b', 1), Number.POSITIVE_INFINITY)
  assert.equal(way.questionMs('a', 'b'), undefined)
})

test('conditions out of range, are the caller’s mistake', () => {
  for (const bad of [{ latencyMs: -1 }, { jitterMs: Number.NaN }, { loss: 1.1 }, { bytesPerSecond: 0 }]) assert.throws(() => links(bad), TypeError)
})

test('a partition, separates its sides and those in none', () => {
  const { links: way } = links({})
  way.partition([['a', 'b'], ['c']])
  const reached = (from: string, to: string): boolean => way.passes(from, to)
  assert.deepEqual([reached('a', 'b'), reached('a', 'c'), reached('a', 'x'), reached('x', 'y')], [true, false, false, true])
  way.heal()
  assert.ok(reached('a', 'c'))
})

interface Pair {
  readonly near: Channel
  readonly far: Channel
}

async function world(conditions: LinkConditions) {
  const scheduler = new Scheduler()
  const arrivals: string[] = []
  const way = new Links(scheduler, 'world', conditions, (from, to, bytes) => arrivals.push(`${from} ${to} ${bytes} at ${scheduler.now}`))
  const network = createMemoryNetwork({ model: way })
  const side = (name: string) => {
    const signer = createSigner('link', randomSeed(random))
    return { key: signer.publicKey, transport: createMemoryTransport({ network, signer, random, clock: way.clock, name }) }
  }
  const [a, b] = [side('a'), side('b')]
  const accepted: Channel[] = []
  await b.transport.listen('memory://b', (channel) => accepted.push(channel))
  const connect = async (): Promise<Pair> => {
    let near: Channel | undefined
    void a.transport.dial('memory://b', { expect: b.key, signal: new AbortController().signal }).then((channel) => {
      near = channel
    })
    await scheduler.advance(scheduler.now + 120_000, () => near !== undefined)
    return { near: near as Channel, far: accepted.at(-1) as Channel }
  }
  return { scheduler, links: way, network, arrivals, a, b, connect }
}

test('one connection under jitter and loss, never reorders; two overtake each other', async () => {
  const { scheduler, connect } = await world({ latencyMs: 20, jitterMs: 50, loss: 0.1 })
  const order: string[] = []
  const pairs = [await connect(), await connect()]
  for (const [index, { near, far }] of pairs.entries()) {
    void (async () => {
      for (let count = 0; count < 50; count++) order.push(`${index} ${Buffer.from(await far.receive()).toString()}`)
    })()
    for (let count = 0; count < 50; count++) scheduler.after(count, () => near.send(Buffer.from(String(count))))
  }
  await scheduler.advance(scheduler.now + 60_000)
  const of = (index: number): string[] => order.filter((text) => text.startsWith(`${index} `)).map((text) => text.slice(2))
  for (const index of [0, 1]) {
    assert.deepEqual(
      of(index),
      Array.from({ length: 50 }, (_, count) => String(count)),
    )
  }
  const places = order.map((text) => text.split(' ').map(Number)) as [number, number][]
  assert.ok(
    places.some(([index, count], at) => places.slice(at).some(([other, later]) => other !== index && later < count)),
    'no write of one connection overtook an earlier one of the other',
  )
})

test('bytes on the way when a partition begins, arrive with the first retransmission after it', async () => {
  const { scheduler, links: way, connect } = await world({ latencyMs: 20 })
  const { near, far } = await connect()
  let at = 0
  void far.receive().then(() => {
    at = scheduler.now
  })
  const start = scheduler.now
  near.send(Buffer.from('late'))
  way.partition([['a']])
  await scheduler.advance(start + 1_000)
  way.heal()
  await scheduler.advance(start + 10_000)
  // Due after 20 ms, then tried 200, 400 and 800 ms later.
  assert.equal(at - start, 20 + 200 + 400 + 800)
  assert.ok(way.traffic('a', 'b').retransmissions >= 3)
})

test('a dial into a partition, gets through at its next try after the healing', async () => {
  const { scheduler, links: way, a, b } = await world({ latencyMs: 20 })
  way.partition([['a']])
  let linkedAt = 0
  void a.transport.dial('memory://b', { expect: b.key, signal: new AbortController().signal }).then(() => {
    linkedAt = scheduler.now
  })
  await scheduler.advance(2_000)
  way.heal()
  await scheduler.advance(20_000)
  assert.equal(linkedAt, 1_000 + 2_000 + 40)
})

test('a dial into a partition that stays, ends as unreachable after seven questions', async () => {
  const { scheduler, links: way, a, b } = await world({ latencyMs: 20 })
  way.partition([['a']])
  const refused = assert.rejects(a.transport.dial('memory://b', { expect: b.key, signal: new AbortController().signal }), hasCode('ADDRESS_UNREACHABLE'))
  await scheduler.advance(200_000)
  await refused
})

test('a machine that vanishes, is silence until it appears, then a reset', async () => {
  const { scheduler, network, connect } = await world({ latencyMs: 20 })
  const { near } = await connect()
  network.vanish('b')
  let ended = 0
  near.receive().then(
    () => assert.fail('a message'),
    (error: unknown) => {
      assert.ok(hasCode('LINK_LOST')(error))
      ended = scheduler.now
    },
  )
  near.send(Buffer.from('anybody'))
  await scheduler.advance(scheduler.now + 3_600_000)
  assert.equal(ended, 0)
  network.appear('b')
  const start = scheduler.now
  near.send(Buffer.from('and now'))
  await scheduler.advance(start + 1_000)
  assert.ok(ended - start <= 40, `reset after ${ended - start} ms`)
})

test('a process that dies, resets its connections after the latency and listens no more', async () => {
  const { scheduler, network, connect, a, b } = await world({ latencyMs: 20 })
  const { near, far } = await connect()
  let heard = false
  far.receive().then(
    () => {
      heard = true
    },
    () => {
      heard = true
    },
  )
  let ended = 0
  near.receive().catch(() => {
    ended = scheduler.now
  })
  await scheduler.settle()
  const start = scheduler.now
  near.send(Buffer.from('on its way'))
  network.vanish('b', { reset: true })
  await scheduler.advance(start + 1_000)
  assert.equal(ended - start, 20)
  assert.equal(heard, false, 'the dead process heard something')
  const refused = assert.rejects(a.transport.dial('memory://b', { expect: b.key, signal: new AbortController().signal }), hasCode('ADDRESS_UNREACHABLE'))
  await scheduler.advance(start + 2_000)
  await refused
})

test('what arrives, is counted and told with its size', async () => {
  const { scheduler, links: way, connect, arrivals } = await world({ latencyMs: 20 })
  const { near, far } = await connect()
  void far.receive()
  const before = way.traffic('a', 'b')
  const start = scheduler.now
  near.send(Buffer.alloc(3_000))
  await scheduler.advance(start + 100)
  const after = way.traffic('a', 'b')
  assert.equal(after.bytes - before.bytes, 3_000)
  assert.equal(after.segments - before.segments, 3)
  assert.equal(arrivals.at(-1), `a b 3000 at ${start + 20}`)
})
