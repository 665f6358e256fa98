import { equalSecret, type PublicKey } from '../core/bytes.ts'
import { blake3Into } from '../core/crypto/blake3.ts'
import { isPublicKey, verify, verifyZip215 } from '../core/crypto/ed25519.ts'
import { x25519, x25519PublicKey } from '../core/crypto/x25519.ts'
import { KithError } from '../core/errors.ts'
import { type KeyLease, leaseKey } from '../core/key-slab.ts'
import type { Random } from '../core/random.ts'
import type { Signer } from '../core/signer.ts'
import { deriveSchedule, type KeySchedule } from './schedule.ts'
import { SUMMARY_BYTES, Transcript } from './transcript.ts'

/**
 * # Handshake
 *
 * The key agreement of the encrypted stream as a pure state machine: bytes in, bytes out; no socket, no clock, no timer, no log.
 * Byte-compatible with commonware-stream (transcript version 0).
 *
 * ## Design
 *
 * ```text
 * dialer                                                                  listener
 *   dialStart   key frame   static key D (32)                                  ->  admit(D)?
 *               Syn         t_D (8) | epk_D (32) | sig_D (64)            104   ->  listenStart: time, signature
 *   dialEnd  <- SynAck      t_L (8) | epk_L (32) | sig_L (64) | conf_L (32)  136
 *               Ack         conf_D (32)                                   32   ->  listenEnd: confirmation
 * ```
 *
 * The transcript is one flat buffer of fixed places, hashed whole with BLAKE3 keyed by the namespace's summary. Each piece is followed by its length:
 *
 * ```text
 *   0     1        36     45      78       111      144    153      186    219
 *   | 02  | label  | t_D  | L     | epk_D  | D      | t_L  | epk_L  | ss   |
 *                                          |                        |      '- keys and confirmations
 *                                          '- signed by D           '- signed by L
 * ```
 *
 * What is signed is 00 | summary (33 bytes): no other protocol of this project signs a message that begins with 00.
 * Everything of one handshake is wiped when it ends, well or not. A state is consumed by its next step.
 *
 * ## Requirements
 *
 * - Both sides use the same namespace, one per application: it keeps handshakes of two applications apart.
 * - Clocks agree to within the window; the random source is fit for keys.
 *
 * ## Provided
 *
 * - Mutual authentication: each proves its static key over the other's key, both times and both ephemeral keys.
 * - Forward secrecy: keys come from one-time X25519 keys that are wiped at once.
 * - Key confirmation both ways before the first message counts.
 * - Failures say nothing: wrong signature, wrong confirmation and low-order points are one error without detail.
 *
 * ## Not provided
 *
 * - Hiding of identities: static keys cross the wire in clear.
 * - A replay cache: a Syn can be repeated within the window and costs the listener two signature operations and two of X25519, but nobody without the
 *   dialer's ephemeral secret produces the Ack.
 * - Secrecy against a later quantum computer: see `postquantum.ts`.
 *
 * ## Example
 *
 * ```ts
 * const dialing = dialStart({ signer: d, peer: l.publicKey, namespace, random, now, earliest: now - 10_000, latest: now + 5_000 })
 * const listening = listenStart({ signer: l, peer: d.publicKey, namespace, random, now, earliest, latest }, dialing.syn)
 * const { ack, established } = dialEnd(dialing, listening.synAck)
 * const other = listenEnd(listening, ack)
 * ```
 */
export const KEY_FRAME_BYTES = 32
export const SYN_BYTES = 104
export const SYN_ACK_BYTES = 136
export const ACK_BYTES = 32

/** Changing it changes the wire. */
const LABEL = Buffer.from('_COMMONWARE_CRYPTOGRAPHY_HANDSHAKE')
const FORK_TAG = 2

/** Places of the pieces in the flat transcript; each piece ends one byte before the next one starts, with its length in between. */
const AT_LABEL = 1
const AT_DIALER_TIME = 36
const AT_LISTENER = 45
const AT_DIALER_EPHEMERAL = 78
const SIGNED_BY_DIALER = 111
const AT_DIALER = 111
const AT_LISTENER_TIME = 144
const AT_LISTENER_EPHEMERAL = 153
const SIGNED_BY_LISTENER = 186
const AT_SHARED = 186
const TRANSCRIPT_BYTES = 219

