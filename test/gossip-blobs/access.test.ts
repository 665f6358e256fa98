import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, test } from 'node:test'
import { manualClock } from '../../src/core/clock.ts'
import { type ErrorCode, isKithError } from '../../src/core/errors.ts'
import { CHUNK_BYTES } from '../../src/gossip/blobs/layout.ts'
import { encodeGet, encodeOpen, encodePage, KIND, type Opening } from '../../src/gossip/blobs/wire.ts'
import { type BlobNode, type BlobWorld, bytesSink, bytesSource, createBlobWorld, listen, settle } from './support.ts'

/** Who may fetch what: knowing a hash is never enough, and every no sounds the same. */
const SIZE = 5 * CHUNK_BYTES + 3
const clock = manualClock()
let world: BlobWorld
beforeEach(() => {
  world = createBlobWorld()
})
afterEach(async () => {
  await world.close()
})

interface Scene {
  readonly sender: BlobNode
  readonly holder: BlobNode
  readonly bob: BlobNode
  readonly mallory: BlobNode
  readonly source: ReturnType<typeof bytesSource>
  readonly manifest: Awaited<ReturnType<BlobNode['blobs']['describe']>>
  /** How often the holder was asked for received content, and what it was told. */
  readonly asked: string[]
}

/** The sender gave a file to the holder; bob is to have it too, mallory knows its hashes. */
async function scene(limits = {}): Promise<Scene> {
  const [sender, holder, bob, mallory] = ['sender', 'holder', 'bob', 'mallory'].map((name) => world.node(name, { clock, limits })) as [
    BlobNode,
    BlobNode,
    BlobNode,
    BlobNode,
  ]
  await Promise.all([world.link(holder, bob), world.link(holder, mallory), world.link(sender, bob)])
  const source = bytesSource(randomBytes(SIZE))
  const manifest = await sender.blobs.describe(source)
  const asked: string[] = []
  holder.blobs.provide(async ({ from, sha256, size }) => {
    asked.push(from)
    const mine = from === sender.did && Buffer.compare(sha256, manifest.sha256) === 0 && size === SIZE
    return mine ? { size, read: (target, position) => source.read(target, position), close: async () => {} } : undefined
  })
  return { sender, holder, bob, mallory, source, manifest, asked }
}

async function fetched(by: BlobNode, from: BlobNode, ref: { root: Uint8Array; size: number }, grant?: Uint8Array): Promise<ErrorCode | 'whole'> {
  try {
    await settle(clock, by.blobs.fetch(ref, bytesSink(ref.size), { providers: [{ peer: from.did, grant }] }))
    return 'whole'
  } catch (error) {
    assert.ok(isKithError(error, 'BLOB_UNAVAILABLE') && isKithError(error.cause))
    return error.cause.code
  }
}

test('a grant of the one the holder has it from, for the peer that asks, is obeyed', async () => {
  const { sender, holder, bob, manifest } = await scene()
  const grant = sender.blobs.grant({ ...manifest, recipient: bob.did, providers: [holder.did] })
  assert.equal(await fetched(bob, holder, manifest, grant), 'whole')
})

test('no grant and no offer, the hash alone is worth nothing', async () => {
  const { holder, mallory, manifest, asked } = await scene()
  assert.equal(await fetched(mallory, holder, manifest), 'BLOB_UNKNOWN')
  assert.deepEqual(asked, [], 'nothing was even looked for')
})

test('an offer to somebody else, the peer that knows the hash is refused like for a hash that nobody has', async () => {
  const { holder, bob, mallory, source, manifest } = await scene()
  holder.blobs.offer(manifest, source, { peers: [bob.did] })
  assert.equal(await fetched(mallory, holder, manifest), 'BLOB_UNKNOWN')
  assert.equal(await fetched(mallory, holder, { root: randomBytes(32), size: SIZE }), 'BLOB_UNKNOWN')
  assert.equal(await fetched(bob, holder, manifest), 'whole')
})

