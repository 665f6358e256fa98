import { policySubject } from '../../access/principal.ts'
import type { Caller } from '../../access/types.ts'
import type { Authorizable, Authorize, OperationAccess } from '../../call/types.ts'
import type { Decision, PolicyRequest } from '../../mesh/types.ts'

/** What is asked of the owner's rules: their own word, without any default. */
export interface CallPolicy {
  ruled(request: PolicyRequest): Decision | undefined
}

/**
 * Who may call what, asked by every door through the one `Callee`:
 *
 * ```text
 * the owner at the control socket         -> everything
 * a rule of the owner for call SERVICE/OP -> what it says; a denial that stands first wins over any scope
 * access of the operation                 -> scopes, resources
 * none of these                           -> nobody; an internal operation: every handler of this node
 * ```
 *
 * Whoever may not call an operation does not get to know that there is one, unless it is declared as listed. That an internal one is reached by handlers alone is the
 * callee's care, which knows who asks.
 */
export function createAuthorizer({ policy }: { readonly policy: CallPolicy }): Authorize {
  return (caller, operation) => {
    // Asked in any case: what takes longer for operations that exist would tell that they do.
    if (mayCall(policy, caller, operation)) return 'allowed'
    return operation.visibility === 'listed' ? 'denied' : 'hidden'
  }
}

function mayCall(policy: CallPolicy, caller: Caller, { name, access, visibility }: Authorizable): boolean {
  const subject = policySubject(caller)
  if (subject === undefined) return true
  const rule = policy.ruled({ ...subject, action: 'call', target: name })
  if (rule !== undefined) return rule.allowed
  return (visibility === 'internal' && access === undefined) || hasAccess(caller, access)
}

/** What an operation asks for where no rule decides. */
export function hasAccess({ scopes, resources }: Pick<Caller, 'scopes' | 'resources'>, access: OperationAccess | undefined): boolean {
  if (access === undefined) return false
  if (access === 'everyone') return true
  const { all = [], any, resource } = access
  // An access that asks for nothing was not meant to be one for everybody: that has a word of its own.
  if (all.length === 0 && any === undefined && resource === undefined) return false
  if (!all.every((scope) => scopes.has(scope))) return false
  if (any !== undefined && !any.some((scope) => scopes.has(scope))) return false
  if (resource === undefined) return true
  const actions = resources.get(resource.type)
  return actions !== undefined && (resource.action === undefined || actions.includes(resource.action))
}
