import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { equal } from '../../src/core/bytes.ts'
import { manualClock } from '../../src/core/clock.ts'
import { isKithError, KithError } from '../../src/core/errors.ts'
import { seededRandom } from '../../src/core/random.ts'
import { blobMetrics } from '../../src/gossip/blobs/blob-metrics.ts'
import { Board } from '../../src/gossip/blobs/board.ts'
import type { GrantMessages } from '../../src/gossip/blobs/grant.ts'
import {
  CHUNK_BYTES,
  chunkCount,
  chunkHash,
  chunkLength,
  chunksInPage,
  HASH_BYTES,
  isBlobSize,
  MAX_BLOB_BYTES,
  PAGE_BYTES,
  PAGE_CHUNKS,
  pageCount,
  pageHash,
  rootHash,
} from '../../src/gossip/blobs/layout.ts'
import { describeBlob, ServedBlob } from '../../src/gossip/blobs/manifest.ts'
import { NonceGuard } from '../../src/gossip/blobs/nonce-guard.ts'
import { Pace } from '../../src/gossip/blobs/pace.ts'
import { type FetchSession, fetchFrom } from '../../src/gossip/blobs/provider.ts'
import { serveBlob } from '../../src/gossip/blobs/serve.ts'
import type { Shelf } from '../../src/gossip/blobs/shelf.ts'
import { Slots } from '../../src/gossip/blobs/slots.ts'
import { decodeGet, encodeGet, encodeOpen, encodePage, KIND } from '../../src/gossip/blobs/wire.ts'
import type { Did } from '../../src/identity/did.ts'
import type { Policy, StreamContext } from '../../src/mesh/types.ts'
import { FakeStream } from '../fuzz/fake-stream.ts'
import { ONE_OF_EACH } from '../support/policy.ts'
import { bytesSource } from './support.ts'

const ANN = 'did:icn:ann' as Did
const BEN = 'did:icn:ben' as Did

// ---- layout

test('sizes of blobs, every size of a file up to 1 TiB and nothing else is one', () => {
  for (const size of [0, 1, CHUNK_BYTES, MAX_BLOB_BYTES]) assert.ok(isBlobSize(size))
  for (const size of [-1, 0.5, MAX_BLOB_BYTES + 1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) assert.ok(!isBlobSize(size))
})

test('chunks and pages of any size, cover it exactly once', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.nat(3 * PAGE_BYTES),
        fc.maxSafeNat().map((n) => n % (MAX_BLOB_BYTES + 1)),
      ),
      (size) => {
        const [chunks, pages] = [chunkCount(size), pageCount(size)]
        assert.equal(size === 0, chunks === 0)
        if (size === 0) return
        assert.equal((chunks - 1) * CHUNK_BYTES + chunkLength(size, chunks - 1), size)
        assert.ok(chunkLength(size, chunks - 1) > 0 && chunkLength(size, 0) <= CHUNK_BYTES)
        assert.equal((pages - 1) * PAGE_CHUNKS + chunksInPage(size, pages - 1), chunks)
      },
    ),
  )
})

test('the root of some content, is what the layout says whatever the reads are', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(40 * CHUNK_BYTES), async (size) => {
      const content = Buffer.from(seededRandom(`content ${size}`).bytes(size))
      const manifest = await describeBlob(bytesSource(content))
      const pages: Uint8Array[] = []
      for (let at = 0; at < size; at += PAGE_BYTES) {
        const hashes: Uint8Array[] = []
        for (let from = at; from < Math.min(size, at + PAGE_BYTES); from += CHUNK_BYTES) hashes.push(chunkHash(content.subarray(from, from + CHUNK_BYTES)))
        pages.push(pageHash(Buffer.concat(hashes)))
      }
      assert.deepEqual(Buffer.from(manifest.root), Buffer.from(rootHash(size, Buffer.concat(pages))))
      assert.equal(Buffer.from(manifest.sha256).toString('hex'), createHash('sha256').update(content).digest('hex'))
    }),
    { numRuns: 30 },
  )
})

