import type { Clock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import type { ChainState } from '../identity/types.ts'
import type { Channel, LinkMemory } from '../transport/types.ts'
import { TokenBucket } from './admission-rate.ts'
import { sourceKeys, sourceOfPath } from './admission-source.ts'
import type { ConstraintSet, Policy } from './types.ts'

/** The one budget that everyone unknown shares (protocol.md, further rules), whatever number of identities they make. */
export interface IsolatedLimits {
  readonly links: number
  readonly messagesPerSecond: number
  readonly burst: number
  readonly bufferBytes: number
  /** Links from one /24 or /48. */
  readonly linksPerNetwork: number
  /** A link without traffic for this long may be closed for a newcomer. */
  readonly idleMs: number
}

export const ISOLATED_LIMITS: IsolatedLimits = {
  links: 64,
  messagesPerSecond: 200,
  burst: 200,
  bufferBytes: 8 * 1024 * 1024,
  linksPerNetwork: 8,
  idleMs: 10_000,
}

/** What one link may still spend. Every charge is made to the DID that proved itself on it, and to the shared budget while that DID is Isolated. */
export interface LinkBudget extends LinkMemory {
  /** Whether so many messages may be handled now; charged if so. */
  message(count?: number): boolean
  /** Whether the peer may open one more stream now. A stranger pays a message for each; others have their limit of streams open at once. */
  stream(): boolean
  /**
   * Whether so many bytes may be buffered; give them back with `free`. When strangers use all the memory they share, the one that holds most loses its link
   * in favour of those that hold less.
   */
  reserve(bytes: number): boolean
  free(bytes: number): void
  /** Traffic was seen: the link is not idle. The others do this too. */
  touch(): void
  /** The peer's class or limits may have changed: its charges move to where they belong now. @throws KithError `BUDGET_EXCEEDED` when there is no room there. */
  refresh(): void
  /** The link has ended. Gives everything back. Idempotent. */
  leave(): void
}

/** What a budget needs of a link, so that it keeps nothing else of it alive. */
export interface BudgetedLink {
  readonly did: Did
  readonly channel: Pick<Channel, 'path'>
  readonly chain: Pick<ChainState, 'status'>
}

export interface Budgets {
  /**
   * Charges a link to its DID. When the Isolated budget is full, the Isolated link that was idle longest is closed in its favour.
   * @throws KithError `BUDGET_EXCEEDED`.
   */
  enter(link: BudgetedLink, evict: (error: KithError) => void): LinkBudget
  readonly isolatedLinks: number
  readonly dids: number
}

export interface BudgetComponents {
  readonly clock: Clock
  readonly policy: Pick<Policy, 'classOf' | 'constraints'>
  readonly limits?: Partial<IsolatedLimits>
}

interface DidAccount {
  readonly did: Did
  limits: ConstraintSet
  bucket: TokenBucket
  links: number
  bytes: number
}

export function createBudgets(components: BudgetComponents): Budgets {
  return new LinkBudgets(components)
}

class LinkBudgets implements Budgets {
  readonly clock: Clock
  readonly policy: Pick<Policy, 'classOf' | 'constraints'>
  readonly limits: IsolatedLimits
  /** One per DID with a link, so it is bounded by the links themselves. */
  readonly accounts: Map<Did, DidAccount> = new Map()
  readonly isolated: Set<Charge> = new Set()
  readonly isolatedBucket: TokenBucket
  isolatedBytes = 0

  constructor({ clock, policy, limits }: BudgetComponents) {
    this.clock = clock
    this.policy = policy
    this.limits = { ...ISOLATED_LIMITS, ...limits }
    this.isolatedBucket = new TokenBucket(clock, this.limits.messagesPerSecond, this.limits.burst)
  }

  get isolatedLinks(): number {
    return this.isolated.size
  }

  get dids(): number {
    return this.accounts.size
  }

  enter(link: BudgetedLink, evict: (error: KithError) => void): LinkBudget {
    const isolated = this.isIsolated(link)
    const limits = this.policy.constraints(link.did)
    const held = this.accounts.get(link.did)
    if (held !== undefined && held.links >= limits.links) throw exceeded('this identity has as many links as it may', limits.links)
    const charge = new Charge(this, link, sourceKeys(sourceOfPath(link.channel.path).host).network, evict)
    if (isolated) this.enterIsolated(charge)
    const account = held ?? { did: link.did, limits, bucket: new TokenBucket(this.clock, limits.messagesPerSecond, limits.burst), links: 0, bytes: 0 }
    account.links++
    this.accounts.set(link.did, account)
    charge.account = account
    return charge
  }

  /** A forked identity gets what strangers get until a person has decided (PN-6). */
  isIsolated(link: Pick<BudgetedLink, 'did' | 'chain'>): boolean {
    return link.chain.status === 'forked' || this.policy.classOf(link.did) === 'isolated'
  }

  enterIsolated(charge: Charge): void {
    const neighbours = [...this.isolated].filter((other) => other.network === charge.network)
    if (neighbours.length >= this.limits.linksPerNetwork) this.#closeIdle(neighbours, this.limits.linksPerNetwork)
    if (this.isolated.size >= this.limits.links) this.#closeIdle([...this.isolated], this.limits.links)
    if (this.isolatedBytes + charge.bytes > this.limits.bufferBytes) throw exceeded('unknown peers use all the memory they share', this.limits.bufferBytes)
    this.isolatedBytes += charge.bytes
    this.isolated.add(charge)
  }

  /** Makes room for a stranger that would hold `bytes` in all, by the one that holds most, if that is more. */
  closeHeaviest(bytes: number): boolean {
    let heaviest: Charge | undefined
    for (const charge of this.isolated) if (charge.bytes > (heaviest?.bytes ?? bytes)) heaviest = charge
    if (heaviest === undefined) return false
    heaviest.leave()
    heaviest.evict(exceeded('unknown peers use all the memory they share, and this one most of it', this.limits.bufferBytes))
    return true
  }

  #closeIdle(among: readonly Charge[], limit: number): void {
    let oldest: Charge | undefined
    for (const charge of among) if (oldest === undefined || charge.active < oldest.active) oldest = charge
    if (oldest === undefined || this.clock.monotonic() - oldest.active < this.limits.idleMs)
      throw exceeded('unknown peers have as many links as they share', limit)
    oldest.leave()
    oldest.evict(exceeded('an idle link of an unknown peer made room for another', limit))
  }
}

