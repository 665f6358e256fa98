import { isForeignPrincipal, looksForeign, parsePrincipal } from '../access/principal.ts'
import type { Clock, Timer } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Store } from '../core/store/types.ts'
import type { Did } from '../identity/did.ts'
import type { AddressBook } from './address-book.ts'
import { atLeast, CLASS_SCORE, isPeerClass } from './constraints.ts'
import type { KnownKeys } from './known-keys.ts'
import { LINK_PROTOCOL } from './link-control.ts'
import type { Decider, MeshPolicy, PeerRequest } from './mesh-types.ts'
import { PING_PROTOCOL } from './ping.ts'
import { type Default, type LocalPolicy, openLocalPolicy } from './policy.ts'
import type { RuleText } from './policy-rules.ts'
import { ACTIONS } from './policy-target.ts'
import type { Registered } from './router.ts'
import type { Settings } from './settings.ts'
import type { BanStatus, Conduct, ConstraintSet, Decision, PeerClass, Policy, PolicyRequest } from './types.ts'

/** What a forked identity may still do. */
const WHILE_FORKED: ReadonlySet<string> = new Set(['link', 'ping'])

export interface MeshRulesComponents {
  readonly store: Store
  readonly clock: Clock
  readonly logger: Logger
  readonly own: Did
  readonly book: AddressBook
  readonly known: Pick<KnownKeys, 'isForked' | 'statusOf'>
  readonly settings: () => Settings
  /** Decides further, where the owner's rules do not (`MeshComponents.policy`). */
  readonly other: Policy | undefined
  /** Who may not link for what it did, and who gets the limits of strangers (`MeshComponents.conduct`). */
  readonly conduct: Conduct | undefined
  readonly interfaces: () => readonly string[]
  readonly accessOf: (protocol: string) => Registered['access'] | undefined
  /** Streams open on all links of a peer. */
  readonly streamsOf: (did: Did) => number
  /** A rule was added: whoever may not be linked any more has to go. */
  readonly onChange: () => void
}

const LONGEST_WAIT_MS = 60_000

type Listener = (peers?: readonly Did[]) => void

/**
 * Who may do what here. In this order: a ban, an identity that contradicts itself, the owner's rules, whoever provides the action (a protocol says it about
 * itself), the further source, the default.
 */
export class MeshRules {
  readonly #components: MeshRulesComponents
  readonly local: LocalPolicy
  readonly #deciders: Map<string, Decider>
  readonly #listeners: Set<Listener> = new Set()
  #turn: Timer | undefined
  #stopWatching: (() => void) | undefined
  #closed = false

  private constructor(components: MeshRulesComponents, local: LocalPolicy, deciders: Map<string, Decider>) {
    this.#components = components
    this.local = local
    this.#deciders = deciders
  }

