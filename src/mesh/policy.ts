import { utf8 } from '../core/bytes.ts'
import { KithError } from '../core/errors.ts'
import type { Store } from '../core/store/types.ts'
import type { Did } from '../identity/did.ts'
import { CLASS_SCORE } from './constraints.ts'
import { type IpAddress, isLoopback, parseIp, sameIp } from './ip.ts'
import {
  decodeRules,
  type Effect,
  encodeRules,
  formatRule,
  MAX_RULES,
  matchesPeer,
  matchesRequest,
  outranks,
  parseRule,
  type Rule,
  type RuleText,
} from './policy-rules.ts'
import { ACTIONS, awaitsAddress, type Guard, parseTarget, type Target } from './policy-target.ts'
import type { ConstraintSet, Decision, PeerClass, Policy, PolicyRequest } from './types.ts'

/**
 * # Local policy: the owner's ordered rules
 *
 * The first rule that matches decides; without one whoever provides the action does (a topic for `publish`, a protocol's access for `open`, the trust oracle for
 * `link`), and where nobody does, `ping` and `link` are open and everything else is denied. `allow` inserts before the first rule that would deny all of it, so the command that a refusal prints always
 * takes effect and narrower exceptions stay; `deny` inserts before everything that is allowed, so what was denied is denied, whatever was allowed before.
 *
 * Names are asked twice: as they are, and with the addresses they resolved to, every one of which must be allowed; only a checked address may be dialled.
 */
export interface PolicyConfig {
  readonly store: Store
  readonly classOf: (peer: Did) => PeerClass
  readonly constraints: (held: PeerClass) => ConstraintSet
  /** What holds where no rule of the owner does; `undefined` when nobody says anything about it. */
  readonly defaultOf?: (request: PolicyRequest) => Default | undefined
  /** The node's own control and gateway ports. */
  readonly ownPorts?: () => readonly number[]
  /** Addresses of this machine's interfaces, for `ownPorts`. */
  readonly localAddresses?: () => readonly string[]
  /** Names of doors inside the node that only an exact rule reaches. */
  readonly reservedNames?: readonly string[]
}

/** An answer that no rule of the owner gave. */
export interface Default {
  readonly allowed: boolean
  /** In words for the owner. */
  readonly rule: string
}

export const RESERVED_NAMES: readonly string[] = ['alknet-control', 'kith-control']

const NAMESPACE = 'mesh/policy'
const KEY: Uint8Array = utf8('rules')
const OPEN_BY_DEFAULT: ReadonlySet<string> = new Set(['link', 'ping'])

export interface LocalPolicy extends Policy {
  /** Rules in the order in which they are tried. */
  list(): readonly RuleText[]
  /**
   * Adds a rule: one that allows before the first that denies all of it, one that denies before all that allow.
   * @throws TypeError for a rule that is malformed or could never match. @throws KithError `DID_INVALID`, `STORE_FAILED`, `BUDGET_EXCEEDED`.
   */
  allow(principal: string, action: string, target?: string): Promise<RuleText>
  deny(principal: string, action: string, target?: string): Promise<RuleText>
  /** Takes out the rules that allow this peer something; those that deny it something stay. */
  forgetAllowed(peer: Did): Promise<void>
  /** Allowed rules that were stored but are not valid any more, for the log. */
  readonly dropped: readonly RuleText[]
}

/** Loads the stored rules. @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`. */
export async function openLocalPolicy(config: PolicyConfig): Promise<LocalPolicy> {
  const policy = new OrderedRules(config)
  await policy.load()
  return policy
}

class OrderedRules implements LocalPolicy {
  dropped: readonly RuleText[] = []
  #rules: readonly Rule[] = []
  #saving: Promise<void> = Promise.resolve()
  readonly #config: PolicyConfig
  readonly #guard: Guard

  constructor(config: PolicyConfig) {
    this.#config = config
    const reserved = new Set(config.reservedNames ?? RESERVED_NAMES)
    this.#guard = {
      reservedName: (name) => reserved.has(name),
      ownPort: (address, port) => (config.ownPorts?.() ?? []).includes(port) && (isLoopback(address) || this.#isLocal(address)),
    }
  }

