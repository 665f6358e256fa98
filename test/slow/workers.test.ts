import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { KithError } from '../../src/core/errors.ts'
import { type ControlClient, createControlClient } from '../../src/daemon/control/client.ts'
import { createStage, type RunningNode, type Stage } from '../cli/support.ts'

const BIN = fileURLToPath(new URL('../../bin/kith.mjs', import.meta.url))
/** TypeScript without a dependency, as a person would write it. */
const MODULE = `
const slow: number = Number(process.env.SLOW_MS ?? 5)
const wait = (ms: number, signal: AbortSignal): Promise<void> => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, ms)
  signal.addEventListener('abort', () => { clearTimeout(timer); reject(signal.reason) }, { once: true })
})
const base = { input: true, output: true, access: 'everyone' } as const
export const read = { ...base, name: 'job/read', kind: 'query', handler: async (input: unknown, { signal }) => { await wait(slow, signal); return input ?? null } }
export const write = { ...base, name: 'job/write', kind: 'mutation', handler: async (_input: unknown, { signal }) => { await wait(slow, signal); return 'written' } }
export const text = { ...base, name: 'job/text', kind: 'query', input: { type: 'object', required: ['who'] }, handler: ({ who }) => 'hello ' + who }
export const watch = { ...base, name: 'job/watch', kind: 'subscription', async *handler(_input: unknown, { signal }) {
  for (let at = 0; ; at++) { yield { at }; await wait(10, signal) }
} }
export const crash = { ...base, name: 'job/crash', kind: 'mutation', handler: () => { setTimeout(() => { throw new Error('on purpose') }); return new Promise(() => {}) } }
`

let stage: Stage
let client: ControlClient
const nodes: RunningNode[] = []
const workers: WorkerProcess[] = []

interface WorkerProcess {
  readonly child: ChildProcess
  readonly lines: Record<string, unknown>[]
  stderr: string
  readonly exited: Promise<number | null>
  until(met: (line: Record<string, unknown>) => boolean): Promise<void>
}

before(async () => {
  stage = await createStage()
  await writeFile(join(stage.folder, 'ops.ts'), MODULE)
  for (const name of ['hub', 'box', 'laptop']) {
    await stage.json(['init', '--name', name, '--no-passphrase', '--home', stage.home(name)])
    nodes.push(await stage.up(stage.home(name)))
  }
  const { ticket } = await stage.json<{ ticket: string }>(['invite', '--uses', '2', '--home', stage.home('hub')])
  for (const name of ['box', 'laptop']) await stage.json(['join', '-', '--home', stage.home(name)], { input: ticket })
  client = createControlClient({ home: stage.home('hub') })
})
after(async () => {
  for (const { child } of workers) child.kill('SIGKILL')
  await Promise.all(workers.map(({ exited }) => exited))
  await stage.close()
})

function worker(home: string, alias: string, env: Record<string, string> = {}): WorkerProcess {
  return start(['worker', '--exec', 'ops.ts', '--as', alias, ...(home === 'hub' ? [] : ['--head', 'hub'])], home, env)
}

function start(args: readonly string[], home: string, env: Record<string, string> = {}): WorkerProcess {
  const child = spawn(process.execPath, [BIN, ...args, '--json', '--home', stage.home(home)], {
    cwd: stage.folder,
    env: { ...process.env, XDG_STATE_HOME: join(stage.folder, 'state'), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const lines: Record<string, unknown>[] = []
  let wake: () => void = () => {}
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
    lines.push(JSON.parse(line) as Record<string, unknown>)
    wake()
  })
  const made: WorkerProcess = {
    child,
    lines,
    stderr: '',
    exited: once(child, 'close').then(([status]) => {
      wake()
      return status as number | null
    }),
    async until(met) {
      while (!lines.some(met)) {
        if (child.exitCode !== null) assert.fail(`the worker ended: ${made.stderr}`)
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    },
  }
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    made.stderr += text
  })
  workers.push(made)
  return made
}

const ended = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'done',
    (error: unknown) => (error instanceof KithError ? error.code : String(error)),
  )

test('a head with three workers in processes of their own, one killed in mid-stream, one draining, one slow, leaves no caller hanging', {
  timeout: 55_000,
}, async (t) => {
  for (const [peer, alias] of [
    ['box', 'dev1'],
    ['box', 'dev2'],
    ['laptop', 'dev3'],
  ])
    await stage.json(['allow', String(peer), 'offer', `${alias}/job`, '--home', stage.home('hub')])
  const [dev1, dev2, dev3] = [worker('box', 'dev1'), worker('box', 'dev2'), worker('laptop', 'dev3', { SLOW_MS: '300' })]
  for (const one of [dev1, dev2, dev3]) await one.until(({ event, phase }) => event === 'head' && phase === 'registered')

  const outcomes = new Map<string, number>()
  const count = async (kind: string, call: Promise<unknown>): Promise<void> => {
    const outcome = `${kind} ${await ended(call)}`
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  }
  const stream = client.lines('POST /v1/call/stream', { path: 'dev1/job/watch' })[Symbol.asyncIterator]()
  await stream.next()
  const cut = (async () => {
    while ((await stream.next()).done !== true);
  })()
  const calls: Promise<void>[] = [count('stream', cut)]
  for (let round = 0; round < 40; round++) {
    calls.push(count('read', client.call('POST /v1/call', { path: 'job/read', input: round, deadline_ms: 20_000 })))
    calls.push(count('write', client.call('POST /v1/call', { path: 'job/write', deadline_ms: 20_000 })))
    if (round === 10) dev1.child.kill('SIGKILL')
    if (round === 25) dev2.child.kill('SIGTERM')
    if (round % 5 === 0) await client.call('POST /v1/call', { path: 'job/read' })
  }
  await Promise.all(calls)
  t.diagnostic([...outcomes].map(([outcome, times]) => `${times} ${outcome}`).join(', '))
  assert.equal(outcomes.get('stream WORKER_LOST'), 1)
  assert.equal(outcomes.get('read done'), 40)
  assert.equal((outcomes.get('write done') ?? 0) + (outcomes.get('write WORKER_LOST') ?? 0), 40)
  assert.equal(await dev2.exited, 0, dev2.stderr)
  assert.deepEqual(dev2.lines.at(-1), { event: 'drained' })
  const { workers: left } = await client.call('GET /v1/workers', {})
  assert.deepEqual(
    left.map(({ alias, running }) => `${alias} ${running}`),
    ['dev3 0'],
  )
})