const REFUSED: readonly (readonly [string, (scene: Scene) => Uint8Array])[] = [
  ['signed by the peer itself', ({ mallory, holder, manifest }) => mallory.blobs.grant({ ...manifest, recipient: mallory.did, providers: [holder.did] })],
  ['for another recipient', ({ sender, bob, holder, manifest }) => sender.blobs.grant({ ...manifest, recipient: bob.did, providers: [holder.did] })],
  ['that does not name the holder', ({ sender, bob, mallory, manifest }) => sender.blobs.grant({ ...manifest, recipient: mallory.did, providers: [bob.did] })],
  [
    'for another blob',
    ({ sender, mallory, holder, manifest }) => sender.blobs.grant({ ...manifest, root: randomBytes(32), recipient: mallory.did, providers: [holder.did] }),
  ],
  [
    'for another size',
    ({ sender, mallory, holder, manifest }) => sender.blobs.grant({ ...manifest, size: SIZE + 1, recipient: mallory.did, providers: [holder.did] }),
  ],
  [
    'that has run out',
    ({ sender, mallory, holder, manifest }) =>
      sender.blobs.grant({ ...manifest, recipient: mallory.did, providers: [holder.did], expiresMs: clock.now() - 600_001 }),
  ],
  [
    'that would hold for a month',
    ({ sender, mallory, holder, manifest }) =>
      sender.blobs.grant({ ...manifest, recipient: mallory.did, providers: [holder.did], expiresMs: clock.now() + 30 * 86_400_000 }),
  ],
  [
    'with a changed signature',
    ({ sender, mallory, holder, manifest }) => {
      const grant = Buffer.from(sender.blobs.grant({ ...manifest, recipient: mallory.did, providers: [holder.did] }))
      grant[grant.length - 1] = (grant[grant.length - 1] as number) ^ 1
      return grant
    },
  ],
  ['of random bytes', () => randomBytes(500)],
  ['that is empty', () => new Uint8Array(0)],
]
for (const [what, make] of REFUSED) {
  test(`a grant ${what}, is answered with BLOB_UNKNOWN and nobody is held to account`, async () => {
    const it = await scene()
    assert.equal(await fetched(it.mallory, it.holder, it.manifest, make(it)), 'BLOB_UNKNOWN')
    assert.deepEqual(it.holder.violations, [])
  })
}

test('content that differs from what the grant says, is refused though its plain hash was found', async () => {
  const { sender, holder, bob, manifest, source } = await scene()
  const grant = sender.blobs.grant({ ...manifest, recipient: bob.did, providers: [holder.did] })
  source.content[0] = (source.content[0] as number) ^ 1
  assert.equal(await fetched(bob, holder, manifest, grant), 'BLOB_UNKNOWN')
})

test('a grant whose signer the holder has not met, is obeyed once its papers came along', async () => {
  const { sender, holder, bob, manifest } = await scene()
  holder.strangers.add(sender.did)
  const grant = sender.blobs.grant({ ...manifest, recipient: bob.did, providers: [holder.did] })
  const read = await bob.blobs.readGrant(grant, { peer: sender.did, device: new Uint8Array(32) as never })
  const providers = bob.blobs.providersOf(read, grant).filter(({ peer }) => peer === holder.did)
  const sink = bytesSink(SIZE)
  const result = await settle(clock, bob.blobs.fetch(manifest, sink, { providers }))
  assert.equal(result.bytes, SIZE)
  assert.equal(bob.opened.get(holder.did), 2)
})

test('a grant names its providers, the issuer offers itself and the reader is none', async () => {
  const { sender, holder, bob, manifest } = await scene()
  const grant = sender.blobs.grant({ ...manifest, recipient: bob.did, providers: [holder.did, bob.did, sender.did] })
  const read = await bob.blobs.readGrant(grant, { peer: sender.did, device: new Uint8Array(32) as never })
  assert.deepEqual(
    bob.blobs.providersOf(read, grant).map(({ peer, grant: shown }) => [peer, shown !== undefined]),
    [
      [sender.did, false],
      [holder.did, true],
    ],
  )
})

test('a blob for the readers of a topic, is given to those the topic admits', async () => {
  const { holder, bob, mallory, source, manifest } = await scene()
  holder.readers.set('team', [bob.did])
  holder.blobs.offer(manifest, source, { topic: 'team' })
  assert.equal(await fetched(bob, holder, manifest), 'whole')
  assert.equal(await fetched(mallory, holder, manifest), 'BLOB_UNKNOWN')
})

test('a peer whose blobs the owner denied, is refused whatever it was offered', async () => {
  const { holder, bob, source, manifest } = await scene()
  holder.blobs.offer(manifest, source, { peers: [bob.did] })
  holder.denied.add(bob.did)
  assert.equal(await fetched(bob, holder, manifest), 'POLICY_DENIED')
})

// ---- by hand

function opening(ref: { root: Uint8Array; size: number }, change: Partial<Opening> = {}): Uint8Array {
  const { root, size } = ref
  return encodeOpen({ root, size, nonce: randomBytes(16), grant: undefined, papers: undefined, ...change })
}

