import { isUtf8 } from 'node:buffer'
import { KithError } from '../core/errors.ts'
import { MAX_DEPTH } from './limits.ts'

const QUOTE = 0x22
const BACKSLASH = 0x5c

/**
 * A body as JSON: valid UTF-8, nested at most `MAX_DEPTH` deep (counted before anything is built), without a key that JavaScript gives a meaning of its own.
 * Of a key that comes twice the last counts, and nobody behind this reads the text again, so there is no second opinion.
 * @throws KithError `REQUEST_MALFORMED`.
 */
export function parseJson(bytes: Buffer, maxDepth: number = MAX_DEPTH): unknown {
  // What has fewer bytes than that many brackets needs no counting.
  if (bytes.length > 2 * maxDepth) checkDepth(bytes, maxDepth)
  const text = isUtf8(bytes) ? bytes.toString('utf8') : undefined
  const value = text === undefined ? undefined : parsed(text)
  if (text === undefined || value === undefined) throw malformed('The body is not JSON.')
  // `__proto__` may be written with escapes: only a text that has neither needs no look at its keys.
  if (text.includes('__proto__') || text.includes('\\u')) refuseMagicKeys(value)
  return value
}

/** `undefined`, which JSON has not, for what is none. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function checkDepth(bytes: Buffer, maxDepth: number): void {
  let depth = 0
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] as number
    if (byte === QUOTE) at = endOfString(bytes, at)
    else if (byte === 0x7b || byte === 0x5b) {
      depth += 1
      if (depth > maxDepth) throw malformed(`The body is nested deeper than ${maxDepth}.`)
    } else if (byte === 0x7d || byte === 0x5d) depth -= 1
  }
}

/** Index of the quote that ends the string, or the end of the bytes. */
function endOfString(bytes: Buffer, start: number): number {
  let at = start + 1
  for (;;) {
    const end = bytes.indexOf(QUOTE, at)
    if (end === -1) return bytes.length
    let escapes = 0
    while (bytes[end - 1 - escapes] === BACKSLASH && end - 1 - escapes > start) escapes += 1
    if (escapes % 2 === 0) return end
    at = end + 1
  }
}

/** @throws KithError `REQUEST_MALFORMED` for an own key `__proto__`, wherever it is. */
export function refuseMagicKeys(value: unknown): void {
  const open: unknown[] = [value]
  for (let next = open.pop(); next !== undefined || open.length > 0; next = open.pop()) {
    if (typeof next !== 'object' || next === null) continue
    if (Object.hasOwn(next, '__proto__')) throw malformed('A key of the input is not allowed.')
    for (const inner of Object.values(next)) if (typeof inner === 'object' && inner !== null) open.push(inner)
  }
}

export function malformed(message: string): KithError {
  return new KithError('REQUEST_MALFORMED', message)
}
