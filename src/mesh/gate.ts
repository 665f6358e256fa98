import { equal } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { asKithError, type ErrorCode, KithError } from '../core/errors.ts'
import { Lru } from '../core/lru.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Random } from '../core/random.ts'
import { type Did, isDid } from '../identity/did.ts'
import type { Device } from '../identity/types.ts'
import type { Channel } from '../transport/types.ts'
import type { Admission } from './admission.ts'
import type { Budgets, LinkBudget } from './admission-budget.ts'
import { greet } from './hello.ts'
import type { HelloCache } from './hello-cache.ts'
import type { AuthenticatedLink, GreetContext, GreetOptions, Refusal } from './hello-types.ts'
import type { KnownKeys } from './known-keys.ts'
import type { LinkFacts, Member } from './link-member.ts'
import type { LinkTable } from './link-table.ts'
import type { LinkMetrics } from './mesh-metrics.ts'
import { unbanCommand } from './mesh-rules.ts'
import type { Conduct, LinkViolation, PeerClass } from './types.ts'

export interface GateComponents {
  readonly device: () => Device
  readonly known: KnownKeys
  readonly cache: HelloCache
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly boot: number
  readonly table: () => LinkTable
  readonly admission: Admission
  readonly budgets: Budgets
  readonly classOf: (did: Did) => PeerClass
  readonly mayLink: (did: Did) => boolean
  /** Who is banned, and where breaches of the multiplexer's rules are reported. */
  readonly conduct: Conduct | undefined
  readonly requirePq: () => boolean
  readonly pollUs: () => number
  /** A connection was taken into the table. */
  readonly onMember: (member: Member, link: AuthenticatedLink) => void
  readonly onWarning: (did: Did | null, error: KithError) => void
  /** This peer, which has proved itself, knows two contradicting histories of the own identity. */
  readonly onContradicted: (by: Did) => void
  readonly metrics: Pick<LinkMetrics, 'strangerLeft' | 'ended' | 'refused'>
}

/** Signs of a stolen key, a copied machine or a weakened peer. */
const ALARMING: ReadonlySet<ErrorCode> = new Set(['DEVICE_CLONED', 'CHAIN_FORKED', 'DOWNGRADE_REFUSED'])
const WARN_EVERY_MS = 60_000

/** 250 streams of protocols (a browser behind a proxy opens more than a hundred), and the control stream beside them: it takes nobody's place. */
const LINK_STREAMS = 251

/**
 * The way from a channel to a connection in the link table: source budget, Hello, bans, policy, budget of the class, rules for duplicates. Nothing here believes
 * a claim: everything after `greet` is about an identity that has proved itself.
 */
export class Gate {
  readonly #components: GateComponents
  readonly #run: Uint8Array
  /** Charged at the verdict, before the connection exists. */
  readonly #charged: Map<Channel, LinkBudget> = new Map()
  readonly #budgets: Map<Member, LinkBudget> = new Map()
  readonly #members: WeakMap<Channel, Member> = new WeakMap()
  readonly #warned: Lru<string, number> = new Lru(1_000)
  readonly #stop: AbortController = new AbortController()

  constructor(components: GateComponents) {
    this.#components = components
    this.#run = components.random.bytes(8)
  }

  /** A channel that somebody opened to us. */
  accept(channel: Channel): void {
    const { admission, logger, metrics } = this.#components
    const stopped = this.#stop.signal.aborted
    const lease = stopped ? undefined : admission.greeting(channel)
    if (lease === undefined) {
      channel.close()
      metrics.strangerLeft(new KithError(stopped ? 'CLOSED' : 'BUDGET_EXCEEDED'))
      return
    }
    void this.#greet(channel, { signal: this.#stop.signal })
      .catch((thrown: unknown) => {
        const error = asKithError(thrown, 'INTERNAL')
        logger.debug('greeting failed', { scheme: channel.path.scheme, code: error.code })
        metrics.strangerLeft(error)
      })
      .finally(() => lease.release())
  }

