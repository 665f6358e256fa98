import type { Clock } from '../core/clock.ts'
import { bytes, duration } from './format.ts'
import type { Terminal } from './terminal.ts'

export interface ProgressBarOptions {
  readonly clock: Clock
  /** What is on its way. */
  readonly label: string
  /** Absent: nothing is shown. */
  readonly terminal?: Pick<Terminal, 'watched' | 'columns' | 'overwrite'>
}

export interface Progress {
  readonly done: number
  readonly total: number
  /** What was done before this run; it says nothing about its speed. */
  readonly before: number
}

export interface ProgressBar {
  update(progress: Progress): void
  /** Takes the bar away: the result stands in its place. */
  end(): void
}

/** What is over sooner needs no bar. */
const APPEAR_MS = 1_000
const MIN_BAR = 10
const MAX_BAR = 40

/** One line on the terminal that is written over and over: how much, how fast, how long still. */
export function createProgressBar({ clock, label, terminal }: ProgressBarOptions): ProgressBar {
  const started = clock.monotonic()
  let shown = false
  return {
    update(progress) {
      const elapsed = clock.monotonic() - started
      if (terminal?.watched !== true || elapsed < APPEAR_MS) return
      shown = true
      terminal.overwrite(progressLine(label, progress, elapsed, terminal.columns))
    },
    end() {
      if (shown) terminal?.overwrite('')
      shown = false
    },
  }
}

/** As wide as the terminal at most: the label gives way first, then the bar. */
export function progressLine(label: string, { done, total, before }: Progress, elapsedMs: number, columns: number): string {
  const share = total === 0 ? 1 : done / total
  const speed = elapsedMs === 0 ? 0 : ((done - before) / elapsedMs) * 1_000
  const left = speed === 0 ? '' : `  ${duration(Math.ceil((total - done) / speed) * 1_000)} left`
  const figures = `${String(Math.floor(share * 100)).padStart(3)} %  ${bytes(done)} of ${bytes(total)}  ${bytes(speed)}/s${left}`
  const room = columns - 1 - figures.length
  const bar = Math.max(0, Math.min(MAX_BAR, room - 4 - Math.min(label.length, 20)))
  const drawn = bar < MIN_BAR ? '' : `[${'#'.repeat(Math.round(share * bar)).padEnd(bar, '-')}] `
  const name = [...label].slice(0, Math.max(0, room - drawn.length - 1)).join('')
  return `${name === '' ? '' : `${name} `}${drawn}${figures}`.slice(0, columns - 1)
}
