import { type PublicKey, plain, type Signature, toHex } from '../../core/bytes.ts'
import { malformed, varintSize } from '../../core/codec.ts'
import { verifyChecked } from '../../core/crypto/ed25519.ts'
import { sha256 } from '../../core/crypto/hash.ts'
import type { HybridSigner } from '../../core/crypto/hybrid.ts'
import { labeled } from '../../core/crypto/labels.ts'
import { MLDSA_SIGNATURE_BYTES, verifyMldsa } from '../../core/crypto/mldsa.ts'
import { KithError } from '../../core/errors.ts'
import type { Suite } from './types.ts'

/**
 * # Envelopes (PN-7)
 *
 * What one machine says, signed so that nothing in it can be changed, moved or addressed to somebody else.
 *
 * ```text
 *  0    u8 1           version                              body = everything before the signatures
 *  1    u8 class       1 live, 2 stored, 3 record           signed:   L("icn/envelope/v1") || body
 *  2    u8 suite       0 Ed25519, 1 Ed25519 + ML-DSA-65     id:       H("icn/envelope-id/v1", body)
 *  3    from DID 32
 * 35    device 32      the link key that signs
 * 67    u8 to_kind     0 DID, 1 topic
 * 68    bytes to       20 || DID 32, or varint || 1..200 printable ASCII characters without space
 *       class fields   live    session 16 || u64 seq
 *                      stored  msg_id 16 || u64 expires_ms
 *                      record  u64 epoch || u64 seq
 *       u64 time_ms || u16 type || bytes payload (<= 1,040,384)
 *       signature 64 [|| ML-DSA signature 3309]             exactly as the suite says; nothing follows
 * ```
 *
 * Live and stored messages go to a DID, records to a topic. Integers beyond 2^53 - 1 are malformed. The suite is inside what both signatures cover, so neither
 * half can be taken off; the id covers no signature, because ML-DSA signatures differ each time.
 *
 * This is the one layout written by hand instead of with `codec.ts`: it is read for every message, with offsets over one buffer and no copies.
 */
export const ENVELOPE_LABEL = 'icn/envelope/v1'
export const ENVELOPE_ID_LABEL = 'icn/envelope-id/v1'
const PREFIX: Uint8Array = labeled(ENVELOPE_LABEL)
const ID_PREFIX: Uint8Array = labeled(ENVELOPE_ID_LABEL)

export const MAX_TOPIC_BYTES = 200
/** 1 MiB less 8 KiB, so that an envelope with its signatures stays under a megabyte. */
export const MAX_PAYLOAD_BYTES: number = 1024 * 1024 - 8192
const ED25519_BYTES = 64
const SENDER_AT = 3
const DEVICE_AT = 35
const TO_AT = 67
const CLASS_FIELD_BYTES = { live: 24, stored: 24, record: 16 } as const
/** Fixed part up to `to`, its shortest form, the shortest class fields, time, type, empty payload, signature. */
const MIN_BYTES: number = 68 + 2 + 16 + 8 + 2 + 1 + ED25519_BYTES
export const MAX_ENVELOPE_BYTES: number = 68 + 2 + MAX_TOPIC_BYTES + 24 + 8 + 2 + 3 + MAX_PAYLOAD_BYTES + ED25519_BYTES + MLDSA_SIGNATURE_BYTES

export type MessageClass = 'live' | 'stored' | 'record'
const CLASSES: readonly (MessageClass | undefined)[] = [undefined, 'live', 'stored', 'record']
const SUITES: readonly Suite[] = ['ed25519', 'hybrid']

interface Common {
  readonly suite: Suite
  /** The DID's key and the device's link key. */
  readonly from: Uint8Array
  readonly device: Uint8Array
  readonly timeMs: number
  readonly type: number
  readonly payload: Uint8Array
}

/** What an envelope says before it is signed. */
export type EnvelopeFields = Common &
  (
    | { readonly class: 'live'; readonly to: Uint8Array; readonly session: Uint8Array; readonly seq: number }
    | { readonly class: 'stored'; readonly to: Uint8Array; readonly msgId: Uint8Array; readonly expiresMs: number }
    | { readonly class: 'record'; readonly topic: string; readonly epoch: number; readonly seq: number }
  )