  async load(): Promise<void> {
    const bytes = await this.#config.store.get(NAMESPACE, KEY)
    if (bytes === undefined) return
    const { rules, dropped } = decodeRules(bytes, this.#guard)
    this.#rules = rules
    this.dropped = dropped
  }

  list(): readonly RuleText[] {
    return this.#rules.map(({ effect, principal, action, target }) => ({ effect, principal, action, target }))
  }

  classOf(peer: Did): PeerClass {
    return this.#config.classOf(peer)
  }

  constraints(peer: Did): ConstraintSet {
    return this.#config.constraints(this.classOf(peer))
  }

  scoreOf(peer: Did): number {
    return CLASS_SCORE[this.classOf(peer)]
  }

  decide(request: PolicyRequest): Decision {
    const kind = ACTIONS.get(request.action)
    // A name that was resolved is decided once per address: one that is not allowed denies the request.
    const addresses = request.addresses === undefined || request.addresses.length === 0 ? [undefined] : request.addresses
    let decision: Decision | undefined
    for (const address of addresses) {
      const target = kind === undefined ? undefined : parseTarget(kind, request.target, address, this.#guard)
      decision = target === undefined ? this.#unusable(request, kind !== undefined) : this.#decide(request, target, address)
      if (!decision.allowed) return decision
    }
    return decision as Decision
  }

  allow(principal: string, action: string, target?: string): Promise<RuleText> {
    return this.#insert('allow', principal, action, target)
  }

  deny(principal: string, action: string, target?: string): Promise<RuleText> {
    return this.#insert('deny', principal, action, target)
  }

  async forgetAllowed(peer: Did): Promise<void> {
    await this.#change((rules) => rules.filter((rule) => rule.principal !== peer || rule.effect === 'deny'))
  }

  #fallback(request: PolicyRequest): Default {
    const { action } = request
    const open = OPEN_BY_DEFAULT.has(action)
    return this.#config.defaultOf?.(request) ?? { allowed: open, rule: `default: ${action} is ${open ? 'open' : 'denied'}` }
  }

  #unusable({ peer, action }: PolicyRequest, known: boolean): Decision {
    return { allowed: false, rule: 'the request names no action and target of this version', next: `kith policy test ${peer} ${known ? action : 'forward'}` }
  }

  #decide(request: PolicyRequest, target: Target, address: string | undefined): Decision {
    const { peer, action } = request
    const held = this.classOf(peer)
    const at = this.#rules.findIndex((candidate) => matchesRequest(candidate, { peer, action, target }, held, this.#guard))
    const rule = this.#rules[at]
    const { allowed, rule: words } = rule === undefined ? this.#fallback(request) : { allowed: rule.effect === 'allow', rule: formatRule(rule) }
    const decision = this.#decision(request, allowed, words, address)
    const before = rule === undefined ? this.#rules : this.#rules.slice(0, at)
    return !allowed && mayAllowAddress(before, request, target, held) ? { ...decision, byAddress: true } : decision
  }

  #decision(request: PolicyRequest, allowed: boolean, rule: string, address: string | undefined): Decision {
    const { peer, action, target } = request
    const verb = allowed ? 'deny' : 'allow'
    // A public name that resolved to this machine is reached by no rule for the name: the owner has to name the address.
    const hidden = !allowed && address !== undefined && !this.#wouldReach(request, address)
    const named = hidden ? `${bracketed(address)}:${target?.slice(target.lastIndexOf(':') + 1)}` : target
    return { allowed, rule, next: `kith ${verb} ${peer} ${action}${named === undefined ? '' : ` ${named}`}` }
  }

  /** Whether an exact rule for the target as named would match the request at this address. */
  #wouldReach({ peer, action, target }: PolicyRequest, address: string): boolean {
    const rule = parseRule({ effect: 'allow', principal: peer, action, target }, this.#guard)
    const resolved = parseTarget('endpoint', target, address, this.#guard)
    return resolved !== undefined && matchesRequest(rule, { peer, action, target: resolved }, 'isolated', this.#guard)
  }

  async #insert(effect: Effect, principal: string, action: string, target: string | undefined): Promise<RuleText> {
    const rule = parseRule({ effect, principal, action, target }, this.#guard)
    await this.#change((rules) => {
      const rest = rules.filter((other) => !sameSubject(other, rule))
      const at = rest.findIndex((other) => other.effect !== effect && (effect === 'deny' || outranks(other, rule, (peer) => this.classOf(peer))))
      if (rest.length >= MAX_RULES) throw new KithError('BUDGET_EXCEEDED', `the policy holds ${MAX_RULES} rules already`, { next: 'kith policy list' })
      return at === -1 ? [...rest, rule] : rest.toSpliced(at, 0, rule)
    })
    return { effect: rule.effect, principal: rule.principal, action: rule.action, target: rule.target }
  }

  /** One change at a time; it counts only once it is durable. */
  #change(edit: (rules: readonly Rule[]) => readonly Rule[]): Promise<void> {
    const changed = this.#saving.then(async () => {
      const rules = edit(this.#rules)
      await this.#config.store.put(NAMESPACE, KEY, encodeRules(rules), { durable: true })
      this.#rules = rules
    })
    this.#saving = changed.catch(() => undefined)
    return changed
  }

  #isLocal(address: IpAddress): boolean {
    return (this.#config.localAddresses?.() ?? []).some((text) => {
      const own = parseIp(text)
      return own !== undefined && sameIp(own, address)
    })
  }
}

/** Whether one of these rules would allow some address of a name that is not resolved yet. */
function mayAllowAddress(rules: readonly Rule[], { peer, action }: PolicyRequest, target: Target, held: PeerClass): boolean {
  return rules.some((rule) => rule.effect === 'allow' && rule.action === action && matchesPeer(rule, peer, held) && awaitsAddress(rule.pattern, target))
}

/** A newer rule for exactly the same subject takes the place of the older one. */
function sameSubject(a: RuleText, b: RuleText): boolean {
  return a.principal === b.principal && a.action === b.action && a.target === b.target
}

function bracketed(address: string): string {
  return address.includes(':') ? `[${address}]` : address
}
