import assert from 'node:assert/strict'
import type { PublicKey } from '../../../src/core/bytes.ts'
import { encode } from '../../../src/core/codec.ts'
import { codeOfNumber, isKithError, KithError } from '../../../src/core/errors.ts'
import { manualClock } from '../../../src/core/manual-clock.ts'
import { silentLogger } from '../../../src/core/observe/log.ts'
import { seededRandom } from '../../../src/core/random.ts'
import { ANNOUNCE_TOPIC, Announcer, announceTag, notice, REQUEST_TOPIC, requestTag } from '../../../src/gossip/blobs/announce.ts'
import { blobMetrics } from '../../../src/gossip/blobs/blob-metrics.ts'
import { fetchBlob } from '../../../src/gossip/blobs/fetch.ts'
import { type GrantMessages, grantPayload, readGrant } from '../../../src/gossip/blobs/grant.ts'
import { CHUNK_BYTES, chunkHash } from '../../../src/gossip/blobs/layout.ts'
import { describeBlob } from '../../../src/gossip/blobs/manifest.ts'
import { NonceGuard } from '../../../src/gossip/blobs/nonce-guard.ts'
import { serveBlob } from '../../../src/gossip/blobs/serve.ts'
import { Shelf } from '../../../src/gossip/blobs/shelf.ts'
import { Slots } from '../../../src/gossip/blobs/slots.ts'
import { decodeOpening, encodeChunkHead, encodeGet, encodeOpen, encodePage, encodeTop, KIND, opening } from '../../../src/gossip/blobs/wire.ts'
import type { GossipEntry } from '../../../src/gossip/types.ts'
import { MESSAGE_TYPE, type RecordMessage } from '../../../src/mesh/messages/types.ts'
import type { Policy, StreamContext } from '../../../src/mesh/types.ts'
import { testIdentity } from '../../mesh/fixtures.ts'
import { ONE_OF_EACH } from '../../support/policy.ts'
import { settledWithin, turns } from '../conversation.ts'
import { FakeStream } from '../fake-stream.ts'
import type { FuzzTarget } from '../mutate.ts'

const [ANN, BEN, CEM] = [testIdentity('ann').chain.did, testIdentity('ben').chain.did, testIdentity('cem').chain.did]
const NOW = manualClock().now()
const KEY = new Uint8Array(32) as PublicKey
const policy: Policy = {
  decide: () => ({ allowed: true, rule: 'fuzz', next: '' }),
  constraints: () => ({ ...ONE_OF_EACH, messagesPerSecond: 1_000, burst: 1_000 }),
  classOf: () => 'known',
  scoreOf: () => 1_000,
}
/** Small, and yet of two chunks: every frame of a conversation is in it, and inputs stay small. */
const CONTENT = Buffer.alloc(CHUNK_BYTES + 5, 7)
const source = { size: CONTENT.length, read: async (target: Uint8Array, position: number) => target.set(CONTENT.subarray(position, position + target.length)) }
const manifest = await describeBlob(source)
const TINY = Buffer.from('seven b')
const tinySource = { size: TINY.length, read: async (target: Uint8Array, position: number) => target.set(TINY.subarray(position, position + target.length)) }
const tiny = await describeBlob(tinySource)

// ---- parsers

const nonce = new Uint8Array(16).fill(4)
const openingSeeds = [
  encode(opening, { root: tiny.root, size: tiny.size, nonce, grant: undefined, papers: undefined }),
  encode(opening, { root: tiny.root, size: 2 ** 40, nonce, grant: new Uint8Array(200), papers: { binding: new Uint8Array(90), chain: new Uint8Array(80) } }),
]

const blobOpening: FuzzTarget = {
  name: 'blob-opening',
  seeds: openingSeeds,
  codes: ['WIRE_MALFORMED'],
  run(input) {
    const value = decodeOpening(input)
    assert.deepEqual(Buffer.from(encode(opening, value)), Buffer.from(input))
    assert.ok(value.size <= 2 ** 40)
  },
}

const claim = { root: tiny.root, size: tiny.size, sha256: tiny.sha256, recipient: ANN, providers: [BEN, CEM], expiresMs: NOW + 1_000 }
/** Messages that take any payload for signed by Cem: what is tested comes behind the signature. */
const trusting = {
  verifyRecord: async (bytes: Uint8Array) => ({ from: CEM, device: KEY, timeMs: NOW, type: MESSAGE_TYPE.blob, payload: bytes }) as unknown as RecordMessage,
  readRecord: () => ({ from: CEM }),
  signRecord: () => {
    throw new TypeError('not used')
  },
  directory: { papers: async () => undefined, learn: () => Promise.reject(new KithError('CHAIN_INVALID')) },
} as unknown as GrantMessages

