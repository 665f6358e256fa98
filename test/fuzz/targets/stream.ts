import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import fc from 'fast-check'
import { utf8 } from '../../../src/core/bytes.ts'
import { varintSize } from '../../../src/core/codec.ts'
import { KithError } from '../../../src/core/errors.ts'
import { keySlabUse } from '../../../src/core/key-slab.ts'
import { type ManualClock, manualClock } from '../../../src/core/manual-clock.ts'
import { type Random, seededRandom } from '../../../src/core/random.ts'
import { dial } from '../../../src/stream/dial.ts'
import type { EncryptedStream } from '../../../src/stream/encrypted-stream.ts'
import { FrameReader, frame } from '../../../src/stream/frame.ts'
import { dialEnd, dialStart, type Established, type HandshakeInput, listenEnd, listenStart } from '../../../src/stream/handshake.ts'
import { listen } from '../../../src/stream/listen.ts'
import { requestLocate } from '../../../src/stream/locate.ts'
import { duplexPair } from '../../stream/duplex-pair.ts'
import { signerOf } from '../../stream/fixtures.ts'
import { change, parseChanges, settledWithin, turns } from '../conversation.ts'
import type { FuzzTarget } from '../mutate.ts'

/** Turns of the loop within which everything that needs no time has happened. */
const TURNS = 12
const TIMEOUT_MS = 5_000
const NOW = 1_700_000_000_000
const NAMESPACE = utf8('fuzz')
const dialer = signerOf(new Uint8Array(32).fill(0x11))
const listener = signerOf(new Uint8Array(32).fill(0x22))

/** `varint length | payload`, as the text of the format says it: slow, one frame at a time, whole input. */
function referenceFrames(bytes: Uint8Array, limit: number): { frames: Uint8Array[]; end: 'partial' | 'clean' | 'STREAM_CORRUPT' | 'FRAME_TOO_LARGE' } {
  const frames: Uint8Array[] = []
  let at = 0
  while (at < bytes.length) {
    let length = 0
    let size = 0
    for (;;) {
      const byte = bytes[at + size]
      if (byte === undefined) return { frames, end: 'partial' }
      if ((byte === 0 && size > 0) || (size === 4 && byte > 0x0f)) return { frames, end: 'STREAM_CORRUPT' }
      length += (byte & 0x7f) * 2 ** (7 * size++)
      if (byte < 0x80) break
      if (size === 5) return { frames, end: 'STREAM_CORRUPT' }
    }
    if (length > limit) return { frames, end: 'FRAME_TOO_LARGE' }
    if (bytes.length - at - size < length) return { frames, end: 'partial' }
    frames.push(Uint8Array.from(bytes.subarray(at + size, at + size + length)))
    at += size + length
  }
  return { frames, end: 'clean' }
}

const FRAME_LIMIT = 300
/** The first byte says in what pieces the rest arrives, and where the reader is held for a while. */
const frames: FuzzTarget = {
  name: 'stream-frames',
  seeds: [Buffer.concat([Uint8Array.of(0), frame(utf8('one')), frame(new Uint8Array(0)), frame(new Uint8Array(200))]), Uint8Array.of(1, 3, 1, 2)],
  codes: [],
  arbitrary: fc
    .tuple(fc.nat(255), fc.array(fc.uint8Array({ maxLength: 320 }), { maxLength: 6 }), fc.uint8Array({ maxLength: 6 }))
    .map(([how, payloads, tail]) => Buffer.concat([Uint8Array.of(how), ...payloads.map((payload) => frame(payload)), tail])),
  run(input) {
    const how = input[0] ?? 0
    const bytes = Buffer.from(input.subarray(1))
    const expected = referenceFrames(bytes, FRAME_LIMIT)
    const got: Uint8Array[] = []
    let violation: string | undefined
    const reader = new FrameReader()
    reader.limit = FRAME_LIMIT
    reader.onFrame = (buffer, start, end) => {
      got.push(Uint8Array.from(buffer.subarray(start, end)))
      // What was handed out may be overwritten: frames are opened in place.
      buffer.fill(0xee, start, end)
      return got.length % 5 !== how >> 5
    }
    reader.onViolation = (error) => {
      violation = error.code
    }
    const step = 1 + (how & 0x1f) * 9
    for (let at = 0; at < bytes.length; at += step) {
      const piece = bytes.subarray(at, at + step)
      const target = reader.target()
      if (at % 2 === 0 && target.length >= piece.length) {
        piece.copy(target)
        reader.feed(target, 0, piece.length)
      } else {
        reader.feed(Buffer.from(piece), 0, piece.length)
      }
      while (reader.held && violation === undefined) reader.resume()
    }
    assert.deepEqual(got, expected.frames)
    assert.equal(violation, expected.end === 'partial' || expected.end === 'clean' ? undefined : expected.end)
    if (violation === undefined) assert.equal(reader.partial, expected.end === 'partial')
    reader.stop()
    return `${expected.end} ${Math.min(4, got.length)} ${varintSize(Math.max(0, ...got.map((payload) => payload.length)))}`
  },
}

