import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, test } from 'node:test'
import { manualClock } from '../../src/core/clock.ts'
import { isKithError, KithError } from '../../src/core/errors.ts'
import { CHUNK_BYTES } from '../../src/gossip/blobs/layout.ts'
import { CHUNK_HEAD_BYTES, KIND } from '../../src/gossip/blobs/wire.ts'
import type { LinkStream } from '../../src/transport/types.ts'
import { type BlobNode, type BlobWorld, bytesSink, bytesSource, createBlobWorld, says, settle } from './support.ts'

/** Providers that deceive, stall or leave, beside an honest one. */
const SIZE = 60 * CHUNK_BYTES + 11
let world: BlobWorld
beforeEach(() => {
  world = createBlobWorld()
})
afterEach(async () => {
  await world.close()
})

interface Scene {
  readonly honest: BlobNode
  readonly liar: BlobNode
  readonly bob: BlobNode
  readonly source: ReturnType<typeof bytesSource>
  readonly manifest: Awaited<ReturnType<BlobNode['blobs']['describe']>>
}

async function scene(tamper: (stream: LinkStream) => LinkStream | undefined, clock = manualClock()): Promise<Scene & { clock: typeof clock }> {
  const [honest, liar, bob] = [world.node('honest', { clock }), world.node('liar', { tamper, clock }), world.node('bob', { clock })]
  await Promise.all([world.link(honest, bob), world.link(liar, bob)])
  const source = bytesSource(randomBytes(SIZE))
  const manifest = await honest.blobs.describe(source)
  for (const provider of [honest, liar]) provider.blobs.offer(manifest, source, { peers: [bob.did] })
  return { honest, liar, bob, source, manifest, clock }
}

/** Changes the n-th write that begins with this kind. */
function nth(kind: number, n: number, change: (frame: Buffer) => Uint8Array | undefined): (stream: LinkStream) => LinkStream {
  return (stream) => {
    let seen = 0
    return says(stream, (data) =>
      data[0] === kind && (kind !== KIND.chunk || data.length === CHUNK_HEAD_BYTES) && seen++ === n ? change(Buffer.from(data)) : data,
    )
  }
}

/** Changes the data behind the n-th chunk head. */
function wrongData(n: number): (stream: LinkStream) => LinkStream {
  return (stream) => {
    let heads = 0
    let next = false
    return says(stream, (data) => {
      const turn = next
      next = data[0] === KIND.chunk && data.length === CHUNK_HEAD_BYTES && heads++ === n
      if (!turn) return data
      const changed = Buffer.from(data)
      changed[7] = (changed[7] as number) ^ 1
      return changed
    })
  }
}

/** Hashes are a write of their own, behind a head of so many bytes. */
function falseHashes(kind: number, headBytes: number): (stream: LinkStream) => LinkStream {
  return (stream) => {
    let next = false
    return says(stream, (data) => {
      const turn = next
      next = data[0] === kind && data.length === headBytes
      return turn ? Buffer.alloc(data.length, 9) : data
    })
  }
}

/** Writes another number into a chunk's head. */
function forged(place: number, value: number): (head: Buffer) => Buffer {
  return (head) => {
    head.writeUInt32BE(value, place)
    return head
  }
}

const LIES: readonly (readonly [string, KithError['code'], (stream: LinkStream) => LinkStream])[] = [
  ['a changed chunk', 'BLOB_MISMATCH', wrongData(2)],
  ['page hashes of another blob', 'BLOB_MISMATCH', falseHashes(KIND.topIs, 1)],
  ['chunk hashes of another page', 'BLOB_MISMATCH', falseHashes(KIND.pageIs, 5)],
  ['a chunk under another number', 'WIRE_MALFORMED', nth(KIND.chunk, 1, forged(5, 40))],
  ['a chunk that answers another question', 'WIRE_MALFORMED', nth(KIND.chunk, 1, forged(1, 77))],
  ['a chunk of another length', 'WIRE_MALFORMED', nth(KIND.chunk, 1, forged(9, CHUNK_BYTES - 1))],
  ['a chunk longer than any', 'WIRE_MALFORMED', nth(KIND.chunk, 1, forged(9, 0xffff_ffff))],
  ['a chunk of length 0', 'WIRE_MALFORMED', nth(KIND.chunk, 1, forged(9, 0))],
  ['an unknown frame', 'WIRE_MALFORMED', nth(KIND.chunk, 1, (head) => head.fill(0x7f, 0, 1))],
  ['a page instead of a chunk', 'WIRE_MALFORMED', nth(KIND.chunk, 0, () => Buffer.from([KIND.pageIs, 0, 0, 0, 0, ...randomBytes(40)]))],
]
for (const [what, , tamper] of LIES) {
  test(`a provider that sends ${what}, is left and counted, and the blob is whole from the other`, async () => {
    const { bob, honest, liar, manifest, source, clock } = await scene(tamper)
    const sink = bytesSink(SIZE)
    await settle(clock, bob.blobs.fetch(manifest, sink, { providers: [{ peer: liar.did }, { peer: honest.did }] }))
    assert.deepEqual(sink.content, new Uint8Array(source.content))
    assert.deepEqual(
      bob.violations.map(({ peer, kind, protocol }) => [peer, kind, protocol]),
      [[liar.did, 'protocol-state', 'icn/blob/1']],
    )
  })
}

