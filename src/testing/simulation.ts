import type { Timer } from '../core/clock.ts'
import { type Logger, silentLogger } from '../core/observe/log.ts'
import { type Random, seededRandom } from '../core/random.ts'
import { encodeChain } from '../identity/chain-codec.ts'
import type { Did } from '../identity/did.ts'
import { atLeast } from '../mesh/constraints.ts'
import type { PeerClass } from '../mesh/types.ts'
import { createMemoryNetwork, type MemoryNetwork } from '../transport/memory.ts'
import { EventLog, type LogWindow } from './event-log.ts'
import { SimDevice, SimIdentity } from './identities.ts'
import { type LinkConditions, Links, type Traffic } from './links.ts'
import { SimNode, type SimNodeOptions } from './node.ts'
import { START_MS } from './node-clock.ts'
import { Samples } from './samples.ts'
import { Scheduler } from './scheduler.ts'
import type { SignMldsa } from './steady-signer.ts'
import type { Edge } from './topology.ts'

export interface SimulationOptions {
  /** Everything that is chance follows from it. */
  readonly seed: number | string
  /** Conditions between machines that have no link of their own. */
  readonly conditions?: LinkConditions
  /** Of all nodes that have none of their own. Default: silent. */
  readonly logger?: Logger
  /**
   * Signs chains, bindings and prekeys, as `@noble/post-quantum` does with `extraEntropy: false`. node:crypto signs differently each time, so without this a run with
   * post-quantum keys repeats within one process only.
   */
  readonly signMldsa?: SignMldsa
  /** Records to keep as text, for finding out where two runs part. */
  readonly window?: LogWindow
}

export interface LinkOptions extends LinkConditions {
  /** Whether the two get into each other's address book, and so link. Default true. */
  readonly acquaint?: boolean
  /** What each writes into its book for the other. Default `known`. */
  readonly class?: PeerClass
}

export interface UntilOptions {
  /** Virtual ms. Default two minutes. */
  readonly withinMs?: number
  /** How often the condition is looked at, virtual ms. Default 10. */
  readonly everyMs?: number
}

interface Acquaintance {
  readonly a: string
  readonly b: string
  readonly class: PeerClass
  done: boolean
}

/** Identities are older than the simulation, so that no clock that is behind finds them in its future. */
const IDENTITY_AGE_MS = 30 * 86_400_000
const MAX_NODES = 0xffff
const DEFAULT_WITHIN_MS = 120_000

/** A network of whole nodes in one process and in virtual time: the same seed, the same run. */
export function createSimulation(options: SimulationOptions): Simulation {
  return new Simulation(options)
}

export class Simulation implements AsyncDisposable {
  readonly seed: string
  /** For choices of the scenario itself. */
  readonly random: Random
  readonly #scheduler = new Scheduler()
  readonly #links: Links
  readonly #network: MemoryNetwork
  readonly #log: EventLog
  readonly #logger: Logger
  readonly #signMldsa: SignMldsa | undefined
  readonly #nodes = new Map<string, SimNode>()
  readonly #numbers = new Map<string, number>()
  readonly #names = new Map<Did, string>()
  readonly #identities = new Map<string, SimIdentity>()
  readonly #acquaintances: { readonly a: string; readonly b: string; readonly class: PeerClass; done: boolean }[] = []
  readonly #samples = new Map<string, Samples>()

