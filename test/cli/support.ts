import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const BIN = fileURLToPath(new URL('../../bin/kith.mjs', import.meta.url))
/** No command of these tests takes longer, however busy the machine is. */
const COMMAND_MS = 60_000

export interface Outcome {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Ready {
  readonly event: string
  readonly did: string | null
  readonly listen: readonly string[]
  readonly pid: number
  readonly control: string
  readonly degraded: readonly { readonly code: string; readonly next: string | null }[]
}

export interface RunningNode {
  readonly ready: Ready
  readonly process: ChildProcess
  readonly exited: Promise<number | null>
  /** Events printed after the first line. */
  readonly events: readonly Record<string, unknown>[]
}

/** A folder for homes and for passphrases kept outside them, and the real command in child processes. */
export interface Stage {
  readonly folder: string
  home(name: string): string
  kith(args: readonly string[], options?: { input?: string; env?: Record<string, string>; commandMs?: number }): Promise<Outcome>
  /** A line as a person types it into a shell, where `kith` is the real command. */
  shell(line: string, env?: Record<string, string>, commandMs?: number): Promise<Outcome>
  /** One command that must succeed, and its JSON. */
  json<T = Record<string, unknown>>(args: readonly string[], options?: { input?: string; commandMs?: number }): Promise<T>
  /** `kith up` in the foreground of a child process. */
  up(home: string, args?: readonly string[], env?: Record<string, string>): Promise<RunningNode>
  close(): Promise<void>
}

export async function createStage(): Promise<Stage> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-cli-')))
  const running: RunningNode[] = []
  const environment = (extra: Record<string, string> = {}): NodeJS.ProcessEnv => {
    const env: NodeJS.ProcessEnv = { ...process.env, XDG_STATE_HOME: join(folder, 'state'), NO_COLOR: '1', ...extra }
    for (const name of Object.keys(env)) if (name.startsWith('KITH_') && !(name in extra)) delete env[name]
    return env
  }
  const start = (args: readonly string[], env: Record<string, string> | undefined): ChildProcess =>
    spawn(process.execPath, [BIN, ...args], { env: environment(env), stdio: ['pipe', 'pipe', 'pipe'], cwd: folder })
  const outcomeOf = async (child: ChildProcess, commandMs: number): Promise<Outcome> => {
    const timer = setTimeout(() => child.kill('SIGKILL'), commandMs)
    const output = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const) {
      child[name]?.setEncoding('utf8').on('data', (text: string) => {
        output[name] += text
      })
    }
    const [status] = (await once(child, 'close')) as [number | null]
    clearTimeout(timer)
    return { status, ...output }
  }

  const stage: Stage = {
    folder,
    home: (name) => join(folder, name),
    async kith(args, options = {}) {
      const child = start(args, options.env)
      child.stdin?.on('error', () => {})
      child.stdin?.end(options.input ?? '')
      return await outcomeOf(child, options.commandMs ?? COMMAND_MS)
    },
    async shell(line, env, commandMs) {
      const kith = `kith() { ${JSON.stringify(process.execPath)} ${JSON.stringify(BIN)} "$@"; }`
      const child = spawn('bash', ['-c', `set -o pipefail\n${kith}\n${line}`], { env: environment(env), stdio: ['ignore', 'pipe', 'pipe'], cwd: folder })
      return await outcomeOf(child, commandMs ?? COMMAND_MS)
    },
    async json(args, options) {
      const outcome = await stage.kith([...args, '--json'], options)
      if (outcome.status !== 0) throw new Error(`kith ${args.join(' ')} ended with ${outcome.status}: ${outcome.stderr}`)
      return JSON.parse(outcome.stdout)
    },
    async up(home, args = [], env) {
      const child = start(['up', '--json', '--home', home, '--listen', 'tcp://127.0.0.1:0', ...args], env)
      const exited = once(child, 'close').then(([status]) => status as number | null)
      let stderr = ''
      child.stderr?.setEncoding('utf8').on('data', (text: string) => {
        stderr += text
      })
      const events: Record<string, unknown>[] = []
      const ready = await new Promise<Ready>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`not ready: ${stderr}`)), COMMAND_MS)
        createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
          const value = JSON.parse(line)
          clearTimeout(timer)
          if (value.event === 'ready' && 'pid' in value) resolve(value)
          else events.push(value)
        })
        void exited.then((status) => reject(new Error(`ended with ${status}: ${stderr}`)))
      })
      const node = { ready, process: child, exited, events }
      running.push(node)
      return node
    },
    async close() {
      for (const node of running) node.process.kill('SIGKILL')
      await Promise.all(running.map((node) => node.exited))
      await rm(folder, { recursive: true, force: true })
    },
  }
  return stage
}

/** What a command with `--json` that failed has said. */
export function errorOf(stderr: string): { code: string; message: string; next: string | null; details: Record<string, unknown> } {
  return JSON.parse(stderr).error
}

/** Two running nodes, paired: `alice` made the ticket. @returns their DIDs. */
export async function meet(stage: Stage): Promise<{ alice: string; bob: string }> {
  const dids = { alice: '', bob: '' }
  for (const name of ['alice', 'bob'] as const) {
    dids[name] = (await stage.json<{ did: string }>(['init', '--name', name, '--home', stage.home(name)])).did
    await stage.up(stage.home(name))
  }
  const paired = await stage.shell('kith --home alice invite | kith --home bob join -')
  if (paired.status !== 0) throw new Error(paired.stderr)
  return dids
}
