import { concat } from '../../core/bytes.ts'
import { bytes, bytesN, type Codec, decode, encode, list, malformed, mapped, option, Reader, struct, u8, u16, u32, uint53 } from '../../core/codec.ts'
import { MAX_RECORD_BYTES } from '../sealed/peer-record-codec.ts'
import { MAX_RECIPIENTS, MAX_SEALED_BYTES, MSG_ID_BYTES } from '../sealed/sealed-codec.ts'

/**
 * # `icn/mailbox/1`: leave a sealed message, fetch what was left (PN-9)
 *
 * One request per stream, then the asker's end; one answer, then the end.
 *
 * ```text
 * PUT     01 01 | sealed message                        answer 01 00 | u8 kept: 1 in the addressee's inbox, 2 in a mailbox
 *                                                       answer 01 01 | bytes record: sealed to a key that is gone, here is a fresh one
 * LIST    01 02 | option<msg_id 16> after | u16 limit   answer 01 00 | list<msg_id 16 | u64 expires_ms | u32 bytes>(<= 256) | u8 more
 * GET     01 03 | msg_id 16                             answer 01 00 | sealed message
 * DELETE  01 04 | list<msg_id 16>(1..64)                answer 01 00 | u16 number of those that were there
 * ```
 *
 * Everything else is refused by a reset: MESSAGE_EXPIRED, MESSAGE_EARLY, MAILBOX_REFUSED, MAILBOX_FULL, INBOX_FULL, RATE_LIMITED, BUDGET_EXCEEDED, NOT_FOUND,
 * WIRE_MALFORMED, and what the check of the message inside found.
 *
 * A PUT that was answered is durable. The same message again is answered the same. LIST, GET and DELETE only ever see what is kept for the identity at the other
 * end of the link, and of that what is sealed to the asking machine; a message goes when every machine it is sealed to has deleted it.
 *
 * ## `icn/record/1`: the peer records of an identity
 *
 * ```text
 * request  01 | did 32                    answer  01 | list<bytes record envelope>(<= 16)
 * ```
 *
 * Shown are the own ones, the asker's, and those of book peers to book peers.
 */
export const MAILBOX_PROTOCOL = 'icn/mailbox/1'
export const RECORD_PROTOCOL = 'icn/record/1'
const VERSION = 1
export const MAX_LIST = 256
export const MAX_DELETE = 64
/** What is needed to know the kind of a request: version and operation. */
export const HEAD_BYTES = 2

export const OPERATION = { put: 1, list: 2, get: 3, delete: 4 } as const
const STATUS_DONE = 0
const STATUS_NEED_PREKEY = 1

const msgId: Codec<Uint8Array> = bytesN(MSG_ID_BYTES)

interface ListBody {
  readonly after: Uint8Array | undefined
  readonly limit: number
}
const listBody: Codec<ListBody> = struct<ListBody>({ after: option(msgId), limit: u16 })
const deleteBody: Codec<readonly Uint8Array[]> = list(msgId, MAX_DELETE)

export type MailboxRequest =
  | { readonly op: 'put'; readonly sealed: Uint8Array }
  | ({ readonly op: 'list' } & ListBody)
  | { readonly op: 'get'; readonly msgId: Uint8Array }
  | { readonly op: 'delete'; readonly msgIds: readonly Uint8Array[] }

export function encodeRequest(request: MailboxRequest): Uint8Array {
  const head = Uint8Array.of(VERSION, OPERATION[request.op])
  switch (request.op) {
    case 'put':
      return concat(head, request.sealed)
    case 'list':
      return concat(head, encode(listBody, { after: request.after, limit: request.limit }))
    case 'get':
      return concat(head, encode(msgId, request.msgId))
    case 'delete':
      return concat(head, encode(deleteBody, request.msgIds))
  }
}

/** Which operation these first bytes ask for, and how long such a request may be. @throws KithError `WIRE_MALFORMED`. */
export function requestKind(head: Uint8Array): { readonly op: MailboxRequest['op']; readonly limit: number } {
  if (head.length < HEAD_BYTES || head[0] !== VERSION) throw malformed('mailbox request')
  switch (head[1]) {
    case OPERATION.put:
      return { op: 'put', limit: HEAD_BYTES + MAX_SEALED_BYTES }
    case OPERATION.list:
      return { op: 'list', limit: HEAD_BYTES + listBody.max }
    case OPERATION.get:
      return { op: 'get', limit: HEAD_BYTES + MSG_ID_BYTES }
    case OPERATION.delete:
      return { op: 'delete', limit: HEAD_BYTES + deleteBody.max }
    default:
      throw malformed('mailbox operation')
  }
}

/** @throws KithError `WIRE_MALFORMED`. What a PUT carries is not looked at here. */
export function decodeRequest(request: Uint8Array): MailboxRequest {
  const { op } = requestKind(request)
  const body = request.subarray(HEAD_BYTES)
  switch (op) {
    case 'put':
      return { op, sealed: body }
    case 'list': {
      const { after, limit } = decode(listBody, body)
      if (limit < 1 || limit > MAX_LIST) throw malformed('limit', { limit })
      return { op, after, limit }
    }
    case 'get':
      return { op, msgId: decode(msgId, body) }
    case 'delete': {
      const msgIds = decode(deleteBody, body)
      if (msgIds.length === 0) throw malformed('nothing to delete')
      return { op, msgIds }
    }
  }
}

