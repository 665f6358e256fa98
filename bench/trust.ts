/** Scores over 100,000 edges, and the decisions made from them. */
import { createAssembly } from '../src/assembly/assembly.ts'
import type { Assembly } from '../src/assembly/types.ts'
import { systemClock } from '../src/core/clock.ts'
import { silentLogger } from '../src/core/observe/log.ts'
import { systemRandom } from '../src/core/random.ts'
import { createMemoryStore } from '../src/core/store/memory.ts'
import type { Did } from '../src/identity/did.ts'
import { DEFAULT_CONSTRAINTS } from '../src/mesh/constraints.ts'
import type { TrustGraph } from '../src/trust/api.ts'
import { TrustOracle } from '../src/trust/oracle.ts'
import { openStanding } from '../src/trust/standing.ts'
import type { BenchRow, BenchSample } from './harness.ts'
import { makeDevice } from './support/link-ends.ts'
import { attestation, type TrustWorld, trustWorld } from './support/trust-world.ts'
import { timed, timedAsync } from './support/turns.ts'

const TOPIC = 'bench:policy'
const READS = 2_000_000
const UPDATES = 5_000

interface Held {
  readonly world: TrustWorld
  readonly graph: TrustGraph
  sequence: number
}

let held: Promise<Held> | undefined

function whole(): Promise<Held> {
  held ??= (async () => {
    const world = await trustWorld()
    const graph = await world.open()
    for (const peer of world.people) graph.score(peer)
    return { world, graph, sequence: Date.now() }
  })()
  return held
}

export async function close(): Promise<void> {
  await (await held)?.graph.close()
}

function scoreAll(graph: TrustGraph, people: readonly Did[]): void {
  for (const peer of people) graph.score(peer)
}

/** A graph that was read and not asked yet. */
async function recomputed(world: TrustWorld): Promise<number> {
  const graph = await world.open()
  const seconds = timed(() => scoreAll(graph, world.people))
  await graph.close()
  return 1 / seconds
}

/** Statements of those whom this node trusts come in, and each subject's score is read again. */
async function updates(quick: boolean): Promise<BenchSample> {
  const state = await whole()
  const { world, graph } = state
  const said = [...world.spoken].slice(0, 500).flatMap(([issuer, targets]) => targets.slice(0, 10).map((target) => [issuer, target] as const))
  const records = said.slice(0, quick ? UPDATES / 5 : UPDATES).map(([issuer, target], at) => attestation(issuer, target, (at * 101) % 10_000, ++state.sequence))
  const seconds = await timedAsync(async () => {
    for (const [at, record] of records.entries()) {
      if ((await graph.apply(record)) !== 'applied') throw new Error('the statement was not taken')
      graph.score((said[at] as readonly [Did, Did])[1])
    }
  })
  return { ours: records.length / seconds, peer: await recomputed(world) }
}

/** This node changes its own edge to a friend, and the scores of all whom that one speaks of are read again. */
async function ownUpdates(quick: boolean): Promise<BenchSample> {
  const { world, graph } = await whole()
  const friends = [...world.spoken].slice(0, quick ? 50 : 500)
  const seconds = await timedAsync(async () => {
    for (const [at, [friend, targets]] of friends.entries()) {
      await graph.set(friend, 2_000 + ((at * 211) % 8_000))
      scoreAll(graph, targets)
    }
  })
  return { ours: friends.length / seconds, peer: await recomputed(world) }
}

/** Calls per second, a peer after the other. */
function rate(count: number, people: readonly Did[], ask: (peer: Did) => unknown): number {
  const run = (): void => {
    let at = 0
    for (let done = 0; done < count; done++) {
      ask(people[at] as Did)
      if (++at === people.length) at = 0
    }
  }
  run()
  return count / timed(run)
}

async function oracleOf({ world, graph }: Held): Promise<TrustOracle> {
  const standing = await openStanding({ store: createMemoryStore(), clock: systemClock, logger: silentLogger, own: world.me })
  return new TrustOracle({ trust: graph, standing, limits: () => DEFAULT_CONSTRAINTS, minScore: () => 500 })
}

/** A node's own rules in front of trust: what every message and every entry of gossip asks. */
async function policyOf(): Promise<{ readonly policy: Assembly['mesh']['policy']; readonly peers: readonly Did[]; close(): Promise<void> }> {
  const assembly = await createAssembly({
    device: makeDevice(true),
    store: createMemoryStore(),
    transports: [],
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    interfaces: () => [],
  })
  const peers = (await whole()).world.people.slice(0, 1_000)
  for (const peer of peers) await assembly.mesh.book.add(peer, { class: 'partner' })
  await assembly.gossip.define({ name: TOPIC, access: { kind: 'open' } })
  return { policy: assembly.mesh.policy, peers, close: () => assembly.close() }
}

const reads = (quick: boolean): number => (quick ? READS / 10 : READS)
const FULLY = 'all scores computed again'

export const rows: readonly BenchRow[] = [
  {
    name: 'trust: a statement comes in, its subject is scored, 100,000 edges',
    unit: '/s',
    peer: FULLY,
    better: 'higher',
    goal: 100,
    measure: ({ quick }) => updates(quick),
  },
  {
    name: 'trust: own edge set, all that it touches scored, 100,000 edges',
    unit: '/s',
    peer: FULLY,
    better: 'higher',
    measure: ({ quick }) => ownUpdates(quick),
  },
  {
    name: 'trust: cached scores of 10,000 identities',
    unit: '/s',
    peer: '',
    better: 'higher',
    goal: 1e6,
    async measure({ quick }) {
      const { graph, world } = await whole()
      return { ours: rate(reads(quick), world.people, (peer) => graph.score(peer)) }
    },
  },
  {
    name: 'trust: from the store to all scores, 100,000 edges',
    unit: 'ms',
    peer: '',
    better: 'lower',
    async measure() {
      const { world } = await whole()
      let graph: TrustGraph | undefined
      const seconds = await timedAsync(async () => {
        graph = await world.open()
        scoreAll(graph, world.people)
      })
      await graph?.close()
      return { ours: seconds * 1e3 }
    },
  },
  {
    name: 'policy: limits of a peer, by its standing',
    unit: '/s',
    peer: '',
    better: 'higher',
    goal: 1e6,
    async measure({ quick }) {
      const state = await whole()
      const oracle = await oracleOf(state)
      return { ours: rate(reads(quick), state.world.people, (peer) => oracle.constraints(peer)) }
    },
  },
  {
    name: 'policy: may this peer link, by its standing',
    unit: '/s',
    peer: '',
    better: 'higher',
    goal: 1e6,
    async measure({ quick }) {
      const state = await whole()
      const oracle = await oracleOf(state)
      return { ours: rate(reads(quick), state.world.people, (peer) => oracle.decide({ peer, action: 'link' })) }
    },
  },
  {
    name: 'policy: limits of a peer in the address book, all rules of a node',
    unit: '/s',
    peer: '',
    better: 'higher',
    goal: 1e6,
    async measure({ quick }) {
      const { policy, peers, close } = await policyOf()
      const ours = rate(reads(quick), peers, (peer) => policy.constraints(peer))
      await close()
      return { ours }
    },
  },
  {
    name: 'policy: may this peer publish, all rules of a node',
    unit: '/s',
    peer: '',
    better: 'higher',
    async measure({ quick }) {
      const { policy, peers, close } = await policyOf()
      const ours = rate(reads(quick) / 10, peers, (peer) => policy.decide({ peer, action: 'publish', target: TOPIC }))
      await close()
      return { ours }
    },
  },
]