const TIME_BYTES = 8
const POINT_BYTES = 32
const SIGNATURE_AT = TIME_BYTES + POINT_BYTES
const CONFIRMATION_AT = SYN_BYTES

export interface HandshakeInput {
  /** Our static key, made for the role `link`. */
  readonly signer: Signer
  /** The key dialled, or the key the dialer claims. Checked here. */
  readonly peer: Uint8Array
  readonly namespace: Uint8Array
  /** Source of the one-time key. */
  readonly random: Random
  /** Our wall time in ms since the Unix epoch. */
  readonly now: number
  /** The other side's time is accepted in [earliest, latest). */
  readonly earliest: number
  readonly latest: number
  /** Verify as upstream does (ZIP 215) instead of by the one rule of this project. */
  readonly zip215?: boolean
}

/** What a finished handshake leaves: two session keys and the secret summary from which channel bindings follow. The owner releases them. */
export interface Established {
  readonly peer: PublicKey
  readonly sendKey: KeyLease
  readonly receiveKey: KeyLease
  readonly summary: KeyLease
}

export interface DialState {
  readonly syn: Uint8Array
}

export interface ListenState {
  readonly synAck: Uint8Array
}

/** What a state carries to its next step; held apart so that a state can be used once only. */
interface Secrets {
  readonly input: HandshakeInput
  readonly transcript: Transcribed
  readonly ephemeral: KeyLease
  readonly schedule: KeySchedule | undefined
  readonly summary: KeyLease | undefined
}

const dialing: WeakMap<DialState, Secrets> = new WeakMap()
const listening: WeakMap<ListenState, Secrets> = new WeakMap()

/** First step of the dialer: makes the Syn. @throws KithError `SELF_DIAL` when the peer is ourselves; `SIGNER_REFUSED`, `SECRET_WIPED`. */
export function dialStart(input: HandshakeInput): DialState {
  refuseSelf(input)
  const ephemeral = leaseKey()
  const transcript = new Transcribed(input.namespace)
  try {
    const syn = new Uint8Array(SYN_BYTES)
    writeTime(syn, input.now)
    input.random.fill(ephemeral.bytes)
    x25519PublicKey(syn.subarray(TIME_BYTES, SIGNATURE_AT), ephemeral.bytes)
    transcript.put(AT_DIALER_TIME, syn, 0, TIME_BYTES)
    transcript.put(AT_LISTENER, input.peer, 0, KEY_FRAME_BYTES)
    transcript.put(AT_DIALER_EPHEMERAL, syn, TIME_BYTES, SIGNATURE_AT)
    syn.set(input.signer.sign(transcript.signed(SIGNED_BY_DIALER)), SIGNATURE_AT)
    transcript.put(AT_DIALER, input.signer.publicKey, 0, KEY_FRAME_BYTES)
    const state: DialState = { syn }
    dialing.set(state, { input, transcript, ephemeral, schedule: undefined, summary: undefined })
    return state
  } catch (error) {
    transcript.wipe()
    ephemeral.release()
    throw error
  }
}

/**
 * Last step of the dialer. Consumes the state.
 * @throws KithError `HANDSHAKE_TIMESTAMP`, `HANDSHAKE_FAILED`; TypeError when the state was used before.
 */
