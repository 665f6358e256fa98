import { malformed } from '../core/codec.ts'
import type { KithError } from '../core/errors.ts'
import { copied } from './payload.ts'
import { MAX_STATEMENT_BYTES } from './statement.ts'

/**
 * # Call protocol `icn/call/1`
 *
 * One stream carries the calls of its opener for as long as there are any; the acceptor answers on it. Whoever wants to call the other way opens one too.
 *
 * ```text
 * stream   = frame*                     both directions
 * frame    = u32 length || u8 kind || u32 call || body           length counts from `kind`, at most 64 KiB; big-endian
 *
 * kind          from     body
 * 1 REQUEST     opener   u8 flags || u8 form || path || [16 trace] || [8 parent] || [u32 ms] || [event] || [u16 n || n statement] || payload
 * 2 ITEM        both     u8 form || [event] || payload           one of a stream: inputs, or answers
 * 3 END         both     u8 form || payload                      opener: no more inputs (form 0); acceptor: the answer, or the end of a stream (form 0)
 * 4 ERROR       acceptor u8 form || code || u16 n || n message (UTF-8) || payload (details)
 * 5 CANCEL      opener   u8 0 gave up | 1 out of time
 * 6 CREDIT      both     u32 bytes                               so much more payload of this call may be sent here
 * 7 CHUNK       both     u8 more (0|1) || bytes                  goes on with a payload
 *
 * flags    1 items wanted · 2 inputs follow · 4 trace · 8 parent · 16 ms left · 32 event · 64 repeated · 128 statement
 * form     bits 0-1: 0 nothing, 1 JSON, 2 CBOR, 3 raw bytes · bit 2: chunked, `u32 total` stands before the payload · bit 3: event id (acceptor's ITEM)
 * path, event, code = u8 length || ASCII
 * ```
 *
 * Calls are numbered from 1 upwards by the opener; a number is used once. Each REQUEST is answered by exactly one END or ERROR of the acceptor, also after a CANCEL.
 * The payloads of one call and direction may take 64 KiB until CREDIT says more; credit is of the call, so one slow reader holds back nobody else. A payload of more
 * than 32 KiB goes in chunks between which other calls go. Time is what is left, never a date: clocks differ.
 *
 * What crosses on the way is legal and ignored: CANCEL, CREDIT, ITEM, CHUNK, END for a call that the acceptor has ended. Everything else out of order, and every
 * other encoding of the same, resets the stream with `WIRE_MALFORMED`; the calls on it end in one retryable error.
 */
export const CALL_PROTOCOL = 'icn/call/1'

export const KIND_REQUEST = 1
export const KIND_ITEM = 2
export const KIND_END = 3
export const KIND_ERROR = 4
export const KIND_CANCEL = 5
export const KIND_CREDIT = 6
export const KIND_CHUNK = 7

export const FLAG_ITEMS = 1
export const FLAG_INPUTS = 2
export const FLAG_TRACE = 4
export const FLAG_PARENT = 8
export const FLAG_DEADLINE = 16
export const FLAG_EVENT = 32
export const FLAG_REPEATED = 64
export const FLAG_STATEMENT = 128

export const FORM_MASK = 3
export const FORM_CHUNKED = 4
export const FORM_EVENT = 8

export const MAX_FRAME_BYTES: number = 64 * 1024
/** Kind and number. */
export const HEAD_BYTES = 5
/** The longest payload that goes in one frame, and the longest piece of a longer one. */
export const PIECE_BYTES: number = 32 * 1024
/** Payload of one call and direction before any CREDIT. */
export const INITIAL_CREDIT: number = 64 * 1024
export const MAX_CREDIT = 0x7fff_ffff
export const MAX_EVENT_ID = 128
export const MAX_CALL = 0xffff_ffff
const MAX_DEADLINE_MS = 0xffff_ffff
const MAX_CODE = 64

