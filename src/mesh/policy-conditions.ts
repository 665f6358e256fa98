import type { Door } from '../access/types.ts'
import { type Codec, malformed, mapped, option, struct, u8, u16, uint53 } from '../core/codec.ts'

/** By which kind of door somebody asks. */
export type PolicyTransport = Door

/** When and by which doors a rule counts; without a condition always and everywhere. */
export interface RuleConditions {
  /** Doors, in the order of `POLICY_TRANSPORTS`; at least one. */
  readonly via?: readonly PolicyTransport[]
  /** `HH:MM-HH:MM` by the clock of this machine, from the first minute up to, not including, the second; over midnight where the second is the earlier one. */
  readonly between?: string
  /** Ms since 1970; from then on the rule counts no more. */
  readonly until?: number
}

/** Conditions with the window read. */
export interface Conditions extends RuleConditions {
  readonly window?: Window
}

/** Minutes of the day, `from` included, `to` excluded. */
interface Window {
  readonly from: number
  readonly to: number
}

/** The moment and the door of a request. */
export interface Circumstances {
  readonly now: number
  /** 0..1439, by the clock of this machine. */
  readonly minute: number
  /** `undefined`: by none that a rule could name. */
  readonly transport: PolicyTransport | undefined
}

export const POLICY_TRANSPORTS: readonly PolicyTransport[] = ['link', 'ssh', 'http', 'socks', 'raw']
const DAY = 1_440
const DAY_MS = 86_400_000
const MINUTE_MS = 60_000
/** 9999-12-31: what is later is a mistake. */
const MAX_UNTIL = 253_402_300_799_000

/** Minutes since midnight in the time zone of this machine. */
export function localMinute(ms: number): number {
  const date = new Date(ms)
  return date.getHours() * 60 + date.getMinutes()
}

/**
 * Reads conditions as the owner gave them. `now`: of a rule that is made now; a stored one may have run out.
 * @throws TypeError for what is malformed or could never match.
 */
export function parseConditions({ via, between, until }: RuleConditions, now?: number): Conditions {
  return {
    ...(via === undefined ? {} : { via: parseVia(via) }),
    ...(between === undefined ? {} : parseBetween(between)),
    ...(until === undefined ? {} : { until: parseUntil(until, now) }),
  }
}

function parseVia(via: readonly PolicyTransport[]): readonly PolicyTransport[] {
  for (const name of via)
    if (!POLICY_TRANSPORTS.includes(name)) throw new TypeError(`there is no door ${JSON.stringify(name)}: use ${POLICY_TRANSPORTS.join(', ')}`)
  if (via.length === 0) throw new TypeError('a rule for no door would never match')
  return POLICY_TRANSPORTS.filter((name) => via.includes(name))
}

function parseBetween(text: string): { between: string; window: Window } {
  const match = /^([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})$/.exec(text)
  const [from, to] = [minuteOf(match?.[1], match?.[2]), minuteOf(match?.[3], match?.[4])]
  if (match === null || from === undefined || from === DAY || to === undefined)
    throw new TypeError('a time of day is written HH:MM-HH:MM, like 08:00-18:00 or 22:00-06:00')
  if (from === to % DAY)
    throw new TypeError(`${text} is no part of the day, so this rule would ${to === DAY ? 'always' : 'never'} match: leave it out or name two times`)
  return { between: text, window: { from, to } }
}

function minuteOf(hours: string | undefined, minutes: string | undefined): number | undefined {
  const value = Number(hours) * 60 + Number(minutes)
  return Number(minutes) < 60 && value <= DAY ? value : undefined
}

function parseUntil(until: number, now: number | undefined): number {
  if (!Number.isSafeInteger(until) || until <= 0 || until > MAX_UNTIL) throw new TypeError('the end of a rule is a moment before the year 10000')
  if (now !== undefined && until <= now) throw new TypeError(`${new Date(until).toISOString()} is over, so this rule would never match`)
  return until
}

/** Reads the end of a rule as a person types it: a date or a date and time, of this machine's time zone unless it says another. @throws TypeError. */
export function parseMoment(text: string): number {
  const match = /^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,3})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?$/.exec(text)
  // A date alone would be read as one of Greenwich.
  const ms = match === null ? Number.NaN : Date.parse(match[1] === undefined ? `${text}T00:00` : text)
  // JavaScript takes 2026-02-30 for the second of March.
  if (Number.isNaN(ms) || new Date(`${text.slice(0, 10)}T00:00:00Z`).getUTCDate() !== Number(text.slice(8, 10)))
    throw new TypeError('a moment is written 2026-12-31, 2026-12-31T18:00 or 2026-12-31T18:00Z')
  return ms
}

/** As the owner types them behind a rule. */
export function formatConditions({ via, between, until }: RuleConditions): string[] {
  return [
    ...(via ?? []).map((name) => `--via ${name}`),
    ...(between === undefined ? [] : [`--between ${between}`]),
    ...(until === undefined ? [] : [`--until ${new Date(until).toISOString()}`]),
  ]
}

