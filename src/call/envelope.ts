import { malformed } from '../core/codec.ts'
import { ERROR_TABLE } from '../core/error-table.ts'
import type { KithError } from '../core/errors.ts'
import { type ErrorForm, errorForm, errorOfForm } from './errors.ts'
import { jsonText, parseJson, tooLarge } from './payload.ts'

/**
 * # Open form of calls
 *
 * What doors for programs that are no Kith nodes speak: raw framing on TCP and unix sockets, and the control channel of the SSH door.
 * There is no event for further inputs: an operation that takes a stream of them gets the one of `call.requested`.
 *
 * ```text
 * frame    = u32 length (big-endian, 1..limit) || UTF-8 JSON {"type": TYPE, "id": ID, "payload": ANY}
 *
 * call.requested   {"operationId":"/node/service/op", "input":ANY, "deadline"?: ms since 1970, "traceId"?, "lastEventId"?}
 * call.responded   {"output":ANY, "eventId"?}         once for a query, any number of times for a subscription
 * call.completed   {}                                 the last word of a call that went well
 * call.aborted     {}                                 by the caller: ends it; by the callee: it was ended
 * call.error       {"code", "message", "retryable", "details"?}
 * ```
 *
 * Either side may ask; answers are told apart by `id` alone, which is the asker's. `call.aborted` for an id that is not under way is ignored: it may have crossed
 * the last word. Anything in a payload that says who the caller is, or on whose behalf, is ignored: that is known from how it came in. A frame that cannot be read
 * ends the connection, since nothing behind it can be.
 */
export const ENVELOPE_TYPES = ['call.requested', 'call.responded', 'call.completed', 'call.aborted', 'call.error'] as const
export type EnvelopeType = (typeof ENVELOPE_TYPES)[number]

/** Longest frame unless the door says otherwise, and the most that one may say. */
export const DEFAULT_ENVELOPE_BYTES: number = 4 * 1024 * 1024
export const MAX_ENVELOPE_BYTES: number = 64 * 1024 * 1024
const HEAD_BYTES = 4
const MAX_ID = 128

export interface Envelope {
  readonly type: EnvelopeType
  readonly id: string
  readonly payload: unknown
}

/** @throws TypeError for a payload without JSON. @throws KithError `MESSAGE_TOO_LARGE` */
export function encodeEnvelope({ type, id, payload }: Envelope, limit: number = DEFAULT_ENVELOPE_BYTES): Buffer {
  const text = jsonText({ type, id, payload })
  // No character takes less than a byte.
  if (text.length > limit) throw tooLarge(text.length, limit)
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + 3 * text.length)
  const length = bytes.write(text, HEAD_BYTES, 'utf8')
  if (length > limit) throw tooLarge(length, limit)
  bytes.writeUInt32BE(length)
  return bytes.subarray(0, HEAD_BYTES + length)
}

/** Cuts bytes into envelopes. */
export class EnvelopeReader {
  readonly #limit: number
  #head = 0
  #headBytes = 0
  #body: Buffer | undefined
  #filled = 0

  constructor(limit: number = DEFAULT_ENVELOPE_BYTES) {
    if (!(limit >= 1 && limit <= MAX_ENVELOPE_BYTES)) throw new TypeError(`frames are 1 to ${MAX_ENVELOPE_BYTES} bytes`)
    this.#limit = limit
  }

  /** Whether a frame has begun and not ended. */
  get open(): boolean {
    return this.#headBytes > 0
  }

