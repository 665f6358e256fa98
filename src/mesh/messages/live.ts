import { asKithError, isKithError, KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Did } from '../../identity/did.ts'
import type { LinkStream } from '../../transport/types.ts'
import { sessionId } from '../hello-proof.ts'
import type { LinkContext, Member } from '../link-member.ts'
import type { Conduct, ConstraintSet } from '../types.ts'
import { textOf } from './directory-index.ts'
import { EquivocationIndex } from './equivocation.ts'
import { Inbound } from './inbound.ts'
import { LIVE_PROTOCOL } from './live-frames.ts'
import type { MessageTally } from './messages-metrics.ts'
import { Outbound, type SessionNumbers } from './outbound.ts'
import type { Session, Sessions } from './sessions.ts'
import { Later, type Slicer } from './slicer.ts'
import type { Equivocation, LiveHandler, LiveHandlerOptions, LiveMessage } from './types.ts'
import type { Verifier } from './verifier.ts'

export interface LiveComponents {
  readonly sessions: Sessions
  readonly slicer: Slicer
  readonly verifier: Verifier
  readonly tally: MessageTally
  readonly logger: Logger
  readonly conduct: Conduct | undefined
  readonly constraints: (did: Did) => ConstraintSet
  readonly inBook: (did: Did) => boolean
  readonly openOn: (member: Member, protocol: string, signal: AbortSignal) => Promise<LinkStream>
}

interface Registered {
  readonly handler: LiveHandler
  readonly options: LiveHandlerOptions
}

/** Streams of a peer at once on one connection: its own one, and one that is just ending. */
const MAX_INBOUND = 2
/** What an envelope takes beyond its payload, hybrid signature included. */
const OVERHEAD_BYTES = 4_096
const WATCHED = { messages: 4_096, bytes: 4 * 1024 * 1024 }

/** Live messages (PN-7, class 1): the streams that carry them, and the handlers that get them. */
export class Live {
  readonly #components: LiveComponents
  readonly #handlers: Map<number, Registered> = new Map()
  readonly #outbound: Map<Member, Outbound> = new Map()
  readonly #inbound: Map<Member, Set<Inbound>> = new Map()
  readonly #sessionOf: WeakMap<Member, Session> = new WeakMap()
  readonly #numbers: WeakMap<Member, SessionNumbers> = new WeakMap()
  readonly #watchers: Set<(found: Equivocation) => void> = new Set()
  readonly #watched: EquivocationIndex = new EquivocationIndex(WATCHED)
  #closed = false

  constructor(components: LiveComponents) {
    this.#components = components
  }

