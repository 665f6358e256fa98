import type { PublicKey } from '../../core/bytes.ts'
import { type Clock, sleep } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { Source } from '../types.ts'
import { type Travel, WireEnd, wireLost } from './wire.ts'

/** What a dialer brings: one end of a fresh wire, and what a plain listener believes of it. */
export interface Offer {
  readonly wire: WireEnd
  readonly source: Source
  readonly dialerKey: PublicKey
  readonly binding: Uint8Array
}

/** What a listening transport leaves with the network. */
export interface MemoryServer {
  /** The name of the transport that listens. */
  readonly owner: string
  readonly key: PublicKey
  readonly secure: boolean
  /** False turns the dialer away. */
  accept(offer: Offer): boolean
  locate(request: Uint8Array, source: Source): Uint8Array | undefined
}

/** Conditions of the network: all may change while connections run. */
export interface MemoryNetwork {
  /** One way between two names, ms. */
  latencyMs: (from: string, to: string) => number
  /** Stops everything between two names; bytes wait until `mend`, and dials find nobody. */
  cut(a: string, b: string): void
  mend(a: string, b: string): void
  /** Breaks every connection between two names; both ends report `LINK_LOST`. New ones may be made at once. */
  sever(a: string, b: string): void
  /**
   * The machine of that name goes out: its listeners are gone, its ends of connections hear and say nothing any more, and transports made for it before
   * never get anything done. With `reset` (the process died, its system lives) the other ends learn it as soon as bytes can travel, and dials are refused;
   * without, nothing answers until `appear`.
   */
  vanish(name: string, options?: { readonly reset?: boolean }): void
  /** The machine answers again: whoever still sends on a connection of before is told that there is none. */
  appear(name: string): void
}

/** Conditions that a simulation works out by itself, in place of one latency and of cuts. */
export interface NetworkModel {
  /** The network's time: that of neither end. */
  readonly clock: Clock
  /** Ms until so many bytes that leave now arrive. Infinity: never, nor what the same connection sends behind them. */
  travelMs(from: string, to: string, bytes: number): number
  /** Whether anything gets through now; asked when bytes should arrive. */
  passes(from: string, to: string): boolean
  /** Ms after which what did not get through is sent again, for the `attempt`th time from 0. Infinity gives up. */
  againMs(from: string, to: string, attempt: number): number
  /** Ms from a question to its answer between machines without a connection, or undefined when either was lost on the way. */
  questionMs(from: string, to: string): number | undefined
  /** Ms until a question without an answer is asked again. Infinity gives up. */
  askAgainMs(attempt: number): number
  /** Bytes of a connection were handed over. */
  arrived(from: string, to: string, bytes: number): void
}

export interface MemoryNetworkOptions {
  /** One way, the same everywhere, until set otherwise. Default 0. */
  readonly latencyMs?: number
  readonly model?: NetworkModel
}

/** The inside of a network, for transports. */
export class MemoryHub implements MemoryNetwork {
  latencyMs: (from: string, to: string) => number
  readonly servers: Map<string, MemoryServer> = new Map<string, MemoryServer>()
  readonly #model: NetworkModel | undefined
  readonly #cuts = new Set<string>()
  readonly #dark = new Set<string>()
  /** How often a name has vanished. */
  readonly #lives = new Map<string, number>()
  readonly #wires = new Map<string, Set<Wire>>()
  #names = 0

  constructor(options: MemoryNetworkOptions) {
    const latencyMs = options.latencyMs ?? 0
    this.latencyMs = () => latencyMs
    this.#model = options.model
  }

  /** A name for a transport that was given none. */
  freshName(): string {
    this.#names += 1
    return `node-${this.#names}`
  }

  cut(a: string, b: string): void {
    this.#cuts.add(pairOf(a, b))
  }

