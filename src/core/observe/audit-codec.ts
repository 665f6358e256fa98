import { bytesN, type Codec, constant, decode, encode, list, malformed, mapped, struct, text, uint53 } from '../codec.ts'
import { hashLabeled } from '../crypto/labels.ts'
import type { AuditEvent } from './audit.ts'

/**
 * # Rows of the audit log
 *
 * ```text
 * row    = u8 1 || u64 seq || u64 time_ms || actor(<= 128) || action(<= 32) || subject(<= 512) || reason(<= 1024)
 *       || list<name(<= 32) || value>(<= 16), names rising
 * value  = 00 text(<= 256) | 01 number, as the shortest text that reads back as the same | 02 u8 boolean
 * hash   = H("icn/audit-row/v1", bytes32 hash of the row before || row)               zeros before row 1
 * stored = bytes32 hash || row                                                          under its seq
 * head   = u8 1 || u64 seq || bytes32 hash || u64 anchor_seq || bytes32 anchor_hash     written in one batch with each row
 * ```
 *
 * The anchor is the last row that retention took away: the first one kept follows it.
 */
const ROW_LABEL = 'icn/audit-row/v1'
export const HASH_BYTES = 32
const MAX_DETAILS = 16

type AuditValue = string | number | boolean

export interface AuditBody extends Omit<AuditEvent, 'details'> {
  readonly seq: number
  readonly timeMs: number
  readonly details: readonly AuditDetail[]
}

interface AuditDetail {
  readonly name: string
  readonly value: AuditValue
}

/** Where the chain ends, and where what is kept of it begins. */
export interface AuditHead {
  readonly seq: number
  readonly hash: Uint8Array
  readonly anchorSeq: number
  readonly anchorHash: Uint8Array
}

const shortText = text(256)
const numberText: Codec<number> = mapped(
  text(32),
  (given) => {
    const value = Number(given)
    if (!Number.isFinite(value) || String(value) !== given) throw malformed('number of a detail')
    return value
  },
  String,
)

const valueCodec: Codec<AuditValue> = {
  min: 2,
  max: 1 + shortText.max,
  size: (value) => 1 + (typeof value === 'boolean' ? 1 : typeof value === 'number' ? numberText.size(value) : shortText.size(value)),
  write(writer, value) {
    writer.u8(typeof value === 'string' ? 0 : typeof value === 'number' ? 1 : 2)
    if (typeof value === 'string') shortText.write(writer, value)
    else if (typeof value === 'number') numberText.write(writer, value)
    else writer.u8(value ? 1 : 0)
  },
  read(reader) {
    const kind = reader.u8()
    if (kind === 0) return shortText.read(reader)
    if (kind === 1) return numberText.read(reader)
    const value = reader.u8()
    if (kind !== 2 || value > 1) throw malformed('value of a detail')
    return value === 1
  },
}

export const auditRowCodec: Codec<AuditBody & { _version: undefined }> = struct<AuditBody & { _version: undefined }>({
  _version: constant(1),
  seq: uint53,
  timeMs: uint53,
  actor: text(128),
  action: text(32),
  subject: text(512),
  reason: text(1024),
  details: mapped(
    list(struct<AuditDetail>({ name: text(32), value: valueCodec }), MAX_DETAILS),
    (details) => {
      details.forEach(({ name }, at) => {
        const before = details[at - 1]
        if (before !== undefined && before.name >= name) throw malformed('details out of order')
      })
      return details
    },
    (details) => details,
  ),
})

export const auditHeadCodec: Codec<AuditHead & { _version: undefined }> = struct<AuditHead & { _version: undefined }>({
  _version: constant(1),
  seq: uint53,
  hash: bytesN(HASH_BYTES),
  anchorSeq: uint53,
  anchorHash: bytesN(HASH_BYTES),
})

/** @throws TypeError when a field does not fit its limit. */
export function encodeAuditRow(event: AuditEvent, seq: number, timeMs: number): Uint8Array {
  const { actor, action, subject, reason } = event
  const details = Object.entries(event.details ?? {})
    .map(([name, value]) => ({ name, value }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
  for (const { name, value } of details) {
    if (typeof value === 'number' && !Number.isFinite(value)) throw new TypeError(`the detail ${name} is not a number`)
    if (typeof value === 'string' && !isPlain(value)) throw new TypeError(`the detail ${name} has control characters`)
  }
  if (![actor, action, subject, reason].every(isPlain)) throw new TypeError('a row of the audit log has no control characters')
  return encode(auditRowCodec, { _version: undefined, seq, timeMs, actor, action, subject, reason, details })
}

/** @throws KithError `WIRE_MALFORMED`. */
export function decodeAuditRow(row: Uint8Array): AuditBody {
  const { _version, ...body } = decode(auditRowCodec, row)
  return body
}

export function auditHash(before: Uint8Array, row: Uint8Array): Uint8Array {
  return hashLabeled(ROW_LABEL, before, row)
}

/** Rows are shown on terminals. */
function isPlain(given: string): boolean {
  return !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u.test(given)
}
