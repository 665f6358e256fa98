import type { RuleText } from '../../../mesh/policy-rules.ts'
import type { Json, Nothing } from '../route.ts'

export interface RuleListed {
  readonly effect: RuleText['effect']
  /** A DID, a class, or `*`. */
  readonly principal: string
  /** What the address book calls that DID. */
  readonly name: string | null
  readonly action: string
  readonly target: string | null
}

interface RuleInput {
  readonly peer: string
  readonly action: string
  readonly target?: string
}

/** Local policy: rules in the order in which they are tried. */
export interface PolicyApi {
  'GET /v1/policy': Json<Nothing, { readonly rules: readonly RuleListed[] }>
  'POST /v1/policy/allow': Json<RuleInput, { readonly rules: readonly RuleListed[] }>
  'POST /v1/policy/deny': Json<RuleInput, { readonly rules: readonly RuleListed[] }>
  'POST /v1/policy/test': Json<RuleInput, { readonly did: string; readonly allowed: boolean; readonly rule: string; readonly next: string }>
}
