import type { Clock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import type { ChainState } from '../identity/types.ts'
import type { Channel, LinkMemory } from '../transport/types.ts'
import { TokenBucket } from './admission-rate.ts'
import { Rates, type SharedAccount, SharedAccounts } from './admission-shared.ts'
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

/**
 * While somebody may come with a ticket, strangers who fill every place do not keep that guest out: so many further links are let in, a few from one network,
 * and each gives way to the next after `GUEST_MS`, by which a guest has paired and is no stranger any more.
 */
const GUEST_LINKS = 8
const GUESTS_PER_NETWORK = 2
const GUEST_MS = 10_000

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
  /** Whether a ticket is out. */
  readonly expecting?: () => boolean
}

interface DidAccount {
  readonly did: Did
  limits: ConstraintSet
  readonly bucket: TokenBucket
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
  readonly expecting: () => boolean
  /** One per DID with a link, so it is bounded by the links themselves. */
  readonly accounts: Map<Did, DidAccount> = new Map()
  readonly rates: Rates
  readonly shared: SharedAccounts
  readonly isolated: Set<Charge> = new Set()
  readonly isolatedBucket: TokenBucket
  isolatedBytes = 0

  constructor({ clock, policy, limits, expecting }: BudgetComponents) {
    this.clock = clock
    this.rates = new Rates(clock)
    this.shared = new SharedAccounts(this.rates)
    this.expecting = expecting ?? (() => false)
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
    const shared = this.shared.find(limits.bucket)
    const charge = new Charge(this, link, sourceKeys(sourceOfPath(link.channel.path).host).network, evict)
    if (isolated) this.enterIsolated(charge)
    charge.account = held ?? { did: link.did, limits, bucket: this.rates.of(link.did, limits), links: 0, bytes: 0 }
    charge.account.links++
    this.accounts.set(link.did, charge.account)
    this.shared.join(shared)
    charge.shared = shared
    return charge
  }

  /** The last link of this DID has ended. */
  forget(account: DidAccount): void {
    this.accounts.delete(account.did)
    this.rates.keep(account.did, account.bucket)
  }

  /** A forked identity gets what strangers get until a person has decided (PN-6). */
  isIsolated(link: Pick<BudgetedLink, 'did' | 'chain'>): boolean {
    return link.chain.status === 'forked' || this.policy.classOf(link.did) === 'isolated'
  }

  enterIsolated(charge: Charge): void {
    const neighbours = [...this.isolated].filter((other) => other.network === charge.network)
    const { links, linksPerNetwork } = this.limits
    if (neighbours.length >= linksPerNetwork && !this.#closeIdle(neighbours, linksPerNetwork)) throw exceeded(FULL, linksPerNetwork)
    if (this.isolated.size >= links && !this.#closeIdle([...this.isolated], links)) this.#seatGuest(charge)
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

  #closeIdle(among: readonly Charge[], limit: number): boolean {
    let oldest: Charge | undefined
    for (const charge of among) if (oldest === undefined || charge.active < oldest.active) oldest = charge
    if (oldest === undefined || this.clock.monotonic() - oldest.active < this.limits.idleMs) return false
    oldest.leave()
    oldest.evict(exceeded('an idle link of an unknown peer made room for another', limit))
    return true
  }

  /** @throws KithError `BUDGET_EXCEEDED` when nobody is expected, or the places for guests are taken by newer ones. */
  #seatGuest(charge: Charge): void {
    const { links } = this.limits
    if (!this.expecting()) throw exceeded(FULL, links)
    const guests = [...this.isolated].filter((other) => other.guestSince !== undefined)
    const near = guests.filter((other) => other.network === charge.network)
    const crowded = near.length >= GUESTS_PER_NETWORK ? near : guests.length >= GUEST_LINKS ? guests : undefined
    const now = this.clock.monotonic()
    if (crowded !== undefined) {
      // Insertion order is age.
      const [oldest] = crowded
      if (oldest?.guestSince === undefined || now - oldest.guestSince < GUEST_MS) throw exceeded(FULL, links)
      oldest.leave()
      oldest.evict(exceeded('an unknown peer that came without a ticket made room for another', links))
    }
    charge.guestSince = now
  }
}

class Charge implements LinkBudget {
  readonly #budgets: LinkBudgets
  readonly #link: Pick<BudgetedLink, 'did' | 'chain'>
  readonly network: string
  readonly evict: (error: KithError) => void
  account: DidAccount | undefined
  shared: SharedAccount | undefined
  /** Since when it has a place beyond those that strangers share. */
  guestSince: number | undefined
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
    if (this.shared !== undefined && !this.shared.bucket.take(count)) return false
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
    if (!isolated && this.#budgets.isolated.delete(this)) {
      this.#budgets.isolatedBytes -= this.bytes
      this.guestSince = undefined
    }
    const limits = this.#budgets.policy.constraints(account.did)
    if (limits.bucket?.key !== this.shared?.key) {
      const next = this.#budgets.shared.find(limits.bucket)
      this.#budgets.shared.part(this.shared)
      this.#budgets.shared.join(next)
      this.shared = next
    } else if (this.shared !== undefined && limits.bucket !== undefined) this.#budgets.shared.retune(this.shared, limits.bucket)
    if (limits === account.limits) return
    account.limits = limits
    account.bucket.resize(limits.messagesPerSecond, limits.burst)
  }

  leave(): void {
    const { account } = this
    if (account === undefined) return
    this.account = undefined
    account.links--
    account.bytes -= this.bytes
    if (account.links === 0) this.#budgets.forget(account)
    this.#budgets.shared.part(this.shared)
    this.shared = undefined
    if (this.#budgets.isolated.delete(this)) this.#budgets.isolatedBytes -= this.bytes
    this.bytes = 0
  }
}

const FULL = 'unknown peers have as many links as they share'

function exceeded(message: string, limit: number): KithError {
  return new KithError('BUDGET_EXCEEDED', message, { details: { limit } })
}