export function conditionsHold({ via, window, until }: Conditions, { now, minute, transport }: Circumstances): boolean {
  if (until !== undefined && now >= until) return false
  if (via !== undefined && (transport === undefined || !via.includes(transport))) return false
  return window === undefined || inWindow(window, minute)
}

function inWindow({ from, to }: Window, minute: number): boolean {
  return from < to ? minute >= from && minute < to : minute >= from || minute < to
}

/**
 * Whether `outer` holds whenever `inner` does, as far as doors and the time of day go. An end does not narrow: a newer word counts more than one that will end.
 */
export function conditionsCover(outer: Conditions, inner: Conditions): boolean {
  if (outer.via !== undefined && !(inner.via?.every((name) => outer.via?.includes(name)) ?? false)) return false
  if (outer.window === undefined) return true
  return inner.window !== undefined && windowCovers(outer.window, inner.window)
}

function windowCovers(outer: Window, inner: Window): boolean {
  // Turned so that `outer` begins at midnight, what begins and ends within its length lies in it.
  const length = (outer.to - outer.from + DAY) % DAY || DAY
  const start = (inner.from - outer.from + DAY) % DAY
  return start + ((inner.to - inner.from + DAY) % DAY || DAY) <= length
}

/** Doors and hours that lie within all of these and hold now, as they all do: what a rule needs in order to stand before each of them. */
export function narrowest(all: readonly Conditions[], { minute, transport }: Circumstances): RuleConditions {
  const windows = all.flatMap(({ window }) => window ?? [])
  const byDoor = transport !== undefined && all.some(({ via }) => via !== undefined)
  // Of arcs that share a moment: from the latest of their beginnings before it to the earliest of their ends after it.
  const since = Math.min(...windows.map(({ from }) => (minute - from + DAY) % DAY))
  const left = Math.min(...windows.map(({ to }) => (to - minute + DAY) % DAY || DAY))
  const from = (minute - since + DAY) % DAY
  const between = windows.length === 0 ? undefined : `${clockTime(from)}-${clockTime((minute + left) % DAY)}`
  return { ...(byDoor ? { via: [transport] } : {}), ...(between === undefined ? {} : { between }) }
}

/** A newer rule of the same subject takes the place of the older one where it counts at least as long and under the same conditions. */
export function conditionsReplace(newer: Conditions, older: Conditions): boolean {
  return newer.via?.join() === older.via?.join() && newer.between === older.between && (newer.until === undefined || older.until !== undefined)
}

/** Ms from `now` to when what the conditions say may change next; `undefined`: never. Exact but for a shift of the clock, which is why nobody relies on it alone. */
export function nextTurn({ window, until }: Conditions, { now, minute }: Pick<Circumstances, 'now' | 'minute'>): number | undefined {
  const turns: number[] = []
  if (until !== undefined && until > now) turns.push(until - now)
  const ended = until !== undefined && until <= now
  if (window !== undefined && !ended) {
    const intoMinute = ((now % MINUTE_MS) + MINUTE_MS) % MINUTE_MS
    for (const edge of [window.from, window.to % DAY]) {
      const ms = ((edge - minute + DAY) % DAY) * MINUTE_MS - intoMinute
      turns.push(ms > 0 ? ms : ms + DAY_MS)
    }
  }
  return turns.length === 0 ? undefined : Math.min(...turns)
}

/** Doors as one bit each. */
const viaCodec: Codec<readonly PolicyTransport[]> = mapped(
  u8,
  (bits) => {
    if (bits === 0 || bits >= 1 << POLICY_TRANSPORTS.length) throw malformed('doors of a rule')
    return POLICY_TRANSPORTS.filter((_, at) => (bits >> at) & 1)
  },
  (via) => via.reduce((bits, name) => bits | (1 << POLICY_TRANSPORTS.indexOf(name)), 0),
)

const windowCodec: Codec<Window> = struct<Window>({ from: u16, to: u16 })

/** `option<u8 doors> || option<u16 from || u16 to (minutes)> || option<u64 until_ms>` */
export const conditionsCodec: Codec<RuleConditions> = mapped(
  struct<{ via: readonly PolicyTransport[] | undefined; window: Window | undefined; until: number | undefined }>({
    via: option(viaCodec),
    window: option(windowCodec),
    until: option(uint53),
  }),
  ({ via, window, until }) => ({
    ...(via === undefined ? {} : { via }),
    ...(window === undefined ? {} : { between: `${clockTime(window.from)}-${clockTime(window.to)}` }),
    ...(until === undefined ? {} : { until }),
  }),
  ({ via, between, until }) => ({ via, window: between === undefined ? undefined : parseBetween(between).window, until }),
)

function clockTime(minute: number): string {
  return `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`
}
