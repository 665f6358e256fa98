import { isForeignPrincipal } from '../access/principal.ts'
import { utf8 } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import type { Store } from '../core/store/types.ts'
import type { Did } from '../identity/did.ts'
import { CLASS_SCORE } from './constraints.ts'
import { type IpAddress, isLoopback, parseIp, sameIp } from './ip.ts'
import { conditionsHold, formatConditions, localMinute, narrowest, nextTurn, type RuleConditions } from './policy-conditions.ts'
import {
  decodeRules,
  encodeRules,
  formatRule,
  MAX_RULES,
  matchesPeer,
  matchesRequest,
  outranks,
  parseRule,
  type Rule,
  type RuleRequest,
  type RuleText,
  replaces,
  ruleText,
} from './policy-rules.ts'
import { ACTIONS, awaitsAddress, type Guard, parseTarget, type Target, type TargetKind } from './policy-target.ts'
import type { ConstraintSet, Decision, PeerClass, Policy, PolicyRequest } from './types.ts'

/**
 * # Local policy: the owner's ordered rules
 *
 * The first rule that matches decides; without one whoever provides the action does (a topic for `publish`, a protocol's access for `open`, the trust oracle for
 * `link`), and where nobody does, `ping` and `link` are open and everything else is denied. `allow` inserts before the first rule that would deny all of it, so the command that a refusal prints always
 * takes effect and narrower exceptions stay; `deny` inserts before everything that is allowed, so what was denied is denied, whatever was allowed before.
 *
 * Rules may hold by some doors only, for a part of the day, or until a moment. Those from the configuration come behind the ones that were typed, in the order of
 * the file.
 *
 * Names are asked twice: as they are, and with the addresses they resolved to, every one of which must be allowed; only a checked address may be dialled.
 */
export interface PolicyConfig {
  readonly store: Store
  readonly clock: Pick<Clock, 'now'>
  readonly classOf: (peer: Did) => PeerClass
  readonly constraints: (held: PeerClass) => ConstraintSet
  /** What holds where no rule of the owner does; `undefined` when nobody says anything about it. */
  readonly defaultOf?: (request: PolicyRequest) => Default | undefined
  /** Ports on which the node itself listens. */
  readonly ownPorts?: () => readonly number[]
  /** Addresses of this machine's interfaces, for `ownPorts`. */
  readonly localAddresses?: () => readonly string[]
  /** Names of doors inside the node that only an exact rule reaches. */
  readonly reservedNames?: readonly string[]
  /** Rules of the configuration, tried behind the stored ones. */
  readonly configured?: () => readonly RuleText[]
  /** Minute of the day at a moment. Default: in the time zone of this machine. */
  readonly minuteOf?: (ms: number) => number
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
const TARGET_EXAMPLES: Readonly<Record<TargetKind, string>> = { endpoint: 'localhost:5432', text: 'notes/add', topic: 'news', none: '' }
const OPEN_BY_DEFAULT: ReadonlySet<string> = new Set(['link', 'ping'])
/** Rules that ended are listed for another day, and then go with the next change. */
const KEEP_ENDED_MS = 86_400_000

export interface LocalPolicy extends Policy {
  /** Rules in the order in which they are tried, those of the configuration last. */
  list(): readonly RuleText[]
  /**
   * Adds a rule: one that allows before the first that denies all of it, one that denies before all that allow.
   * @throws TypeError for a rule that is malformed or could never match. @throws KithError `DID_INVALID`, `STORE_FAILED`, `BUDGET_EXCEEDED`.
   */
  allow(principal: string, action: string, target?: string, conditions?: RuleConditions): Promise<RuleText>
  deny(principal: string, action: string, target?: string, conditions?: RuleConditions): Promise<RuleText>
  /** What the first rule that matches says; `undefined` where none does. */
  ruled(request: PolicyRequest): Decision | undefined
  /** Reads a rule as it would be taken here, without taking it. @throws as `allow`. */
  check(text: RuleText): RuleText
  /** Ms until a rule begins or ends to hold by the time of day or its end; `undefined` where none does. */
  nextChange(): number | undefined
  /** Takes out the typed rules that allow this principal something, by its own name, and gives them back; those that deny it something stay. */
  forgetAllowed(principal: string): Promise<readonly RuleText[]>
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
  /** Of `#configured`. */
  #read: { readonly texts: readonly RuleText[]; readonly rules: readonly Rule[] } = { texts: [], rules: [] }
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
    return this.#all().map(ruleText)
  }