  mend(a: string, b: string): void {
    if (!this.#cuts.delete(pairOf(a, b))) return
    for (const { ends } of this.#wires.get(pairOf(a, b)) ?? []) for (const end of ends) end.wake()
  }

  sever(a: string, b: string): void {
    for (const { ends } of [...(this.#wires.get(pairOf(a, b)) ?? [])]) ends[0].break(wireLost())
  }

  vanish(name: string, options: { readonly reset?: boolean } = {}): void {
    const reset = options.reset ?? false
    this.#lives.set(name, this.life(name) + 1)
    if (!reset) this.#dark.add(name)
    for (const [address, server] of this.servers) if (server.owner === name) this.servers.delete(address)
    const touched = [...this.#wires.values()].flatMap((wires) => [...wires].filter(({ names }) => names.includes(name)))
    for (const { names, ends } of touched) for (const at of [0, 1] as const) if (names[at] === name) ends[at].vanish(reset)
  }

  appear(name: string): void {
    this.#dark.delete(name)
  }

  /** Which life of a name this is: transports made in an earlier one do nothing. */
  life(name: string): number {
    return this.#lives.get(name) ?? 0
  }

  /** A connection between two names, by the dialer's clock unless the network has its own. Remembered for `cut`, `sever` and `vanish` until both ends are over. */
  wire(from: string, to: string, clock: Clock): readonly [WireEnd, WireEnd] {
    const pair = pairOf(from, to)
    const wire: Wire = { names: [from, to], ends: WireEnd.pair(this.#travel(to, from, clock), this.#travel(from, to, clock)) }
    const wires = this.#wires.get(pair) ?? new Set()
    this.#wires.set(pair, wires)
    wires.add(wire)
    let ends = 2
    const over = (): void => {
      ends -= 1
      if (ends > 0) return
      wires.delete(wire)
      if (wires.size === 0 && this.#wires.get(pair) === wires) this.#wires.delete(pair)
    }
    wire.ends[0].onOver = over
    wire.ends[1].onOver = over
    return wire.ends
  }

  /** Who listens at an address, after a question and its answer have travelled. @throws KithError `ADDRESS_UNREACHABLE`, the signal's reason. */
  async find(from: string, to: string, clock: Clock, signal: AbortSignal): Promise<MemoryServer> {
    if (this.#model === undefined) {
      const ms = 2 * this.latencyMs(from, to)
      if (ms > 0) await sleep(clock, ms, signal)
    } else await this.#ask(this.#model, from, to, clock, signal)
    const server = this.servers.get(to)
    if (server === undefined || this.#cuts.has(pairOf(from, to)) || this.#dark.has(to)) throw unreachable(to)
    return server
  }

  async #ask(model: NetworkModel, from: string, to: string, clock: Clock, signal: AbortSignal): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const ms = this.#open(from, to) && this.#open(to, from) ? model.questionMs(from, to) : undefined
      if (ms !== undefined) {
        await sleep(clock, ms, signal)
        if (this.#open(from, to) && this.#open(to, from)) return
      }
      const again = model.askAgainMs(attempt)
      if (again === Number.POSITIVE_INFINITY) throw unreachable(to)
      await sleep(clock, again, signal)
    }
  }

  #open(from: string, to: string): boolean {
    if (this.#dark.has(from) || this.#dark.has(to) || this.#cuts.has(pairOf(from, to))) return false
    return this.#model?.passes(from, to) ?? true
  }

  #travel(from: string, to: string, dialerClock: Clock): Travel {
    const model = this.#model
    return {
      clock: model?.clock ?? immediate(dialerClock),
      travelMs: (bytes) => (model === undefined ? this.latencyMs(from, to) : model.travelMs(from, to, bytes)),
      passes: () => this.#open(from, to),
      againMs: (attempt) => model?.againMs(from, to, attempt) ?? Number.POSITIVE_INFINITY,
      answers: () => !this.#dark.has(to),
      arrived: (bytes) => model?.arrived(from, to, bytes),
    }
  }
}

interface Wire {
  readonly names: readonly [string, string]
  readonly ends: readonly [WireEnd, WireEnd]
}

/** Fires what is due at once in the next turn of the event loop, however the clock moves. */
function immediate(clock: Clock): Travel['clock'] {
  return {
    monotonic: () => clock.monotonic(),
    after: (ms, run) => {
      if (ms > 0) return clock.after(ms, run)
      const handle = setImmediate(run)
      return { cancel: () => clearImmediate(handle) }
    },
  }
}

function unreachable(to: string): KithError {
  return new KithError('ADDRESS_UNREACHABLE', undefined, { details: { address: `memory://${to}` } })
}

function pairOf(a: string, b: string): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`
}

/** A network inside one process. */
export function createMemoryNetwork(options: MemoryNetworkOptions = {}): MemoryNetwork {
  return new MemoryHub(options)
}