  /** @throws KithError `WIRE_MALFORMED`, `MESSAGE_TOO_LARGE` before anything of such a frame is held. Nothing can be read behind it. */
  push(chunk: Buffer, onEnvelope: (envelope: Envelope) => void): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#headBytes < HEAD_BYTES) {
        this.#head = this.#head * 256 + (chunk[at++] as number)
        if (++this.#headBytes === HEAD_BYTES) {
          if (this.#head === 0) throw malformed('a frame of no length')
          if (this.#head > this.#limit) throw tooLarge(this.#head, this.#limit)
        }
        continue
      }
      if (this.#body === undefined && chunk.length - at >= this.#head) {
        const length = this.#head
        this.#begin()
        onEnvelope(readEnvelope(chunk, at, at + length))
        at += length
        continue
      }
      at += this.#fill(chunk, at)
      const body = this.#body
      if (body === undefined || this.#filled < this.#head) continue
      const length = this.#head
      this.#body = undefined
      this.#begin()
      onEnvelope(readEnvelope(body, 0, length))
    }
  }

  #begin(): void {
    this.#head = 0
    this.#headBytes = 0
    this.#filled = 0
  }

  /** What is announced is believed only as far as it came: the buffer doubles. */
  #fill(chunk: Buffer, at: number): number {
    const count = Math.min(chunk.length - at, this.#head - this.#filled)
    const needed = this.#filled + count
    if (this.#body === undefined || this.#body.length < needed) {
      const grown = Buffer.allocUnsafe(Math.min(this.#head, Math.max(needed, 2 * (this.#body?.length ?? 2_048))))
      this.#body?.copy(grown, 0, 0, this.#filled)
      this.#body = grown
    }
    chunk.copy(this.#body, this.#filled, at, at + count)
    this.#filled += count
    return count
  }
}

function readEnvelope(data: Buffer, at: number, end: number): Envelope {
  const value = parseJson(data, at, end)
  if (!isRecord(value)) throw malformed('an envelope is an object')
  const { type, id, payload } = value
  if (typeof type !== 'string' || !(ENVELOPE_TYPES as readonly string[]).includes(type)) throw malformed('type of an envelope')
  if (typeof id !== 'string' || id.length === 0 || id.length > MAX_ID) throw malformed('id of an envelope')
  return { type: type as EnvelopeType, id, payload }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The open form has names of its own for what every call may meet. */
const OPEN_CODES: Readonly<Record<string, string>> = {
  CALL_UNKNOWN: 'NOT_FOUND',
  CALL_DENIED: 'FORBIDDEN',
  CALL_INPUT: 'INVALID_INPUT',
  CALL_TIMEOUT: 'TIMEOUT',
  CALL_FAILED: 'INTERNAL',
  WORKER_LOST: 'INTERNAL',
  BUDGET_EXCEEDED: 'RESOURCE_EXHAUSTED',
}
const CODES: Readonly<Record<string, string>> = {
  NOT_FOUND: 'CALL_UNKNOWN',
  FORBIDDEN: 'CALL_DENIED',
  INVALID_INPUT: 'CALL_INPUT',
  TIMEOUT: 'CALL_TIMEOUT',
  INTERNAL: 'CALL_FAILED',
  RESOURCE_EXHAUSTED: 'BUDGET_EXCEEDED',
}

/** An error of a call as the payload of `call.error`. */
export function openError(error: unknown): Readonly<Record<string, unknown>> {
  const { code, message, details }: ErrorForm = errorForm(error)
  const retryable = Object.hasOwn(ERROR_TABLE, code) && ERROR_TABLE[code as keyof typeof ERROR_TABLE].retry
  const form = { code: OPEN_CODES[code] ?? code, message, retryable }
  return details === undefined ? form : { ...form, details }
}

/** The error behind a `call.error`. An `INTERNAL` that may be tried again is the loss of whoever ran the call. */
export function errorOfOpen(payload: unknown): KithError {
  const { code, message, retryable, details } = isRecord(payload) ? payload : ({} as Readonly<Record<string, unknown>>)
  const known = typeof code === 'string' ? (code === 'INTERNAL' && retryable === true ? 'WORKER_LOST' : (CODES[code] ?? code)) : 'CALL_FAILED'
  return errorOfForm({ code: known, message: typeof message === 'string' ? message : ERROR_TABLE.CALL_FAILED.meaning, details })
}