  /** A channel that we opened to this identity. @throws KithError as `greet`; `DUPLICATE`, `DEVICE_CLONED`, `BUDGET_EXCEEDED`. */
  establish(channel: Channel, did: Did, signal: AbortSignal, peerHas?: number): Promise<Member> {
    return this.#greet(channel, { expect: did, signal: AbortSignal.any([signal, this.#stop.signal]), ...(peerHas === undefined ? {} : { peerHas }) })
  }

  /** The class or limits of a peer changed. */
  refresh(did: Did): void {
    for (const [member, budget] of this.#budgets) {
      if (member.link.did !== did) continue
      try {
        budget.refresh()
      } catch (error) {
        void member.close(asKithError(error, 'BUDGET_EXCEEDED'))
      }
    }
  }

  /** Ends the connections of whoever is banned now. */
  enforce(): void {
    for (const member of this.#budgets.keys()) {
      const { did, linkKey } = member.link
      if (this.#components.conduct?.banOf(did, linkKey) !== undefined) void member.close(new KithError('BANNED'))
    }
  }

  /**
   * Whether the peer may open one more stream on this connection. A stranger pays for each but the first, which is the control stream of every dialer.
   */
  mayOpen(member: Member): boolean {
    return (member.accepted === 1 && !member.controlAttached) || this.#budgets.get(member)?.stream() !== false
  }

  close(): void {
    this.#stop.abort(new KithError('CLOSED'))
  }

  async #greet(channel: Channel, options: GreetOptions): Promise<Member> {
    let link: AuthenticatedLink
    try {
      link = await greet(channel, this.#context(), options)
    } catch (error) {
      // The verdict may have been yes before the channel was lost.
      this.#charged.get(channel)?.leave()
      this.#charged.delete(channel)
      this.#heed(asKithError(error, 'INTERNAL'))
      throw error
    }
    return this.#take(link)
  }

  #context(): GreetContext {
    const { device, known, cache, clock, random, logger, boot, table } = this.#components
    return {
      device: device(),
      known,
      cache,
      clock,
      random,
      log: logger,
      boot,
      run: this.#run,
      live: (key) => table().live(key),
      accept: (link) => this.#verdict(link),
    }
  }

