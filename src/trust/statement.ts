import { utf8 } from '../core/bytes.ts'
import { bytes, bytesN, type Codec, constant, decode, encode, list, malformed, mapped, option, struct, text, u8, u16, uint53 } from '../core/codec.ts'
import { parsePublicKey } from '../core/crypto/ed25519.ts'
import { isKithError } from '../core/errors.ts'
import { type Did, didPublicKey, formatDid } from '../identity/did.ts'
import { FULL, isBasisPoints } from './score.ts'
import type { EdgeEvidence, GraphKind, TrustStatement } from './types.ts'

/**
 * # Trust statement: the payload of an attestation
 *
 * Travels inside a record envelope (PN-7, class 3, type `trust`, hybrid) on the topic `trust:attestations`. The issuer is the envelope's `from`; signature,
 * domain tag and length prefixes are the envelope's and the codec's, so no field can be read as part of another.
 *
 * ```text
 * +----+------------+-------+-----------------+--------+------------+------------+----------+----------------+-----------------+
 * | 01 | subject 32 | graph | option<scope>   | weight | created_ms | expires_ms | sequence | list<label>    | list<evidence>  |
 * | u8 |            | u8    | text <= 128     | u16    | u64        | u64        | u64      | <= 10 x 128 B  | <= 20           |
 * +----+------------+-------+-----------------+--------+------------+------------+----------+----------------+-----------------+
 * evidence = u8 kind || bytes body (<= 4,096); all bodies of a statement <= 16 KiB         graph: 0 social, 1 economic, 2 technical
 * ```
 * Refused besides what the codec refuses: weight above 10000; sequence 0 or more than `MAX_SEQUENCE_LEAD` above `created_ms` (a thief of a device
 * cannot use up the numbers of its owner, who goes on with the time of day); a life of nothing or of more than 365 days; labels that are empty, not strictly
 * rising bytewise, or hold control or direction characters; a scope with anything but visible ASCII.
 */
export const MAX_LIFE_MS: number = 365 * 86_400_000
export const MAX_LABELS = 10
export const MAX_LABEL_BYTES = 128
export const MAX_SCOPE_BYTES = 128
export const MAX_EVIDENCE = 20
export const MAX_EVIDENCE_BYTES = 4_096
const MAX_EVIDENCE_TOTAL = 16_384
/** Statements are numbered by the time of day in ms, or one more than the last. */
export const MAX_SEQUENCE_LEAD = 1_000_000

export const GRAPHS: readonly GraphKind[] = ['social', 'economic', 'technical']

const graphCodec: Codec<GraphKind> = mapped(
  u8,
  (value) => GRAPHS[value] ?? fail('graph'),
  (graph) => GRAPHS.indexOf(graph),
)

function codecOf(subjectOf: (key: Uint8Array) => Did): Codec<TrustStatement> {
  return mapped(
    struct<TrustStatement & { readonly _version: undefined }>({
      _version: constant(1),
      subject: mapped(bytesN(32), subjectOf, didPublicKey),
      graph: graphCodec,
      scope: option(text(MAX_SCOPE_BYTES)),
      weight: u16,
      createdMs: uint53,
      expiresMs: uint53,
      sequence: uint53,
      labels: list(text(MAX_LABEL_BYTES), MAX_LABELS),
      evidence: list(struct<EdgeEvidence>({ kind: u8, body: bytes(MAX_EVIDENCE_BYTES) }), MAX_EVIDENCE),
    }),
    ({ _version, ...statement }) => {
      const fault = faultOf(statement)
      return fault === undefined ? statement : fail(fault)
    },
    (statement) => ({ ...statement, _version: undefined }),
  )
}

function subjectOf(key: Uint8Array): Did {
  try {
    return formatDid(parsePublicKey(key))
  } catch (error) {
    if (isKithError(error, 'KEY_INVALID')) throw malformed('subject')
    throw error
  }
}

export const statementCodec: Codec<TrustStatement> = codecOf(subjectOf)

/** @throws TypeError for a statement that no receiver would take. */
export function encodeStatement(statement: TrustStatement): Uint8Array {
  const fault = faultOf(statement)
  if (fault !== undefined) throw new TypeError(`not a trust statement: ${fault}`)
  return encode(statementCodec, statement)
}

/** @throws KithError `WIRE_MALFORMED`. */
export function decodeStatement(payload: Uint8Array): TrustStatement {
  return decode(statementCodec, payload)
}

/**
 * `decodeStatement` for a great many of them, as a graph is read from the store: each subject's key is looked at once, since that takes longer than all the rest.
 */
export function statementReader(): (payload: Uint8Array) => TrustStatement {
  const subjects = new Map<string, Did>()
  const codec = codecOf((key) => {
    const text = Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1')
    const subject = subjects.get(text) ?? subjectOf(key)
    subjects.set(text, subject)
    return subject
  })
  return (payload) => decode(codec, payload)
}

/** What is wrong with the values; `undefined`: nothing. */
function faultOf({ graph, scope, weight, createdMs, expiresMs, sequence, labels, evidence }: TrustStatement): string | undefined {
  if (!GRAPHS.includes(graph)) return 'graph'
  if (scope !== undefined && !isScope(scope)) return 'scope'
  if (!isBasisPoints(weight)) return `weight above ${FULL}`
  if (!Number.isSafeInteger(createdMs) || !Number.isSafeInteger(expiresMs) || !(expiresMs > createdMs && expiresMs - createdMs <= MAX_LIFE_MS)) return 'life'
  if (!Number.isSafeInteger(sequence) || sequence < 1 || sequence > createdMs + MAX_SEQUENCE_LEAD) return 'sequence'
  if (labels.length > MAX_LABELS || labels.some((label, at) => !isLabel(label) || (at > 0 && !rising(labels[at - 1] as string, label)))) return 'labels'
  if (evidence.length > MAX_EVIDENCE || evidence.reduce((sum, { body }) => sum + body.length, 0) > MAX_EVIDENCE_TOTAL) return 'evidence'
  return undefined
}

export function isScope(text: string): boolean {
  return text.length <= MAX_SCOPE_BYTES && /^[\x21-\x7e]+$/.test(text)
}

// C0, C1, and what turns the direction of text or breaks its line: a label is shown to people.
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused.
const UNFIT = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/

export function isLabel(text: string): boolean {
  return text !== '' && text.isWellFormed() && !UNFIT.test(text) && utf8(text).length <= MAX_LABEL_BYTES
}

function rising(before: string, after: string): boolean {
  return Buffer.compare(utf8(before), utf8(after)) < 0
}

/** Labels in the one order that is sent. */
export function sortLabels(labels: readonly string[]): readonly string[] {
  return [...new Set(labels)].sort((a, b) => Buffer.compare(utf8(a), utf8(b)))
}

function fail(reason: string): never {
  throw malformed(reason)
}