test('one changed byte anywhere, changes the root; so does one byte more of zeros', async () => {
  const content = randomBytes(3 * CHUNK_BYTES)
  const { root } = await describeBlob(bytesSource(content))
  for (const place of [0, CHUNK_BYTES - 1, CHUNK_BYTES, 3 * CHUNK_BYTES - 1]) {
    const changed = Buffer.from(content)
    changed[place] = (changed[place] as number) ^ 1
    assert.ok(!equal((await describeBlob(bytesSource(changed))).root, root))
  }
  assert.ok(!equal((await describeBlob(bytesSource(Buffer.concat([content, Buffer.alloc(1)])))).root, root))
})

test('the levels of the tree, are not mistaken for each other', () => {
  const bytes = randomBytes(32)
  const hashes = [chunkHash(bytes), pageHash(bytes), rootHash(0, bytes), rootHash(1, bytes)].map((hash) => Buffer.from(hash).toString('hex'))
  assert.equal(new Set(hashes).size, 4)
})

test('a source of a size no blob has, is a mistake of the caller', async () => {
  await assert.rejects(describeBlob({ size: MAX_BLOB_BYTES + 1, read: async () => {} }), TypeError)
})

test('a description given up, ends with ABORTED', async () => {
  const stop = new AbortController()
  stop.abort()
  await assert.rejects(describeBlob(bytesSource(randomBytes(10)), { signal: stop.signal }), (error) => isKithError(error, 'ABORTED'))
})

test('a served page asked for by two at once, is read once; chunks of two pages are a mistake of the caller', async () => {
  const source = bytesSource(randomBytes(PAGE_BYTES + 1))
  const blob = new ServedBlob(await describeBlob(source), source)
  source.reads = 0
  const [one, two] = await Promise.all([blob.page(1), blob.page(1)])
  assert.deepEqual(one, two)
  assert.equal(source.reads, 1)
  await assert.rejects(blob.chunks(PAGE_CHUNKS - 1, 2), TypeError)
})

// ---- nonces

test('nonces of one peer, the oldest is forgotten first and always the same one', () => {
  const clock = manualClock()
  const guard = new NonceGuard(clock, { perPeer: 3 })
  const nonce = (n: number): Uint8Array => new Uint8Array(16).fill(n)
  for (const n of [1, 2, 3]) assert.ok(guard.mark(ANN, nonce(n)))
  assert.ok(!guard.mark(ANN, nonce(1)))
  assert.ok(guard.mark(ANN, nonce(4)), 'makes room')
  assert.equal(guard.count(ANN), 3)
  assert.ok(guard.mark(ANN, nonce(1)), 'the first was forgotten')
  assert.ok(!guard.mark(ANN, nonce(3)))
  assert.ok(guard.mark(BEN, nonce(3)), 'of another peer it is another')
})

test('nonces in their numbers, 2,048 a peer and 256 peers stay and no more', () => {
  const clock = manualClock()
  const guard = new NonceGuard(clock)
  const nonce = Buffer.alloc(16)
  for (let i = 0; i < 5_000; i++) {
    nonce.writeUInt32BE(i)
    guard.mark(ANN, nonce)
  }
  assert.equal(guard.count(ANN), 2_048)
  for (let i = 0; i < 256; i++) guard.mark(`did:icn:${i}` as Did, nonce)
  assert.equal(guard.count(ANN), 0, 'the peer that asked longest ago')
  clock.advance(300_001)
  guard.sweep()
  assert.equal(guard.count('did:icn:5' as Did), 0)
})

// ---- the board

/** Content hashes that are told apart by their place, for a blob of so many chunks. */
function boardOf(chunks: number): { board: Board; load: (page: number) => void } {
  const hashes = Array.from({ length: chunks }, (_, i) => chunkHash(Buffer.from(String(i))))
  const pages = Array.from({ length: Math.ceil(chunks / PAGE_CHUNKS) }, (_, p) => Buffer.concat(hashes.slice(p * PAGE_CHUNKS, (p + 1) * PAGE_CHUNKS)))
  const top = Buffer.concat(pages.map((page) => pageHash(page)))
  const size = chunks * CHUNK_BYTES
  const board = new Board({ root: rootHash(size, top), size })
  assert.ok(board.setTop(top))
  return {
    board,
    load: (page) => {
      assert.ok(board.setPage(page, pages[page] as Buffer))
      if (board.examines(page)) board.pageReady(page)
    },
  }
}