/** What a peer gets that says these bytes. */
async function said(by: BlobNode, to: BlobNode, ...frames: readonly Uint8Array[]): Promise<{ bytes: Buffer; code: ErrorCode | undefined }> {
  const stream = await by.open(to)
  const heard = listen(stream)
  for (const frame of frames) stream.write(frame)
  stream.end()
  const error = await settle(clock, heard.ended)
  return { bytes: heard.bytes(), code: error?.code }
}

async function offered(limits = {}): Promise<Scene> {
  const it = await scene(limits)
  it.holder.blobs.offer(it.manifest, it.source, { peers: [it.bob.did, it.mallory.did] })
  return it
}

test('an honest conversation by hand, gives pages and chunks in the order of the questions', async () => {
  const { holder, bob, manifest, source } = await offered()
  const { bytes, code } = await said(
    bob,
    holder,
    opening(manifest),
    encodePage(0),
    encodeGet({ id: 0, first: 5, count: 1 }),
    encodeGet({ id: 1, first: 0, count: 2 }),
  )
  assert.equal(code, undefined)
  assert.equal(bytes.length, 1 + (5 + 6 * 32) + (13 + 3) + 2 * (13 + CHUNK_BYTES))
  assert.deepEqual(bytes.subarray(-CHUNK_BYTES), Buffer.from(source.content.subarray(CHUNK_BYTES, 2 * CHUNK_BYTES)))
})

test('a peer that is refused, hears nothing before', async () => {
  const { sender, holder, bob, mallory, source, manifest } = await scene()
  holder.blobs.offer(manifest, source, { peers: [bob.did] })
  assert.deepEqual(await said(mallory, holder, opening(manifest)), { bytes: Buffer.alloc(0), code: 'BLOB_UNKNOWN' })
  const grant = sender.blobs.grant({ ...manifest, recipient: mallory.did, providers: [holder.did] })
  const other = { root: randomBytes(32), size: SIZE }
  assert.deepEqual(
    await said(mallory, holder, opening(other, { grant })),
    { bytes: Buffer.alloc(0), code: 'BLOB_UNKNOWN' },
    'a good grant, shown for another blob',
  )
})

test('a request repeated with its nonce, is answered once; the same nonce of another peer is another request', async () => {
  const { holder, bob, mallory, manifest } = await offered()
  const nonce = randomBytes(16)
  assert.equal((await said(bob, holder, opening(manifest, { nonce }))).code, undefined)
  assert.equal((await said(bob, holder, opening(manifest, { nonce }))).code, 'REPLAYED')
  assert.equal((await said(mallory, holder, opening(manifest, { nonce }))).code, undefined)
  await clock.run(301_000)
  assert.equal((await said(bob, holder, opening(manifest, { nonce }))).code, undefined, 'forgotten after its time')
  assert.deepEqual(holder.violations, [], 'a repetition is never held against anybody')
})

const MALFORMED: readonly (readonly [string, (ref: { root: Uint8Array; size: number }) => readonly Uint8Array[]])[] = [
  ['no opening', () => [encodePage(0)]],
  ['an opening longer than any', () => [Buffer.from([KIND.open, 0xff, 0xff, 0xff, 0xff])]],
  ['an opening of length 0', () => [Buffer.from([KIND.open, 0, 0, 0, 0])]],
  ['an opening of another version', (ref) => [Buffer.from(opening(ref)).fill(9, 5, 6)]],
  ['an opening of 2^53 bytes', (ref) => [Buffer.from(opening(ref)).fill(0xff, 38, 46)]],
  ['a page behind the end', (ref) => [opening(ref), encodePage(1)]],
  ['no chunk', (ref) => [opening(ref), encodeGet({ id: 0, first: 0, count: 0 })]],
  ['more chunks than a question takes', (ref) => [opening(ref), encodeGet({ id: 0, first: 0, count: 17 })]],
  ['chunks behind the end', (ref) => [opening(ref), encodeGet({ id: 0, first: 5, count: 2 })]],
  ['the last of all numbers', (ref) => [opening(ref), encodeGet({ id: 0, first: 0xffff_ffff, count: 1 })]],
  ['questions out of order', (ref) => [opening(ref), encodeGet({ id: 1, first: 0, count: 1 })]],
  ['the same question twice', (ref) => [opening(ref), encodeGet({ id: 0, first: 0, count: 1 }), encodeGet({ id: 0, first: 0, count: 1 })]],
  ['an unknown question', (ref) => [opening(ref), Uint8Array.of(0x55)]],
]
for (const [what, frames] of MALFORMED) {
  test(`a requester that sends ${what}, is refused with WIRE_MALFORMED and held to account`, async () => {
    const { holder, mallory, manifest } = await offered()
    assert.equal((await said(mallory, holder, ...frames(manifest))).code, 'WIRE_MALFORMED')
    assert.deepEqual(
      holder.violations.map(({ peer }) => peer),
      [mallory.did],
    )
  })
}