for (const [what, code, tamper] of LIES) {
  test(`the only provider sends ${what}, nothing false is kept and the cause is ${code}`, async () => {
    const { bob, liar, manifest, source, clock } = await scene(tamper)
    const sink = bytesSink(SIZE)
    await assert.rejects(
      settle(clock, bob.blobs.fetch(manifest, sink, { providers: [{ peer: liar.did }] })),
      (error) => isKithError(error, 'BLOB_UNAVAILABLE') && isKithError(error.cause, code),
    )
    assert.equal(bob.opened.get(liar.did), 1, 'a liar is not asked again')
    assert.equal(bob.violations.length, 1)
    for (let at = 0; at < sink.end; at++) if (sink.content[at] !== 0 && sink.content[at] !== source.content[at]) assert.fail(`false byte at ${at}`)
  })
}

test('a provider that sends chunks nobody asked for, is left and counted whatever it floods', async () => {
  let held: LinkStream | undefined
  const { bob, liar, honest, manifest, source, clock } = await scene((stream) => {
    held = stream
    return stream
  })
  const sink = bytesSink(SIZE)
  let flooding = false
  const written = sink.write.bind(sink)
  sink.write = async (data, position) => {
    if (!flooding && held !== undefined) {
      flooding = true
      for (let i = 0; i < 100; i++) held.write(Buffer.concat([Buffer.from([KIND.chunk, 0, 0, 9, 9, 0, 0, 0, 1, 0, 1, 0, 0]), Buffer.alloc(CHUNK_BYTES)]))
    }
    await written(data, position)
  }
  await settle(clock, bob.blobs.fetch(manifest, sink, { providers: [{ peer: liar.did }, { peer: honest.did }] }))
  assert.deepEqual(sink.content, new Uint8Array(source.content))
  assert.deepEqual(
    bob.violations.map(({ peer }) => peer),
    [liar.did],
  )
})

test('a provider that stays silent after the first chunks, loses them to the other and is not counted', async () => {
  let heads = 0
  const { bob, liar, honest, manifest, source, clock } = await scene((stream) =>
    says(stream, (data) => {
      if (data[0] === KIND.chunk && data.length === CHUNK_HEAD_BYTES) heads++
      return heads > 2 ? undefined : data
    }),
  )
  const sink = bytesSink(SIZE)
  const started = clock.monotonic()
  const result = await settle(clock, bob.blobs.fetch(manifest, sink, { providers: [{ peer: liar.did }, { peer: honest.did }] }))
  assert.deepEqual(sink.content, new Uint8Array(source.content))
  assert.ok(clock.monotonic() - started < 15_000, `took ${clock.monotonic() - started} ms: its place was waited for`)
  assert.ok((result.from.get(honest.did) ?? 0) > (result.from.get(liar.did) ?? 0))
  assert.deepEqual(bob.violations, [])
})

test('the only provider goes silent, the fetch ends within its timeout', async () => {
  const { bob, liar, manifest, clock } = await scene((stream) =>
    says(stream, (data) => (data.length === CHUNK_HEAD_BYTES || data.length === CHUNK_BYTES ? undefined : data)),
  )
  const started = clock.monotonic()
  await assert.rejects(
    settle(clock, bob.blobs.fetch(manifest, bytesSink(SIZE), { providers: [{ peer: liar.did }] })),
    (error) => isKithError(error, 'TIMEOUT') || isKithError(error, 'BLOB_UNAVAILABLE'),
  )
  assert.ok(clock.monotonic() - started <= 150_000)
  assert.deepEqual(bob.violations, [])
})

test('a provider takes its offer back in the middle, the other goes on and nobody is counted', async () => {
  const { bob, liar, honest, manifest, source, clock } = await scene((stream) => stream)
  const again = liar.blobs.offer(manifest, source, { peers: [] })
  again.withdraw()
  const sink = bytesSink(SIZE)
  const fetching = bob.blobs.fetch(manifest, sink, { providers: [{ peer: liar.did }, { peer: honest.did }], onProgress: () => liar.denied.add(bob.did) })
  const result = await settle(clock, fetching)
  assert.deepEqual(sink.content, new Uint8Array(source.content))
  assert.ok((result.from.get(honest.did) ?? 0) > 0)
  assert.deepEqual([...bob.violations, ...liar.violations], [])
})

