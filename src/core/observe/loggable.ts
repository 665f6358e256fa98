import { isKithError } from '../errors.ts'
import { Secret } from '../secret.ts'

/** Limits of one value, so that nothing a peer can influence makes a long line. */
const MAX_DEPTH = 4
const MAX_TEXT = 512
const MAX_ITEMS = 32

/** Names under which something secret is usually found: their values are never written, whatever they are. */
const SECRET_NAME = /^pass$|password|secret|seed|phrase|private|token|ticket|mnemonic|credential|authorization|cookie/i

/**
 * What may stand in a log line or a trace: plain data, bounded in depth, length and number. Secrets and everything under a secret's name become
 * `[redacted]`, bytes become their number, errors their code and message, functions and symbols their kind. Never throws.
 */
export function loggable(value: unknown): unknown {
  try {
    return reduce(value, 0)
  } catch {
    // A getter or a proxy threw: whatever it hides, the line is still written.
    return '[unreadable]'
  }
}

function reduce(value: unknown, depth: number): unknown {
  switch (typeof value) {
    case 'string':
      return value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)}...` : value
    case 'number':
      return Number.isFinite(value) ? value : String(value)
    case 'bigint':
      return value.toString()
    case 'boolean':
    case 'undefined':
      return value
    case 'object':
      return value === null ? null : reduceObject(value, depth)
    default:
      return `[${typeof value}]`
  }
}

function reduceObject(value: object, depth: number): unknown {
  if (value instanceof Secret) return '[redacted]'
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer || value instanceof SharedArrayBuffer) return `[${value.byteLength} bytes]`
  if (value instanceof Error) return reduceError(value, depth)
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? '[date]' : value.toISOString()
  // Without user, password and query, where credentials travel.
  if (value instanceof URL) return reduce(`${value.protocol}//${value.host}${value.pathname}`, depth)
  if (depth >= MAX_DEPTH) return '[...]'
  if (Array.isArray(value)) return bounded(value, (item) => reduce(item, depth + 1))
  if (value instanceof Set) return bounded([...value], (item) => reduce(item, depth + 1))
  return reduceEntries(value instanceof Map ? [...value] : Object.entries(value), depth)
}

function reduceEntries(entries: readonly (readonly [unknown, unknown])[], depth: number): unknown {
  const out: Record<string, unknown> = {}
  for (const [key, item] of entries.slice(0, MAX_ITEMS)) {
    const name = typeof key === 'string' ? key : String(reduce(key, MAX_DEPTH))
    out[name] = SECRET_NAME.test(name) && item !== null && item !== undefined ? '[redacted]' : reduce(item, depth + 1)
  }
  if (entries.length > MAX_ITEMS) out['...'] = entries.length - MAX_ITEMS
  return out
}

function bounded(items: readonly unknown[], map: (item: unknown) => unknown): unknown[] {
  const out = items.slice(0, MAX_ITEMS).map(map)
  if (items.length > MAX_ITEMS) out.push(`... ${items.length - MAX_ITEMS} more`)
  return out
}

function reduceError(error: Error, depth: number): unknown {
  const cause = error.cause === undefined || depth >= MAX_DEPTH ? {} : { cause: reduce(error.cause, depth + 1) }
  if (isKithError(error)) {
    return { code: error.code, message: reduce(error.message, depth), details: reduce(error.details, depth + 1), ...cause }
  }
  const code = 'code' in error && typeof error.code === 'string' ? { code: error.code } : {}
  return { name: error.name, ...code, message: reduce(error.message, depth), ...cause }
}