  /** @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`. */
  static async open(components: MeshRulesComponents): Promise<MeshRules> {
    const { store, clock, logger, settings, interfaces, book } = components
    const deciders = new Map<string, Decider>()
    const local = await openLocalPolicy({
      store,
      clock,
      configured: () => settings().rules,
      classOf: (did) => classOf(components, did),
      constraints: (held) => settings().constraints[held],
      defaultOf: (request) =>
        isPeerRequest(request) ? (deciders.get(request.action)?.(request) ?? openDefault(components, request) ?? further(components, request)) : undefined,
      ownPorts: () => settings().ownPorts(),
      localAddresses: interfaces,
    })
    for (const rule of local.dropped) logger.warn('a stored rule is not valid any more', { ...rule })
    const rules = new MeshRules(components, local, deciders)
    rules.#arm()
    rules.#stopWatching = book.watch((did, held) => {
      if (held) rules.#classed(did)
    })
    return rules
  }

  /** Ends the watch over rules that depend on the time. */
  close(): void {
    this.#closed = true
    this.#stopWatching?.()
    this.#turn?.cancel()
  }

  /** The rules of the configuration changed. */
  reloaded(): void {
    this.#ruled()
  }

  /** Whoever may do less, or more, from now on is asked about again. */
  #ruled(): void {
    this.#arm()
    this.#components.onChange()
    this.changed()
  }

  /** The class that the owner gives a peer is what rules for classes go by. */
  #classed(did: Did): void {
    this.#components.onChange()
    this.changed([did])
  }

  /** Wakes when a rule begins or ends to hold; within the minute where the clock of the machine was set meanwhile. */
  #arm(): void {
    this.#turn?.cancel()
    const ms = this.#closed ? undefined : this.local.nextChange()
    this.#turn =
      ms === undefined ? undefined : this.#components.clock.after(Math.min(ms, LONGEST_WAIT_MS), () => (ms > LONGEST_WAIT_MS ? this.#arm() : this.#ruled()))
  }

  classOf(did: Did): PeerClass {
    return classOf(this.#components, did)
  }

  /** Whether it would be more than Known, had anybody but itself shown its keys. */
  isCapped(did: Did): boolean {
    return isCapped(this.#components, did)
  }

  constraints(did: Did): ConstraintSet {
    const { other, book, settings } = this.#components
    const ownWord = other === undefined || did === this.#components.own || book.has(did) || isLow(this.#components, did)
    return ownWord || isCapped(this.#components, did) ? settings().constraints[this.classOf(did)] : other.constraints(did)
  }

  /** Standing in basis points: what the further source knows of a peer, never below what the owner gave it, and a stranger's for one that is held low. */
  scoreOf(did: Did): number {
    const { other } = this.#components
    const held = CLASS_SCORE[this.classOf(did)]
    const known = other?.scoreOf(did) ?? 0
    if (isLow(this.#components, did)) return Math.min(known, CLASS_SCORE.known - 1)
    return isFirstSeen(this.#components, did) ? Math.min(Math.max(held, known), CLASS_SCORE.partner - 1) : Math.max(held, known)
  }

  /** Why a peer may not open a protocol; `undefined` when it may. */
  refuse(peer: Did, protocol: string, access: Registered['access']): KithError | undefined {
    if (protocol === LINK_PROTOCOL) return undefined
    if (this.#components.streamsOf(peer) > this.constraints(peer).streams) return new KithError('BUDGET_EXCEEDED')
    if (access === 'handler') return undefined
    const request = protocol === PING_PROTOCOL ? { peer, action: 'ping' } : { peer, action: 'open', target: protocol }
    return this.decide(request).allowed ? undefined : new KithError('POLICY_DENIED')
  }

  decide(request: PolicyRequest): Decision {
    return this.#held(request) ?? this.local.decide(request)
  }

  ruled(request: PolicyRequest): Decision | undefined {
    return this.#held(request) ?? this.local.ruled(request)
  }

  /** Why an identity may do nothing of the kind now, whatever the rules say. */
  #held({ peer, action }: PolicyRequest): Decision | undefined {
    if (isForeignPrincipal(peer)) return undefined
    const ban = this.#components.conduct?.banOfPeer(peer)
    if (ban !== undefined) return { allowed: false, rule: banRule(ban), next: unbanCommand(peer) }
    // An identity with two contradicting histories keeps nothing but the chance to be looked at (PN-6).
    if (!this.#components.known.isForked(peer) || WHILE_FORKED.has(action)) return undefined
    return {
      allowed: false,
      rule: 'the identity shows two contradicting histories, so what it was granted is suspended',
      next: `kith peers repin ${peer} --head HEX`,
    }
  }

  /** Whom a rule is tried on, and by which door such people come. */
  #subject(who: string): Pick<PolicyRequest, 'peer' | 'transport'> {
    if (!looksForeign(who)) return { peer: this.#components.book.resolve(who) }
    const principal = parsePrincipal(who)
    if (!isForeignPrincipal(principal))
      throw new TypeError(`${principal} is what somebody may have, not who somebody is: name a peer or a key, and add --also ${principal}`)
    return { peer: principal, transport: principal.startsWith('ssh:') ? 'ssh' : 'http' }
  }

  #provide(action: string, decider: Decider): () => void {
    if (!ACTIONS.has(action)) throw new TypeError(`there is no action ${JSON.stringify(action)}`)
    if (this.#deciders.has(action)) throw new TypeError(`somebody decides about ${action} already`)
    this.#deciders.set(action, decider)
    return () => {
      if (this.#deciders.get(action) === decider) this.#deciders.delete(action)
    }
  }

  /** What a peer may do has changed for another reason than a rule: its class, its conduct. */
  changed(peers?: readonly Did[]): void {
    for (const listener of [...this.#listeners]) listener(peers)
  }

  /** The rules as the outside sees them. */
  policy(): MeshPolicy {
    const { local } = this
    const { book } = this.#components
    const changed = async (change: () => Promise<RuleText>): Promise<RuleText> => {
      const rule = await change()
      this.#ruled()
      return rule
    }
    const principal = (text: string): string => (text === '*' || isPeerClass(text) ? text : looksForeign(text) ? parsePrincipal(text) : book.resolve(text))
    return {
      decide: (request) => this.decide(request),
      ruled: (request) => this.ruled(request),
      constraints: (did) => this.constraints(did),
      classOf: (did) => this.classOf(did),
      scoreOf: (did) => this.scoreOf(did),
      allow: (who, action, target, conditions) => changed(async () => local.allow(principal(who), action, target, conditions)),
      deny: (who, action, target, conditions) => changed(async () => local.deny(principal(who), action, target, conditions)),
      check: (rule) => local.check({ ...rule, principal: principal(rule.principal) }),
      onChange: (listener) => {
        this.#listeners.add(listener)
        return () => void this.#listeners.delete(listener)
      },
      provide: (action, decider) => this.#provide(action, decider),
      list: () => local.list(),
      forgetAllowed: async (principal) => {
        const forgotten = await local.forgetAllowed(principal)
        if (forgotten.length > 0) this.#ruled()
        return forgotten
      },
      test: (who, action, target, options) => {
        if (!ACTIONS.has(action)) throw new TypeError(`there is no action ${JSON.stringify(action)}: use ${[...ACTIONS.keys()].join(', ')}`)
        const subject = this.#subject(who)
        return this.decide({ ...subject, action, ...(target === undefined ? {} : { target }), ...options, also: (options?.also ?? []).map(attribute) })
      },
    }
  }
}

/** What somebody is asked about has besides its name. */
function attribute(text: string): string {
  return parsePrincipal(text)
}

/** Held to a stranger's place whatever anybody gave it. */
function isLow({ known, conduct }: MeshRulesComponents, did: Did): boolean {
  return known.isForked(did) || conduct?.isolated(did) === true
}

function classOf(components: MeshRulesComponents, did: Did): PeerClass {
  const { own } = components
  // Another machine of this identity: the identity itself vouches for it.
  if (did === own) return 'federated'
  if (isLow(components, did)) return 'isolated'
  const held = givenClass(components, did)
  return isFirstSeen(components, did) && atLeast(held, 'partner') ? 'known' : held
}

/** What the owner, or else the further source, makes of it. */
function givenClass({ book, other }: MeshRulesComponents, did: Did): PeerClass {
  return book.get(did)?.class ?? other?.classOf(did) ?? 'isolated'
}

/** Only the peer itself showed its keys: whoever stole old ones could show the same (PN-6). */
function isFirstSeen({ known, own }: MeshRulesComponents, did: Did): boolean {
  return did !== own && known.statusOf(did) === 'first-seen'
}

/** It would have more than a first-seen peer gets. */
function isCapped(components: MeshRulesComponents, did: Did): boolean {
  return isFirstSeen(components, did) && atLeast(givenClass(components, did), 'partner')
}

function isPeerRequest(request: PolicyRequest): request is PeerRequest {
  return !isForeignPrincipal(request.peer)
}

/** What the further source decides, if it does. */
function further({ other }: MeshRulesComponents, request: PeerRequest): Default | undefined {
  const decision = other?.decide(request)
  return decision === undefined || decision.abstains === true ? undefined : decision
}

export function banRule({ untilMs, reason }: BanStatus): string {
  return `banned until ${new Date(untilMs).toISOString()}: ${reason}`
}

/** What the owner types to end a ban. */
export function unbanCommand(peer: Did): string {
  return `kith trust unban ${peer} --reason pardoned`
}

function openDefault({ accessOf, book }: MeshRulesComponents, { peer, action, target: protocol }: PeerRequest): Default | undefined {
  if (action !== 'open' || protocol === undefined) return undefined
  switch (accessOf(protocol)) {
    case 'everyone':
      return { allowed: true, rule: `${protocol} is open to everyone` }
    case 'book':
      return { allowed: book.has(peer), rule: `${protocol} is open to peers in the address book` }
    case 'handler':
      return { allowed: true, rule: `${protocol} decides per request` }
    default:
      return undefined
  }
}
