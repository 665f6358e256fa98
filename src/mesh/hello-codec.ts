import { concat, type Signature } from '../core/bytes.ts'
import { bytes, bytesN, type Codec, decode, encode, malformed, mapped, option, struct, text, u8, u16, u32, u64, uint53 } from '../core/codec.ts'
import { MLDSA_SIGNATURE_BYTES } from '../core/crypto/mldsa.ts'

/**
 * # The messages of Hello (PN-5)
 *
 * Four kinds of message, each whole in one channel message, all big-endian, with canonical varint lengths and nothing left over:
 *
 * ```text
 * HELLO    4b | 04 dialer, 05 listener | 01 | u16 proto_min | u16 proto_max | u64 capabilities | nonce 32 | u64 time_ms | u64 boot | run 8
 *          | own_did 32 | 00 or 01 expected_peer_did 32 | own_link 32 | peer_link 32 | u8 transport | u8 pq_suite
 *          | varint length | binding (<= 16 KiB) | u16 n | n x ( u16 type | varint length | value )
 * PROOF    4b | 06 listener, 07 dialer | suite 00 | Ed25519 64                       67 bytes
 *          4b | 06 listener, 07 dialer | suite 01 | Ed25519 64 | ML-DSA-65 3309    3376 bytes
 * VERDICT  4b | 08 | u16 code | varint length | detail (UTF-8, <= 200 bytes)         code 0 = accepted
 * REFUSE   4b | 09 | u16 code                                                        in place of any message; ends the link
 * ```
 *
 * Extensions (the `n` last fields) stand in strictly rising order of type, so that one set has one encoding. A type below 0x8000 that a version
 * does not know is ignored, one from 0x8000 on is refused; all of them are covered by the proofs.
 *
 * | type | value |
 * |---|---|
 * | 0x0001 | the sender's chain (PN-6), or as many entries as fit: those the other side is missing where that is known, otherwise the last ones |
 * | 0x0002 | dialer only, about the identity it looks for: u32 index of the last chain entry it knows (ffffffff: none) || u8 flags; 1: it knows two contradicting chains |
 */
export const HELLO_TAG = 0x4b
export const MESSAGE_DIALER_HELLO = 0x04
export const MESSAGE_LISTENER_HELLO = 0x05
export const MESSAGE_LISTENER_PROOF = 0x06
export const MESSAGE_DIALER_PROOF = 0x07
export const MESSAGE_VERDICT = 0x08
export const MESSAGE_REFUSE = 0x09
const HELLO_LAYOUT = 1
const VERDICT_HEAD = Uint8Array.of(HELLO_TAG, MESSAGE_VERDICT)

export const MAX_BINDING_BYTES = 16_384
/** HELLO and PROOF together stay below the 32 KiB that one side may send before the verdict; the rest is for the post-quantum step. */
export const MAX_HELLO_BYTES = 27_648
/** A chain of two generations with ML-DSA takes 14 KiB and fits beside a binding of 10 KiB. */
export const MAX_CHAIN_EXTENSION_BYTES = 16_384
export const MAX_EXTENSIONS = 16
export const MAX_DETAIL_BYTES = 200

/** The sender's chain. */
export const EXTENSION_CHAIN = 0x0001
/** What the dialer knows of the listener's chain. */
export const EXTENSION_KNOWN = 0x0002
/** From here on an extension that is not understood must be refused. */
export const EXTENSION_MUST_UNDERSTAND = 0x8000

/** `pq_suite`: whether the key exchange under the channel is post-quantum. */
export const EXCHANGE_CLASSICAL = 0
export const EXCHANGE_POST_QUANTUM = 1

/** `suite` of a PROOF. */
export const SUITE_ED25519 = 0
export const SUITE_HYBRID = 1

/** What a HELLO calls the transport. Numbers are never reused. */
const TRANSPORT_NUMBERS: ReadonlyMap<string, number> = new Map([
  ['quic', 1],
  ['tcp', 2],
  ['udx', 3],
  ['tls', 4],
  ['wss', 5],
  ['relay', 6],
  ['onion', 7],
  ['memory', 8],
])

/** @throws TypeError for a scheme that has no number: a transport of ours that was never entered here. */
export function transportNumber(scheme: string): number {
  const number = TRANSPORT_NUMBERS.get(scheme)
  if (number === undefined) throw new TypeError(`transport without a number: ${scheme}`)
  return number
}

export type HelloRole = 'dialer' | 'listener'