/**
 * An envelope that decodes: nothing in it is verified. Fields are views of `bytes`. For the class fields, what a class does not have is empty or 0.
 */
export class Envelope {
  readonly bytes: Uint8Array
  readonly bodyLength: number
  readonly class: MessageClass
  readonly suite: Suite
  #sender: string | undefined
  /** The 32 bytes of the DID it goes to; empty for topics. */
  readonly to: Uint8Array
  readonly topic: string
  /** Live: session. Stored: message id. */
  readonly name: Uint8Array
  readonly epoch: number
  readonly seq: number
  readonly expiresMs: number
  readonly timeMs: number
  readonly type: number
  readonly payload: Uint8Array

  constructor(bytes: Uint8Array) {
    const { length } = bytes
    if (length < MIN_BYTES || length > MAX_ENVELOPE_BYTES) throw malformed('length out of range', { length, min: MIN_BYTES, max: MAX_ENVELOPE_BYTES })
    // A version of later days is no fault of whoever brought it.
    if (bytes[0] !== 1)
      throw new KithError('VERSION_UNSUPPORTED', 'the envelope is of a version this node does not know', { details: { version: at(bytes, 0) } })
    const kind = CLASSES[at(bytes, 1)]
    if (kind === undefined) throw malformed('class')
    const suite = SUITES[at(bytes, 2)]
    if (suite === undefined) throw malformed('suite')
    this.bytes = bytes
    this.class = kind
    this.suite = suite
    let cursor: number
    if (kind === 'record') {
      if (bytes[TO_AT] !== 1) throw malformed('a record goes to a topic')
      const size = lengthAt(bytes, TO_AT + 1, MAX_TOPIC_BYTES)
      if (size === 0) throw malformed('topic')
      cursor = TO_AT + 1 + varintSize(size)
      need(bytes, cursor, size)
      for (let i = cursor; i < cursor + size; i++) if (at(bytes, i) < 0x21 || at(bytes, i) > 0x7e) throw malformed('topic')
      this.topic = latin1(bytes, cursor, cursor + size)
      this.to = EMPTY
      cursor += size
    } else {
      if (bytes[TO_AT] !== 0 || bytes[TO_AT + 1] !== 32) throw malformed('a message goes to a DID')
      this.topic = ''
      this.to = bytes.subarray(TO_AT + 2, TO_AT + 34)
      cursor = TO_AT + 34
    }
    need(bytes, cursor, CLASS_FIELD_BYTES[kind] + 10)
    this.name = EMPTY
    this.epoch = 0
    this.seq = 0
    this.expiresMs = 0
    if (kind === 'record') {
      this.epoch = integer(bytes, cursor)
      this.seq = integer(bytes, cursor + 8)
    } else {
      this.name = bytes.subarray(cursor, cursor + 16)
      if (kind === 'live') this.seq = integer(bytes, cursor + 16)
      else this.expiresMs = integer(bytes, cursor + 16)
    }
    cursor += CLASS_FIELD_BYTES[kind]
    this.timeMs = integer(bytes, cursor)
    this.type = at(bytes, cursor + 8) * 256 + at(bytes, cursor + 9)
    const size = lengthAt(bytes, cursor + 10, MAX_PAYLOAD_BYTES)
    cursor += 10 + varintSize(size)
    const signatures = suite === 'hybrid' ? ED25519_BYTES + MLDSA_SIGNATURE_BYTES : ED25519_BYTES
    if (cursor + size + signatures !== length) throw malformed('length of the payload', { length: size })
    this.payload = bytes.subarray(cursor, cursor + size)
    this.bodyLength = cursor + size
  }

  /** DID key and link key as one text of 64 Latin-1 characters: the key of maps by sender. */
  get sender(): string {
    this.#sender ??= latin1(this.bytes, SENDER_AT, TO_AT)
    return this.#sender
  }

  /** The bytes of the DID's key. */
  get from(): Uint8Array {
    return this.bytes.subarray(SENDER_AT, DEVICE_AT)
  }

  /** The bytes of the link key, unchecked. */
  get device(): Uint8Array {
    return this.bytes.subarray(DEVICE_AT, TO_AT)
  }

  get body(): Uint8Array {
    return this.bytes.subarray(0, this.bodyLength)
  }
}