test('content that changed at the provider, is never sent: it says so and stays honest', async () => {
  const { bob, liar, honest, manifest, clock } = await scene((stream) => stream)
  const good = bytesSource(randomBytes(SIZE))
  const fresh = await honest.blobs.describe(good)
  const changed = bytesSource(Buffer.from(good.content))
  changed.content[5 * CHUNK_BYTES] = (changed.content[5 * CHUNK_BYTES] as number) ^ 1
  liar.blobs.offer(fresh, changed, { peers: [bob.did] })
  assert.notDeepEqual(fresh.root, manifest.root)
  await assert.rejects(
    settle(clock, bob.blobs.fetch(fresh, bytesSink(SIZE), { providers: [{ peer: liar.did }] })),
    (error) => isKithError(error, 'BLOB_UNAVAILABLE') && isKithError(error.cause, 'BLOB_CHANGED'),
  )
  assert.deepEqual(bob.violations, [])
})

test('content that changes while it is served, ends the session before a false byte leaves', async () => {
  const { bob, honest, liar, clock } = await scene((stream) => stream)
  const good = bytesSource(randomBytes(SIZE))
  const manifest = await honest.blobs.describe(good)
  const changing = bytesSource(Buffer.from(good.content))
  liar.blobs.offer(manifest, changing, { peers: [bob.did] })
  await assert.rejects(
    settle(
      clock,
      bob.blobs.fetch(manifest, bytesSink(SIZE), {
        providers: [{ peer: liar.did }],
        // The hashes of the page are known there by now.
        onProgress: ({ bytes }) => bytes > 0 && changing.content.fill(0, 50 * CHUNK_BYTES),
      }),
    ),
    (error) => isKithError(error, 'BLOB_UNAVAILABLE') && isKithError(error.cause, 'BLOB_CHANGED'),
  )
  assert.deepEqual(bob.violations, [])
})

test('a link is lost in the middle and comes back, the rest is fetched', async () => {
  const clock = manualClock()
  const [alice, bob] = [world.node('alice', { clock }), world.node('bob', { clock })]
  const first = await world.link(alice, bob)
  const source = bytesSource(randomBytes(SIZE))
  const manifest = await alice.blobs.describe(source)
  alice.blobs.offer(manifest, source, { peers: [bob.did] })
  const sink = bytesSink(SIZE)
  let cut = false
  const result = await settle(
    clock,
    bob.blobs.fetch(manifest, sink, {
      providers: [{ peer: alice.did }],
      onProgress: ({ bytes }) => {
        if (cut || bytes < 10 * CHUNK_BYTES) return
        cut = true
        void first.close().then(() => world.link(alice, bob))
      },
    }),
  )
  assert.ok(cut)
  assert.equal(result.bytes, SIZE)
  assert.deepEqual(sink.content, new Uint8Array(source.content))
  assert.deepEqual(bob.violations, [])
})

test('a fetch given up in the middle and done again, goes on with what was verified', async () => {
  const clock = manualClock()
  const [alice, bob] = [world.node('alice', { clock }), world.node('bob', { clock })]
  await world.link(alice, bob)
  const source = bytesSource(randomBytes(SIZE))
  const manifest = await alice.blobs.describe(source)
  alice.blobs.offer(manifest, source, { peers: [bob.did] })
  const sink = bytesSink(SIZE)
  const stop = new AbortController()
  const options = { providers: [{ peer: alice.did }], resume: true }
  await assert.rejects(
    settle(clock, bob.blobs.fetch(manifest, sink, { ...options, signal: stop.signal, onProgress: ({ bytes }) => bytes >= 20 * CHUNK_BYTES && stop.abort() })),
    (error) => isKithError(error, 'ABORTED'),
  )
  const writes = sink.writes
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(sink.writes, writes, 'nothing is written once the fetch has ended')
  // One of them was damaged meanwhile.
  sink.content[3 * CHUNK_BYTES + 1] = (sink.content[3 * CHUNK_BYTES + 1] as number) ^ 0xff
  const result = await settle(clock, bob.blobs.fetch(manifest, sink, options))
  assert.deepEqual(sink.content, new Uint8Array(source.content))
  assert.ok(result.resumed >= 18 * CHUNK_BYTES, `resumed ${result.resumed}`)
  assert.equal(sink.writes - writes, Math.ceil((SIZE - result.resumed) / CHUNK_BYTES), 'only what was missing is fetched')
})

test('the sink fails, the fetch ends with that failure and no provider is blamed', async () => {
  const { bob, honest, manifest, clock } = await scene((stream) => stream)
  const sink = bytesSink(SIZE)
  sink.write = () => Promise.reject(new KithError('FILE_QUOTA'))
  await assert.rejects(settle(clock, bob.blobs.fetch(manifest, sink, { providers: [{ peer: honest.did }] })), (error) => isKithError(error, 'FILE_QUOTA'))
  assert.deepEqual(bob.violations, [])
})