export type Kept = 'inbox' | 'mailbox'
export type PutAnswer = { readonly kept: Kept } | { readonly record: Uint8Array }

const KEPT: readonly Kept[] = ['inbox', 'mailbox']
const keptCodec: Codec<Kept> = mapped(
  u8,
  (value) => {
    const kept = KEPT[value - 1]
    if (kept === undefined) throw malformed('where it was kept')
    return kept
  },
  (kept) => KEPT.indexOf(kept) + 1,
)
const recordCodec: Codec<Uint8Array> = bytes(MAX_RECORD_BYTES)

export function encodePutAnswer(answer: PutAnswer): Uint8Array {
  return 'kept' in answer
    ? concat(Uint8Array.of(VERSION, STATUS_DONE), encode(keptCodec, answer.kept))
    : concat(Uint8Array.of(VERSION, STATUS_NEED_PREKEY), encode(recordCodec, answer.record))
}

/** @throws KithError `WIRE_MALFORMED`. */
export function decodePutAnswer(answer: Uint8Array): PutAnswer {
  const reader = new Reader(answer)
  if (reader.u8() !== VERSION) throw malformed('mailbox answer')
  const status = reader.u8()
  const body = answer.subarray(HEAD_BYTES)
  if (status === STATUS_DONE) return { kept: decode(keptCodec, body) }
  if (status === STATUS_NEED_PREKEY) return { record: decode(recordCodec, body) }
  throw malformed('mailbox answer')
}

export interface ListedMessage {
  readonly msgId: Uint8Array
  readonly expiresMs: number
  readonly bytes: number
}
export interface ListAnswer {
  readonly messages: readonly ListedMessage[]
  readonly more: boolean
}
const flag: Codec<boolean> = mapped(
  u8,
  (value) => {
    if (value > 1) throw malformed('flag')
    return value === 1
  },
  (value) => (value ? 1 : 0),
)
const listAnswer: Codec<ListAnswer> = struct<ListAnswer>({
  messages: list(struct<ListedMessage>({ msgId, expiresMs: uint53, bytes: u32 }), MAX_LIST),
  more: flag,
})

export function encodeListAnswer(answer: ListAnswer): Uint8Array {
  return done(encode(listAnswer, answer))
}

/** @throws KithError `WIRE_MALFORMED`. */
export function decodeListAnswer(answer: Uint8Array): ListAnswer {
  return decode(listAnswer, doneBody(answer))
}

export function encodeGetAnswer(sealed: Uint8Array): Uint8Array {
  return done(sealed)
}

/** @throws KithError `WIRE_MALFORMED`. */
export function decodeGetAnswer(answer: Uint8Array): Uint8Array {
  return doneBody(answer)
}

export function encodeDeleteAnswer(count: number): Uint8Array {
  return done(encode(u16, count))
}

/** @throws KithError `WIRE_MALFORMED`. */
export function decodeDeleteAnswer(answer: Uint8Array): number {
  return decode(u16, doneBody(answer))
}

/** Longest answers, for those who read them. */
export const MAX_PUT_ANSWER: number = HEAD_BYTES + recordCodec.max
export const MAX_LIST_ANSWER: number = HEAD_BYTES + listAnswer.max
export const MAX_GET_ANSWER: number = HEAD_BYTES + MAX_SEALED_BYTES
export const MAX_DELETE_ANSWER: number = HEAD_BYTES + 2

interface RecordRequest {
  readonly version: number
  readonly did: Uint8Array
}
const recordRequest: Codec<RecordRequest> = struct<RecordRequest>({ version: versionCodec(), did: bytesN(32) })
interface RecordAnswer {
  readonly version: number
  readonly records: readonly Uint8Array[]
}
const recordAnswer: Codec<RecordAnswer> = struct<RecordAnswer>({ version: versionCodec(), records: list(recordCodec, MAX_RECIPIENTS) })
export const RECORD_REQUEST_BYTES = 33
export const MAX_RECORD_ANSWER: number = recordAnswer.max

export function encodeRecordRequest(did: Uint8Array): Uint8Array {
  return encode(recordRequest, { version: VERSION, did })
}

/** @throws KithError `WIRE_MALFORMED`. */
export function decodeRecordRequest(request: Uint8Array): Uint8Array {
  return decode(recordRequest, request).did
}

export function encodeRecordAnswer(records: readonly Uint8Array[]): Uint8Array {
  return encode(recordAnswer, { version: VERSION, records: records.slice(0, MAX_RECIPIENTS) })
}

/** @throws KithError `WIRE_MALFORMED`. */
export function decodeRecordAnswer(answer: Uint8Array): readonly Uint8Array[] {
  return decode(recordAnswer, answer).records
}

function versionCodec(): Codec<number> {
  return mapped(
    u8,
    (value) => {
      if (value !== VERSION) throw malformed('version')
      return value
    },
    (value) => value,
  )
}

function done(body: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(VERSION, STATUS_DONE), body)
}

function doneBody(answer: Uint8Array): Uint8Array {
  if (answer.length < HEAD_BYTES || answer[0] !== VERSION || answer[1] !== STATUS_DONE) throw malformed('mailbox answer')
  return answer.subarray(HEAD_BYTES)
}