const EMPTY = new Uint8Array(0)

/** @throws KithError `WIRE_MALFORMED` for anything but one canonical encoding; `VERSION_UNSUPPORTED`. */
export function decodeEnvelope(bytes: Uint8Array): Envelope {
  // The methods of `Buffer` stay out of what handlers are given.
  return new Envelope(Buffer.isBuffer(bytes) ? plain(bytes) : bytes)
}

/** @throws TypeError when a field does not fit. @throws KithError `SIGNER_REFUSED`, `SECRET_WIPED`, `MESSAGE_TOO_LARGE`, `UNSUPPORTED` without an ML-DSA key for a hybrid one. */
export function signEnvelope(fields: EnvelopeFields, signer: HybridSigner): Uint8Array {
  const { payload, suite } = fields
  if (payload.length > MAX_PAYLOAD_BYTES) throw new KithError('MESSAGE_TOO_LARGE', undefined, { details: { length: payload.length, limit: MAX_PAYLOAD_BYTES } })
  if (suite === 'hybrid' && signer.mldsa === undefined) throw new KithError('UNSUPPORTED', 'this device has no post-quantum key to sign with')
  const to = fields.class === 'record' ? topicBytes(fields.topic) : exactly(fields.to, 32, 'to')
  const bodyLength = 68 + varintSize(to.length) + to.length + CLASS_FIELD_BYTES[fields.class] + 10 + varintSize(payload.length) + payload.length
  // The label stands right before the body, so that what is signed need not be put together again.
  const frame = new Uint8Array(PREFIX.length + bodyLength + ED25519_BYTES + (suite === 'hybrid' ? MLDSA_SIGNATURE_BYTES : 0))
  frame.set(PREFIX)
  const out = frame.subarray(PREFIX.length)
  out[0] = 1
  out[1] = CLASSES.indexOf(fields.class)
  out[2] = SUITES.indexOf(suite)
  out.set(exactly(fields.from, 32, 'from'), SENDER_AT)
  out.set(exactly(fields.device, 32, 'device'), DEVICE_AT)
  out[TO_AT] = fields.class === 'record' ? 1 : 0
  let cursor = putBytes(out, TO_AT + 1, to)
  if (fields.class === 'record') {
    putInteger(out, cursor, fields.epoch)
    putInteger(out, cursor + 8, fields.seq)
    cursor += 16
  } else {
    out.set(exactly(fields.class === 'live' ? fields.session : fields.msgId, 16, 'session or message id'), cursor)
    putInteger(out, cursor + 16, fields.class === 'live' ? fields.seq : fields.expiresMs)
    cursor += 24
  }
  putInteger(out, cursor, fields.timeMs)
  if (!Number.isInteger(fields.type) || fields.type < 0 || fields.type > 0xffff) throw new TypeError(`not a message type: ${fields.type}`)
  out[cursor + 8] = fields.type >> 8
  out[cursor + 9] = fields.type & 0xff
  putBytes(out, cursor + 10, payload)
  const signed = frame.subarray(0, PREFIX.length + bodyLength)
  out.set(signer.ed25519.sign(signed), bodyLength)
  if (suite === 'hybrid' && signer.mldsa !== undefined) out.set(signer.mldsa.sign(signed), bodyLength + ED25519_BYTES)
  return out
}

/** Where bodies are put behind the label to be verified: verification is synchronous, and most messages are small. */
const scratch = new Uint8Array(64 * 1024)
scratch.set(PREFIX)

function signedBytes(envelope: Envelope): Uint8Array {
  return behind(PREFIX, scratch, envelope)
}

/** The same for ids: hashing one piece costs a third of hashing two. */
const idScratch = new Uint8Array(64 * 1024)
idScratch.set(ID_PREFIX)

/** What names an envelope, 32 bytes: it covers the body and no signature. */
export function envelopeId(envelope: Envelope): Uint8Array {
  return sha256(behind(ID_PREFIX, idScratch, envelope))
}

function behind(prefix: Uint8Array, room: Uint8Array, envelope: Envelope): Uint8Array {
  const length = prefix.length + envelope.bodyLength
  const target = length <= room.length ? room : new Uint8Array(length)
  if (target !== room) target.set(prefix)
  target.set(envelope.body, prefix.length)
  return target.subarray(0, length)
}