/** A REQUEST as read; the payload is `data[at..end]`. */
export interface RequestHead {
  readonly flags: number
  readonly form: number
  readonly path: string
  readonly traceId: string | undefined
  readonly parentId: string | undefined
  readonly deadlineMs: number | undefined
  readonly lastEventId: string | undefined
  readonly statement: Uint8Array | undefined
  /** Of a chunked payload. */
  readonly total: number
  readonly at: number
}

/** A position in a frame that does not pass its end. */
export class Cursor {
  data: Buffer = Buffer.alloc(0)
  at = 0
  end = 0

  set(data: Buffer, at: number, end: number): this {
    this.data = data
    this.at = at
    this.end = end
    return this
  }

  u8(): number {
    if (this.at >= this.end) throw malformed('ends too early')
    return this.data[this.at++] as number
  }

  u16(): number {
    return this.u8() * 256 + this.u8()
  }

  u32(): number {
    const at = this.take(4)
    const { data } = this
    return (data[at] as number) * 0x100_0000 + (((data[at + 1] as number) << 16) | ((data[at + 2] as number) << 8) | (data[at + 3] as number))
  }

  /** Where so many bytes begin. */
  take(length: number): number {
    const at = this.at
    if (this.end - at < length) throw malformed('ends too early')
    this.at = at + length
    return at
  }

  hex(length: number): string {
    const at = this.take(length)
    return this.data.toString('hex', at, at + length)
  }

  /** u8 length || visible ASCII. */
  ascii(limit: number): string {
    const length = this.u8()
    if (length === 0 || length > limit) throw malformed('length of a text', { length })
    const at = this.take(length)
    for (let i = at; i < at + length; i++) {
      const byte = this.data[i] as number
      if (byte < 0x21 || byte > 0x7e) throw malformed('not visible ASCII')
    }
    return this.data.toString('latin1', at, at + length)
  }
}

/** @throws KithError `WIRE_MALFORMED` */
export function readRequest(cursor: Cursor): RequestHead {
  const flags = cursor.u8()
  const form = cursor.u8()
  if (form > 7) throw malformed('form of a payload', { form })
  const path = cursor.ascii(255)
  const traceId = (flags & FLAG_TRACE) === 0 ? undefined : cursor.hex(16)
  const parentId = (flags & FLAG_PARENT) === 0 ? undefined : cursor.hex(8)
  const deadlineMs = (flags & FLAG_DEADLINE) === 0 ? undefined : cursor.u32()
  const lastEventId = (flags & FLAG_EVENT) === 0 ? undefined : cursor.ascii(MAX_EVENT_ID)
  let statement: Uint8Array | undefined
  if ((flags & FLAG_STATEMENT) !== 0) {
    const length = cursor.u16()
    if (length === 0 || length > MAX_STATEMENT_BYTES) throw malformed('length of a statement', { length })
    const at = cursor.take(length)
    statement = copied(cursor.data, at, at + length)
  }
  if ((flags & FLAG_INPUTS) !== 0 && form !== 0) throw malformed('an input beside a stream of inputs')
  const total = readTotal(cursor, form)
  return { flags, form, path, traceId, parentId, deadlineMs, lastEventId, statement, total, at: cursor.at }
}

/** `u32 total` of a chunked payload, else 0. A first piece is never the whole. */
export function readTotal(cursor: Cursor, form: number): number {
  if ((form & FORM_CHUNKED) === 0) return 0
  if ((form & FORM_MASK) === 0) throw malformed('nothing in chunks')
  const total = cursor.u32()
  if (total <= cursor.end - cursor.at) throw malformed('a piece longer than the whole')
  return total
}

export interface ErrorHead {
  readonly code: string
  readonly message: string
  readonly form: number
}

/** @throws KithError `WIRE_MALFORMED` */
export function readError(cursor: Cursor): ErrorHead {
  const form = cursor.u8()
  if (form > 1) throw malformed('form of details', { form })
  const code = cursor.ascii(MAX_CODE)
  const length = cursor.u16()
  const at = cursor.take(length)
  return { form, code, message: cursor.data.toString('utf8', at, at + length) }
}

