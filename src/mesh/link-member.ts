import { toHex } from '../core/bytes.ts'
import type { Clock, Timer } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import type { Connection, LinkStream } from '../transport/types.ts'
import type { AuthenticatedLink } from './hello-types.ts'
import { type ControlMessage, LinkControl } from './link-control.ts'
import type { PathStatus, StreamContext } from './types.ts'

/** What the table needs of a link that has proved itself. */
export type LinkFacts = Pick<
  AuthenticatedLink,
  'role' | 'did' | 'linkKey' | 'helloHash' | 'connectionId' | 'remoteBoot' | 'remoteRun' | 'clockOffsetMs' | 'postQuantum' | 'chainStale'
>

/** What the node's own protocols know beyond `StreamContext`. */
export interface LinkContext extends StreamContext {
  /** Hh of the connection that carries the stream. */
  readonly helloHash: Uint8Array
  readonly member: Member
}

/** Accepted streams of an unselected connection run on for this long, then end in one retryable LINK_MOVED (PN-8). */
export const DRAIN_MS = 60_000
/** How long a sign of life may take when one is asked for (PN-8); that idle connections are alive is the transports' care. */
export const PONG_MS = 15_000
/** How often the round trip is measured again. */
export const MEASURE_MS = 300_000
/** After this without a pong another connection is preferred, without closing this one yet. */
export const SUSPECT_MS = 1_000
const DRAIN_POLL_MS = 20
const DRAIN_POLL_MAX_MS = 1_000

export interface MemberHooks {
  onControl(member: Member, message: ControlMessage): void
  /** What came on the control stream is no message. */
  onMalformed(member: Member): void
  /** It answered after all. */
  onRevived(member: Member): void
  /** Once, when the connection is gone. */
  onClosed(member: Member, error: KithError | null): void
}

/** One connection of a pair of link keys: its control stream, its signs of life, and its drain. */
export class Member {
  readonly link: LinkFacts
  readonly connection: Connection
  readonly id: string
  /** Position in the order of arrival: the smaller is the older. */
  readonly order: number
  readonly sinceMs: number
  readonly startedMs: number
  readonly context: LinkContext
  readonly path: PathStatus
  state: 'live' | 'retiring' | 'closed' = 'live'
  /** Did not answer in time, or is going away: others are preferred. */
  suspect = false
  rttMs: number | null = null
  /** Protocol streams, the control stream not counted. */
  opened = 0
  accepted = 0
  /** Aborted when no new stream may start here; for those who wait for one. */
  readonly retired: AbortSignal
  readonly #leader: boolean
  readonly #clock: Clock
  readonly #hooks: MemberHooks
  readonly #control: LinkControl
  readonly #retire: AbortController = new AbortController()
  readonly #down: AbortController = new AbortController()
  readonly #timers: Set<Timer> = new Set()
  #remoteOpened: number | undefined
  #emptySent = false
  #emptyReceived = false
  #pinging: Promise<boolean> | undefined