test('kith call and kith ops, everything that can go wrong, say so with the status and the next command', { timeout: 55_000 }, async () => {
  const home = ['--home', stage.home('hub')]
  const own = worker('hub', 'own')
  await own.until(({ event }) => event === 'ready')
  assert.equal((await stage.kith(['call', 'own/job/text', '{"who":"you"}', '--raw', ...home])).stdout, 'hello you\n')
  assert.equal((await stage.kith(['call', 'job/text', '-', '--json', ...home], { input: '{"who":"me"}' })).stdout, '"hello me"\n')
  assert.equal((await stage.json<{ name: string }>(['call', 'box/node/about', ...home])).name, 'box')
  const paths = (await stage.json<{ operations: { path: string }[] }>(['ops', ...home])).operations.map(({ path }) => path)
  assert.ok(paths.includes('own/job/read') && paths.includes('node/about'), paths.join(' '))
  const failing = async (args: readonly string[], input?: string): Promise<{ status: number | null; code: string; next: string }> => {
    const { status, stderr } = await stage.kith([...args, '--json', ...home], input === undefined ? {} : { input })
    const { error } = JSON.parse(stderr) as { error: { code: string; next: string } }
    return { status, code: error.code, next: error.next }
  }
  const unknown = await failing(['call', 'box/job/nothing'])
  assert.deepEqual([unknown.status, unknown.code], [1, 'CALL_UNKNOWN'])
  assert.match(unknown.next, / ops box /)
  const input = await failing(['call', 'own/job/text', '{}'])
  assert.deepEqual([input.status, input.code], [2, 'CALL_INPUT'])
  assert.match(input.next, /--schema own\/job\/text/)
  const word = await failing(['call', 'own/job/text', 'hello'])
  assert.deepEqual([word.status, word.code], [2, 'USAGE'])
  const late = await failing(['call', 'own/job/watch', '--stream', '--deadline', '200ms'])
  assert.deepEqual([late.status, late.code], [5, 'CALL_TIMEOUT'])

  const following = spawn(process.execPath, [BIN, 'call', 'own/job/watch', '--stream', ...home], {
    env: { ...process.env, XDG_STATE_HOME: join(stage.folder, 'state') },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const [line] = (await once(createInterface({ input: following.stdout as NodeJS.ReadableStream }), 'line')) as [string]
  assert.deepEqual(JSON.parse(line), { at: 0 })
  following.kill('SIGINT')
  const [status] = (await once(following, 'close')) as [number | null]
  assert.equal(status, 130)
  const running = async (): Promise<number> => (await client.call('GET /v1/workers', {})).workers.find(({ alias }) => alias === 'own')?.running ?? 0
  while ((await running()) > 0);

  assert.equal(await ended(client.call('POST /v1/call', { path: 'own/job/crash' })), 'WORKER_LOST')
  assert.equal(await own.exited, 1)
  assert.match(own.stderr, /WORKER_MODULE/)
  assert.equal((await stage.json<{ name: string }>(['call', 'node/about', ...home])).name, 'hub')
})

test('the heads in the guide of calls, each line typed on the machine that it names, work', { timeout: 55_000 }, async () => {
  const guide = await readFile(new URL('../../docs/guides/calls.md', import.meta.url), 'utf8')
  const module = /```typescript\n([\s\S]*?)```/.exec(guide)?.[1]
  const block = /^## Heads$[\s\S]*?```sh\n([\s\S]*?)```/m.exec(guide)?.[1]
  assert.ok(module !== undefined && block !== undefined)
  await writeFile(join(stage.folder, 'guide.ts'), module)
  const did = (await stage.kith(['id', 'show', '--quiet', '--home', stage.home('laptop')])).stdout.trim()
  const said: string[] = []
  for (const line of block.trim().split('\n')) {
    const [, typed = '', machine = ''] = /^kith (.*?) +# on (hub|box|laptop)\b/.exec(line) ?? []
    assert.notEqual(machine, '', line)
    const words = typed.replace('DID-OF-LAPTOP', did).replace('ops.ts', 'guide.ts')
    if (words.startsWith('worker ')) await start(words.split(' '), machine).until(({ event, phase }) => event === 'head' && phase === 'registered')
    else {
      const { status, stdout, stderr } = await stage.shell(`kith ${words} --home ${stage.home(machine)}`)
      assert.equal(status, 0, `${line}: ${stderr}`)
      said.push(stdout)
    }
  }
  assert.deepEqual(said.slice(-3, -1), Array(2).fill('"the content of a"\n'))
  assert.match(said.at(-1) as string, /^dev1 +box +serving +0 running, 2 calls, 0 failed +fs$/m)
})
