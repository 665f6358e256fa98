import type { PublicKey } from '../../core/bytes.ts'
import { KithError } from '../../core/errors.ts'
import type { Source } from '../types.ts'
import { type WireEnd, wireLost } from './wire.ts'

/** What a dialer brings: one end of a fresh wire, and what a plain listener believes of it. */
export interface Offer {
  readonly wire: WireEnd
  readonly source: Source
  readonly dialerKey: PublicKey
  readonly binding: Uint8Array
}

/** What a listening transport leaves with the network. */
export interface MemoryServer {
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
}

/** The inside of a network, for transports. */
export class MemoryHub implements MemoryNetwork {
  latencyMs: (from: string, to: string) => number
  readonly servers: Map<string, MemoryServer> = new Map<string, MemoryServer>()
  readonly #cuts = new Set<string>()
  readonly #wires = new Map<string, Set<readonly [WireEnd, WireEnd]>>()
  #names = 0

  constructor(latencyMs: number) {
    this.latencyMs = () => latencyMs
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
    for (const [near, far] of this.#wires.get(pairOf(a, b)) ?? []) {
      near.wake()
      far.wake()
    }
  }

  sever(a: string, b: string): void {
    for (const [near] of [...(this.#wires.get(pairOf(a, b)) ?? [])]) near.break(wireLost())
  }

  isCut(a: string, b: string): boolean {
    return this.#cuts.has(pairOf(a, b))
  }

  /** Remembers a wire for `cut` and `sever` until both ends are over. */
  track(a: string, b: string, wire: readonly [WireEnd, WireEnd]): void {
    const pair = pairOf(a, b)
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
    wire[0].onOver = over
    wire[1].onOver = over
  }

  /** @throws KithError `ADDRESS_UNREACHABLE`. */
  find(from: string, to: string): MemoryServer {
    const server = this.servers.get(to)
    if (server === undefined || this.isCut(from, to)) throw new KithError('ADDRESS_UNREACHABLE', undefined, { details: { address: `memory://${to}` } })
    return server
  }
}

function pairOf(a: string, b: string): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`
}

/** A network inside one process. `latencyMs` is one way, the same everywhere, until set otherwise. */
export function createMemoryNetwork(options: { latencyMs?: number } = {}): MemoryNetwork {
  return new MemoryHub(options.latencyMs ?? 0)
}