test('a board played by providers that come, go and deliver in any order, ends with every chunk kept once', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 600 }), fc.array(fc.tuple(fc.nat(3), fc.nat(9)), { minLength: 1, maxLength: 200 }), (chunks, moves) => {
      const { board, load } = boardOf(chunks)
      let now = 0
      const providers = Array.from({ length: 4 }, () => ({ pace: new Pace(0), asked: [] as number[] }))
      const kept = new Set<number>()
      const deliver = (provider: (typeof providers)[number]): void => {
        const chunk = provider.asked.shift()
        if (chunk === undefined) return
        provider.pace.delivered(CHUNK_BYTES, now)
        if (!board.wants(chunk)) return
        assert.notEqual(board.hashOf(chunk), undefined)
        assert.ok(board.keep(chunk))
        assert.ok(!kept.has(chunk))
        kept.add(chunk)
      }
      const ask = (provider: (typeof providers)[number]): void => {
        const task = board.next(provider.pace, now)
        if (task === undefined) return
        if (task.kind === 'page') load(task.page)
        else {
          assert.ok(task.count >= 1 && task.count <= 16 && task.first + task.count <= chunks)
          assert.equal(Math.floor(task.first / PAGE_CHUNKS), Math.floor((task.first + task.count - 1) / PAGE_CHUNKS))
          provider.pace.asked(task.count, now)
          for (let i = 0; i < task.count; i++) {
            assert.ok(!provider.asked.includes(task.first + i), 'asked the same of the same twice')
            provider.asked.push(task.first + i)
          }
        }
      }
      const leave = (provider: (typeof providers)[number]): void => {
        board.giveBack(provider.pace)
        provider.asked = []
        provider.pace = new Pace(now)
      }
      for (const [who, what] of moves) {
        const provider = providers[who] as (typeof providers)[number]
        now += what * 30
        if (what < 4) ask(provider)
        else if (what < 9) deliver(provider)
        else leave(provider)
      }
      // From here one provider alone must be able to finish, the others hold what they hold and leave.
      for (const provider of providers.slice(1)) leave(provider)
      const last = providers[0] as (typeof providers)[number]
      for (let i = 0; i < 3 * chunks + 50 && !board.done; i++) {
        ask(last)
        deliver(last)
        now += 10
      }
      assert.ok(board.done, `${board.left} of ${chunks} are left`)
      assert.equal(kept.size, chunks)
    }),
    { numRuns: 150 },
  )
})

test('page hashes and tops of another blob, are not taken', () => {
  const { board } = boardOf(300)
  const pace = new Pace(0)
  assert.deepEqual(board.next(pace, 0), { kind: 'page', page: 0 })
  assert.ok(!board.setTop(Buffer.alloc(2 * HASH_BYTES)))
  assert.ok(!board.setPage(0, Buffer.alloc(PAGE_CHUNKS * HASH_BYTES)))
  assert.equal(board.hashOf(0), undefined)
})

test('a page that does not come, is asked for elsewhere after a moment', () => {
  const { board } = boardOf(10)
  const [slow, other] = [new Pace(0), new Pace(0)]
  assert.deepEqual(board.next(slow, 0), { kind: 'page', page: 0 })
  assert.equal(board.next(other, 1_000), undefined)
  assert.deepEqual(board.next(other, 2_001), { kind: 'page', page: 0 })
})