export function dialEnd(state: DialState, synAck: Uint8Array): { ack: Uint8Array; established: Established } {
  const { input, transcript, ephemeral } = consume(dialing, state)
  try {
    if (synAck.length !== SYN_ACK_BYTES) throw new KithError('HANDSHAKE_FAILED')
    checkTime(synAck, input)
    transcript.put(AT_LISTENER_TIME, synAck, 0, TIME_BYTES)
    transcript.put(AT_LISTENER_EPHEMERAL, synAck, TIME_BYTES, SIGNATURE_AT)
    checkSignature(input, transcript.signed(SIGNED_BY_LISTENER), synAck.subarray(SIGNATURE_AT, CONFIRMATION_AT))
    const { schedule, summary } = transcript.agree(ephemeral, synAck.subarray(TIME_BYTES, SIGNATURE_AT))
    if (!equalSecret(schedule.confirmationL2d, synAck.subarray(CONFIRMATION_AT))) {
      releaseAll(schedule, summary)
      throw new KithError('HANDSHAKE_FAILED')
    }
    const established = { peer: peerKey(input), sendKey: schedule.keyD2l, receiveKey: schedule.keyL2d, summary }
    return { ack: schedule.confirmationD2l, established }
  } finally {
    transcript.wipe()
    ephemeral.release()
  }
}

/**
 * First step of the listener, after it has admitted the dialer's key: checks the Syn, makes the SynAck.
 * @throws KithError `SELF_DIAL`, `HANDSHAKE_TIMESTAMP`, `HANDSHAKE_FAILED`, `SIGNER_REFUSED`, `SECRET_WIPED`.
 */
export function listenStart(input: HandshakeInput, syn: Uint8Array): ListenState {
  refuseSelf(input)
  if (syn.length !== SYN_BYTES) throw new KithError('HANDSHAKE_FAILED')
  checkTime(syn, input)
  const ephemeral = leaseKey()
  const transcript = new Transcribed(input.namespace)
  try {
    transcript.put(AT_DIALER_TIME, syn, 0, TIME_BYTES)
    transcript.put(AT_LISTENER, input.signer.publicKey, 0, KEY_FRAME_BYTES)
    transcript.put(AT_DIALER_EPHEMERAL, syn, TIME_BYTES, SIGNATURE_AT)
    checkSignature(input, transcript.signed(SIGNED_BY_DIALER), syn.subarray(SIGNATURE_AT))
    const synAck = new Uint8Array(SYN_ACK_BYTES)
    writeTime(synAck, input.now)
    input.random.fill(ephemeral.bytes)
    x25519PublicKey(synAck.subarray(TIME_BYTES, SIGNATURE_AT), ephemeral.bytes)
    transcript.put(AT_DIALER, input.peer, 0, KEY_FRAME_BYTES)
    transcript.put(AT_LISTENER_TIME, synAck, 0, TIME_BYTES)
    transcript.put(AT_LISTENER_EPHEMERAL, synAck, TIME_BYTES, SIGNATURE_AT)
    synAck.set(input.signer.sign(transcript.signed(SIGNED_BY_LISTENER)), SIGNATURE_AT)
    const { schedule, summary } = transcript.agree(ephemeral, syn.subarray(TIME_BYTES, SIGNATURE_AT))
    synAck.set(schedule.confirmationL2d, CONFIRMATION_AT)
    const state: ListenState = { synAck }
    listening.set(state, { input, transcript, ephemeral, schedule, summary })
    return state
  } finally {
    transcript.wipe()
    ephemeral.release()
  }
}

/** Last step of the listener. Consumes the state. @throws KithError `HANDSHAKE_FAILED`; TypeError when the state was used before. */
export function listenEnd(state: ListenState, ack: Uint8Array): Established {
  const { input, schedule, summary } = consume(listening, state)
  if (schedule === undefined || summary === undefined) throw new TypeError('the state is incomplete')
  if (!equalSecret(schedule.confirmationD2l, ack)) {
    releaseAll(schedule, summary)
    throw new KithError('HANDSHAKE_FAILED')
  }
  return { peer: peerKey(input), sendKey: schedule.keyL2d, receiveKey: schedule.keyD2l, summary }
}

/** Wipes a state that will not be continued. Idempotent, and harmless after the next step. */
export function abandon(state: DialState | ListenState): void {
  const secrets = dialing.get(state as DialState) ?? listening.get(state as ListenState)
  if (secrets === undefined) return
  dialing.delete(state as DialState)
  listening.delete(state as ListenState)
  secrets.transcript.wipe()
  secrets.ephemeral.release()
  if (secrets.schedule !== undefined && secrets.summary !== undefined) releaseAll(secrets.schedule, secrets.summary)
}