const blobGrant: FuzzTarget = {
  name: 'blob-grant',
  seeds: [encode(grantPayload, claim), encode(grantPayload, { ...claim, providers: [] })],
  codes: ['WIRE_MALFORMED', 'KEY_INVALID', 'BLOB_GRANT_INVALID'],
  async run(input) {
    const grant = await readGrant(trusting, input, { peer: BEN, device: KEY }, NOW)
    assert.ok(grant.providers.length <= 16 && new Set(grant.providers).size === grant.providers.length)
    assert.ok(grant.expiresMs <= NOW + 7 * 86_400_000)
  },
  iterations: 4_000,
}

/** `u8 topic | entry` against who looks and answers: only the right tags find or answer anything. */
const blobNotice: FuzzTarget = {
  name: 'blob-notice',
  seeds: [
    Buffer.concat([Uint8Array.of(0), encode(notice, { tag: announceTag(tiny.root, BEN), expiresMs: NOW + 1_000 })]),
    Buffer.concat([Uint8Array.of(1), encode(notice, { tag: requestTag(tiny.root, BEN), expiresMs: NOW + 1_000 })]),
  ],
  codes: [],
  async run(input) {
    const listeners = new Map<string, (entry: GossipEntry) => void>()
    let published = 0
    const gossip = {
      listen: (topic: string, listener: (entry: GossipEntry) => void) => {
        listeners.set(topic, listener)
        return () => {}
      },
      publish: async () => {
        published++
        return {} as GossipEntry
      },
    }
    const announcer = new Announcer({ own: ANN, gossip, clock: manualClock(), logger: silentLogger, offeredTo: () => [tiny.root] })
    let found = 0
    const stop = announcer.look(tiny.root, () => found++)
    const topic = (input[0] ?? 0) % 2 === 0 ? ANNOUNCE_TOPIC : REQUEST_TOPIC
    listeners.get(topic)?.({ author: BEN, topic, data: input.subarray(1), type: MESSAGE_TYPE.blob } as unknown as GossipEntry)
    await turns(1)
    stop()
    announcer.close()
    return `${found} ${published}`
  },
  iterations: 4_000,
}

// ---- both ends of a conversation

const open = encodeOpen({ root: manifest.root, size: manifest.size, nonce, grant: undefined, papers: undefined })
const granted = encodeOpen({
  root: manifest.root,
  size: manifest.size,
  nonce,
  grant: encode(grantPayload, { ...claim, ...manifest, providers: [CEM] }),
  papers: undefined,
})

/** `u8 how | bytes of the requester`: whatever it says, only true content leaves, the stream ends with a code, and nothing stays behind. */
const blobProvider: FuzzTarget = {
  name: 'blob-provider',
  seeds: [
    Buffer.concat([Uint8Array.of(0x41), open, encodeTop(), encodePage(0), encodeGet({ id: 0, first: 1, count: 1 }), encodeGet({ id: 1, first: 0, count: 2 })]),
    Buffer.concat([Uint8Array.of(0x0f), open, encodeGet({ id: 0, first: 1, count: 1 })]),
    Buffer.concat([Uint8Array.of(0x4f), granted, encodePage(0)]),
  ],
  codes: [],
  async run(input) {
    const clock = manualClock()
    const shelf = new Shelf({ clock, policy })
    shelf.offer(manifest, source, { peers: [ANN] })
    let files = 0
    shelf.provide(async ({ from, size }) => {
      if (from !== CEM || size !== CONTENT.length) return undefined
      files++
      return { ...source, close: async () => void files-- }
    })
    const slots = new Slots({ clock, policy })
    const stream = new FakeStream()
    const components = {
      own: CEM,
      clock,
      policy,
      messages: trusting,
      shelf,
      nonces: new NonceGuard(clock),
      slots,
      conduct: undefined,
      metrics: blobMetrics(),
    }
    const serving = serveBlob(components, stream, { peer: ANN, linkKey: KEY } as unknown as StreamContext, new AbortController().signal)
    const how = input[0] ?? 0
    stream.feed(input.subarray(1), 1 + (how & 0x3f))
    if ((how & 0x40) !== 0) stream.close()
    for (let round = 0; round < 20 && !(await settledWithin(serving, 5)); round++) clock.advance(16_000)
    assert.ok(await settledWithin(serving, 2), 'the session goes on without end')
    assert.equal(slots.total, 0)
    await shelf.close()
    assert.equal(files, 0, 'a file is left open')
    assert.equal(clock.pending, 0, 'timers are left behind')
    checkSaid(stream.said)
    if (stream.ended) return 'done'
    const code = codeOfNumber(stream.resetNumber as number)
    assert.ok(['WIRE_MALFORMED', 'BLOB_UNKNOWN', 'TIMEOUT', 'LINK_LOST', 'BUDGET_EXCEEDED'].includes(code), code)
    return code
  },
  iterations: 3_000,
}

