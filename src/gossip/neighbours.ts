import { fromHex, type PublicKey, toHex } from '../core/bytes.ts'
import type { Clock, Timer } from '../core/clock.ts'
import { asKithError, isKithError, KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Random } from '../core/random.ts'
import type { Did } from '../identity/did.ts'
import type { Mesh } from '../mesh/mesh-types.ts'
import type { Conduct, StreamContext } from '../mesh/types.ts'
import type { LinkStream } from '../transport/types.ts'
import type { TopicPolicy } from './access.ts'
import { FrameReader } from './frame-reader.ts'
import type { GossipCounters } from './gossip-metrics.ts'
import { Neighbour } from './neighbour.ts'
import { decodeFrame, type Frame, GOSSIP_PROTOCOL } from './wire.ts'

/** What gossip needs of a mesh. */
export type GossipMesh = Pick<Mesh, 'did' | 'handleLean' | 'openLean' | 'links' | 'onEvent'> & { readonly policy: TopicPolicy }

const FIRST_RETRY_MS = 1_000
const LAST_RETRY_MS = 300_000
/** What another stream costs, in frames that brought nothing. */
const STREAM_COST = 16

export interface NeighbourHooks {
  readonly mesh: GossipMesh
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly counters: GossipCounters
  readonly conduct: Pick<Conduct, 'report'> | undefined
  readonly yieldTurn: () => Promise<void>
  wants(neighbour: Neighbour, kind: number, length: number): boolean
  frame(neighbour: Neighbour, frame: Frame): void
  /** Our stream to it is there: it knows nothing of us yet. */
  opened(neighbour: Neighbour): void
  /** Our stream to it is gone: what it was asked will not be answered. */
  shut(neighbour: Neighbour): void
  gone(neighbour: Neighbour): void
}

/** Keeps one stream to each linked machine, and takes the one from it. */
export class Neighbours {
  readonly #hooks: NeighbourHooks
  readonly #all: Map<string, Neighbour> = new Map()
  readonly #retries: Map<Neighbour, Timer> = new Map()
  readonly #closing: AbortController = new AbortController()
  #ends: (() => void)[] = []

  constructor(hooks: NeighbourHooks) {
    this.#hooks = hooks
  }

  *[Symbol.iterator](): IterableIterator<Neighbour> {
    yield* this.#all.values()
  }

  get size(): number {
    return this.#all.size
  }

  start(): void {
    const { mesh } = this.#hooks
    this.#ends = [
      mesh.handleLean(GOSSIP_PROTOCOL, (stream, context) => this.#accept(stream, context), { access: 'handler' }),
      mesh.onEvent((event) => {
        if (event.type === 'up') this.#up(event.peer, event.linkKey)
        else if (event.type === 'moved') this.#moved(event.linkKey)
        else if (event.type === 'down') this.#down(event.linkKey)
      }),
    ]
    for (const link of mesh.links()) if (link.state === 'connected') this.#up(link.did, link.linkKey)
  }

  close(): void {
    this.#closing.abort(new KithError('CLOSED'))
    for (const end of this.#ends) end()
    for (const key of [...this.#all.keys()]) this.#down(key)
  }

  /** Ends both streams of a neighbour with a code; the link stays, and so does whoever answers for it. */
  drop(neighbour: Neighbour, error: KithError): void {
    const { inbound, outbound } = neighbour
    neighbour.reader?.close()
    neighbour.inbound = undefined
    neighbour.outbound = undefined
    neighbour.outbox.attach(undefined)
    neighbour.renew()
    this.#hooks.shut(neighbour)
    for (const stream of [inbound, outbound]) {
      if (stream === undefined) continue
      silence(stream)
      stream.reset(error.number)
    }
    this.#retry(neighbour)
  }

  #up(peer: Did, linkKey: string): void {
    const neighbour = this.#meet(peer, fromHex(linkKey) as PublicKey, linkKey)
    neighbour.attempts = 0
    this.#open(neighbour)
  }

  #meet(peer: Did, device: PublicKey, key: string): Neighbour {
    const known = this.#all.get(key)
    if (known !== undefined) return known
    const { mesh, clock, yieldTurn, counters } = this.#hooks
    const neighbour = new Neighbour(peer, device, key, mesh.policy.constraints(peer), clock, yieldTurn)
    neighbour.outbox.onStuck = () => {
      counters.refused('slow_neighbour')
      this.drop(neighbour, new KithError('BUDGET_EXCEEDED'))
    }
    this.#all.set(key, neighbour)
    return neighbour
  }

  #down(key: string): void {
    const neighbour = this.#all.get(key)
    if (neighbour === undefined) return
    this.#all.delete(key)
    neighbour.close()
    this.#retries.get(neighbour)?.cancel()
    this.#retries.delete(neighbour)
    neighbour.reader?.close()
    neighbour.outbox.attach(undefined)
    for (const stream of [neighbour.inbound, neighbour.outbound]) {
      if (stream === undefined) continue
      silence(stream)
      stream.reset(new KithError('CLOSED').number)
    }
    neighbour.renew()
    this.#hooks.gone(neighbour)
  }

