/**
 * Minutes of abuse against one real node: every case in turn, then all of them at once, while two honest peers go on. What was measured is printed as it comes.
 *
 * `SOAK_MINUTES`: length of the whole, default 10. `SOAK_ONLY`: a regular expression for the names of the cases, for whoever looks into one of them.
 * `SOAK_SNAPSHOT`: a folder for what the victim's heap holds in the end.
 */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createControlClient } from '../../src/daemon/control/client.ts'
import { HOLD_MS } from '../../src/gossip/causal.ts'
import { CASES } from './cases/index.ts'
import { growth, median, quantile, series, table } from './figures.ts'
import type { HonestReady, HonestReport, HonestTotals, Sample, Standing, ToAbuser, ToHonest, ToVictim, VictimReady } from './messages.ts'
import { startPart } from './process.ts'
import { COLUMNS, countedIn, joined, type Phase, rowOf } from './report.ts'

const MINUTES = Number(process.env.SOAK_MINUTES ?? '10')
const ONLY = new RegExp(process.env.SOAK_ONLY ?? '')
const LENGTH_MS = MINUTES * 60_000
const MIB = 2 ** 20
const SAMPLE_MS = Math.min(5_000, LENGTH_MS / 60)
/** Shares of the time: honest peers alone, each case by itself, all at once, honest peers alone again. */
const SHARES = { before: 0.1, turns: 0.5, together: 0.35, after: 0.05 }

/**
 * What the victim may grow by from the second third of the time in which everybody abuses it to the last: the load is the same, so what goes on growing has no bound.
 * Topics fill up to their limits meanwhile, by some five thousand entries; what leaks grows by more.
 */
const GROWTH_BYTES = 72 * MIB
/** What it may take at all. */
const MOST_BYTES = 640 * MIB
/** Descriptors and handles beyond those of the quiet node: links of everybody who abuses it, and connections that were not turned away yet. */
const MORE_HANDLES = 200
/** Of one core, all threads together: what is left is for others, and for its honest peers. */
const MOST_CPU = 0.95
/** How much longer honest peers may wait while everybody abuses the node they talk to; waits below the floor count as the floor. */
const SLOWER = { median: 12, p99: 20, floorMs: 20 }
/** Where everybody may publish, everybody may name what does not exist: then it is the hold-back that bounds the wait. */
const LATEST_MS = 1.25 * HOLD_MS

const OPEN = 'entries on the open topic'

type Ends = Readonly<Record<string, Readonly<Record<string, number>>>>

