const UNITS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
])

/** Longest duration anybody may write: a hundred years, so that sums of durations and dates stay exact. */
const MAX_MS = 100 * 365 * 86_400_000

/** `250ms`, `10s`, `1.5m`, `2h`, `30d` in milliseconds; `undefined` for anything else. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,12}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(text)
  if (match === null) return undefined
  const unit = UNITS.get(match[2] as string) as number
  const ms = Math.round(Number(match[1]) * unit)
  return ms <= MAX_MS ? ms : undefined
}

/** The shortest exact spelling: 600000 is `10m`. */
export function formatDuration(ms: number): string {
  for (const [unit, size] of [...UNITS].reverse()) {
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`
  }
  return `${ms}ms`
}