  handle(type: number, handler: LiveHandler, options: LiveHandlerOptions = {}): () => void {
    if (!Number.isInteger(type) || type < 0 || type > 0xffff) throw new TypeError(`not a message type: ${type}`)
    if (this.#handlers.has(type)) throw new TypeError(`messages of type ${type} have a handler already`)
    const registered = { handler, options }
    this.#handlers.set(type, registered)
    return () => {
      if (this.#handlers.get(type) === registered) this.#handlers.delete(type)
    }
  }

  /** A connection that has proved itself. */
  linked(member: Member): void {
    const { did, linkKey, helloHash, clockOffsetMs } = member.link
    const session = this.#components.sessions.open({ id: sessionId(helloHash), did, device: linkKey, offsetMs: clockOffsetMs })
    this.#sessionOf.set(member, session)
    this.#numbers.set(member, { session: session.id, last: 0 })
    // Its streams end when no new ones may begin, so that it drains.
    member.retired.addEventListener('abort', () => this.#end(member, new KithError('LINK_MOVED')), { once: true })
    void member.connection.closed.then(() => {
      this.#components.sessions.end(session)
      this.#end(member, new KithError('LINK_CLOSED'))
    })
  }

  /** Sends on this connection. @throws KithError `LINK_MOVED`, `LINK_LOST`, or what the peer refused the stream with. */
  async send(member: Member, sign: (session: Uint8Array, seq: number) => Uint8Array): Promise<void> {
    const numbers = this.#numbers.get(member)
    if (this.#closed || numbers === undefined) throw new KithError('CLOSED')
    let outbound = this.#outbound.get(member)
    if (outbound === undefined) {
      outbound = new Outbound(() => this.#components.openOn(member, LIVE_PROTOCOL, member.retired), numbers)
      this.#outbound.set(member, outbound)
    }
    try {
      await outbound.send(sign)
      this.#components.tally.sent('live')
    } finally {
      // The next one begins a new stream.
      if (outbound.error !== undefined && this.#outbound.get(member) === outbound) this.#outbound.delete(member)
    }
  }

  serve(stream: LinkStream, context: LinkContext): void {
    const { member, peer } = context
    const session = this.#sessionOf.get(member)
    const streams = this.#inbound.get(member) ?? new Set<Inbound>()
    if (this.#closed || session === undefined || streams.size >= MAX_INBOUND) {
      stream.reset(new KithError(this.#closed ? 'CLOSED' : 'BUDGET_EXCEEDED').number)
      return
    }
    this.#inbound.set(member, streams)
    const lane = textOf(session.device)
    const inbound: Inbound = new Inbound(stream, {
      limit: () => this.#components.constraints(peer).messageBytes + OVERHEAD_BYTES,
      deliver: (frame, done) => this.#components.slicer.push(lane, () => this.#receive(frame, session, context, inbound, done)),
      onMalformed: (error) => this.#malformed(context, error, undefined),
      onClose: () => {
        streams.delete(inbound)
        if (streams.size === 0) this.#inbound.delete(member)
      },
    })
    streams.add(inbound)
  }

  onEquivocation(listener: (found: Equivocation) => void): () => void {
    this.#watchers.add(listener)
    return () => void this.#watchers.delete(listener)
  }

  /** What the verifier shows messages to while somebody wants to know. */
  readonly watch = (): ((message: LiveMessage) => void) | undefined => (this.#watchers.size === 0 ? undefined : this.#look)

  close(): void {
    this.#closed = true
    const error = new KithError('GOING_AWAY')
    for (const member of [...this.#outbound.keys()]) this.#end(member, error)
    for (const streams of [...this.#inbound.values()]) for (const inbound of [...streams]) inbound.reset(error)
    this.#handlers.clear()
    this.#watchers.clear()
  }

  readonly #look = (message: LiveMessage): void => {
    const found = this.#watched.observe(message)
    if (found === undefined) return
    for (const watcher of [...this.#watchers]) {
      try {
        watcher(found)
      } catch (error) {
        this.#components.logger.error('a listener of equivocations failed', { error })
      }
    }
  }

  #receive(frame: Uint8Array, session: Session, context: LinkContext, inbound: Inbound, done: () => void): unknown {
    const { verifier } = this.#components
    try {
      const envelope = verifier.decode(frame, 'live')
      const registered = this.#handlers.get(envelope.type)
      const suite = registered?.options.suite ?? 'ed25519'
      const message = verifier.live(envelope, { carrier: { peer: session.did, device: session.device }, session, suite, protocol: LIVE_PROTOCOL })
      if (message instanceof Later) return new Later(message.ready.then((run) => () => this.#attempt(run, context, done)))
      this.#deliver(message, context, done)
    } catch (error) {
      if (isKithError(error, 'WIRE_MALFORMED')) {
        this.#malformed(context, error, frame)
        inbound.reset(error)
      }
      this.#refused(error, done)
    }
    return undefined
  }

  #attempt(check: () => LiveMessage, context: LinkContext, done: () => void): void {
    try {
      this.#deliver(check(), context, done)
    } catch (error) {
      this.#refused(error, done)
    }
  }

  #deliver(message: LiveMessage, context: LinkContext, done: () => void): void {
    const { tally, inBook, logger } = this.#components
    const registered = this.#handlers.get(message.type)
    if (registered === undefined || (registered.options.access !== 'everyone' && !inBook(message.from))) {
      tally.refused('live', registered === undefined ? 'unhandled' : 'denied')
      done()
      return
    }
    const failed = (error: unknown): void => {
      tally.refused('live', 'failed')
      logger.error('message handler failed', { type: message.type, peer: message.from, error })
    }
    try {
      const handled = registered.handler(message, context)
      if (handled instanceof Promise) handled.catch(failed).finally(done)
      else done()
    } catch (error) {
      failed(error)
      done()
    }
  }

  #refused(error: unknown, done: () => void): void {
    if (!isKithError(error)) this.#components.logger.error('a live message was not checked', { error })
    else if (error.code === 'STORE_FAILED') this.#components.logger.warn('a live message was not checked', { code: asKithError(error, 'INTERNAL').code })
    done()
  }

  #malformed({ peer, linkKey }: LinkContext, error: KithError, frame: Uint8Array | undefined): void {
    const { conduct, logger } = this.#components
    logger.debug('malformed live message', { peer, reason: String(error.details.reason ?? error.code) })
    conduct?.report({ peer, device: linkKey, kind: 'malformed-frame', protocol: LIVE_PROTOCOL, ...(frame === undefined ? {} : { evidence: frame }) })
  }

  #end(member: Member, error: KithError): void {
    const outbound = this.#outbound.get(member)
    this.#outbound.delete(member)
    outbound?.end(error)
  }
}