/** A duplex whose other side is the input: `how` says in what pieces it comes and whether the other side then ends. */
function fed(bytes: Uint8Array, how: number): Duplex {
  const step = (how & 0x3f) === 0 ? bytes.length : how & 0x3f
  const pieces: Buffer[] = []
  for (let at = 0; at < bytes.length; at += step) pieces.push(Buffer.from(bytes.subarray(at, at + step)))
  const duplex = new Duplex({
    read() {
      const next = pieces.shift()
      if (next !== undefined) this.push(next)
      else if ((how & 0x40) !== 0) this.push(null)
    },
    write: (_chunk, _encoding, done) => done(),
  })
  duplex.on('error', () => {})
  return duplex
}

/** Waits for the stream; what has not come of itself must come at the deadline. Then everything is let go, and no key may be left. */
async function concluded(clock: ManualClock, duplex: Duplex, stream: Promise<EncryptedStream>): Promise<EncryptedStream> {
  if (!(await settledWithin(stream, TURNS))) {
    clock.advance(TIMEOUT_MS)
    assert.ok(await settledWithin(stream, TURNS), 'it goes on after its deadline')
  }
  try {
    return await stream
  } catch (error) {
    assert.ok(duplex.destroyed, 'the connection outlives its handshake')
    assert.equal(keySlabUse().leased, 0, 'keys are left behind')
    assert.equal(clock.pending, 0, 'timers are left behind')
    throw error
  }
}

async function letGo(clock: ManualClock, ...streams: readonly EncryptedStream[]): Promise<void> {
  const closing = streams.map((stream) => stream.close())
  await turns(2)
  clock.advance(2_000)
  await Promise.all(closing)
  await turns(2)
  assert.equal(keySlabUse().leased, 0, 'keys are left behind')
  assert.equal(clock.pending, 0, 'timers are left behind')
}

function side(random: Random, signer: typeof dialer, peer: typeof dialer): HandshakeInput {
  return { signer, peer: peer.publicKey, namespace: NAMESPACE, random, now: NOW, earliest: NOW - 10_000, latest: NOW + 5_000 }
}

function release(established: Established): void {
  for (const lease of [established.sendKey, established.receiveKey, established.summary]) lease.release()
}

/** The one honest handshake of these seeds. */
function honest(): { syn: Uint8Array; synAck: Uint8Array; ack: Uint8Array } {
  const dialing = dialStart(side(seededRandom('dialer'), dialer, listener))
  const listening = listenStart(side(seededRandom('listener'), listener, dialer), dialing.syn)
  const { ack, established } = dialEnd(dialing, listening.synAck)
  release(listenEnd(listening, ack))
  release(established)
  return { syn: dialing.syn, synAck: listening.synAck, ack: Uint8Array.from(ack) }
}
const { syn, synAck, ack } = honest()
const HANDSHAKE_CODES = ['HANDSHAKE_FAILED', 'HANDSHAKE_TIMESTAMP', 'HANDSHAKE_TIMEOUT', 'FRAME_TOO_LARGE', 'STREAM_CORRUPT'] as const

