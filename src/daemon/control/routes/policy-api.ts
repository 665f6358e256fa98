import type { PolicyTransport } from '../../../mesh/policy-conditions.ts'
import type { RuleText } from '../../../mesh/policy-rules.ts'
import type { Json, Nothing } from '../route.ts'

export interface RuleListed {
  readonly effect: RuleText['effect']
  /** A DID, a class, `*`, or a principal of the doors such as `key:ci`. */
  readonly principal: string
  /** What the address book calls that DID. */
  readonly name: string | null
  readonly action: string
  readonly target: string | null
  /** Doors by which it counts; null for all. */
  readonly via: readonly PolicyTransport[] | null
  /** `HH:MM-HH:MM` by the clock of the node. */
  readonly between: string | null
  /** ISO 8601; it may be over. */
  readonly until: string | null
}

interface RuleInput {
  readonly peer: string
  readonly action: string
  readonly target?: string
}

interface ConditionsInput {
  readonly via?: readonly string[]
  readonly between?: string
  /** As the owner types it; of the time zone of the node unless it names one. */
  readonly until?: string
}

interface TestInput extends RuleInput {
  readonly via?: string
  readonly also?: readonly string[]
}

/** Local policy: rules in the order in which they are tried. */
export interface PolicyApi {
  'GET /v1/policy': Json<Nothing, { readonly rules: readonly RuleListed[] }>
  'POST /v1/policy/allow': Json<RuleInput & ConditionsInput, { readonly rules: readonly RuleListed[] }>
  'POST /v1/policy/deny': Json<RuleInput & ConditionsInput, { readonly rules: readonly RuleListed[] }>
  /** `did`: the DID, or the principal as it was given. */
  'POST /v1/policy/test': Json<TestInput, { readonly did: string; readonly allowed: boolean; readonly rule: string; readonly next: string }>
}