export interface HelloMessage {
  readonly role: HelloRole
  /** Lowest and highest protocol version the sender speaks. */
  readonly protocolMin: number
  readonly protocolMax: number
  readonly capabilities: bigint
  /** 32 random bytes: two Hellos are never the same. */
  readonly nonce: Uint8Array
  /** The sender's clock, ms since the epoch. Reported, never a reason to refuse. */
  readonly timeMs: number
  /** Counts the starts of the sender's node; durable. */
  readonly boot: number
  /** 8 bytes, random per process: tells two processes with one boot number apart. */
  readonly run: Uint8Array
  /** The 32-byte key of the sender's DID. */
  readonly ownDid: Uint8Array
  readonly expectedDid: Uint8Array | undefined
  readonly ownLink: Uint8Array
  readonly peerLink: Uint8Array
  readonly transport: number
  readonly exchange: number
  /** PN-4, encoded. */
  readonly binding: Uint8Array
  readonly extensions: ReadonlyMap<number, Uint8Array>
}

export interface ProofMessage {
  /** Who proves. */
  readonly role: HelloRole
  readonly suite: number
  readonly signature: Signature
  /** With suite 1. */
  readonly mldsa: Uint8Array | undefined
}

export interface VerdictMessage {
  /** 0 = accepted, otherwise the number of an error code. */
  readonly code: number
  readonly detail: string
}

const extensionValue: Codec<Uint8Array> = bytes(MAX_CHAIN_EXTENSION_BYTES)

const extensions: Codec<ReadonlyMap<number, Uint8Array>> = {
  min: 2,
  max: 2 + MAX_EXTENSIONS * (2 + extensionValue.max),
  size(value) {
    if (value.size > MAX_EXTENSIONS) throw new TypeError(`at most ${MAX_EXTENSIONS} extensions, got ${value.size}`)
    let size = 2
    for (const [type, item] of value) size += u16.size(type) + extensionValue.size(item)
    return size
  },
  write(writer, value) {
    writer.u16(value.size)
    for (const [type, item] of [...value].sort(([a], [b]) => a - b)) {
      writer.u16(type)
      extensionValue.write(writer, item)
    }
  },
  read(reader) {
    const count = reader.u16()
    if (count > MAX_EXTENSIONS) throw malformed('too many extensions', { count })
    const value = new Map<number, Uint8Array>()
    let last = -1
    for (let i = 0; i < count; i++) {
      const type = reader.u16()
      if (type <= last) throw malformed('extensions out of order', { type })
      last = type
      value.set(type, extensionValue.read(reader))
    }
    return value
  },
}

const helloFields: Codec<Omit<HelloMessage, 'role'>> = struct({
  protocolMin: u16,
  protocolMax: u16,
  capabilities: u64,
  nonce: bytesN(32),
  timeMs: uint53,
  boot: uint53,
  run: bytesN(8),
  ownDid: bytesN(32),
  expectedDid: option(bytesN(32)),
  ownLink: bytesN(32),
  peerLink: bytesN(32),
  transport: u8,
  exchange: u8,
  binding: bytes(MAX_BINDING_BYTES),
  extensions,
})

const helloCodec: Codec<HelloMessage> = {
  min: 3 + helloFields.min,
  max: MAX_HELLO_BYTES,
  size: (hello) => 3 + helloFields.size(hello),
  write(writer, hello) {
    writer.u8(HELLO_TAG)
    writer.u8(hello.role === 'dialer' ? MESSAGE_DIALER_HELLO : MESSAGE_LISTENER_HELLO)
    writer.u8(HELLO_LAYOUT)
    helloFields.write(writer, hello)
  },
  read(reader) {
    const tag = reader.u8()
    const kind = reader.u8()
    if (tag !== HELLO_TAG || (kind !== MESSAGE_DIALER_HELLO && kind !== MESSAGE_LISTENER_HELLO)) throw malformed('unexpected tag')
    if (reader.u8() !== HELLO_LAYOUT) throw malformed('unknown layout')
    return { role: kind === MESSAGE_DIALER_HELLO ? 'dialer' : 'listener', ...helloFields.read(reader) }
  },
}

/** What a dialer knows of the chain of the identity it looks for. */
export interface KnownExtension {
  /** -1: nothing. */
  readonly index: number
  /** It was shown two contradicting chains (PN-6), which the identity's owner should hear of. */
  readonly forked: boolean
}

const NOTHING_KNOWN = 0xffff_ffff

export const knownExtension: Codec<KnownExtension> = mapped(
  struct<{ readonly index: number; readonly flags: number }>({ index: u32, flags: u8 }),
  ({ index, flags }) => ({ index: index === NOTHING_KNOWN ? -1 : index, forked: (flags & 1) !== 0 }),
  ({ index, forked }) => ({ index: index < 0 ? NOTHING_KNOWN : index, flags: forked ? 1 : 0 }),
)

const verdictCodec: Codec<VerdictMessage> = struct({ code: u16, detail: text(MAX_DETAIL_BYTES) })