class Charge implements LinkBudget {
  readonly #budgets: LinkBudgets
  readonly #link: Pick<BudgetedLink, 'did' | 'chain'>
  readonly network: string
  readonly evict: (error: KithError) => void
  account: DidAccount | undefined
  active: number
  bytes = 0

  constructor(budgets: LinkBudgets, link: Pick<BudgetedLink, 'did' | 'chain'>, network: string, evict: (error: KithError) => void) {
    this.#budgets = budgets
    this.#link = link
    this.network = network
    this.evict = evict
    this.active = budgets.clock.monotonic()
  }

  message(count = 1): boolean {
    this.touch()
    if (this.account === undefined || !this.account.bucket.take(count)) return false
    return !this.#budgets.isolated.has(this) || this.#budgets.isolatedBucket.take(count)
  }

  stream(): boolean {
    this.touch()
    return !this.#budgets.isolated.has(this) || this.message()
  }

  reserve(bytes: number): boolean {
    this.touch()
    const { account } = this
    if (account === undefined || account.bytes + bytes > account.limits.bufferBytes) return false
    if (this.#budgets.isolated.has(this)) {
      while (this.#budgets.isolatedBytes + bytes > this.#budgets.limits.bufferBytes) if (!this.#budgets.closeHeaviest(this.bytes + bytes)) return false
      this.#budgets.isolatedBytes += bytes
    }
    account.bytes += bytes
    this.bytes += bytes
    return true
  }

  free(bytes: number): void {
    if (this.account === undefined) return
    if (bytes > this.bytes) throw new TypeError(`gives back ${bytes} bytes of ${this.bytes}`)
    this.bytes -= bytes
    this.account.bytes -= bytes
    if (this.#budgets.isolated.has(this)) this.#budgets.isolatedBytes -= bytes
  }

  touch(): void {
    this.active = this.#budgets.clock.monotonic()
  }

  refresh(): void {
    const { account } = this
    if (account === undefined) return
    const isolated = this.#budgets.isIsolated(this.#link)
    if (isolated && !this.#budgets.isolated.has(this)) this.#budgets.enterIsolated(this)
    if (!isolated && this.#budgets.isolated.delete(this)) this.#budgets.isolatedBytes -= this.bytes
    const limits = this.#budgets.policy.constraints(account.did)
    if (limits === account.limits) return
    account.limits = limits
    account.bucket = new TokenBucket(this.#budgets.clock, limits.messagesPerSecond, limits.burst)
  }

  leave(): void {
    const { account } = this
    if (account === undefined) return
    this.account = undefined
    account.links--
    account.bytes -= this.bytes
    if (account.links === 0) this.#budgets.accounts.delete(account.did)
    if (this.#budgets.isolated.delete(this)) this.#budgets.isolatedBytes -= this.bytes
    this.bytes = 0
  }
}

function exceeded(message: string, limit: number): KithError {
  return new KithError('BUDGET_EXCEEDED', message, { details: { limit } })
}
