import { setMaxListeners } from 'node:events'
import type { Clock, Timer } from '../core/clock.ts'
import { asKithError, KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { LinkStream } from '../transport/types.ts'
import { LINK_PROTOCOL } from './link-control.ts'
import type { LinkContext, Member } from './link-member.ts'
import type { LeanHandler, ProtocolOptions, StreamContext, StreamHandler } from './types.ts'

/**
 * # Protocol streams
 *
 * ```text
 * stream = varint length (1..64) || name, letters, digits and . _ / - || whatever the protocol says
 * ```
 *
 * Header and first data leave together; a refusal comes back as a reset with the number of its code: PROTOCOL_UNKNOWN, POLICY_DENIED,
 * BUDGET_EXCEEDED, WIRE_MALFORMED, TIMEOUT. Names never exceed 64 bytes, so the varint is one byte.
 *
 * A handler that throws resets its own stream with INTERNAL and nothing else.
 */
export const MAX_PROTOCOL_NAME = 64
/** A header that is not whole after this resets the stream; looked at in steps of the same length. */
export const HEADER_DEADLINE_MS = 10_000

/** A lean handler of the node's own protocols: it knows the connection that carries the stream. */
export type InnerHandler = (stream: LinkStream, context: LinkContext) => void

export interface Registered {
  readonly access: NonNullable<ProtocolOptions['access']>
  readonly run: InnerHandler
}

export interface RouterComponents {
  readonly clock: Clock
  readonly logger: Logger
  /** Why a peer may not open this protocol; `undefined` when it may. */
  readonly refuse: (context: StreamContext, protocol: string, access: Registered['access']) => KithError | undefined
  /** A stream began with what is no header. */
  readonly onMalformed: (member: Member) => void
}

const NAME = /^[A-Za-z0-9._/-]{1,64}$/
const nothing = (): void => {}

export class Router {
  readonly #components: RouterComponents
  readonly #protocols: Map<string, Registered> = new Map()
  /** Streams whose header is not whole yet, with the time they came. */
  readonly #waiting: Map<LinkStream, number> = new Map()
  #sweeper: Timer | undefined
  readonly #stops: WeakMap<AbortSignal, { readonly retired: AbortSignal; readonly stop: AbortSignal }> = new WeakMap()

  constructor(components: RouterComponents) {
    this.#components = components
  }

  get(protocol: string): Registered | undefined {
    return this.#protocols.get(protocol)
  }

  /** Serves a protocol; the returned function ends that. @throws TypeError for a bad or taken name. */
  register(protocol: string, access: Registered['access'], run: InnerHandler): () => void {
    checkProtocol(protocol)
    if (this.#protocols.has(protocol)) throw new TypeError(`the protocol ${protocol} has a handler already`)
    const registered = { access, run }
    this.#protocols.set(protocol, registered)
    return () => {
      if (this.#protocols.get(protocol) === registered) this.#protocols.delete(protocol)
    }
  }

  handle(protocol: string, handler: StreamHandler, options: ProtocolOptions = {}): () => void {
    return this.register(protocol, options.access ?? 'book', (stream, context) => {
      const duplex = stream.toDuplex()
      // The end of a link must not crash a process because a handler listens for nothing.
      duplex.on('error', nothing)
      void (async () => handler(duplex, context))().catch((error: unknown) => {
        this.#failed(protocol, context, error)
        duplex.destroy(error instanceof KithError ? error : new KithError('INTERNAL', undefined, { cause: error }))
      })
    })
  }

  handleLean(protocol: string, handler: LeanHandler, options: ProtocolOptions = {}): () => void {
    return this.register(protocol, options.access ?? 'book', handler)
  }

  /** Opens a stream on this connection; the header waits for the first data of the same turn. */
  async open(member: Member, protocol: string, signal?: AbortSignal): Promise<LinkStream> {
    checkProtocol(protocol)
    const stream = await member.connection.open({ signal: signal === undefined ? member.retired : this.#either(signal, member.retired) })
    if (member.state !== 'live') {
      const moved = new KithError('LINK_MOVED')
      stream.reset(moved.number)
      throw moved
    }
    member.opened++
    stream.write(header(protocol))
    return stream
  }

  /** Forwards open many streams with one signal: what ends the wait for each of them is made once. */
  #either(signal: AbortSignal, retired: AbortSignal): AbortSignal {
    const known = this.#stops.get(signal)
    if (known !== undefined && known.retired === retired) return known.stop
    const stop = AbortSignal.any([signal, retired])
    setMaxListeners(0, stop)
    this.#stops.set(signal, { retired, stop })
    return stop
  }

  /** Opens the control stream: also on a connection that was passed over already, since its drain is agreed there. */
  async openControl(member: Member): Promise<void> {
    const stream = await member.connection.open()
    stream.write(header(LINK_PROTOCOL))
    member.attachControl(stream)
  }

  /** A stream the peer opened. Nothing is done for it before its header is whole. */
  accept(member: Member, stream: LinkStream): void {
    let pending: Buffer | undefined
    this.#waiting.set(stream, this.#components.clock.monotonic())
    this.#sweep()
    const give = (number: number): void => {
      this.#waiting.delete(stream)
      stream.reset(number)
    }
    stream.onEnd = () => give(new KithError('WIRE_MALFORMED').number)
    // A peer that only stops reading still owes its header.
    stream.onError = (_error, direction) => {
      if (direction === 'both') this.#waiting.delete(stream)
    }
    stream.onData = (data, start, end) => {
      const bytes = pending === undefined ? data.subarray(start, end) : Buffer.concat([pending, data.subarray(start, end)])
      const length = bytes[0]
      if (length === undefined) return
      if (length === 0 || length > MAX_PROTOCOL_NAME) {
        give(new KithError('WIRE_MALFORMED').number)
        this.#components.onMalformed(member)
        return
      }
      if (bytes.length < 1 + length) {
        pending = Buffer.from(bytes)
        return
      }
      this.#waiting.delete(stream)
      const taken = 1 + length - (pending?.length ?? 0)
      stream.consume(1 + length)
      this.#dispatch(member, stream, bytes.toString('latin1', 1, 1 + length))
      if (start + taken < end) stream.onData(data, start + taken, end)
    }
  }

  close(): void {
    this.#sweeper?.cancel()
    this.#waiting.clear()
    this.#protocols.clear()
  }

  #dispatch(member: Member, stream: LinkStream, protocol: string): void {
    // Data that follows a refused header belongs to nobody.
    stream.onData = nothing
    stream.onEnd = nothing
    stream.onError = nothing
    const { context } = member
    const registered = this.#protocols.get(protocol)
    const refused = registered === undefined ? new KithError('PROTOCOL_UNKNOWN') : this.#components.refuse(context, protocol, registered.access)
    if (refused !== undefined || registered === undefined) {
      stream.reset((refused as KithError).number)
      return
    }
    try {
      registered.run(stream, context)
    } catch (error) {
      this.#failed(protocol, context, error)
      stream.onData = nothing
      stream.onEnd = nothing
      stream.onError = nothing
      stream.reset(asKithError(error, 'INTERNAL').number)
    }
  }

  #failed(protocol: string, context: StreamContext, error: unknown): void {
    this.#components.logger.error('protocol handler failed', { protocol, peer: context.peer, error })
  }

  /** One timer for all streams whose header is late. */
  #sweep(): void {
    if (this.#sweeper !== undefined || this.#waiting.size === 0) return
    this.#sweeper = this.#components.clock.after(HEADER_DEADLINE_MS, () => {
      this.#sweeper = undefined
      const oldest = this.#components.clock.monotonic() - HEADER_DEADLINE_MS
      for (const [stream, since] of this.#waiting) {
        // Insertion order is age.
        if (since > oldest) break
        this.#waiting.delete(stream)
        stream.reset(new KithError('TIMEOUT').number)
      }
      this.#sweep()
    })
  }
}

const headers: Map<string, Uint8Array> = new Map()

/** @throws TypeError */
export function checkProtocol(protocol: string): void {
  if (!NAME.test(protocol)) throw new TypeError('a protocol name is 1 to 64 letters, digits and . _ / -')
}

/** Few names are opened again and again. */
function header(protocol: string): Uint8Array {
  const known = headers.get(protocol)
  if (known !== undefined) return known
  const bytes = Buffer.alloc(1 + protocol.length)
  bytes[0] = protocol.length
  bytes.write(protocol, 1, 'latin1')
  if (headers.size < 1_000) headers.set(protocol, bytes)
  return bytes
}