  check(text: RuleText): RuleText {
    return ruleText(parseRule(text, this.#guard, this.#config.clock.now()))
  }

  nextChange(): number | undefined {
    const moment = this.#moment()
    const turns = this.#all().flatMap(({ conditions }) => nextTurn(conditions, moment) ?? [])
    return turns.length === 0 ? undefined : Math.min(...turns)
  }

  #moment(): { readonly now: number; readonly minute: number } {
    const now = this.#config.clock.now()
    return { now, minute: (this.#config.minuteOf ?? localMinute)(now) }
  }

  #all(): readonly Rule[] {
    const texts = this.#config.configured?.() ?? []
    if (texts !== this.#read.texts) this.#read = { texts, rules: texts.map((text) => parseRule(text, this.#guard)) }
    return this.#read.rules.length === 0 ? this.#rules : [...this.#rules, ...this.#read.rules]
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

  ruled(request: PolicyRequest): Decision | undefined {
    const kind = ACTIONS.get(request.action)
    const target = kind === undefined ? undefined : parseTarget(kind, request.target, undefined, this.#guard)
    if (target === undefined) return this.#unusable(request, kind)
    const asked = this.#asked(request, target)
    const rule = this.#first(asked)
    return rule === undefined ? undefined : this.#decided(request, rule, asked)
  }

  decide(request: PolicyRequest): Decision {
    const kind = ACTIONS.get(request.action)
    // A name that was resolved is decided once per address: one that is not allowed denies the request.
    const addresses = request.addresses === undefined || request.addresses.length === 0 ? [undefined] : request.addresses
    let decision: Decision | undefined
    for (const address of addresses) {
      const target = kind === undefined ? undefined : parseTarget(kind, request.target, address, this.#guard)
      decision = target === undefined ? this.#unusable(request, kind) : this.#decide(request, target, address)
      if (!decision.allowed) return decision
    }
    return decision as Decision
  }

  allow(principal: string, action: string, target?: string, conditions: RuleConditions = {}): Promise<RuleText> {
    return this.#insert({ effect: 'allow', principal, action, target, ...conditions })
  }

  deny(principal: string, action: string, target?: string, conditions: RuleConditions = {}): Promise<RuleText> {
    return this.#insert({ effect: 'deny', principal, action, target, ...conditions })
  }

  async forgetAllowed(principal: string): Promise<readonly RuleText[]> {
    const gone = ({ principal: of, effect }: Rule): boolean => of === principal && effect === 'allow'
    let forgotten: readonly Rule[] = []
    await this.#change((rules) => {
      forgotten = rules.filter(gone)
      return rules.filter((rule) => !gone(rule))
    })
    return forgotten.map(ruleText)
  }

  #fallback(request: PolicyRequest): Default {
    const { action } = request
    const open = OPEN_BY_DEFAULT.has(action) && !isForeignPrincipal(request.peer)
    return this.#config.defaultOf?.(request) ?? { allowed: open, rule: `default: ${action} is ${open ? 'open' : 'denied'}` }
  }

  #unusable({ peer, action }: PolicyRequest, kind: TargetKind | undefined): Decision {
    if (kind === undefined) return { allowed: false, rule: 'default: there is no such action in this version', next: 'kith policy test --help' }
    const example = TARGET_EXAMPLES[kind]
    const rule = `default: ${action} takes ${example === '' ? 'no target' : `a target, such as ${example}`}`
    return { allowed: false, rule, next: `kith policy test ${peer} ${action} ${example}`.trimEnd() }
  }

  #decide(request: PolicyRequest, target: Target, address: string | undefined): Decision {
    const asked = this.#asked(request, target)
    const rule = this.#first(asked)
    const decision = rule === undefined ? this.#decision(request, this.#fallback(request), address) : this.#decided(request, rule, asked, address)
    return !decision.allowed && this.#mayAllowAddress(asked, rule) ? { ...decision, byAddress: true } : decision
  }

  #first(asked: RuleRequest): Rule | undefined {
    const held = this.#heldBy(asked)
    return this.#all().find((rule) => matchesRequest(rule, asked, held, this.#guard))
  }