/** A dialer whose other side says the input: only the bytes of the honest listener make a stream. */
const handshakeDialer: FuzzTarget = {
  name: 'handshake-dialer',
  seeds: [Buffer.concat([Uint8Array.of(0), frame(synAck)]), Buffer.concat([Uint8Array.of(7), frame(synAck), utf8('more')])],
  codes: [...HANDSHAKE_CODES],
  async run(input) {
    const clock = manualClock(NOW)
    const bytes = input.subarray(1)
    const duplex = fed(bytes, input[0] ?? 0)
    const config = { key: dialer, peer: listener.publicKey, namespace: NAMESPACE, maxMessageBytes: 1_024, clock, random: seededRandom('dialer') }
    const stream = await concluded(clock, duplex, dial(duplex, config))
    assert.deepEqual(bytes.slice(0, 138), Uint8Array.from(frame(synAck)), 'a stream came about without the listener')
    assert.deepEqual(stream.remoteKey, listener.publicKey)
    await letGo(clock, stream)
  },
  iterations: 4_000,
}

/** A listener whose other side says the input: only who holds the dialer's keys gets through. */
const handshakeListener: FuzzTarget = {
  name: 'handshake-listener',
  seeds: [
    Buffer.concat([Uint8Array.of(0), frame(dialer.publicKey), frame(syn), frame(ack)]),
    Buffer.concat([Uint8Array.of(33), frame(dialer.publicKey), frame(syn), frame(ack), utf8('more')]),
  ],
  codes: [...HANDSHAKE_CODES, 'PEER_REJECTED', 'SELF_DIAL', 'CLOSED'],
  tokens: [dialer.publicKey, listener.publicKey, frame(new Uint8Array(32)), Uint8Array.of(55, 0x4b, 0x10, 0x01)],
  async run(input) {
    const clock = manualClock(NOW)
    const bytes = input.subarray(1)
    const how = input[0] ?? 0
    const duplex = fed(bytes, how & 0x7f)
    const admit = (key: Uint8Array): boolean | Promise<boolean> =>
      (key[0] as number) % 16 === 3 ? Promise.resolve(false) : (how & 1) === 1 || Promise.resolve(true)
    const config = { key: listener, admit, namespace: NAMESPACE, maxMessageBytes: 1_024, clock, random: seededRandom('listener') }
    const locating = how > 0x7f ? { onLocate: (): Uint8Array | undefined => ((how & 1) === 1 ? new Uint8Array(100) : undefined) } : {}
    const stream = await concluded(clock, duplex, listen(duplex, { ...config, ...locating }))
    const expected = Uint8Array.from(Buffer.concat([frame(dialer.publicKey), frame(syn), frame(ack)]))
    assert.deepEqual(bytes.slice(0, expected.length), expected, 'a stream came about without the dialer')
    assert.deepEqual(stream.remoteKey, dialer.publicKey)
    await letGo(clock, stream)
  },
  iterations: 4_000,
}

/** Messages that follow the handshake: numbers 3 to 5 from the dialer, 6 and 7 from the listener. */
const SAID = ['first', 'second', 'third'] as const

