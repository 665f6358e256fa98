import type { Caller } from '../../access/types.ts'
import type { Authorize, Holds } from '../../call/types.ts'
import type { Did } from '../../identity/did.ts'

export interface RunningCallsOptions {
  readonly authorize: Authorize
  /** Who a link's identity is here now. */
  readonly callerOf: (peer: Did) => Caller | undefined | Promise<Caller | undefined>
  /** Hands each call under way to `holds`, and ends those for which it says no. */
  readonly recheck: (holds: Holds) => void
}

/**
 * What runs follows the rules: when they change, or what a peer is held for, every call that its caller could not make any more ends at once, whatever door it came
 * through. What an API key or an SSH key was given counts for as long as its connection does, unless it is taken back with `--disconnect-revoked`; what somebody on
 * a link may do follows its class.
 */
export async function recheckRunning(peers: readonly Did[] | undefined, { authorize, callerOf, recheck }: RunningCallsOptions): Promise<void> {
  const touched = peers === undefined ? undefined : new Set(peers)
  const linked = new Map<Did, Caller | undefined>()
  recheck((caller, operation, nested) => {
    if (!concerns(caller, touched)) return true
    if (authorize(caller, operation) !== 'allowed') return false
    // A call within a call has what was granted to it besides, and ends with the one around it.
    if (!nested && isOnLink(caller)) linked.set(caller.did, undefined)
    return true
  })
  if (linked.size === 0) return
  for (const did of linked.keys()) linked.set(did, await callerOf(did))
  recheck((caller, operation, nested) => {
    if (nested || !isOnLink(caller) || !linked.has(caller.did)) return true
    const now = linked.get(caller.did)
    return now !== undefined && authorize(now, operation) === 'allowed'
  })
}

/** On a link of its own, not through a head. */
function isOnLink(caller: Caller): caller is Caller & { readonly did: Did } {
  return caller.via === 'link' && caller.did !== undefined && caller.through === undefined
}

function concerns(caller: Caller, touched: ReadonlySet<Did> | undefined): boolean {
  if (caller.via === 'local' && caller.through === undefined) return false
  if (touched === undefined) return true
  for (let one: Caller | undefined = caller; one !== undefined; one = one.through) if (one.did !== undefined && touched.has(one.did)) return true
  return false
}