  #heldBy({ peer }: RuleRequest): PeerClass {
    return isForeignPrincipal(peer) ? 'isolated' : this.classOf(peer)
  }

  /** Whether a rule before the one that decided would allow some address of a name that is not resolved yet. */
  #mayAllowAddress(asked: RuleRequest, decided: Rule | undefined): boolean {
    const held = this.#heldBy(asked)
    const rules = this.#all()
    const before = decided === undefined ? rules : rules.slice(0, rules.indexOf(decided))
    return before.some(({ conditions, pattern, ...rule }) => {
      if (rule.effect !== 'allow' || rule.action !== asked.action || !awaitsAddress(pattern, asked.target)) return false
      return conditionsHold(conditions, asked) && matchesPeer(rule, asked, held)
    })
  }

  #asked({ peer, also = [], action, transport }: PolicyRequest, target: Target): RuleRequest {
    return { peer, also, action, target, ...this.#moment(), transport: transport ?? (isForeignPrincipal(peer) ? undefined : 'link') }
  }

  #decided(request: PolicyRequest, rule: Rule, asked: RuleRequest, address?: string): Decision {
    const said = { allowed: rule.effect === 'allow', rule: formatRule(rule) }
    if (said.allowed) return this.#decision(request, said, address)
    // Where the rule names one of several names of whoever asks, only a rule for that name comes before it.
    const peer = isForeignPrincipal(rule.principal) ? rule.principal : request.peer
    return this.#decision({ ...request, peer }, said, address, formatConditions(this.#withinDenials(asked)))
  }

  /** Conditions under which a new rule comes before every one that denies this request, also those that do so at some doors or hours only. */
  #withinDenials(asked: RuleRequest): RuleConditions {
    const held = this.#heldBy(asked)
    const denials = this.#all().filter((rule) => rule.effect === 'deny' && matchesRequest(rule, asked, held, this.#guard))
    return narrowest(
      denials.map(({ conditions }) => conditions),
      asked,
    )
  }

  #decision(request: PolicyRequest, { allowed, rule }: Default, address: string | undefined, conditions: readonly string[] = []): Decision {
    const { peer, action, target } = request
    const verb = allowed ? 'deny' : 'allow'
    // A public name that resolved to this machine is reached by no rule for the name: the owner has to name the address.
    const hidden = !allowed && address !== undefined && !this.#wouldReach(request, address)
    const named = hidden ? `${bracketed(address)}:${target?.slice(target.lastIndexOf(':') + 1)}` : target
    return { allowed, rule, next: ['kith', verb, peer, action, ...(named === undefined ? [] : [named]), ...conditions].join(' ') }
  }

  /** Whether an exact rule for the target as named would match the request at this address. */
  #wouldReach(request: PolicyRequest, address: string): boolean {
    const { peer, action, target } = request
    const rule = parseRule({ effect: 'allow', principal: peer, action, target }, this.#guard)
    const resolved = parseTarget('endpoint', target, address, this.#guard)
    return resolved !== undefined && matchesRequest(rule, this.#asked(request, resolved), 'isolated', this.#guard)
  }

  async #insert(text: RuleText): Promise<RuleText> {
    const { now } = this.#moment()
    const rule = parseRule(text, this.#guard, now)
    const denies = rule.effect === 'deny'
    await this.#change((rules) => {
      const rest = rules.filter((other) => !replaces(rule, other) && (other.until ?? now) > now - KEEP_ENDED_MS)
      const at = rest.findIndex((other) => other.effect !== rule.effect && (denies || outranks(other, rule, (peer) => this.classOf(peer))))
      if (rest.length >= MAX_RULES) throw new KithError('BUDGET_EXCEEDED', `the policy holds ${MAX_RULES} rules already`, { next: 'kith policy list' })
      return at === -1 ? [...rest, rule] : rest.toSpliced(at, 0, rule)
    })
    return ruleText(rule)
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

function bracketed(address: string): string {
  return address.includes(':') ? `[${address}]` : address
}
