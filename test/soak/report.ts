import { growth, median, quantile } from './figures.ts'
import type { HonestReport, Sample } from './messages.ts'

const MIB = 2 ** 20

/** A stretch of the run, with what was measured in it. */
export interface Phase {
  readonly name: string
  readonly seconds: number
  /** Processor time of the victim, of one core. */
  readonly cpu: number
  readonly samples: readonly Sample[]
  readonly honest: HonestReport
  /** Every series of the victim's metrics at its beginning and its end. */
  readonly before: ReadonlyMap<string, number>
  readonly after: ReadonlyMap<string, number>
}

export const COLUMNS: readonly string[] = [
  'phase',
  's',
  'cpu',
  'rss MiB',
  'held MiB',
  'kept / waiting',
  'fds',
  'handles',
  'loop p99 / max',
  'ping ms',
  'open entry ms',
  'members’ ms',
  'message ms',
]

const spread = (values: readonly number[]): string => (values.length === 0 ? '-' : `${median(values).toFixed(1)} / ${quantile(values, 0.99).toFixed(0)}`)
const most = (samples: readonly Sample[], of: (sample: Sample) => number): number => Math.max(0, ...samples.map(of))

/** One line of the table: latencies are median / p99 in ms; held is heap and buffers behind a collection. */
export function rowOf({ name, seconds, cpu, samples, honest }: Phase): string[] {
  const last = samples.at(-1)
  return [
    name,
    seconds.toFixed(0),
    cpu.toFixed(2),
    (most(samples, ({ rss }) => rss) / MIB).toFixed(0),
    (((last?.heap ?? 0) + (last?.external ?? 0)) / MIB).toFixed(0),
    `${last?.topics.entries ?? 0} / ${last?.topics.held ?? 0}`,
    `${most(samples, ({ descriptors }) => descriptors)}`,
    `${most(samples, ({ handles }) => handles)}`,
    `${median(samples.map(({ loopP99 }) => loopP99)).toFixed(0)} / ${most(samples, ({ loopMax }) => loopMax).toFixed(0)}`,
    spread(honest.ping),
    spread(honest.open),
    spread(honest.members),
    spread(honest.tell),
  ]
}

const REFUSALS = /refused|failed|ended|violations|bans|kith_messages_total|put_total|serves_total|statements_total|evidence_total|duplicates|gaps/

/** What was counted that tells of abuse. */
export function countedIn({ before, after }: Pick<Phase, 'before' | 'after'>): string[][] {
  return [...after.keys()]
    .filter((name) => REFUSALS.test(name) && growth(before, after, name) > 0)
    .sort()
    .map((name) => [name, `${growth(before, after, name)}`])
}

/** Figures of several stretches as those of one. */
export function joined(phases: readonly Phase[]): HonestReport {
  return {
    ping: phases.flatMap(({ honest }) => honest.ping),
    open: phases.flatMap(({ honest }) => honest.open),
    members: phases.flatMap(({ honest }) => honest.members),
    tell: phases.flatMap(({ honest }) => honest.tell),
  }
}