  constructor(
    link: LinkFacts,
    connection: Connection,
    components: { readonly clock: Clock; readonly order: number; readonly leader: boolean; readonly hooks: MemberHooks },
  ) {
    this.link = link
    this.connection = connection
    this.id = toHex(link.connectionId)
    this.order = components.order
    this.#leader = components.leader
    this.#clock = components.clock
    this.#hooks = components.hooks
    this.sinceMs = this.#clock.now()
    this.startedMs = this.#clock.monotonic()
    this.retired = this.#retire.signal
    this.path = { ...connection.path, postQuantum: link.postQuantum.exchange }
    this.context = { peer: link.did, linkKey: link.linkKey, path: connection.path, signal: this.#down.signal, helloHash: link.helloHash, member: this }
    this.#control = new LinkControl(
      (message) => this.#receive(message),
      (error, by) => this.#controlBroken(error, by),
    )
    void connection.closed.then(({ error }) => this.#closed(error))
    void this.#measure()
  }

  get controlAttached(): boolean {
    return this.#control.attached
  }

  /** The peer's or our own control stream. A second one breaks the protocol. */
  attachControl(stream: LinkStream): void {
    if (this.#control.attached) {
      stream.reset(new KithError('MUX_PROTOCOL').number)
      return
    }
    this.#control.attach(stream)
  }

  send(message: ControlMessage): void {
    this.#control.send(message)
  }

  /** No new streams here from now on; what was accepted runs on. */
  retire(): void {
    if (this.state !== 'live') return
    this.state = 'retiring'
    this.#retire.abort(new KithError('LINK_MOVED'))
    this.send({ type: 'retire', opened: this.opened })
    this.#after(DRAIN_MS, () => void this.close(new KithError('LINK_MOVED')))
    this.#pollDrain(DRAIN_POLL_MS)
  }

  /** Ends the connection; the peer learns the code. Null for a clean end. */
  close(error: KithError | null): Promise<void> {
    if (this.state === 'live') {
      this.state = 'retiring'
      this.#retire.abort(error ?? new KithError('LINK_CLOSED'))
    }
    return this.connection.close(error?.number ?? 0, error?.code)
  }

  /** Whether the other side still answers within `withinMs`; also measures the round trip. */
  async answers(withinMs: number): Promise<boolean> {
    this.#pinging ??= this.#ping()
    let timer: Timer | undefined
    const late = new Promise<boolean>((resolve) => {
      timer = this.#after(withinMs, () => resolve(false))
    })
    const answered = await Promise.race([this.#pinging, late])
    if (timer !== undefined) this.#cancel(timer)
    return answered && this.state !== 'closed'
  }

  async #ping(): Promise<boolean> {
    const deadline = new AbortController()
    const timer = this.#after(PONG_MS, () => deadline.abort(new KithError('TIMEOUT')))
    try {
      this.rttMs = await this.connection.ping({ signal: deadline.signal })
      if (this.suspect && this.state === 'live') {
        this.suspect = false
        this.#hooks.onRevived(this)
      }
      return true
    } catch {
      // PN-8 (b). A connection that has ended by itself says so too.
      void this.close(new KithError('LINK_LOST', 'the other side gave no sign of life'))
      return false
    } finally {
      this.#cancel(timer)
      this.#pinging = undefined
    }
  }

  async #measure(): Promise<void> {
    if (await this.answers(PONG_MS)) this.#after(MEASURE_MS, () => void this.#measure())
  }

  #receive(message: ControlMessage): void {
    if (message.type === 'retire') {
      this.#remoteOpened = message.opened
      this.retire()
      this.#checkDrain()
    } else if (message.type === 'empty') {
      this.#emptyReceived = true
      this.#checkDrain()
    } else this.#hooks.onControl(this, message)
  }

  #controlBroken(error: KithError, by: 'message' | 'stream'): void {
    if (by === 'message' && error.code === 'WIRE_MALFORMED') this.#hooks.onMalformed(this)
    if (this.state !== 'closed') void this.close(error.remote ? new KithError('LINK_LOST', undefined, { cause: error }) : error)
  }

  #pollDrain(afterMs: number): void {
    this.#after(afterMs, () => {
      if (!this.#checkDrain()) this.#pollDrain(Math.min(afterMs * 2, DRAIN_POLL_MAX_MS))
    })
  }

  /** True when there is nothing left to look for. */
  #checkDrain(): boolean {
    if (this.state !== 'retiring') return true
    const complete = this.#remoteOpened !== undefined && this.accepted >= this.#remoteOpened
    if (!this.#emptySent && complete && this.connection.streamCount <= (this.#control.attached ? 1 : 0)) {
      this.#emptySent = true
      this.send({ type: 'empty' })
    }
    if (!this.#emptySent || !this.#emptyReceived) return false
    // One side ends it, so that neither sees the other's end as a loss. The follower's deadline stays behind it.
    if (this.#leader) void this.close(null)
    return true
  }

  #closed(error: KithError | null): void {
    if (this.state === 'closed') return
    this.state = 'closed'
    for (const timer of this.#timers) timer.cancel()
    this.#timers.clear()
    if (!this.#retire.signal.aborted) this.#retire.abort(error ?? new KithError('LINK_CLOSED'))
    this.#down.abort(error ?? new KithError('LINK_CLOSED'))
    this.#hooks.onClosed(this, error)
  }

  #after(ms: number, run: () => void): Timer {
    const timer = this.#clock.after(ms, () => {
      this.#timers.delete(timer)
      run()
    })
    this.#timers.add(timer)
    return timer
  }

  #cancel(timer: Timer): void {
    timer.cancel()
    this.#timers.delete(timer)
  }
}
