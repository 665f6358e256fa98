import { concat } from '../core/bytes.ts'
import { bytes, type Codec, decode, encode, malformed, struct } from '../core/codec.ts'
import { KithError } from '../core/errors.ts'
import { MAX_BINDING_BYTES } from '../identity/binding.ts'
import { type ProofKind, VIOLATION_KINDS } from './violations.ts'

/**
 * # Evidence that proves itself (PN-10, rule 3)
 *
 * Bytes that carry an identity's or a machine's own signatures under two things that no correct node signs both of. Whoever has them can check them without
 * knowing or trusting anybody; who passed them on does not matter. They travel as payload of records on `trust:evidence`.
 *
 * ```text
 * evidence     = u8 1 || u8 kind || body                                                  at most 60 KiB, so that the record around it stays below 64
 * 4 equivocation             bytes binding(<= 16 KiB) || bytes chain || bytes envelope || bytes envelope
 *                            two live envelopes of one (device, session, seq), or two records of one (device, topic, epoch, seq), the smaller id first;
 *                            binding and chain show that the device is the identity's
 * 5 chain fork               bytes chain || bytes chain          two valid histories of one identity that end in a rotation at one index to different keys,
 *                            the one with the smaller head first
 * 6 conflicting ledger entries                                   carried for later versions: this one neither makes nor judges any
 * ```
 *
 * Not provided: a proof of what does not fit. Two envelopes with large payloads are held against the device by those who saw them, and cannot be shown to others.
 */
export const EVIDENCE_TOPIC = 'trust:evidence'
export const MAX_PROOF_BYTES: number = 60 * 1024
const VERSION = 1

export interface EquivocationEvidence {
  readonly kind: 'equivocation'
  readonly binding: Uint8Array
  readonly chain: Uint8Array
  readonly first: Uint8Array
  readonly second: Uint8Array
}

export interface ChainForkEvidence {
  readonly kind: 'chain-fork'
  readonly first: Uint8Array
  readonly second: Uint8Array
}

export interface CarriedEvidence {
  readonly kind: 'conflicting-ledger-entries'
  readonly body: Uint8Array
}

export type Evidence = EquivocationEvidence | ChainForkEvidence | CarriedEvidence

const part = bytes(MAX_PROOF_BYTES)

const equivocationCodec: Codec<Omit<EquivocationEvidence, 'kind'>> = struct<Omit<EquivocationEvidence, 'kind'>>({
  binding: bytes(MAX_BINDING_BYTES),
  chain: part,
  first: part,
  second: part,
})

const chainForkCodec: Codec<Omit<ChainForkEvidence, 'kind'>> = struct<Omit<ChainForkEvidence, 'kind'>>({ first: part, second: part })

const KINDS: readonly ProofKind[] = ['equivocation', 'chain-fork', 'conflicting-ledger-entries']

/** @throws KithError `MESSAGE_TOO_LARGE` for what cannot travel. */
export function encodeEvidence(evidence: Evidence): Uint8Array {
  const size = evidence.kind === 'conflicting-ledger-entries' ? evidence.body.length : sizeOf(evidence)
  if (2 + size > MAX_PROOF_BYTES) throw new KithError('MESSAGE_TOO_LARGE', 'the evidence is too large to travel', { details: { size, limit: MAX_PROOF_BYTES } })
  return concat(Uint8Array.of(VERSION, VIOLATION_KINDS.indexOf(evidence.kind)), encodeBody(evidence))
}

/**
 * What evidence says, unverified. @throws KithError `WIRE_MALFORMED` for anything but one canonical encoding; `VERSION_UNSUPPORTED` for a version or kind of
 * later days.
 */
export function decodeEvidence(encoded: Uint8Array): Evidence {
  if (encoded.length < 2 || encoded.length > MAX_PROOF_BYTES) throw malformed('length out of range', { length: encoded.length, max: MAX_PROOF_BYTES })
  const kind = KINDS.find((one) => VIOLATION_KINDS.indexOf(one) === encoded[1])
  if (encoded[0] !== VERSION || kind === undefined) throw new KithError('VERSION_UNSUPPORTED', 'the evidence is of a version or kind this node does not know')
  const body = encoded.subarray(2)
  if (kind === 'equivocation') return { kind, ...decode(equivocationCodec, body) }
  if (kind === 'chain-fork') return { kind, ...decode(chainForkCodec, body) }
  return { kind, body: Uint8Array.from(body) }
}

function sizeOf(evidence: EquivocationEvidence | ChainForkEvidence): number {
  const parts = evidence.kind === 'equivocation' ? [evidence.binding, evidence.chain, evidence.first, evidence.second] : [evidence.first, evidence.second]
  // Lengths take at most three bytes each.
  return parts.reduce((sum, { length }) => sum + 3 + length, 0)
}

function encodeBody(evidence: Evidence): Uint8Array {
  if (evidence.kind === 'equivocation') return encode(equivocationCodec, evidence)
  return evidence.kind === 'chain-fork' ? encode(chainForkCodec, evidence) : evidence.body
}
