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
  // A date that is none lies before every file.
  if (unmodified !== undefined && facts.modified > (parseDate(unmodified) ?? -1)) return 412
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

const CLOCK = '(?<hours>\\d\\d):(?<minutes>\\d\\d):(?<seconds>\\d\\d)'
/** The three forms of dates (RFC 9110, 5.6.7) as nginx reads them: the name of the day and what follows may be anything. */
const DATES: readonly RegExp[] = [
  `^[^ ,]*, *(?<day>\\d\\d) (?<month>.{3}) (?<year>\\d{4}) ${CLOCK}`,
  `^[^ ,]*, *(?<day>\\d\\d)-(?<month>.{3})-(?<short>\\d\\d) ${CLOCK}`,
  `^[^ ,]* +(?<month>.{3}).(?<day> ?\\d|\\d\\d) ${CLOCK} (?<year>\\d{4})`,
].map((text) => new RegExp(text))

/** In seconds; undefined for what is no date. */
function parseDate(text: string): number | undefined {
  const found = DATES.map((form) => form.exec(text)?.groups).find((groups) => groups !== undefined)
  if (found === undefined) return undefined
  const [day, hours, minutes, seconds, short] = [found.day, found.hours, found.minutes, found.seconds, found.short].map(Number) as [
    number,
    number,
    number,
    number,
    number,
  ]
  const year = found.year === undefined ? short + (short < 70 ? 2_000 : 1_900) : Number(found.year)
  const month = monthOf(found.month ?? '')
  if (month === undefined || hours > 23 || minutes > 59 || seconds > 59) return undefined
  return day > new Date(Date.UTC(year, month + 1, 0)).getUTCDate() ? undefined : Date.UTC(year, month, day, hours, minutes, seconds) / 1_000
}

/** By the letters that nginx looks at. */
function monthOf(name: string): number | undefined {
  const [first, second, third] = name
  switch (first) {
    case 'J':
      return second === 'a' ? 0 : third === 'n' ? 5 : 6
    case 'F':
      return 1
    case 'M':
      return third === 'r' ? 2 : 4
    case 'A':
      return second === 'p' ? 3 : 7
    default:
      return { S: 8, O: 9, N: 10, D: 11 }[first ?? '']
  }
}

/** The file's date as a header. */
export function lastModified(facts: FileFacts): string {
  return httpDate(facts.modified * 1_000)
}