/** Chunks in what a provider said are those of the content. */
function checkSaid(said: Buffer): void {
  for (let at = 0; at < said.length; ) {
    if (said[at] === KIND.ready || said[at] === KIND.wait) at++
    else if (said[at] === KIND.topIs) at += 1 + 32
    else if (said[at] === KIND.pageIs) at += 5 + 64
    else {
      assert.equal(said[at], KIND.chunk)
      const [chunk, length] = [said.readUInt32BE(at + 5), said.readUInt32BE(at + 9)]
      assert.ok(said.subarray(at + 13, at + 13 + length).equals(CONTENT.subarray(chunk * CHUNK_BYTES, chunk * CHUNK_BYTES + length)))
      at += 13 + length
    }
  }
}

const answers = [
  Uint8Array.of(KIND.wait, KIND.ready),
  Buffer.concat([Uint8Array.of(KIND.topIs), tiny.top]),
  Buffer.concat([Uint8Array.of(KIND.pageIs, 0, 0, 0, 0), chunkHash(TINY)]),
  Buffer.concat([encodeChunkHead(0, 0, TINY.length), TINY]),
]

/** `u8 how | bytes of the provider`: the fetch ends whole or with a code, and nothing false is ever written. */
const blobRequester: FuzzTarget = {
  name: 'blob-requester',
  seeds: [
    Buffer.concat([Uint8Array.of(0x3f), ...answers]),
    Buffer.concat([Uint8Array.of(0x02), ...answers]),
    Buffer.concat([Uint8Array.of(0x7f), ...answers.slice(0, 3)]),
    Buffer.concat([Uint8Array.of(0x80), ...answers, encodeChunkHead(0, 0, TINY.length)]),
  ],
  codes: [],
  async run(input) {
    const clock = manualClock()
    const how = input[0] ?? 0
    let reports = 0
    const kept = Buffer.alloc(TINY.length)
    const fetching = fetchBlob(
      {
        clock,
        random: seededRandom(1),
        conduct: { report: () => reports++ },
        metrics: blobMetrics(),
        open: async () => {
          const stream = new FakeStream()
          Object.assign(stream.connection, { remoteKey: KEY })
          // Said when the first question has come.
          stream.onOwner = () => {
            stream.onOwner = () => {}
            setImmediate(() => {
              stream.feed(input.subarray(1), 1 + (how & 0x3f))
              if ((how & 0x40) !== 0) stream.close()
              else if ((how & 0x80) !== 0) stream.fail(new KithError('STREAM_RESET', undefined, { remote: true }))
            })
          }
          return stream
        },
      },
      tiny,
      {
        read: async () => 0,
        write: async (data, position) => {
          assert.equal(position, 0)
          assert.ok(Buffer.from(data).equals(TINY), 'something false was written')
          kept.set(data)
        },
      },
      { providers: [{ peer: BEN }] },
    )
    fetching.catch(() => {})
    for (let round = 0; round < 60 && !(await settledWithin(fetching, 6)); round++) clock.advance(8_000)
    assert.ok(await settledWithin(fetching, 4), 'the fetch goes on without end')
    assert.equal(clock.pending, 0, 'timers are left behind')
    try {
      await fetching
      assert.ok(kept.equals(TINY))
      return 'whole'
    } catch (error) {
      if (!isKithError(error)) throw error
      assert.ok(error.code === 'BLOB_UNAVAILABLE' || error.code === 'TIMEOUT', error.code)
      return `${isKithError(error.cause) ? error.cause.code : ''} ${reports}`
    }
  },
  iterations: 2_000,
}

export const blobTargets: readonly FuzzTarget[] = [blobOpening, blobGrant, blobNotice, blobProvider, blobRequester]