  /** The listener's answer, once the other side has proved itself. */
  #verdict(link: AuthenticatedLink): Refusal | undefined {
    try {
      this.#admit(link)
      return undefined
    } catch (thrown) {
      return { code: asKithError(thrown, 'INTERNAL').code }
    }
  }

  /** @throws KithError */
  #admit(link: AuthenticatedLink): void {
    const { device, mayLink, requirePq, table, budgets } = this.#components
    this.#checkBan(link)
    // The machine went on with another key while this greeting was under way.
    if (!equal(link.channel.localKey, device().linkSigner.publicKey)) throw new KithError('GOING_AWAY', 'this machine goes on with another link key')
    if (requirePq() && !link.postQuantum.exchange) throw new KithError('HELLO_REFUSED', 'links that are not post-quantum are refused here')
    if (!mayLink(link.did)) throw new KithError('POLICY_DENIED')
    const refused = table().refusal(link)
    if (refused !== undefined) throw refused
    const { did, channel, chain } = link
    const evict = (error: KithError): void => this.#evict(channel, error)
    this.#charged.set(channel, budgets.enter({ did, channel: { path: channel.path }, chain: { status: chain.status } }, evict))
  }

  /** @throws KithError `BANNED`. */
  #checkBan({ did, linkKey }: AuthenticatedLink): void {
    if (this.#components.conduct?.banOf(did, linkKey) !== undefined) throw new KithError('BANNED', undefined, { next: unbanCommand(did) })
  }

  #take(link: AuthenticatedLink): Member {
    const { channel } = link
    try {
      // A ban may have begun since the verdict.
      if (this.#charged.has(channel)) this.#checkBan(link)
      else this.#admit(link)
    } catch (error) {
      this.#charged.get(channel)?.leave()
      this.#charged.delete(channel)
      const refused = asKithError(error, 'INTERNAL')
      this.#warn(refused)
      // The other side has let us in already: it learns the reason from the connection's end.
      void channel.multiplex().close(refused.number, refused.code)
      throw refused
    }
    const budget = this.#charged.get(channel)
    this.#charged.delete(channel)
    try {
      // Windows of strangers stay at the protocol's initial size; a peer that was paired over this very link is a stranger no more.
      const mayGrow = (): boolean => this.#components.classOf(link.did) !== 'isolated'
      if (mayGrow() && link.role === 'listener') this.#components.admission.welcome(channel)
      const { metrics, pollUs } = this.#components
      const options = { mayGrow, pollUs, maxInboundStreams: LINK_STREAMS, maxOutboundStreams: LINK_STREAMS, onRefused: metrics.refused }
      const connection = channel.multiplex(budget === undefined ? options : { ...options, memory: budget })
      const member = this.#components.table().add(factsOf(link), connection)
      this.#members.set(channel, member)
      if (budget !== undefined) this.#budgets.set(member, budget)
      void connection.closed.then(({ error, remote }) => {
        budget?.leave()
        this.#budgets.delete(member)
        metrics.ended(error, remote)
        const breach = remote ? undefined : breachOf(error)
        if (breach !== undefined) this.#components.conduct?.report({ peer: link.did, device: link.linkKey, kind: breach, protocol: 'mux' })
      })
      this.#components.onMember(member, link)
      return member
    } catch (error) {
      budget?.leave()
      throw error
    }
  }

  /** What a greeting has shown counts for the links that were there before it, too. */
  #heed(error: KithError): void {
    const { did, by } = error.details
    if (error.code === 'CHAIN_FORKED') {
      if (!error.remote && typeof did === 'string' && isDid(did)) this.refresh(did)
      if (error.remote && typeof by === 'string' && isDid(by)) this.#components.onContradicted(by)
    }
    this.#warn(error)
  }

  /**
   * What the owner should look at, once a minute for each identity and code. Only what has proved itself gets this far; strangers, who can make as many
   * contradictions as they make identities, are left to the log.
   */
  #warn(error: KithError): void {
    if (error.remote || !ALARMING.has(error.code)) return
    const { did } = error.details
    if (typeof did === 'string' && isDid(did) && did !== this.#components.device().did && this.#components.known.peer(did)?.kept !== true) return
    const now = this.#components.clock.monotonic()
    const subject = `${error.code} ${typeof did === 'string' ? did : ''}`
    if (now - (this.#warned.get(subject) ?? Number.NEGATIVE_INFINITY) < WARN_EVERY_MS) return
    this.#warned.set(subject, now)
    this.#components.onWarning(typeof did === 'string' && isDid(did) ? did : null, error)
  }

  #evict(channel: Channel, error: KithError): void {
    void this.#members.get(channel)?.close(error)
    if (this.#charged.delete(channel)) channel.close()
  }
}

/** What the multiplexer says no correct peer sends. */
function breachOf(error: KithError | null): LinkViolation | undefined {
  const breach = error?.details.breach
  return breach === 'malformed-frame' || breach === 'protocol-state' ? breach : undefined
}

/** Only what a connection needs while it lives: bindings and chains are large, and there may be thousands of links. */
function factsOf(link: AuthenticatedLink): LinkFacts {
  const { role, did, linkKey, helloHash, connectionId, remoteBoot, remoteRun, clockOffsetMs, postQuantum, chainStale } = link
  return { role, did, linkKey, helloHash, connectionId, remoteBoot, remoteRun, clockOffsetMs, postQuantum, chainStale }
}
