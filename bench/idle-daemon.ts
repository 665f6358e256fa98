/** What a node costs that runs and waits: a fresh home, the default transports, nobody connected. Absolute figures, there is no peer. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { BenchRow } from './harness.ts'
import { stop } from './support/processes.ts'
import { cpuSeconds, residentBytes } from './support/stopwatch.ts'

const run = promisify(execFile)
const LAUNCHER = join(import.meta.dirname, '..', 'bin', 'kith.mjs')
/** V8 gives memory back after some seconds of rest. */
const REST_MS = 30_000

interface Figures {
  readonly fresh: number
  readonly asked: number
  /** Part of one processor. */
  readonly load: number
}

let figures: Promise<Figures> | undefined

async function measure(quick: boolean): Promise<Figures> {
  const folder = mkdtempSync(join(tmpdir(), 'kith-bench-idle-'))
  const env = { ...process.env, XDG_STATE_HOME: join(folder, 'state') }
  const kith = (...args: string[]) => run(process.execPath, [LAUNCHER, '--home', join(folder, 'home'), '--json', ...args], { env })
  let daemon: ChildProcess | undefined
  try {
    await kith('init', '--name', 'bench', '--no-passphrase')
    daemon = spawn(process.execPath, [LAUNCHER, '--home', join(folder, 'home'), '--json', 'up', '--listen', 'tcp://127.0.0.1:0'], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(createInterface({ input: daemon.stdout as NodeJS.ReadableStream }), 'line')
    const pid = daemon.pid as number
    await sleep(quick ? 5_000 : REST_MS)
    const fresh = residentBytes(pid)
    const before = cpuSeconds(pid)
    const watchedMs = quick ? 5_000 : 10_000
    await sleep(watchedMs)
    const load = (cpuSeconds(pid) - before) / (watchedMs / 1e3)
    await kith('status')
    await sleep(quick ? 5_000 : REST_MS)
    return { fresh, asked: residentBytes(pid), load }
  } finally {
    if (daemon !== undefined) await stop(daemon)
    rmSync(folder, { recursive: true, force: true })
  }
}

async function figure(quick: boolean, read: (figures: Figures) => number): Promise<{ ours: number }> {
  figures ??= measure(quick)
  return { ours: read(await figures) }
}

/** The median of a few runs of a command, from start to end, in ms. */
async function startUp(...args: string[]): Promise<{ ours: number }> {
  const times: number[] = []
  for (let i = 0; i < 5; i++) {
    const started = performance.now()
    await run(process.execPath, [LAUNCHER, ...args])
    times.push(performance.now() - started)
  }
  return { ours: times.sort((a, b) => a - b)[2] as number }
}

const alone = { peer: '', better: 'lower', rounds: 1 } as const

export const rows: readonly BenchRow[] = [
  { ...alone, name: 'idle daemon, resident memory', unit: 'MB', goal: 80, measure: ({ quick }) => figure(quick, ({ fresh }) => fresh / 1e6) },
  { ...alone, name: 'idle daemon that was asked for its status', unit: 'MB', measure: ({ quick }) => figure(quick, ({ asked }) => asked / 1e6) },
  { ...alone, name: 'idle daemon, processor time', unit: '%', measure: ({ quick }) => figure(quick, ({ load }) => load * 100) },
  { ...alone, name: 'kith --version', unit: 'ms', goal: 150, measure: () => startUp('--version') },
  { ...alone, name: 'kith --help', unit: 'ms', measure: () => startUp('--help') },
]
