import type { Clock, Timer } from './clock.ts'

export interface ManualClock extends Clock {
  /** Timers that have neither fired nor been cancelled. */
  readonly pending: number
  /** Ms until the next timer is due, or `undefined` without one. */
  readonly next: number | undefined
  /** Moves time by `ms` and fires what falls due, in order of time, then of creation; also what those timers add. */
  advance(ms: number): void
  /** The same, but lets everything that a timer has woken run (a turn of the event loop) before the next one fires. */
  run(ms: number): Promise<void>
  /** Sets the wall clock, as an administrator would; monotonic time and timers do not move. */
  setWall(now: number): void
}

interface Entry {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

/** Virtual time for tests: nothing happens until it is advanced. `start` is the wall time in ms. */
export function manualClock(start = 1_700_000_000_000): ManualClock {
  let elapsed = 0
  let wall = start
  let order = 0
  let advancing = false
  const entries: Set<Entry> = new Set()

  const earliest = (): Entry | undefined => {
    let first: Entry | undefined
    for (const entry of entries) if (first === undefined || entry.at < first.at || (entry.at === first.at && entry.order < first.order)) first = entry
    return first
  }
  const moveTo = (at: number): void => {
    wall += at - elapsed
    elapsed = at
  }
  /** Fires the next timer due at or before `end`; false when there is none. */
  const fireUntil = (end: number): boolean => {
    const entry = earliest()
    if (entry === undefined || entry.at > end) return false
    entries.delete(entry)
    moveTo(Math.max(entry.at, elapsed))
    entry.run()
    return true
  }
  const begin = (ms: number): number => {
    if (!(ms >= 0) || !Number.isFinite(ms)) throw new TypeError(`time does not move by ${ms}`)
    if (advancing) throw new TypeError('time is already being advanced')
    advancing = true
    return elapsed + ms
  }

  return {
    now: () => Math.floor(wall),
    monotonic: () => elapsed,
    after(ms, run): Timer {
      const entry: Entry = { at: elapsed + Math.max(0, ms), order: order++, run }
      entries.add(entry)
      return { cancel: () => entries.delete(entry) }
    },
    get pending() {
      return entries.size
    },
    get next() {
      const entry = earliest()
      return entry === undefined ? undefined : Math.max(0, entry.at - elapsed)
    },
    advance(ms) {
      const end = begin(ms)
      try {
        while (fireUntil(end));
        moveTo(end)
      } finally {
        advancing = false
      }
    },
    async run(ms) {
      const end = begin(ms)
      try {
        do await turn()
        while (fireUntil(end))
        moveTo(end)
      } finally {
        advancing = false
      }
    },
    setWall(now) {
      wall = now
    },
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
