import { isAttribute, isForeignPrincipal, looksForeign, type PolicySubject, parsePrincipal as parseForeign } from '../access/principal.ts'
import { concat } from '../core/bytes.ts'
import { type Codec, decode, encode, list, malformed, mapped, option, struct, text, u8 } from '../core/codec.ts'
import { isKithError } from '../core/errors.ts'
import { type Did, isDid, parseDid } from '../identity/did.ts'
import { atLeast, isPeerClass } from './constraints.ts'
import {
  type Circumstances,
  type Conditions,
  conditionsCodec,
  conditionsCover,
  conditionsHold,
  conditionsReplace,
  formatConditions,
  type PolicyTransport,
  parseConditions,
  parseMoment,
  type RuleConditions,
} from './policy-conditions.ts'
import { ACTIONS, formatPattern, type Guard, matchesTarget, mayDecide, namesKey, parsePattern, type Target, type TargetPattern } from './policy-target.ts'
import type { PeerClass } from './types.ts'

export type Effect = 'allow' | 'deny'

/** One line of the owner's policy as it is listed, stored and typed. */
export interface RuleText extends RuleConditions {
  readonly effect: Effect
  /**
   * A DID, a class, or `*`; of those who come in by other doors `ssh:SHA256:...`, `key:NAME`, `scope:NAME` or `ssh-user:NAME`. An allowed class includes the more
   * trusted ones, a denied class the less trusted ones.
   */
  readonly principal: string
  readonly action: string
  readonly target: string | undefined
}

export interface Rule extends RuleText {
  readonly pattern: TargetPattern
  readonly conditions: Conditions
}

/** What a rule is held against: who asks, by whatever names, for what, when and where. */
export interface RuleRequest extends PolicySubject, Circumstances {
  readonly action: string
  readonly target: Target
}

export const MAX_RULES = 1_000
const MAX_LINE = 600

/** `now`: of a rule that is made now; one that is read may have run out. @throws TypeError for a rule that is malformed or could never match. @throws KithError `DID_INVALID`. */
export function parseRule(text: RuleText, guard: Guard, now?: number): Rule {
  if (text.effect !== 'allow' && text.effect !== 'deny') throw new TypeError('a rule allows or denies')
  if (text.action !== '*' && !ACTIONS.has(text.action)) {
    throw new TypeError(`there is no action ${JSON.stringify(text.action)}, so this rule would never match: use ${[...ACTIONS.keys()].join(', ')} or *`)
  }
  const { effect, action } = text
  const principal = parsePrincipal(text.principal)
  const pattern = parsePattern(action, text.target, effect === 'allow', guard)
  const conditions = parseConditions(text, now)
  if (DEVICES_ONLY.has(action) && isNeverLinked(principal, conditions)) {
    throw new TypeError(`only the devices of peers ${action} here, over links, so this rule would never match`)
  }
  if (effect === 'allow' && pattern.kind === 'text' && namesKey({ kind: 'text', text: pattern.pattern }) && !isOne(principal)) {
    throw new TypeError('a private key is given to one caller by name, not to a class or a scope, so this rule would never match')
  }
  const { window: _, ...told } = conditions
  return { effect, principal, action, target: formatPattern(pattern, text.target), pattern, conditions, ...told }
}

/** Somebody, not whoever has something. */
function isOne(principal: string): boolean {
  return isDid(principal) || isForeignPrincipal(principal)
}

/** What is asked about devices on links, and about nobody else. */
const DEVICES_ONLY: ReadonlySet<string> = new Set(['link', 'ping', 'open', 'publish', 'subscribe', 'mailbox', 'offer'])

function isNeverLinked(principal: string, { via }: Conditions): boolean {
  return looksForeign(principal) || (via !== undefined && !via.includes('link'))
}

function parsePrincipal(text: string): string {
  if (text === '*' || isPeerClass(text)) return text
  return looksForeign(text) ? parseForeign(text) : parseDid(text)
}

/** As the owner would type it behind `kith`. */
export function formatRule(rule: RuleText): string {
  return [rule.effect, rule.principal, rule.action, ...(rule.target === undefined ? [] : [rule.target]), ...formatConditions(rule)].join(' ')
}

/** Reads what `formatRule` writes, and what stands in a configuration. @throws TypeError for what is no rule; its parts are checked by `parseRule`. */
export function readRule(line: string): RuleText {
  const words = line.split(' ').filter((word) => word !== '')
  const [effect, principal, action, ...rest] = words
  const target = rest[0]?.startsWith('--') === false ? rest.shift() : undefined
  if ((effect !== 'allow' && effect !== 'deny') || principal === undefined || action === undefined || line.length > MAX_LINE || /[^ -~]/.test(line))
    throw new TypeError('a rule is written: allow|deny PRINCIPAL ACTION [TARGET] [--via DOOR] [--between HH:MM-HH:MM] [--until TIME]')
  const rule: { -readonly [K in keyof RuleText]: RuleText[K] } = { effect, principal, action, target }
  for (let at = 0; at < rest.length; at += 2) {
    const [flag, value = ''] = rest.slice(at, at + 2)
    if (flag === '--via') rule.via = [...(rule.via ?? []), value as PolicyTransport]
    else if (flag === '--between' && rule.between === undefined) rule.between = value
    else if (flag === '--until' && rule.until === undefined) rule.until = parseMoment(value)
    else throw new TypeError(`${flag} is no condition of a rule, or stands there twice: use --via, --between, --until`)
  }
  return rule
}

