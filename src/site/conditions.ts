import { httpDate } from './response.ts'

/** What conditions and ranges are judged by. */
export interface FileFacts {
  readonly size: number
  /** Whole seconds since 1970. */
  readonly modified: number
}

/** nginx's: both numbers in hexadecimal. */
export function entityTag({ size, modified }: FileFacts): string {
  return `"${modified.toString(16)}-${size.toString(16)}"`
}

/** Whether a request's conditions make another answer of it (RFC 9110, 13.2.2, in nginx's order): 412, 304 or undefined. */
export function judgeConditions(header: (name: string) => string | undefined, facts: FileFacts): 304 | 412 | undefined {
  const unmodified = header('if-unmodified-since')
  const match = header('if-match')
  const modified = header('if-modified-since')
  const noneMatch = header('if-none-match')
  const since = unmodified === undefined ? undefined : parseDate(unmodified)
  if (since !== undefined && facts.modified > since) return 412
  if (match !== undefined && !matches(match, facts, false)) return 412
  if (modified === undefined && noneMatch === undefined) return undefined
  if (modified !== undefined && parseDate(modified) !== facts.modified) return undefined
  return noneMatch !== undefined && !matches(noneMatch, facts, true) ? undefined : 304
}

/** Whether a range may be answered as one: its `If-Range`, if any, is the file's tag or exactly its date. */
export function rangeApplies(ifRange: string | undefined, facts: FileFacts): boolean {
  if (ifRange === undefined) return true
  if (ifRange.length >= 2 && ifRange.endsWith('"')) return ifRange === entityTag(facts)
  return parseDate(ifRange) === facts.modified
}

function matches(list: string, facts: FileFacts, weak: boolean): boolean {
  if (list === '*') return true
  const own = entityTag(facts)
  return list.split(',').some((entry) => {
    const tag = entry.trim()
    return tag === own || (weak && tag === `W/${own}`)
  })
}

/** The three forms of dates (RFC 9110, 5.6.7), in seconds. */
function parseDate(text: string): number | undefined {
  const ms = Date.parse(/^[A-Z][a-z]{2,8}, |^[A-Z][a-z]{2} [A-Z][a-z]{2} /.test(text) ? `${text.replace(/ GMT$/, '')} GMT` : 'none')
  return Number.isNaN(ms) ? undefined : Math.floor(ms / 1_000)
}

/** The file's date as a header. */
export function lastModified(facts: FileFacts): string {
  return httpDate(facts.modified * 1_000)
}
