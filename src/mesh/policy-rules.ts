import { concat } from '../core/bytes.ts'
import { decode, encode, list, malformed, mapped, option, struct, text, u8 } from '../core/codec.ts'
import { isKithError } from '../core/errors.ts'
import { type Did, isDid, parseDid } from '../identity/did.ts'
import { atLeast, isPeerClass } from './constraints.ts'
import { ACTIONS, formatPattern, type Guard, matchesTarget, mayDecide, parsePattern, type Target, type TargetPattern } from './policy-target.ts'
import type { PeerClass } from './types.ts'

export type Effect = 'allow' | 'deny'

/** One line of the owner's policy as it is listed, stored and typed. */
export interface RuleText {
  readonly effect: Effect
  /** A DID, a class, or `*`. An allowed class includes the more trusted ones, a denied class the less trusted ones. */
  readonly principal: string
  readonly action: string
  readonly target: string | undefined
}

export interface Rule extends RuleText {
  readonly pattern: TargetPattern
}

export const MAX_RULES = 1_000

/** @throws TypeError for a rule that is malformed or could never match. @throws KithError `DID_INVALID`. */
export function parseRule(text: RuleText, guard: Guard): Rule {
  if (text.effect !== 'allow' && text.effect !== 'deny') throw new TypeError('a rule allows or denies')
  if (text.action !== '*' && !ACTIONS.has(text.action)) {
    throw new TypeError(`there is no action ${JSON.stringify(text.action)}, so this rule would never match: use ${[...ACTIONS.keys()].join(', ')} or *`)
  }
  const pattern = parsePattern(text.action, text.target, text.effect === 'allow', guard)
  return { effect: text.effect, principal: parsePrincipal(text.principal), action: text.action, target: formatPattern(pattern, text.target), pattern }
}

function parsePrincipal(text: string): string {
  return text === '*' || isPeerClass(text) ? text : parseDid(text)
}

/** As the owner would type it behind `kith`. */
export function formatRule(rule: RuleText): string {
  return [rule.effect, rule.principal, rule.action, ...(rule.target === undefined ? [] : [rule.target])].join(' ')
}

export function matchesPeer(rule: RuleText, peer: Did, held: PeerClass): boolean {
  const { principal } = rule
  if (principal === '*' || principal === peer) return true
  if (!isPeerClass(principal)) return false
  return rule.effect === 'allow' ? atLeast(held, principal) : atLeast(principal, held)
}

export function matchesRequest(rule: Rule, request: { peer: Did; action: string; target: Target }, held: PeerClass, guard: Guard): boolean {
  if (rule.action !== '*' && rule.action !== request.action) return false
  return matchesPeer(rule, request.peer, held) && matchesTarget(rule.pattern, request.target, rule.effect === 'allow', guard)
}

/** Whether `outer` could decide every request that `inner` names, so that `inner` must stand before it to count. */
export function outranks(outer: Rule, inner: Rule, classOf: (peer: Did) => PeerClass): boolean {
  if (outer.action !== '*' && outer.action !== inner.action) return false
  return coversPrincipal(outer, inner, classOf) && mayDecide(outer.pattern, inner.pattern)
}

function coversPrincipal(outer: Rule, inner: Rule, classOf: (peer: Did) => PeerClass): boolean {
  if (outer.principal === '*' || outer.principal === inner.principal) return true
  if (isDid(inner.principal)) return matchesPeer(outer, inner.principal, classOf(inner.principal))
  // Class against class, or a class against everyone: which peers meet both depends on the peers to come, so the newer word goes first.
  return isPeerClass(outer.principal)
}

const ruleCodec = struct<RuleText>({
  effect: mapped(
    u8,
    (value): Effect => {
      if (value > 1) throw malformed('rule effect')
      return value === 1 ? 'allow' : 'deny'
    },
    (effect) => (effect === 'allow' ? 1 : 0),
  ),
  principal: text(64),
  action: text(16),
  target: option(text(300)),
})
const rulesCodec = list(ruleCodec, MAX_RULES)
const VERSION = Uint8Array.of(1)

export function encodeRules(rules: readonly RuleText[]): Uint8Array {
  return concat(
    VERSION,
    encode(
      rulesCodec,
      rules.map(({ effect, principal, action, target }) => ({ effect, principal, action, target })),
    ),
  )
}

/**
 * Reads stored rules. A rule that allows and is not valid any more (a name became reserved) is left out and reported; one that denies is never
 * left out silently. @throws KithError `WIRE_MALFORMED`.
 */
export function decodeRules(bytes: Uint8Array, guard: Guard): { readonly rules: Rule[]; readonly dropped: readonly RuleText[] } {
  if (bytes[0] !== VERSION[0]) throw malformed('policy of an unknown version')
  const rules: Rule[] = []
  const dropped: RuleText[] = []
  for (const stored of decode(rulesCodec, bytes.subarray(1))) {
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