test('a node under abuse stays small, serves its honest peers and counts what it refuses', { timeout: LENGTH_MS + 6 * 60_000 }, async (t) => {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-soak-')))
  t.after(() => rm(folder, { recursive: true, force: true }))
  for (const name of ['victim', 'ann', 'ben']) {
    await mkdir(join(folder, name), { mode: 0o700 })
    await writeFile(join(folder, name, 'config.toml'), '[discovery]\nmdns = false\n')
  }
  const victim = startPart<ToVictim>('victim.ts', { args: [join(folder, 'victim')] })
  const honest = startPart<ToHonest>('honest.ts', { args: [folder] })
  // Abusers have machines of their own: on this one they give way.
  const abuse = startPart<ToAbuser>('abuse.ts', { nice: 10, answering: (question) => victim.ask(question as ToVictim) })
  t.after(() => Promise.all([abuse.stop(), honest.stop(), victim.stop()]))

  const about = await victim.ask<VictimReady>({ do: 'hello' })
  const ready = await honest.ask<HonestReady>({ do: 'pair', victim: about })
  await abuse.ask({ do: 'target', target: { did: about.did, url: about.url, linkKey: ready.linkKey, honest: ready.peers } })
  const control = createControlClient({ home: join(folder, 'victim') })
  const counters = async (): Promise<ReadonlyMap<string, number>> => series((await control.call('GET /v1/metrics', {})).text)

  const phase = async (name: string, ms: number): Promise<Phase> => {
    const begun = performance.now()
    const before = await counters()
    const first = await victim.ask<Sample>({ do: 'sample' })
    await honest.ask<HonestReport>({ do: 'report' })
    const samples: Sample[] = []
    for (let left = ms; left > 0; left = ms - (performance.now() - begun)) {
      await sleep(Math.min(SAMPLE_MS, left))
      samples.push(await victim.ask<Sample>({ do: 'sample' }))
    }
    const seconds = (performance.now() - begun) / 1_000
    const cpu = ((samples.at(-1)?.cpu ?? first.cpu) - first.cpu) / 1e6 / seconds
    const made = { name, seconds, cpu, samples, honest: await honest.ask<HonestReport>({ do: 'report' }), before, after: await counters() }
    console.log(rowOf(made).join(' | '))
    return made
  }
  const abused = async (name: string, cases: readonly string[], ms: number): Promise<{ phase: Phase; ends: Ends }> => {
    await abuse.ask({ do: 'begin', cases })
    const made = await phase(name, ms)
    return { phase: made, ends: await abuse.ask<Ends>({ do: 'end' }) }
  }

  const cases = CASES.filter(({ name }) => ONLY.test(name))
  console.log(`${MINUTES} minutes, ${cases.length} cases\n${COLUMNS.join(' | ')}`)
  await honest.ask({ do: 'begin' })
  // Modules are compiled, first comparisons made.
  await phase('warming up', Math.min(15_000, LENGTH_MS / 20))
  const before = await phase('honest alone', LENGTH_MS * SHARES.before)
  const turns: { phase: Phase; ends: Ends }[] = []
  for (const { name } of cases) turns.push(await abused(name, [name], (LENGTH_MS * SHARES.turns) / cases.length))
  const names = cases.map(({ name }) => name)
  const together = await abused('all together', names, LENGTH_MS * SHARES.together)
  await abuse.stop()
  const after = await phase('honest alone again', LENGTH_MS * SHARES.after)
  const totals = await honest.ask<HonestTotals>({ do: 'settle', withinMs: 60_000 })
  const standings = await victim.ask<readonly Standing[]>({ do: 'standing', dids: ready.peers.map(({ did }) => did) })

  console.log(`\n${table(COLUMNS, [before, ...turns.map((turn) => turn.phase), together.phase, after].map(rowOf))}`)
  for (const { phase: made, ends } of [...turns, together]) {
    console.log(`\n${made.name}; links ended: ${JSON.stringify(ends)}\n${table(['counted', 'times'], countedIn(made))}`)
  }
  for (const name of ['ann', 'ben']) {
    const { text } = await createControlClient({ home: join(folder, name) }).call('GET /v1/metrics', {})
    console.log(`\n${name}\n${table(['counted', 'times'], countedIn({ before: new Map(), after: series(text) }))}`)
  }
  console.log(`\nhonest peers: ${JSON.stringify(totals)}\ntheir standing: ${JSON.stringify(standings)}`)

  assert.deepEqual([...victim.failures, ...honest.failures, ...abuse.failures], [], 'every process lived')

  const uncounted = cases.flatMap(({ name, expects }) => {
    const turn = turns.find((one) => one.phase.name === name)?.phase
    // What takes its time is counted when all run together.
    const isCounted = (one: string): boolean => [turn, together.phase].some((made) => made !== undefined && growth(made.before, made.after, one) > 0)
    return expects.filter((group) => !group.some(isCounted)).map((group) => `${name}: ${group.join(' or ')}`)
  })
  assert.deepEqual(uncounted, [], 'each case ends in a refusal that is counted')

  const abuses = [...turns.map((turn) => turn.phase), together.phase]
  const samples = abuses.flatMap((made) => made.samples)
  const steady = together.phase.samples
  const third = Math.floor(steady.length / 3)
  const grown = (of: (sample: Sample) => number): number => median(steady.slice(-third).map(of)) - median(steady.slice(third, 2 * third).map(of))
  const held = grown(({ heap, external }) => heap + external)
  console.log(`from the second third of the abuse to the last: rss ${(grown(({ rss }) => rss) / MIB).toFixed(1)} MiB, held ${(held / MIB).toFixed(1)} MiB`)
  assert.ok(grown(({ rss }) => rss) < GROWTH_BYTES, 'memory does not grow on')
  assert.ok(held < GROWTH_BYTES, 'what is held does not grow on')
  assert.ok(Math.max(...samples.map(({ rss }) => rss)) < MOST_BYTES, 'memory stays bounded')

  const open = ({ descriptors, handles }: Sample): number => Math.max(descriptors, handles)
  const quiet = Math.max(...before.samples.map(open))
  assert.ok(Math.max(...samples.map(open)) <= quiet + MORE_HANDLES, 'descriptors and handles stay bounded')
  assert.ok(Math.min(...after.samples.map(open)) <= quiet + 20, 'they are given back')

  console.log(
    `processor: ${before.cpu.toFixed(2)} of a core for honest peers alone, ${together.phase.cpu.toFixed(2)} under abuse (${(together.phase.cpu / before.cpu).toFixed(1)} times)`,
  )
  assert.ok(together.phase.cpu < MOST_CPU, 'the processor is not used up')

  const slower = (of: (report: HonestReport) => readonly number[], q: number): number => {
    const floor = (values: readonly number[]): number => Math.max(SLOWER.floorMs, quantile(values, q))
    return floor(of(joined(abuses))) / floor(of(before.honest))
  }
  for (const [what, of] of [
    ['pings', ({ ping }: HonestReport) => ping],
    [OPEN, ({ open }: HonestReport) => open],
    ['entries on the topic of members', ({ members }: HonestReport) => members],
    ['messages', ({ tell }: HonestReport) => tell],
  ] as const) {
    const [middle, late] = [slower(of, 0.5), slower(of, 0.99)]
    console.log(`${what} of honest peers under abuse: median ${middle.toFixed(1)} times, p99 ${late.toFixed(1)} times as long`)
    const isInTime = what === OPEN ? quantile(of(joined(abuses)), 0.99) < LATEST_MS : late < SLOWER.p99
    assert.ok(middle < SLOWER.median && isInTime, `${what} of honest peers keep their latency`)
  }

  // Late is not lost: how late is judged above, by the ratio.
  const [late, failed] = [true, false].map((slow) => Object.entries(totals.failed).filter(([what]) => what.startsWith('slow ') === slow))
  console.log(`entries that took over two seconds: ${JSON.stringify(late)}`)
  assert.deepEqual(failed, [], 'nothing honest failed')
  assert.deepEqual(totals.downs, [], 'no honest link was lost')
  assert.deepEqual([totals.received, totals.twice], [totals.published, 0], 'every entry came once')
  // The hold-back is bounded: an entry that waited its time for another comes without it, and says so.
  console.log(`entries that came before one they follow: ${totals.disordered} of ${totals.received}`)
  assert.ok(totals.disordered <= totals.published / 20, 'entries come in order')
  assert.equal(totals.delivered, totals.told, 'every message was delivered')
  for (const standing of standings) assert.deepEqual(standing, { state: 'good', reputation: 10_000, violations: 0 })
})