/** The flat transcript; `wipe` when done. */
class Transcribed {
  readonly #bytes = Buffer.alloc(TRANSCRIPT_BYTES)
  readonly #forkKey: Uint8Array

  constructor(namespace: Uint8Array) {
    this.#forkKey = Transcript.create(namespace).summarize()
    this.#bytes[0] = FORK_TAG
    this.put(AT_LABEL, LABEL, 0, LABEL.length)
  }

  /** Copies `source[start, end)` to its place, its length behind it. */
  put(at: number, source: Uint8Array, start: number, end: number): void {
    const bytes = this.#bytes
    for (let i = start, j = at; i < end; i++, j++) bytes[j] = source[i] as number
    bytes[at + end - start] = end - start
  }

  /** 00 | summary of the first `length` bytes: what a side signs. */
  signed(length: number): Uint8Array {
    const message = new Uint8Array(1 + SUMMARY_BYTES)
    blake3Into(message.subarray(1), this.#bytes, length, this.#forkKey)
    return message
  }

  /** Commits the X25519 secret and derives everything. @throws KithError `HANDSHAKE_FAILED` for a low-order point. */
  agree(ephemeral: KeyLease, point: Uint8Array): { schedule: KeySchedule; summary: KeyLease } {
    const shared = this.#bytes.subarray(AT_SHARED, AT_SHARED + POINT_BYTES)
    if (!x25519(shared, ephemeral.bytes, point)) throw new KithError('HANDSHAKE_FAILED')
    this.#bytes[TRANSCRIPT_BYTES - 1] = POINT_BYTES
    const summary = leaseKey()
    blake3Into(summary.bytes, this.#bytes, TRANSCRIPT_BYTES, this.#forkKey)
    return { schedule: deriveSchedule(summary.bytes), summary }
  }

  wipe(): void {
    this.#bytes.fill(0)
  }
}

function consume<S extends object>(states: WeakMap<S, Secrets>, state: S): Secrets {
  const secrets = states.get(state)
  if (secrets === undefined) throw new TypeError('a handshake state is used once')
  states.delete(state)
  return secrets
}

function releaseAll(schedule: KeySchedule, summary: KeyLease): void {
  schedule.keyD2l.release()
  schedule.keyL2d.release()
  summary.release()
}

function refuseSelf(input: HandshakeInput): void {
  if (input.peer.length !== KEY_FRAME_BYTES) throw new KithError('HANDSHAKE_FAILED')
  if (equalSecret(input.peer, input.signer.publicKey)) throw new KithError('SELF_DIAL')
}

function checkSignature(input: HandshakeInput, message: Uint8Array, signature: Uint8Array): void {
  const check = input.zip215 === true ? verifyZip215 : verify
  if (!check(input.peer, message, signature)) throw new KithError('HANDSHAKE_FAILED')
}

/** Under upstream's rule a key is whatever decompresses, so the brand then means no more than that a signature verified under it. */
function peerKey(input: HandshakeInput): PublicKey {
  if (input.zip215 !== true && !isPublicKey(input.peer)) throw new KithError('HANDSHAKE_FAILED')
  return Uint8Array.from(input.peer) as PublicKey
}

function writeTime(target: Uint8Array, ms: number): void {
  if (!Number.isSafeInteger(ms) || ms < 0) throw new TypeError('time is a whole number of ms since the Unix epoch')
  const view = new DataView(target.buffer, target.byteOffset, TIME_BYTES)
  view.setUint32(0, Math.floor(ms / 0x1_0000_0000))
  view.setUint32(4, ms % 0x1_0000_0000)
}

/** Times beyond 2^53 lose precision here and are far outside any window. */
function checkTime(message: Uint8Array, input: HandshakeInput): void {
  const view = new DataView(message.buffer, message.byteOffset, TIME_BYTES)
  const time = view.getUint32(0) * 0x1_0000_0000 + view.getUint32(4)
  if (time >= input.earliest && time < input.latest) return
  throw new KithError('HANDSHAKE_TIMESTAMP', undefined, { details: { differenceMs: time - input.now } })
}