export function ruleText({ effect, principal, action, target, via, between, until }: RuleText): RuleText {
  const conditions = { ...(via === undefined ? {} : { via }), ...(between === undefined ? {} : { between }), ...(until === undefined ? {} : { until }) }
  return { effect, principal, action, target, ...conditions }
}

export function matchesPeer(rule: RuleText, { peer, also }: PolicySubject, held: PeerClass): boolean {
  const { principal } = rule
  if (principal === '*' || principal === peer) return true
  if (isPeerClass(principal)) return rule.effect === 'allow' ? atLeast(held, principal) : atLeast(principal, held)
  return also.includes(principal)
}

export function matchesRequest(rule: Rule, request: RuleRequest, held: PeerClass, guard: Guard): boolean {
  if (rule.action !== '*' && rule.action !== request.action) return false
  if (!conditionsHold(rule.conditions, request)) return false
  if (rule.effect === 'allow' && namesKey(request.target) && !isOne(rule.principal)) return false
  return matchesPeer(rule, request, held) && matchesTarget(rule.pattern, request.target, rule.effect === 'allow', guard)
}

/** A newer rule for the same subject under the same conditions takes the place of the older one. */
export function replaces(newer: Rule, older: Rule): boolean {
  const sameSubject = newer.principal === older.principal && newer.action === older.action && newer.target === older.target
  return sameSubject && conditionsReplace(newer.conditions, older.conditions)
}

/** Whether `outer` could decide every request that `inner` names, so that `inner` must stand before it to count. */
export function outranks(outer: Rule, inner: Rule, classOf: (peer: Did) => PeerClass): boolean {
  if (outer.action !== '*' && outer.action !== inner.action) return false
  return coversPrincipal(outer, inner, classOf) && mayDecide(outer.pattern, inner.pattern) && conditionsCover(outer.conditions, inner.conditions)
}

function coversPrincipal(outer: Rule, inner: Rule, classOf: (peer: Did) => PeerClass): boolean {
  if (outer.principal === '*' || outer.principal === inner.principal) return true
  // Who holds a scope is known only when somebody asks: whoever is named explicitly may.
  if (isAttribute(outer.principal)) return inner.principal !== '*'
  if (isForeignPrincipal(outer.principal)) return false
  if (isDid(inner.principal)) return matchesPeer(outer, { peer: inner.principal, also: [] }, classOf(inner.principal))
  // Class against class, or a class against everyone: which peers meet both depends on the peers to come, so the newer word goes first.
  return isPeerClass(outer.principal)
}

/**
 * Stored rules:
 *
 * ```text
 * u8 version = 2 || list<rule>
 * rule = u8 1 allow | 0 deny || text principal || text action || option<text target>
 *     || option<u8 doors, one bit each> || option<u16 from || u16 to> || option<u64 until_ms>          version 1 has only the first line
 * ```
 */
const effectCodec: Codec<Effect> = mapped(
  u8,
  (value): Effect => {
    if (value > 1) throw malformed('rule effect')
    return value === 1 ? 'allow' : 'deny'
  },
  (effect) => (effect === 'allow' ? 1 : 0),
)
const subject = { effect: effectCodec, principal: text(80), action: text(16), target: option(text(300)) }
const rulesV1 = list(struct<Omit<RuleText, keyof RuleConditions>>(subject), MAX_RULES)
const rulesV2 = list(
  mapped(
    struct<Omit<RuleText, keyof RuleConditions> & { readonly conditions: RuleConditions }>({ ...subject, conditions: conditionsCodec }),
    ({ conditions, ...rule }): RuleText => ({ ...rule, ...conditions }),
    ({ effect, principal, action, target, ...conditions }) => ({ effect, principal, action, target, conditions }),
  ),
  MAX_RULES,
)
const VERSION = 2

export function encodeRules(rules: readonly RuleText[]): Uint8Array {
  return concat(Uint8Array.of(VERSION), encode(rulesV2, rules.map(ruleText)))
}

/**
 * Reads stored rules. A rule that allows and is not valid any more (a name became reserved) is left out and reported; one that denies is never
 * left out silently. @throws KithError `WIRE_MALFORMED`.
 */
export function decodeRules(bytes: Uint8Array, guard: Guard): { readonly rules: Rule[]; readonly dropped: readonly RuleText[] } {
  const codec = bytes[0] === VERSION ? rulesV2 : bytes[0] === 1 ? rulesV1 : undefined
  if (codec === undefined) throw malformed('policy of an unknown version')
  const rules: Rule[] = []
  const dropped: RuleText[] = []
  for (const stored of decode(codec, bytes.subarray(1))) {
    try {
      rules.push(parseRule(stored, guard))
    } catch (error) {
      if (stored.effect === 'deny' || !(error instanceof TypeError || isKithError(error, 'DID_INVALID')))
        throw malformed('a stored rule that denies is not readable')
      dropped.push(stored)
    }
  }
  return { rules, dropped }
}
