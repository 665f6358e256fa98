import assert from 'node:assert/strict'
import type { Caller } from '../../src/access/types.ts'
import { type AnyOperation, defineOperation } from '../../src/call/define.ts'
import { createHead } from '../../src/call/head.ts'
import { callsOverLinks } from '../../src/call/head-calls.ts'
import type { Head } from '../../src/call/head-types.ts'
import { type CallClient, createCallClient, serveCalls } from '../../src/call/link.ts'
import { createLocalCallee } from '../../src/call/local.ts'
import { createRegistry } from '../../src/call/registry.ts'
import { jsonSchema } from '../../src/call/schema.ts'
import type { Callee } from '../../src/call/types.ts'
import { createWorkerSession, offeredOperations, type WorkerSession } from '../../src/call/worker.ts'
import { WORKER_PROTOCOL } from '../../src/call/worker-codec.ts'
import { toHex } from '../../src/core/bytes.ts'
import { type Clock, sleep } from '../../src/core/clock.ts'
import { KithError } from '../../src/core/errors.ts'
import type { Did } from '../../src/identity/did.ts'
import type { SimNode } from '../../src/testing/node.ts'
import type { Simulation } from '../../src/testing/simulation.ts'
import { CLASSICAL, scenario } from './support.ts'

const LINK = { latencyMs: 5 }
const FAST_MS = 20
const SLOW_MS = 400
const WATCH_ITEMS = 40

/** What a run of a node has for calls. */
interface Calls {
  readonly head: Head
  readonly client: CallClient
  readonly session: WorkerSession | undefined
}

/** Whoever is there may call everything: who may is another test. */
function callerOf({ peer }: { readonly peer: Did }): Caller {
  return { id: peer, did: peer, via: 'link', scopes: new Set(), resources: new Map() }
}

function withCalls(calls: Map<string, Calls>, operations: (clock: Clock) => readonly AnyOperation[], head?: () => Did): (node: SimNode) => void {
  return (node) => {
    const { mesh } = node
    const { clock, random, logger } = node.process
    const offered = operations(clock)
    const registry = createRegistry(offered)
    const client = createCallClient(mesh, { clock })
    const root = (): Callee => own
    const authorize = (): 'allowed' => 'allowed'
    const own = createHead({
      local: createLocalCallee({ registry, authorize, clock, random, logger, root }),
      hasLocal: (name) => registry.get(name) !== undefined,
      client: callsOverLinks(client),
      authorize,
      mayOffer: () => true,
      clock,
      logger,
    })
    mesh.handleLean(WORKER_PROTOCOL, (stream, { peer, linkKey }) => own.accept(stream, { peer, linkKey: toHex(linkKey) }))
    serveCalls(mesh, own, { callerOf: (context) => callerOf(context) })
    const session =
      head === undefined
        ? undefined
        : createWorkerSession({
            open: (signal) => mesh.openLean(head(), WORKER_PROTOCOL, { signal }),
            alias: node.name,
            operations: () => offeredOperations(offered),
            clock,
            random,
            logger,
          })
    calls.set(node.name, { head: own, client, session })
  }
}

function jobs(ms: number): (clock: Clock) => readonly AnyOperation[] {
  const base = { access: 'everyone', input: jsonSchema(true), output: jsonSchema(true) } as const
  return (clock) => {
    const work = async (_input: unknown, { signal }: { readonly signal: AbortSignal }): Promise<string> => {
      await sleep(clock, ms, signal)
      return 'done'
    }
    return [
      defineOperation({ ...base, name: 'job/read', kind: 'query', handler: work }),
      defineOperation({ ...base, name: 'job/write', kind: 'mutation', handler: work }),
      defineOperation({
        ...base,
        name: 'job/watch',
        kind: 'subscription',
        async *handler(_input, { signal }) {
          for (let at = 0; at < WATCH_ITEMS; at++) {
            yield at
            await sleep(clock, 100, signal)
          }
        },
      }),
    ]
  }
}

/** A head, three workers of which the third is slow, and somebody who calls. */
async function village(sim: Simulation): Promise<Map<string, Calls>> {
  const calls = new Map<string, Calls>()
  const hub = await sim.node('hub', { ...CLASSICAL, onStart: withCalls(calls, () => []) })
  for (const [at, name] of ['w1', 'w2', 'w3'].entries()) {
    await sim.node(name, { ...CLASSICAL, onStart: withCalls(calls, jobs(at === 2 ? SLOW_MS : FAST_MS), () => hub.did) })
    sim.link('hub', name, LINK)
  }
  await sim.node('laptop', { ...CLASSICAL, onStart: withCalls(calls, () => []) })
  sim.link('hub', 'laptop', LINK)
  await sim.until(() => calls.get('hub')?.head.workers().length === 3)
  return calls
}