test('a slow provider beside a quick one, is asked for little and loses the end to the other', () => {
  const { board, load } = boardOf(40)
  const [quick, slow] = [new Pace(0), new Pace(0)]
  assert.equal(board.next(quick, 0)?.kind, 'page')
  load(0)
  quick.asked(1, 0)
  quick.delivered(50 * 1_000_000, 100)
  slow.asked(1, 0)
  slow.delivered(CHUNK_BYTES, 2_000)
  assert.equal(quick.spanChunks, 16)
  assert.equal(slow.spanChunks, 1)
  const held = board.next(slow, 2_000)
  assert.deepEqual(held, { kind: 'span', first: 0, count: 1 })
  slow.asked(1, 2_000)
  for (let task = board.next(quick, 2_000); task !== undefined; task = board.next(quick, 2_000)) {
    assert.equal(task.kind, 'span')
    if (task.kind === 'span') for (let i = 0; i < task.count; i++) board.keep(task.first + i)
  }
  assert.ok(board.done, 'the last chunk was taken over')
})

// ---- one provider

test('a provider that talks while it was asked nothing, is reported', async () => {
  const clock = manualClock()
  const stream = new FakeStream()
  const reports: Uint8Array[] = []
  const session: FetchSession = {
    board: { ref: { root: new Uint8Array(32), size: 1 }, hasTop: true, done: false, next: () => undefined, giveBack: () => {} } as unknown as Board,
    clock,
    random: seededRandom(1),
    signal: new AbortController().signal,
    examine: async () => {},
    keep: async () => assert.fail('nothing was asked for'),
    report: (_supply, evidence) => reports.push(evidence),
    changed: () => {},
    waitForChange: async () => {
      stream.feed(Uint8Array.of(KIND.chunk, 1, 2, 3))
    },
  }
  const fetching = fetchFrom(session, { peer: ANN, stream, grant: undefined, papers: undefined, pace: new Pace(0) })
  stream.feed(Uint8Array.of(KIND.ready))
  await assert.rejects(fetching, (error) => isKithError(error, 'WIRE_MALFORMED'))
  assert.equal(reports.length, 1)
  assert.equal(stream.resetNumber, new KithError('WIRE_MALFORMED').number)
  assert.equal(clock.pending, 0)
})

test('a question for chunks, takes 1 to 16 of one page and of the blob', () => {
  const size = 300 * CHUNK_BYTES + 1
  const asked = (first: number, count: number): unknown => decodeGet(Buffer.from(encodeGet({ id: 3, first, count })).subarray(1), size)
  for (const [first, count] of [
    [0, 1],
    [0, 16],
    [240, 16],
    [256, 16],
    [300, 1],
  ] as const) {
    assert.deepEqual(asked(first, count), { id: 3, first, count })
  }
  for (const [first, count] of [
    [0, 0],
    [0, 17],
    [250, 7],
    [300, 2],
    [301, 1],
    [2 ** 32 - 1, 16],
  ] as const) {
    assert.throws(
      () => asked(first, count),
      (error) => isKithError(error, 'WIRE_MALFORMED'),
      `${first} ${count}`,
    )
  }
})

test('pages that have to be read again and again, end the session when it has had its share', async () => {
  const clock = manualClock()
  const source = bytesSource(randomBytes(10))
  const manifest = await describeBlob(source)
  let read = 0
  const blob = { manifest, knows: () => false, page: async () => new Uint8Array(HASH_BYTES * ++read).subarray(0, HASH_BYTES) } as unknown as ServedBlob
  const policy = { decide: () => ({ allowed: true, rule: '', next: '' }), constraints: () => ({ ...ONE_OF_EACH, burst: 10 }) } as unknown as Policy
  const stream = new FakeStream()
  const components = {
    own: BEN,
    clock,
    policy,
    messages: {} as GrantMessages,
    shelf: { offered: () => ({ blob, valid: () => true, release: () => {} }) } as unknown as Shelf,
    nonces: new NonceGuard(clock),
    slots: new Slots({ clock, policy }),
    conduct: undefined,
    metrics: blobMetrics(),
  }
  const serving = serveBlob(components, stream, { peer: ANN, linkKey: new Uint8Array(32) } as unknown as StreamContext, new AbortController().signal)
  stream.feed(encodeOpen({ ...manifest, nonce: randomBytes(16), grant: undefined, papers: undefined }))
  for (let i = 0; i < 100; i++) stream.feed(encodePage(0))
  await serving
  assert.equal(read, 4 + 64)
  assert.equal(stream.resetNumber, new KithError('BUDGET_EXCEEDED').number)
})
