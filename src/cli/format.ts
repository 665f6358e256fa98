/** A length of time as people say it: its two largest units. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`
  const seconds = Math.floor(ms / 1_000)
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ]
  const first = parts.findIndex(([value]) => value > 0)
  return parts
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value}${unit}`)
    .join(' ')
}

/** `3m 2s ago` for an RFC 3339 time. */
export function ago(time: string, now: number): string {
  return `${duration(now - Date.parse(time))} ago`
}

/** Day and time of an RFC 3339 time as the clock on the wall shows them. */
export function localTime(time: string): string {
  const at = new Date(time)
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19).replace('T', ' ')
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const

/** Sizes with three digits: `12.3 MB` (powers of 1000, as disks and networks count). */
export function bytes(count: number): string {
  let value = count
  let unit = 0
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1_000
    unit += 1
  }
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toPrecision(3)} ${UNITS[unit]}`
}

/** A score, weight or reputation: two digits are enough for people, and a half is rounded up everywhere. */
export function decimal(share: number): string {
  return (Math.round(share * 100) / 100).toFixed(2)
}