/** @throws TypeError when a field does not fit. */
export function encodeHello(message: HelloMessage): Uint8Array {
  const encoded = encode(helloCodec, message)
  if (encoded.length > MAX_HELLO_BYTES) throw new TypeError(`a HELLO takes at most ${MAX_HELLO_BYTES} bytes, got ${encoded.length}`)
  return encoded
}

/** @throws KithError `WIRE_MALFORMED`. */
export function decodeHello(message: Uint8Array): HelloMessage {
  return decode(helloCodec, message)
}

export const PROOF_BYTES: Readonly<Record<0 | 1, number>> = { 0: 67, 1: 67 + MLDSA_SIGNATURE_BYTES }

export function encodeProof(proof: ProofMessage): Uint8Array {
  const hybrid = proof.mldsa !== undefined
  if (proof.signature.length !== 64 || (proof.mldsa !== undefined && proof.mldsa.length !== MLDSA_SIGNATURE_BYTES))
    throw new TypeError('signature of a wrong length')
  if (hybrid !== (proof.suite === SUITE_HYBRID)) throw new TypeError('the suite does not match the signatures')
  const out = new Uint8Array(PROOF_BYTES[hybrid ? 1 : 0])
  out[0] = HELLO_TAG
  out[1] = proof.role === 'listener' ? MESSAGE_LISTENER_PROOF : MESSAGE_DIALER_PROOF
  out[2] = proof.suite
  out.set(proof.signature, 3)
  if (proof.mldsa !== undefined) out.set(proof.mldsa, 67)
  return out
}

/** @throws KithError `WIRE_MALFORMED`. */
export function decodeProof(message: Uint8Array): ProofMessage {
  const [tag, kind, suite] = message
  if (tag !== HELLO_TAG || (kind !== MESSAGE_LISTENER_PROOF && kind !== MESSAGE_DIALER_PROOF)) throw malformed('unexpected tag')
  if (suite !== SUITE_ED25519 && suite !== SUITE_HYBRID) throw malformed('unknown suite')
  if (message.length !== PROOF_BYTES[suite]) throw malformed('length out of range', { length: message.length, suite })
  return {
    role: kind === MESSAGE_LISTENER_PROOF ? 'listener' : 'dialer',
    suite,
    signature: message.slice(3, 67) as Signature,
    mldsa: suite === SUITE_HYBRID ? message.slice(67) : undefined,
  }
}

/** A detail that is too long is cut; the code is what counts. */
export function encodeVerdict(code: number, detail = ''): Uint8Array {
  return concat(VERDICT_HEAD, encode(verdictCodec, { code, detail: cut(detail) }))
}

/** @throws KithError `WIRE_MALFORMED`. */
export function decodeVerdict(message: Uint8Array): VerdictMessage {
  if (messageKind(message) !== MESSAGE_VERDICT) throw malformed('unexpected tag')
  return decode(verdictCodec, message.subarray(2))
}

/** How much of the dialer's chain is known (-1: nothing): the detail of a verdict `CHAIN_STALE`, so that it can show what is missing, and of a verdict 0 to a machine that is behind its own identity. */
export function staleDetail(haveIndex: number): string {
  return `have ${haveIndex}`
}

/** Undefined for anything else than `staleDetail` gives. */
export function readStaleDetail(detail: unknown): number | undefined {
  const match = typeof detail === 'string' ? /^have (-1|\d{1,7})$/.exec(detail) : null
  return match === null ? undefined : Number(match[1])
}

/** The detail of a verdict 0 to an identity of which two contradicting chains are known. */
export const FORKED_DETAIL = 'two histories of this identity are known here'

export function encodeRefuse(code: number): Uint8Array {
  return Uint8Array.of(HELLO_TAG, MESSAGE_REFUSE, code >> 8, code & 0xff)
}

/** The code of a REFUSE, or undefined when the message is something else. */
export function decodeRefuse(message: Uint8Array): number | undefined {
  const [tag, kind, high, low] = message
  if (message.length !== 4 || tag !== HELLO_TAG || kind !== MESSAGE_REFUSE) return undefined
  return ((high as number) << 8) | (low as number)
}

/** The message number, for telling kinds apart before decoding. */
export function messageKind(message: Uint8Array): number | undefined {
  return message.length >= 2 && message[0] === HELLO_TAG ? message[1] : undefined
}

function cut(detail: string): string {
  let out = detail
  while (Buffer.byteLength(out) > MAX_DETAIL_BYTES) out = out.slice(0, -1)
  // Half of a surrogate pair has no UTF-8 form: drop it rather than send a replacement character.
  return out.isWellFormed() ? out : out.slice(0, -1)
}
