import { isUtf8 } from 'node:buffer'
import { decode as decodeCbor, encode as encodeCbor } from 'cborg'
import { malformed } from '../core/codec.ts'
import { KithError } from '../core/errors.ts'

/** How a value travels; the number stands on the wire. */
export const FORM_NONE = 0
export const FORM_JSON = 1
export const FORM_CBOR = 2
export const FORM_BYTES = 3

export type Encoding = 'json' | 'cbor'

/** Values within values, on the wire in any form. */
export const MAX_DEPTH = 64

const NO_BYTES = new Uint8Array(0)
const CBOR_DECODING = { strict: true, allowIndefinite: false, rejectDuplicateMapKeys: true, allowNaN: false, allowInfinity: false, useMaps: false } as const

/** A payload on its way through this node: it is read, and checked, by whom it is for. */
export class Undecoded {
  readonly form: number
  /** Memory of its own. */
  readonly bytes: Buffer

  constructor(form: number, data: Buffer, start: number, end: number) {
    this.form = form
    // What came in pieces fills a buffer that was made for it; what came whole lies within somebody else's.
    if (start === 0 && end === data.length) this.bytes = data
    else {
      this.bytes = Buffer.allocUnsafe(end - start)
      data.copy(this.bytes, 0, start, end)
    }
  }

  /** @throws KithError `WIRE_MALFORMED` as `decodePayload`. */
  value(): unknown {
    return decodePayload(this.form, this.bytes, 0, this.bytes.length)
  }
}

export interface Payload {
  readonly form: number
  readonly bytes: Uint8Array
}

/** Which form a value takes: bytes as they are, nothing as nothing, anything else in the encoding that was asked for. */
export function formOf(value: unknown, encoding: Encoding): number {
  if (value === undefined) return FORM_NONE
  if (value instanceof Uint8Array) return FORM_BYTES
  if (value instanceof Undecoded) return value.form
  return encoding === 'cbor' ? FORM_CBOR : FORM_JSON
}

/** @throws TypeError for a value that has no JSON (a function, a bigint, a circle). */
export function jsonText(value: unknown): string {
  const text: string | undefined = JSON.stringify(value)
  if (text === undefined) throw new TypeError('the value has no JSON form')
  return text
}

/** @throws TypeError for a value without this encoding. */
export function encodePayload(value: unknown, encoding: Encoding): Payload {
  const form = formOf(value, encoding)
  if (form === FORM_NONE) return { form, bytes: NO_BYTES }
  if (value instanceof Undecoded) return { form, bytes: value.bytes }
  // The caller may write into its bytes while they wait.
  if (form === FORM_BYTES) return { form, bytes: Uint8Array.from(value as Uint8Array) }
  if (form === FORM_JSON) return { form, bytes: Buffer.from(jsonText(value), 'utf8') }
  try {
    return { form, bytes: encodeCbor(value, { ignoreUndefinedProperties: true }) }
  } catch (cause) {
    throw new TypeError('the value has no CBOR form', { cause })
  }
}

/** @throws KithError `WIRE_MALFORMED` for what is no value of that form, or nested too deeply. */
export function decodePayload(form: number, data: Buffer, start: number, end: number): unknown {
  switch (form) {
    case FORM_NONE:
      if (start !== end) throw malformed('bytes where nothing was announced')
      return undefined
    case FORM_JSON:
      return parseJson(data, start, end)
    case FORM_CBOR:
      return parseCbor(data.subarray(start, end))
    default:
      return copied(data, start, end)
  }
}

/** Memory of its own, and no `Buffer`. */
export function copied(data: Buffer, start: number, end: number): Uint8Array {
  const copy = new Uint8Array(end - start)
  copy.set(data.subarray(start, end))
  return copy
}

/** Strict UTF-8, strict JSON, at most `MAX_DEPTH` deep, no `__proto__`. @throws KithError `WIRE_MALFORMED` */
export function parseJson(data: Buffer, start: number, end: number): unknown {
  const text = data.toString('utf8', start, end)
  // Fewer bytes, or fewer brackets, cannot nest too deeply.
  if (end - start > MAX_DEPTH && hasManyBrackets(text) && isTooDeep(data, start, end)) throw malformed('nested too deeply', { limit: MAX_DEPTH })
  // What is not UTF-8 decodes to this; it may also stand there as itself.
  if (text.includes('\ufffd') && !isUtf8(data.subarray(start, end))) throw malformed('not UTF-8')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw malformed('not JSON')
  }
  // A copied `__proto__` would become a prototype. Escapes can spell it, so the keys are looked at when the text may hold it.
  if (text.includes('__proto__') || text.includes('\\u005')) refusePrototypes(value)
  return value
}

/** Searching is native, so texts with few brackets cost next to nothing. */
function hasManyBrackets(text: string): boolean {
  let count = 0
  for (let at = text.indexOf('['); at >= 0; at = text.indexOf('[', at + 1)) if (++count > MAX_DEPTH / 2) return true
  for (let at = text.indexOf('{'); at >= 0; at = text.indexOf('{', at + 1)) if (++count > MAX_DEPTH / 2) return true
  return false
}

/** Whether brackets outside of strings open more than `MAX_DEPTH` levels; one pass, nothing allocated. */
function isTooDeep(data: Buffer, start: number, end: number): boolean {
  let depth = 0
  let inText = false
  for (let at = start; at < end; at++) {
    const byte = data[at] as number
    if (inText) {
      if (byte === 0x5c) at++
      else if (byte === 0x22) inText = false
    } else if (byte === 0x22) inText = true
    else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > MAX_DEPTH) return true
    } else if (byte === 0x5d || byte === 0x7d) depth--
  }
  return false
}

function parseCbor(bytes: Uint8Array): unknown {
  let value: unknown
  try {
    value = decodeCbor(bytes, CBOR_DECODING)
  } catch {
    throw malformed('not CBOR of the strict form')
  }
  checkCbor(value, 0)
  return value
}

function checkCbor(value: unknown, depth: number): void {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return
  if (depth >= MAX_DEPTH) throw malformed('nested too deeply', { limit: MAX_DEPTH })
  if (Array.isArray(value)) {
    for (const part of value) checkCbor(part, depth + 1)
    return
  }
  for (const [key, part] of Object.entries(value)) {
    if (key === '__proto__') throw malformed('a key that is refused')
    checkCbor(part, depth + 1)
  }
}

function refusePrototypes(value: unknown): void {
  if (typeof value !== 'object' || value === null) return
  if (Array.isArray(value)) {
    for (const part of value) refusePrototypes(part)
    return
  }
  for (const [key, part] of Object.entries(value)) {
    if (key === '__proto__') throw malformed('a key that is refused')
    refusePrototypes(part)
  }
}

/** A payload beyond what is taken. */
export function tooLarge(length: number, limit: number): KithError {
  return new KithError('MESSAGE_TOO_LARGE', undefined, { details: { length, limit } })
}