/** Which half of a signature does not verify; `undefined` when all of it does. */
export type SignatureFault = 'ed25519' | 'mldsa'

/**
 * Under the one rule (libsodium's, the key a checked point). `mldsa` is needed for a hybrid envelope.
 * @param device the key of the envelope's device, already checked to be a valid point.
 */
export function signatureFault(envelope: Envelope, device: PublicKey, mldsa: Uint8Array | undefined): SignatureFault | undefined {
  const { bytes, bodyLength } = envelope
  const message = signedBytes(envelope)
  if (!verifyChecked(device, message, bytes.subarray(bodyLength, bodyLength + ED25519_BYTES) as Signature)) return 'ed25519'
  if (envelope.suite === 'ed25519') return undefined
  return mldsa !== undefined && verifyMldsa(mldsa, message, bytes.subarray(bodyLength + ED25519_BYTES)) ? undefined : 'mldsa'
}

/** Records come in rows for few topics; no peer chooses what stands here. */
const topics: Map<string, Uint8Array> = new Map()

function topicBytes(topic: string): Uint8Array {
  const known = topics.get(topic)
  if (known !== undefined) return known
  const bytes = Buffer.from(checkTopic(topic), 'latin1')
  if (topics.size < 256) topics.set(topic, bytes)
  return bytes
}

/** @throws TypeError for anything that cannot name a topic. */
export function checkTopic(topic: string): string {
  if (topic.length < 1 || topic.length > MAX_TOPIC_BYTES || !/^[\x21-\x7e]+$/.test(topic)) {
    throw new TypeError(`a topic is 1 to ${MAX_TOPIC_BYTES} printable ASCII characters without space`)
  }
  return topic
}

function exactly(bytes: Uint8Array, length: number, name: string): Uint8Array {
  if (bytes.length !== length) throw new TypeError(`${name} has ${length} bytes, not ${bytes.length}: ${toHex(bytes.subarray(0, 8))}`)
  return bytes
}

function at(bytes: Uint8Array, index: number): number {
  return bytes[index] as number
}

function latin1(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1', from, to)
}

function need(bytes: Uint8Array, from: number, count: number): void {
  if (from + count > bytes.length) throw malformed('ends too early', { wanted: count, left: bytes.length - from })
}

/** A varint of at most four bytes; canonical, so `varintSize` tells how many. */
function lengthAt(bytes: Uint8Array, from: number, limit: number): number {
  let value = 0
  for (let group = 0; group < 4; group++) {
    need(bytes, from + group, 1)
    const byte = at(bytes, from + group)
    if (byte === 0 && group > 0) throw malformed('overlong varint')
    value += (byte & 0x7f) * 2 ** (7 * group)
    if (byte < 0x80) {
      if (value > limit) throw malformed('longer than allowed', { length: value, limit })
      return value
    }
  }
  throw malformed('longer than allowed', { limit })
}

function integer(bytes: Uint8Array, index: number): number {
  const high = word(bytes, index)
  if (high > 0x1f_ffff) throw malformed('integer beyond 2^53')
  return high * 0x1_0000_0000 + word(bytes, index + 4)
}

function word(bytes: Uint8Array, index: number): number {
  return at(bytes, index) * 0x100_0000 + ((at(bytes, index + 1) << 16) | (at(bytes, index + 2) << 8) | at(bytes, index + 3))
}

function putInteger(out: Uint8Array, index: number, number: number): void {
  if (!Number.isSafeInteger(number) || number < 0) throw new TypeError(`not a safe unsigned integer: ${number}`)
  const high = Math.floor(number / 0x1_0000_0000)
  const low = number >>> 0
  for (let i = 0; i < 4; i++) {
    out[index + i] = (high >>> (24 - 8 * i)) & 0xff
    out[index + 4 + i] = (low >>> (24 - 8 * i)) & 0xff
  }
}

function putBytes(out: Uint8Array, from: number, bytes: Uint8Array): number {
  let rest = bytes.length
  let cursor = from
  while (rest > 0x7f) {
    out[cursor++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  out[cursor++] = rest
  out.set(bytes, cursor)
  return cursor + bytes.length
}