  constructor(options: SimulationOptions) {
    this.seed = String(options.seed)
    this.random = seededRandom(`${this.seed} scenario`)
    this.#logger = options.logger ?? silentLogger
    this.#signMldsa = options.signMldsa
    this.#log = new EventLog(options.window)
    this.#links = new Links(this.#scheduler, this.seed, options.conditions ?? {}, (from, to, bytes) => {
      this.#log.segment(this.now, this.#numberOf(from), this.#numberOf(to), bytes, () => `${from} to ${to}`)
    })
    this.#network = createMemoryNetwork({ model: this.#links })
  }

  /** Virtual ms since the start. */
  get now(): number {
    return this.#scheduler.now
  }

  /** Events of time that have run: timers and arrivals. */
  get events(): number {
    return this.#scheduler.count
  }

  /** Makes a machine and starts a node on it. */
  async node(name: string, options: SimNodeOptions = {}): Promise<SimNode> {
    if (!/^[A-Za-z0-9._-]{1,64}$/.test(name)) throw new TypeError('a name is 1 to 64 letters, digits and . _ -')
    if (this.#nodes.has(name)) throw new TypeError(`there is a node ${name} already`)
    if (this.#nodes.size >= MAX_NODES) throw new TypeError(`at most ${MAX_NODES} nodes`)
    const identity = this.#identityFor(name, options)
    const { cloneOf } = options
    const makeDevice = (now: number): SimDevice =>
      cloneOf === undefined ? new SimDevice(identity, `${this.seed} ${name}`, { name, now }) : this.get(cloneOf).device
    const node = new SimNode(name, this.#host(), identity, makeDevice, options)
    this.#nodes.set(name, node)
    this.#numberOf(name)
    if (!this.#names.has(node.did)) this.#names.set(node.did, name)
    await this.settle(node.restart(options))
    return node
  }

  /** As many nodes, named `n000`, `n001` and so on. */
  async nodes(count: number, options: SimNodeOptions = {}): Promise<SimNode[]> {
    const made: SimNode[] = []
    for (let at = 0; at < count; at++) made.push(await this.node(`n${String(at).padStart(3, '0')}`, options))
    return made
  }

  /** @throws TypeError when there is none of this name. */
  get(name: string): SimNode {
    const node = this.#nodes.get(name)
    if (node === undefined) throw new TypeError(`there is no node ${name}`)
    return node
  }

  all(): SimNode[] {
    return [...this.#nodes.values()]
  }

  /** Sets the way between two machines, and lets them know each other unless told not to; either may still be to come. */
  link(a: string, b: string, options: LinkOptions = {}): void {
    const { acquaint = true, class: of = 'known', ...conditions } = options
    this.#links.set(a, b, conditions)
    this.#links.set(b, a, conditions)
    if (!acquaint) return
    const acquaintance = { a, b, class: of, done: false }
    this.#acquaintances.push(acquaintance)
    this.#background(this.#acquaint(acquaintance))
  }

  /** Sets one direction only; nobody gets to know anybody. */
  oneWay(from: string, to: string, conditions: LinkConditions): void {
    this.#links.set(from, to, conditions)
  }

  /** A link for each edge: `sim.connect(ring(names), { latencyMs: 5 })`. */
  connect(edges: readonly Edge[], options: LinkOptions = {}): void {
    for (const [a, b] of edges) this.link(a, b, options)
  }

  /** Nothing passes between names in different sides from now on; names in none are a side of their own. */
  partition(...sides: readonly (readonly string[])[]): void {
    this.#links.partition(sides)
    this.#log.text(this.now, `partition ${sides.map((names) => names.join(' ')).join(' | ')}`)
  }

  heal(): void {
    this.#links.heal()
    this.#log.text(this.now, 'heal')
  }

  /** Breaks all connections between two machines at once, at both ends; new ones may be made. */
  sever(a: string, b: string): void {
    this.#network.sever(a, b)
    this.#log.text(this.now, `sever ${a} ${b}`)
  }

  /** Does something of the scenario at a later time, among everything else that happens then. What it throws ends the run. */
  after(ms: number, act: () => void | Promise<void>): Timer {
    return this.#scheduler.after(ms, () => {
      try {
        const result = act()
        if (result !== undefined) this.#background(result)
      } catch (error) {
        this.#scheduler.fail(error)
      }
    })
  }

  /** Lets virtual time pass. */
  async run(options: { readonly forMs: number }): Promise<void> {
    const { forMs } = options
    if (!(forMs >= 0 && forMs < Number.POSITIVE_INFINITY)) throw new TypeError('forMs must be a number of ms, 0 or more')
    await this.#scheduler.advance(this.now + forMs)
  }

  /** Lets time pass until the condition holds. @returns the virtual ms that took. @throws Error when it does not come to hold in time. */
  async until(condition: () => boolean, options: UntilOptions = {}): Promise<number> {
    const { withinMs = DEFAULT_WITHIN_MS, everyMs = 10 } = options
    const start = this.now
    const end = start + withinMs
    await this.#scheduler.settle()
    while (!condition()) {
      if (this.now >= end) throw new Error(`seed ${this.seed}: the condition did not come to hold within ${withinMs} ms: ${condition}`)
      // Nothing can change before the next event.
      await this.#scheduler.advance(Math.min(end, Math.max(this.now + everyMs, this.#scheduler.next)))
    }
    return this.now - start
  }

  /** The promise's outcome, time running for as long as it needs. Inside an event, where time runs anyway, just the promise. */
  async settle<T>(promise: Promise<T>, options: { readonly withinMs?: number } = {}): Promise<T> {
    if (this.#scheduler.running) return await promise
    const { withinMs = DEFAULT_WITHIN_MS } = options
    let done = false
    const end = (): void => {
      done = true
    }
    promise.then(end, end)
    const from = this.now
    await this.#scheduler.settle()
    if (!done) await this.#scheduler.advance(from + withinMs, () => done)
    if (!done) throw new Error(`seed ${this.seed}: what was waited for did not happen within ${withinMs} ms`)
    return await promise
  }

  /** Puts something of the scenario into the digest: strings, numbers, booleans. */
  note(...values: readonly (string | number | boolean)[]): void {
    this.#log.text(this.now, JSON.stringify(values))
  }

  /** Numbers collected under a name. */
  samples(name: string): Samples {
    const samples = this.#samples.get(name) ?? new Samples()
    this.#samples.set(name, samples)
    return samples
  }

  /** What connections have delivered: everywhere, from a machine, or from one to another. */
  traffic(from?: string, to?: string): Traffic {
    return this.#links.traffic(from, to)
  }

  /** Over everything that has happened so far: the same for the same seed and scenario. */
  digest(): string {
    return this.#log.digest()
  }

  get log(): Pick<EventLog, 'count' | 'marks' | 'lines'> {
    return this.#log
  }

  /** Ends every node at once and wipes all keys. Idempotent. */
  async close(): Promise<void> {
    for (const node of this.#nodes.values()) if (node.running) node.crash()
    await this.#scheduler.settle()
    for (const node of this.#nodes.values()) node.device.close()
    for (const identity of this.#identities.values()) identity.close()
    this.#nodes.clear()
    this.#identities.clear()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #host(): ConstructorParameters<typeof SimNode>[1] {
    return {
      seed: this.seed,
      scheduler: this.#scheduler,
      network: this.#network,
      logger: this.#logger,
      log: (text) => this.#log.text(this.now, text),
      nameOf: (did) => (did === null ? 'nobody' : (this.#names.get(did) ?? did)),
      settle: (promise) => this.settle(promise),
      started: async ({ name }) => {
        for (const acquaintance of this.#acquaintances) if (acquaintance.a === name || acquaintance.b === name) await this.#acquaint(acquaintance)
      },
    }
  }

  #identityFor(name: string, { cloneOf, identityOf = cloneOf, postQuantum = true, identity: given, recovery }: SimNodeOptions): SimIdentity {
    if (given !== undefined) return given
    if (identityOf !== undefined) return this.get(identityOf).identity
    const identity = new SimIdentity(`${this.seed} ${name}`, { postQuantum, now: START_MS - IDENTITY_AGE_MS, signMldsa: this.#signMldsa, policy: recovery })
    this.#identities.set(name, identity)
    return identity
  }

  async #acquaint(acquaintance: Acquaintance): Promise<void> {
    const [a, b] = [this.#nodes.get(acquaintance.a), this.#nodes.get(acquaintance.b)]
    if (acquaintance.done || a?.running !== true || b?.running !== true) return
    acquaintance.done = true
    const add = async (to: SimNode, peer: SimNode): Promise<void> => {
      await to.mesh.book.add(peer.did, { name: this.#names.get(peer.did) ?? peer.name, urls: [peer.url], class: acquaintance.class })
      // Their owners have compared keys.
      if (atLeast(acquaintance.class, 'partner')) await to.mesh.anchor(peer.did, { chain: encodeChain(peer.device.chain.entries) })
    }
    await Promise.all([add(a, b), add(b, a)])
  }

  #background(work: Promise<void>): void {
    work.catch((error: unknown) => this.#scheduler.fail(error))
  }

  #numberOf(name: string): number {
    const number = this.#numbers.get(name) ?? this.#numbers.size
    this.#numbers.set(name, number)
    return number
  }
}