test('a requester that ends in the middle of a question, is not held to account', async () => {
  const { holder, mallory, manifest } = await offered()
  await said(mallory, holder, opening(manifest).subarray(0, 20))
  await said(mallory, holder, opening(manifest), encodePage(0).subarray(0, 3))
  assert.deepEqual(holder.violations, [])
})

test('transfers at once beyond what the class may have, are refused and the place comes back', async () => {
  const { holder, bob, manifest } = await offered({ outstandingRequests: 2 })
  const open = async () => {
    const stream = await bob.open(holder)
    const heard = listen(stream)
    stream.write(opening(manifest))
    await until(() => heard.bytes().length === 1)
    return { stream, heard }
  }
  const first = await open()
  await open()
  assert.equal((await said(bob, holder, opening(manifest))).code, 'BUDGET_EXCEEDED')
  first.stream.end()
  await settle(clock, first.heard.ended)
  assert.equal((await said(bob, holder, opening(manifest))).code, undefined)
})

test('requests beyond the rate of the class, are refused before anything is read', async () => {
  const { holder, mallory, manifest } = await offered({ messagesPerSecond: 1, burst: 3 })
  const codes: (ErrorCode | undefined)[] = []
  for (let i = 0; i < 5; i++) codes.push((await said(mallory, holder, opening({ root: randomBytes(32), size: manifest.size }))).code)
  assert.deepEqual(codes.slice(0, 3), ['BLOB_UNKNOWN', 'BLOB_UNKNOWN', 'BLOB_UNKNOWN'])
  assert.ok(codes.slice(3).includes('BUDGET_EXCEEDED'))
})

test('a requester that says nothing, or takes nothing, loses its place in time', async () => {
  const { holder, bob, manifest } = await offered()
  const silent = listen(await bob.open(holder))
  const stream = await bob.open(holder)
  stream.write(opening(manifest))
  const idle = listen(stream)
  const greedy = await bob.open(holder)
  let error: unknown
  greedy.onError = (reason) => {
    error = reason
  }
  // Takes nothing: no credit is returned.
  greedy.onData = () => {}
  greedy.write(Buffer.concat([opening(manifest), ...Array.from({ length: 20 }, (_, id) => encodeGet({ id, first: 0, count: 5 }))]))
  assert.equal((await settle(clock, silent.ended))?.code, 'TIMEOUT')
  assert.equal((await settle(clock, idle.ended))?.code, 'TIMEOUT')
  await until(() => error !== undefined, 250)
  assert.ok(isKithError(error, 'TIMEOUT'))
})

test('a grant runs out during a transfer, the next question is refused', async () => {
  const { sender, holder, bob, manifest } = await scene()
  const grant = sender.blobs.grant({ ...manifest, recipient: bob.did, providers: [holder.did], expiresMs: clock.now() + 1_000 })
  const stream = await bob.open(holder)
  const heard = listen(stream)
  stream.write(opening(manifest, { grant }))
  await until(() => heard.bytes().length === 1)
  for (let spent = 30_000; spent <= 600_000; spent += 30_000) {
    await clock.run(30_000)
    const before = heard.bytes().length
    stream.write(encodePage(0))
    await until(() => heard.bytes().length > before)
  }
  await clock.run(1_000)
  stream.write(encodePage(0))
  assert.equal((await settle(clock, heard.ended))?.code, 'BLOB_UNKNOWN')
})

test('the same pages asked for without end, end when they were read often enough', async () => {
  const { holder, bob, manifest, source } = await offered()
  const many = Array.from({ length: 400 }, () => encodePage(0))
  const { code } = await said(bob, holder, opening(manifest), ...many)
  assert.equal(code, undefined, 'one page is read once, however often it is asked for')
  assert.ok(source.reads < 10, `${source.reads} reads`)
})

async function until(condition: () => boolean, stepMs = 0): Promise<void> {
  for (let i = 0; i < 2_000; i++) {
    await new Promise((resolve) => setImmediate(resolve))
    if (stepMs > 0) await clock.run(stepMs)
    if (condition()) return
  }
  assert.fail('the condition did not come to hold')
}