  /** The link goes on over another connection: a stream that stayed would keep the old one from ending. What was written leaves first. */
  #moved(key: string): void {
    const neighbour = this.#all.get(key)
    const stream = neighbour?.outbound
    if (neighbour === undefined || stream === undefined) return
    neighbour.outbound = undefined
    neighbour.outbox.attach(undefined)
    this.#hooks.shut(neighbour)
    stream.end()
    this.#open(neighbour)
  }

  #open(neighbour: Neighbour): void {
    if (neighbour.opening || neighbour.outbound !== undefined || neighbour.gone) return
    this.#retries.get(neighbour)?.cancel()
    this.#retries.delete(neighbour)
    neighbour.opening = true
    const { mesh } = this.#hooks
    mesh
      .openLean(neighbour.peer, GOSSIP_PROTOCOL, { linkKey: neighbour.key, signal: this.#closing.signal })
      .then(
        (stream) => this.#opened(neighbour, stream),
        (error: unknown) => this.#failed(neighbour, error),
      )
      .catch((error: unknown) => this.#hooks.logger.error('gossip stream', { peer: neighbour.peer, error }))
  }

  #opened(neighbour: Neighbour, stream: LinkStream): void {
    neighbour.opening = false
    if (neighbour.gone || neighbour.outbound !== undefined) {
      silence(stream)
      stream.reset(new KithError('CLOSED').number)
      return
    }
    neighbour.outbound = stream
    stream.onData = (_data, start, end) => stream.consume(end - start)
    stream.onEnd = () => undefined
    stream.onError = (error) => {
      if (neighbour.outbound !== stream) return
      neighbour.outbound = undefined
      neighbour.outbox.attach(undefined)
      this.#hooks.shut(neighbour)
      silence(stream)
      stream.reset(error.number)
      this.#failed(neighbour, error)
    }
    neighbour.outbox.attach(stream)
    this.#hooks.opened(neighbour)
  }

  #failed(neighbour: Neighbour, error: unknown): void {
    neighbour.opening = false
    if (neighbour.gone) return
    const { code } = asKithError(error, 'INTERNAL')
    this.#hooks.logger.debug('no gossip stream', { peer: neighbour.peer, code })
    // One that does not speak it says so when it begins to: its own stream comes then.
    if (!isKithError(error, 'PROTOCOL_UNKNOWN')) this.#retry(neighbour)
  }

  #retry(neighbour: Neighbour): void {
    if (neighbour.gone || neighbour.opening || this.#retries.has(neighbour)) return
    const { clock, random } = this.#hooks
    const wait = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(neighbour.attempts++, 10)) * (0.5 + random.unit() / 2)
    this.#retries.set(
      neighbour,
      clock.after(wait, () => {
        this.#retries.delete(neighbour)
        this.#open(neighbour)
      }),
    )
  }

  #accept(stream: LinkStream, { peer, linkKey }: StreamContext): void {
    const neighbour = this.#meet(peer, linkKey, toHex(linkKey))
    const before = neighbour.inbound
    if (before !== undefined) {
      neighbour.reader?.close()
      silence(before)
      before.reset(new KithError('LINK_MOVED').number)
    }
    // A stream in place of one that was there begins everything anew, which is not free.
    if (before !== undefined) neighbour.useless(STREAM_COST)
    neighbour.renew()
    neighbour.inbound = stream
    const reader = new FrameReader(stream, {
      wants: (kind, length) => this.#hooks.wants(neighbour, kind, length),
      frame: (bytes) => this.#frame(neighbour, bytes),
      fault: (error) => this.malformed(neighbour, error),
      ready: () => neighbour.ready,
    })
    neighbour.reader = reader
    const over = (): void => {
      if (neighbour.inbound !== stream) return
      neighbour.reader?.close()
      neighbour.inbound = undefined
      neighbour.renew()
    }
    stream.onEnd = () => {
      stream.end()
      reader.ended(over)
    }
    stream.onError = over
    neighbour.attempts = 0
    this.#open(neighbour)
  }

  #frame(neighbour: Neighbour, bytes: Uint8Array): void {
    let frame: Frame
    try {
      frame = decodeFrame(bytes)
    } catch (error) {
      this.malformed(neighbour, asKithError(error, 'WIRE_MALFORMED'), bytes)
      return
    }
    this.#hooks.frame(neighbour, frame)
  }

  /** The neighbour said what no correct node says. */
  malformed(neighbour: Neighbour, error: KithError, evidence?: Uint8Array): void {
    const { conduct, counters, logger } = this.#hooks
    counters.refused('malformed')
    logger.debug('malformed gossip', { peer: neighbour.peer, reason: error.details.reason ?? error.code })
    const { peer, device } = neighbour
    conduct?.report({
      peer,
      device,
      kind: 'malformed-frame',
      protocol: GOSSIP_PROTOCOL,
      ...(evidence === undefined ? {} : { evidence: evidence.slice(0, 4096) }),
    })
    this.drop(neighbour, new KithError('WIRE_MALFORMED'))
  }
}

function silence(stream: LinkStream): void {
  stream.onData = () => undefined
  stream.onEnd = () => undefined
  stream.onError = () => undefined
  stream.onDrain = () => undefined
}
