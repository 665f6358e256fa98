import { KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Store } from '../core/store/types.ts'
import type { Did } from '../identity/did.ts'
import type { AddressBook } from './address-book.ts'
import { CLASS_SCORE, isPeerClass } from './constraints.ts'
import type { KnownKeys } from './known-keys.ts'
import { LINK_PROTOCOL } from './link-control.ts'
import type { MeshPolicy } from './mesh-types.ts'
import { PING_PROTOCOL } from './ping.ts'
import { type LocalPolicy, openLocalPolicy } from './policy.ts'
import type { RuleText } from './policy-rules.ts'
import type { Registered } from './router.ts'
import type { Settings } from './settings.ts'
import type { ConstraintSet, Decision, PeerClass, Policy, PolicyRequest } from './types.ts'

/** What a forked identity may still do. */
const WHILE_FORKED: ReadonlySet<string> = new Set(['link', 'ping'])

export interface MeshRulesComponents {
  readonly store: Store
  readonly logger: Logger
  readonly own: Did
  readonly book: AddressBook
  readonly known: Pick<KnownKeys, 'peer'>
  readonly settings: () => Settings
  /** Decides further, where the owner's rules do not (`MeshComponents.policy`). */
  readonly other: Policy | undefined
  readonly interfaces: () => readonly string[]
  readonly accessOf: (protocol: string) => Registered['access'] | undefined
  /** Streams open on all links of a peer. */
  readonly streamsOf: (did: Did) => number
  /** A rule was added: whoever may not be linked any more has to go. */
  readonly onChange: () => void
}

/** Who may do what here: the owner's rules first, then what a protocol says about itself, then whoever decides beyond that. */
export class MeshRules {
  readonly #components: MeshRulesComponents
  readonly local: LocalPolicy
  readonly #listeners: Set<() => void> = new Set()

  private constructor(components: MeshRulesComponents, local: LocalPolicy) {
    this.#components = components
    this.local = local
  }

  /** @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`. */
  static async open(components: MeshRulesComponents): Promise<MeshRules> {
    const { store, logger, settings, interfaces } = components
    const local = await openLocalPolicy({
      store,
      classOf: (did) => classOf(components, did),
      constraints: (held) => settings().constraints[held],
      openDefault: (peer, protocol) => openDefault(components, peer, protocol),
      ownPorts: () => settings().ownPorts,
      localAddresses: interfaces,
    })
    for (const rule of local.dropped) logger.warn('a stored rule is not valid any more', { ...rule })
    return new MeshRules(components, local)
  }

  classOf(did: Did): PeerClass {
    return classOf(this.#components, did)
  }

  constraints(did: Did): ConstraintSet {
    const { other, book, settings } = this.#components
    return other !== undefined && !book.has(did) ? other.constraints(did) : settings().constraints[this.classOf(did)]
  }

  /** Standing in basis points: what the further source knows of a peer, never below what the owner gave it. */
  scoreOf(did: Did): number {
    const { other, known } = this.#components
    const held = CLASS_SCORE[this.classOf(did)]
    return other === undefined || known.peer(did)?.forked === true ? held : Math.max(held, other.scoreOf(did))
  }

  /** Why a peer may not open a protocol; `undefined` when it may. */
  refuse(peer: Did, protocol: string, access: Registered['access']): KithError | undefined {
    if (protocol === LINK_PROTOCOL) return undefined
    if (this.#components.streamsOf(peer) > this.constraints(peer).streams) return new KithError('BUDGET_EXCEEDED')
    if (access === 'handler') return undefined
    const request = protocol === PING_PROTOCOL ? { peer, action: 'ping' } : { peer, action: 'open', target: protocol }
    let decision = this.decide(request)
    if (!decision.allowed && access === 'policy' && this.#components.other !== undefined) decision = this.#components.other.decide(request)
    return decision.allowed ? undefined : new KithError('POLICY_DENIED')
  }

  /** What the owner's rules say. An identity with two contradicting histories keeps nothing but the chance to be looked at (PN-6). */
  decide(request: PolicyRequest): Decision {
    if (this.#components.known.peer(request.peer)?.forked !== true || WHILE_FORKED.has(request.action)) return this.local.decide(request)
    return {
      allowed: false,
      rule: 'the identity shows two contradicting histories, so what it was granted is suspended',
      next: `kith peers forget ${request.peer}, then pair again with the machine you trust`,
    }
  }

  /** The rules as the outside sees them. */
  policy(): MeshPolicy {
    const { local } = this
    const { book } = this.#components
    const changed = async (change: () => Promise<RuleText>): Promise<RuleText> => {
      const rule = await change()
      this.#components.onChange()
      for (const listener of [...this.#listeners]) listener()
      return rule
    }
    const principal = (text: string): string => (text === '*' || isPeerClass(text) ? text : book.resolve(text))
    return {
      decide: (request) => this.decide(request),
      constraints: (did) => this.constraints(did),
      classOf: (did) => this.classOf(did),
      scoreOf: (did) => this.scoreOf(did),
      allow: (who, action, target) => changed(async () => local.allow(principal(who), action, target)),
      deny: (who, action, target) => changed(async () => local.deny(principal(who), action, target)),
      onChange: (listener) => {
        this.#listeners.add(listener)
        return () => void this.#listeners.delete(listener)
      },
      list: () => local.list(),
      test: (who, action, target) => this.decide({ peer: book.resolve(who), action, ...(target === undefined ? {} : { target }) }),
    }
  }
}

function classOf({ book, known, other, own }: MeshRulesComponents, did: Did): PeerClass {
  // Another machine of this identity: the identity itself vouches for it.
  if (did === own) return 'federated'
  if (known.peer(did)?.forked === true) return 'isolated'
  return book.get(did)?.class ?? other?.classOf(did) ?? 'isolated'
}

function openDefault({ accessOf, book }: MeshRulesComponents, peer: Did, protocol: string): { readonly allowed: boolean; readonly rule: string } | undefined {
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