/** What is written before the payload of a REQUEST. */
export interface RequestFields {
  readonly path: string
  readonly traceId?: string | undefined
  readonly parentId?: string | undefined
  readonly deadlineMs?: number | undefined
  readonly lastEventId?: string | undefined
  readonly statement?: Uint8Array | undefined
  readonly repeated?: boolean | undefined
  readonly items: boolean
  readonly inputs: boolean
}

/** The most that `writeRequest` writes. */
export function requestBytes(fields: RequestFields): number {
  return 2 + 1 + fields.path.length + 16 + 8 + 4 + 1 + MAX_EVENT_ID + 2 + (fields.statement?.length ?? 0)
}

const HEX_32 = /^[0-9a-f]{32}$/
const HEX_16 = /^[0-9a-f]{16}$/
const ASCII = /^[\x21-\x7e]{1,128}$/
const PATH = /^[\x21-\x7e]{1,255}$/

/** The next call is mostly to the same place. */
let lastPath: string | undefined

/** @throws TypeError for a field that has no place on the wire. */
export function checkRequest(fields: RequestFields): void {
  if (fields.path !== lastPath) {
    if (!PATH.test(fields.path)) throw new TypeError('a path is /node/service/op or service/op')
    lastPath = fields.path
  }
  if (fields.traceId !== undefined && !HEX_32.test(fields.traceId)) throw new TypeError('a trace id is 16 bytes in hex')
  if (fields.parentId !== undefined && !HEX_16.test(fields.parentId)) throw new TypeError('a parent id is 8 bytes in hex')
  if (fields.deadlineMs !== undefined && !(fields.deadlineMs >= 0)) throw new TypeError('a deadline is a number of ms')
  if (fields.lastEventId !== undefined && !ASCII.test(fields.lastEventId)) throw new TypeError('the id of an event is 1 to 128 visible ASCII characters')
  if (fields.statement !== undefined && fields.statement.length > MAX_STATEMENT_BYTES) throw new TypeError('a statement is too long')
}

/** Everything of the body up to the payload. Returns where it ends. */
export function writeRequest(into: Buffer, start: number, fields: RequestFields, form: number): number {
  const { path, traceId, parentId, deadlineMs, lastEventId, statement } = fields
  let flags = (fields.items ? FLAG_ITEMS : 0) | (fields.inputs ? FLAG_INPUTS : 0) | (fields.repeated === true ? FLAG_REPEATED : 0)
  into[start + 1] = form
  let at = writeAscii(into, start + 2, path)
  if (traceId !== undefined) {
    flags |= FLAG_TRACE
    at += into.write(traceId, at, 16, 'hex')
  }
  if (parentId !== undefined) {
    flags |= FLAG_PARENT
    at += into.write(parentId, at, 8, 'hex')
  }
  if (deadlineMs !== undefined) {
    flags |= FLAG_DEADLINE
    at = writeU32(into, at, Math.min(Math.floor(deadlineMs), MAX_DEADLINE_MS))
  }
  if (lastEventId !== undefined) {
    flags |= FLAG_EVENT
    at = writeAscii(into, at, lastEventId)
  }
  if (statement !== undefined && statement.length > 0) {
    flags |= FLAG_STATEMENT
    into[at] = statement.length >>> 8
    into[at + 1] = statement.length & 0xff
    into.set(statement, at + 2)
    at += 2 + statement.length
  }
  into[start] = flags
  return at
}

export function writeAscii(into: Buffer, at: number, text: string): number {
  into[at] = text.length
  return at + 1 + into.write(text, at + 1, text.length, 'latin1')
}

export function writeU32(into: Buffer, at: number, value: number): number {
  into[at] = value >>> 24
  into[at + 1] = (value >>> 16) & 0xff
  into[at + 2] = (value >>> 8) & 0xff
  into[at + 3] = value & 0xff
  return at + 4
}

/** What a peer did that no race explains. */
export function violation(reason: string): KithError {
  return malformed(reason)
}