/** Both sides honest, the bytes between them changed: either side fails with its code, or they agree, and nothing arrives that was not said, in order. */
const tampered: FuzzTarget = {
  name: 'stream-tampered',
  seeds: [new Uint8Array(0), change(3, 8, 20)],
  codes: [],
  async run(input) {
    const { apply, honest: untouched } = parseChanges(input)
    const clock = manualClock(NOW)
    let fromDialer = 0
    let fromListener = 0
    // Chunks of the dialer: 0 keys and Syn, 2 Ack and messages, 3...; of the listener: 1 SynAck, 6...
    const pair = duplexPair({
      a2b: (chunk) => apply(fromDialer++ === 0 ? 0 : Math.min(5, fromDialer), chunk) as Buffer[],
      b2a: (chunk) => apply(fromListener++ === 0 ? 1 : Math.min(7, 4 + fromListener), chunk) as Buffer[],
    })
    const common = { namespace: NAMESPACE, maxMessageBytes: 1_024, clock }
    const dialing = dial(pair.a, { ...common, key: dialer, peer: listener.publicKey, random: seededRandom('dialer') })
    const listening = listen(pair.b, { ...common, key: listener, admit: () => true, random: seededRandom('listener') })
    const outcomes = await Promise.all([converse(clock, dialing, 'dialer'), converse(clock, listening, 'listener')])
    if (untouched) assert.deepEqual(outcomes, ['ok 3', 'ok 3'])
    assert.equal(keySlabUse().leased, 0, 'keys are left behind')
    assert.equal(clock.pending, 0, 'timers are left behind')
    return outcomes.join(' ')
  },
  iterations: 2_000,
}

const TAMPERED_CODES: readonly string[] = [...HANDSHAKE_CODES, 'PEER_REJECTED', 'SELF_DIAL', 'LINK_LOST', 'KEY_INVALID']

/** One side: says three things, hears at most the other's three; never anything else. */
async function converse(clock: ManualClock, opening: Promise<EncryptedStream>, role: 'dialer' | 'listener'): Promise<string> {
  let stream: EncryptedStream
  try {
    if (!(await settledWithin(opening, TURNS))) clock.advance(TIMEOUT_MS)
    assert.ok(await settledWithin(opening, TURNS), 'it goes on after its deadline')
    stream = await opening
  } catch (error) {
    if (!(error instanceof KithError) || !TAMPERED_CODES.includes(error.code)) throw error
    return error.code
  }
  const other = role === 'dialer' ? listener : dialer
  assert.deepEqual(stream.remoteKey, other.publicKey)
  let heard = 0
  let outcome = 'ok'
  try {
    for (const word of SAID) {
      stream.send(utf8(`${role} ${word}`)).catch(() => {})
      await turns(1)
    }
    for (const word of SAID) {
      const receiving = stream.receive()
      if (!(await settledWithin(receiving, TURNS))) {
        outcome = 'waits'
        receiving.catch(() => {})
        break
      }
      const message = await receiving
      if (message === undefined) break
      assert.equal(Buffer.from(message).toString(), `${role === 'dialer' ? 'listener' : 'dialer'} ${word}`)
      heard++
    }
  } catch (error) {
    if (!(error instanceof KithError) || !TAMPERED_CODES.includes(error.code)) throw error
    outcome = error.code
  }
  const closing = stream.close()
  await turns(4)
  if (clock.pending > 0) clock.advance(2_000)
  await closing
  return `${outcome} ${heard}`
}

const LOCATE_REQUEST = Buffer.concat([Uint8Array.of(0x4b, 0x10, 0x01), new Uint8Array(52)])
const locateFrame: FuzzTarget = {
  name: 'locate-frame',
  seeds: [Buffer.concat([Uint8Array.of(0), frame(new Uint8Array(300))]), Buffer.concat([Uint8Array.of(0x40), frame(new Uint8Array(0))])],
  codes: ['LOCATE_FAILED', 'FRAME_TOO_LARGE', 'STREAM_CORRUPT', 'TIMEOUT'],
  async run(input) {
    const clock = manualClock(NOW)
    const duplex = fed(input.subarray(1), input[0] ?? 0)
    const answer = requestLocate(duplex, LOCATE_REQUEST, { clock, timeoutMs: TIMEOUT_MS })
    if (!(await settledWithin(answer, TURNS))) clock.advance(TIMEOUT_MS)
    assert.ok(await settledWithin(answer, TURNS), 'it goes on after its deadline')
    assert.ok(duplex.destroyed)
    assert.equal(clock.pending, 0)
    assert.deepEqual(await answer, referenceFrames(input.subarray(1), 98_304).frames[0])
  },
  iterations: 5_000,
}

export const streamTargets: readonly FuzzTarget[] = [frames, handshakeDialer, handshakeListener, tampered, locateFrame]