/** Counts how calls end; nothing may be left over. */
class Tally {
  readonly ends: Map<string, number> = new Map()
  readonly ms: number[] = []
  open = 0
  readonly #sim: Simulation

  constructor(sim: Simulation) {
    this.#sim = sim
  }

  watch(kind: string, call: Promise<unknown>): void {
    const from = this.#sim.now
    this.open++
    const end = (outcome: string): void => {
      this.open--
      this.ends.set(`${kind} ${outcome}`, (this.ends.get(`${kind} ${outcome}`) ?? 0) + 1)
      if (kind !== 'watch' && outcome === 'done') this.ms.push(this.#sim.now - from)
    }
    call.then(
      () => end('done'),
      (error: unknown) => end(error instanceof KithError ? error.code : String(error)),
    )
  }

  get(end: string): number {
    return this.ends.get(end) ?? 0
  }

  /** Of the calls that were answered. */
  percentile(share: number): number {
    return [...this.ms].sort((a, b) => a - b)[Math.floor(this.ms.length * share)] ?? 0
  }

  text(): string {
    return [...this.ends]
      .sort()
      .map(([end, count]) => `${count} ${end}`)
      .join(', ')
  }
}

async function drawn(items: AsyncIterable<unknown>): Promise<number> {
  let count = 0
  for await (const _item of items) count++
  if (count !== WATCH_ITEMS) throw new Error(`a stream ended after ${count} items`)
  return count
}

scenario('a head with three workers, one killed in mid-stream, one draining and one slow, leaves no caller hanging', async (sim) => {
  const calls = await village(sim)
  const hub = sim.get('hub')
  const { client } = calls.get('laptop') as Calls
  const tally = new Tally(sim)
  const every = (ms: number, times: number, act: () => void): void => {
    for (let at = 0; at < times; at++) sim.after(at * ms, act)
  }
  every(20, 750, () => tally.watch('read', client.call(hub.did, '/job/read', {}, { deadlineMs: 5_000 })))
  every(50, 300, () => tally.watch('write', client.call(hub.did, '/job/write', {}, { deadlineMs: 5_000 })))
  every(500, 24, () => tally.watch('watch', drawn(client.stream(hub.did, '/job/watch', {}))))
  let drained = false
  sim.after(3_000, () => sim.get('w1').crash())
  sim.after(6_000, () => {
    const { session } = calls.get('w2') as Calls
    void session?.drain(10_000).then(() => {
      drained = true
    })
  })
  sim.after(9_000, () => sim.get('w1').restart())
  await sim.run({ forMs: 30_000 })
  const text = tally.text()
  sim.note(text)
  assert.equal(tally.open, 0, `calls without an end: ${tally.open}`)
  assert.ok(drained, 'the draining worker ended once its calls had')
  assert.equal(tally.get('read done'), 750, text)
  const lost = tally.get('write WORKER_LOST')
  assert.ok(lost <= 3, `only what ran at the killed worker is lost: ${text}`)
  assert.equal(tally.get('write done') + lost, 300, text)
  const cut = tally.get('watch WORKER_LOST')
  assert.ok(cut >= 1 && cut <= 6, text)
  assert.equal(tally.get('watch done') + cut, 24, text)
  assert.ok(tally.percentile(0.5) <= 100, `the slow worker is put aside: ${tally.percentile(0.5)} ms`)
  const { head } = calls.get('hub') as Calls
  assert.equal(
    head.workers().reduce((sum, { running }) => sum + running, 0),
    0,
  )
  return `${text}; median ${tally.percentile(0.5)} ms, 99th ${tally.percentile(0.99)} ms, longest ${tally.percentile(0.9999)} ms`
})

scenario('a worker whose machine falls silent, a call and a stream run there, end at the deadline and when the link is given up', async (sim) => {
  const calls = await village(sim)
  const hub = sim.get('hub')
  const { client } = calls.get('laptop') as Calls
  const tally = new Tally(sim)
  const stream = client.stream(hub.did, '/w1/job/watch', {})
  await sim.settle(stream.next())
  sim.get('w1').crash({ of: 'machine' })
  tally.watch('watch', drawn(stream))
  tally.watch('write', client.call(hub.did, '/w1/job/write', {}, { deadlineMs: 600_000 }))
  const took = await sim.until(() => tally.open === 0, { withinMs: 120_000, everyMs: 1_000 })
  // The call has a deadline of its own, which comes first.
  assert.deepEqual([tally.get('watch WORKER_LOST'), tally.get('write CALL_TIMEOUT')], [1, 1], tally.text())
  assert.ok(took <= 91_000)
  assert.equal((calls.get('hub') as Calls).head.workers().length, 2)
  return `both ended after ${Math.round(took / 1_000)} virtual s`
})
