/** A POST query by the HTTP projection, with its key checked and its access decided, against a plain fastify handler that validates the same; driven by wrk. */
import type { ChildProcess } from 'node:child_process'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type BenchRow, median } from './harness.ts'
import { startJson, stop } from './support/processes.ts'
import { cpuSeconds } from './support/stopwatch.ts'

const run = promisify(execFile)
const CPU: boolean = process.argv.includes('--cpu')
const CONNECTIONS = '32'
/** A quick run takes one sample, so that one is made of more. */
const QUICK_TURNS = 3

interface World {
  readonly child: ChildProcess
  readonly kith: string
  readonly fastify: string
  readonly script: string
  close(): Promise<void>
}

let world: Promise<World> | undefined

async function open(): Promise<World> {
  const server = join(import.meta.dirname, 'support', 'projection-server.ts')
  const { child, ready } = await startJson<{ kith: number; fastify: number; key: string }>([...process.execArgv, server])
  const folder = mkdtempSync(join(tmpdir(), 'kith-bench-'))
  const script = join(folder, 'post.lua')
  const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${ready.key}` }
  const body = { text: 'hello', count: 3, tags: ['a', 'b', 'c'], at: '2026-01-01T00:00:00Z', ok: true }
  const lines = Object.entries(headers).map(([name, value]) => `wrk.headers["${name}"] = "${value}"`)
  writeFileSync(script, ['wrk.method = "POST"', `wrk.body = [[${JSON.stringify(body)}]]`, ...lines].join('\n'))
  return {
    child,
    kith: `http://127.0.0.1:${ready.kith}/v1/echo/say`,
    fastify: `http://127.0.0.1:${ready.fastify}/v1/echo/say`,
    script,
    async close() {
      await stop(child)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Requests a second; with `--cpu` those of a second of the server's processor. */
async function rate({ child, script }: World, url: string, seconds: number): Promise<number> {
  const before = cpuSeconds(child.pid as number)
  const { stdout } = await run('wrk', ['-t1', `-c${CONNECTIONS}`, `-d${seconds}s`, '-s', script, url])
  if (/Non-2xx/.test(stdout)) throw new Error(`not every request was answered: ${stdout}`)
  const [, count] = /(\d+) requests in/.exec(stdout) ?? []
  return CPU ? Number(count) / (cpuSeconds(child.pid as number) - before) : Number(count) / seconds
}

/** After a second that does not count: both sides share one process, and each finds its compiled code and hidden classes thrown out by the turn of the other. */
async function warmRate(here: World, url: string, seconds: number): Promise<number> {
  await rate(here, url, 1)
  return await rate(here, url, seconds)
}

export const rows: readonly BenchRow[] = [
  {
    name: 'POST query by HTTP, 100-byte JSON, 32 connections',
    unit: 'req/s',
    peer: 'plain fastify handler, the same validation',
    better: 'higher',
    goal: 0.6,
    async measure({ quick }) {
      world ??= open()
      const here = await world
      const seconds = quick ? 1 : 3
      // One after the other several times: what else the machine does should meet both.
      const ours: number[] = []
      const peer: number[] = []
      for (let turn = 0; turn < (quick ? QUICK_TURNS : 1); turn++) {
        ours.push(await warmRate(here, here.kith, seconds))
        peer.push(await warmRate(here, here.fastify, seconds))
      }
      return { ours: median(ours), peer: median(peer) }
    },
  },
]

export async function close(): Promise<void> {
  await (await world)?.close()
}
