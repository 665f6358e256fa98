import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { Clock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Decision, Policy, PolicyRequest } from '../mesh/types.ts'
import { type ForwardTarget, formatTarget, isOnion, isReserved, socketPath } from './target.ts'

/** Who wants to go somewhere, however it came in: what the policy is asked with. */
export type Subject = Omit<PolicyRequest, 'action' | 'target' | 'addresses'>

export type TunnelAction = 'forward' | 'listen' | 'datagram'

/** A target the policy allows, and the addresses that were checked for it: nothing else may be dialled. */
export interface Checked {
  readonly subject: Subject
  readonly action: TunnelAction
  readonly target: ForwardTarget
  /** What the host resolved to, in the resolver's order; empty for sockets of the file system, reserved names and onion addresses. */
  readonly addresses: readonly string[]
}

export interface Gate {
  /**
   * Policy by name, then the name's addresses (once), then policy by each of them. An onion address is a key and has none: it is decided by its name alone and
   * goes to the proxy as a name.
   * @throws KithError `FORWARD_DENIED`, `FORWARD_NAME`, `FORWARD_UNREACHABLE`, `FORWARD_ONION`, `BUDGET_EXCEEDED`.
   */
  check(subject: Subject, action: TunnelAction, target: ForwardTarget): Promise<Checked>
  /** Whether it would be allowed now: the rules change while things run. */
  still(checked: Checked): boolean
}

export interface GateOptions {
  readonly policy: Policy
  readonly clock: Clock
  readonly logger: Logger
  /** Names to addresses; replaced in tests. Default: the system's resolver. */
  readonly resolve?: (host: string) => Promise<readonly string[]>
  /** What connections leave through; `undefined` while they go directly. */
  readonly outbound?: () => unknown
}

const RESOLVE_TIMEOUT_MS = 10_000
/** Names that are looked up for one peer at once: the system answers few at a time, and who waits behind them is everybody else on this machine. */
const MAX_LOOKUPS = 256
/** An answer with more addresses is no name of a service. */
const MAX_ADDRESSES = 64

async function systemResolve(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address)
}

/**
 * The addresses of a target's host, once; none for a socket of the file system.
 * @throws KithError `FORWARD_NAME`, `FORWARD_UNREACHABLE`, `FORWARD_ONION`.
 */
export async function lookUp(
  target: ForwardTarget,
  clock: Clock,
  resolve: (host: string) => Promise<readonly string[]> = systemResolve,
): Promise<readonly string[]> {
  if (isIP(target.host) !== 0) return [target.host]
  if (socketPath(target) !== undefined) return []
  if (isOnion(target.host)) throw new KithError('FORWARD_ONION')
  let expired = (): void => {}
  const late = new Promise<never>((_, reject) => {
    expired = () => reject(new KithError('FORWARD_UNREACHABLE', 'the name was not resolved in time'))
  })
  const timer = clock.after(RESOLVE_TIMEOUT_MS, expired)
  try {
    return await Promise.race([resolve(target.host), late])
  } catch (cause) {
    throw cause instanceof KithError ? cause : new KithError('FORWARD_NAME', undefined, { cause })
  } finally {
    timer.cancel()
  }
}

/**
 * The one place where a target is decided. What a name resolved to and which rule decided stay here; whoever asked learns only a code.
 */
export function createGate(options: GateOptions): Gate {
  const { policy, clock, logger } = options
  const lookups = new Map<string, number>()

  /** Counted until the system has answered, however long nobody waits for it any more. */
  function resolverFor(peer: string): (host: string) => Promise<readonly string[]> {
    const resolve = options.resolve ?? systemResolve
    return async (host) => {
      const under = lookups.get(peer) ?? 0
      if (under >= MAX_LOOKUPS) throw new KithError('BUDGET_EXCEEDED')
      lookups.set(peer, under + 1)
      try {
        return await resolve(host)
      } finally {
        const left = (lookups.get(peer) ?? 1) - 1
        if (left > 0) lookups.set(peer, left)
        else lookups.delete(peer)
      }
    }
  }

  function ask(subject: Subject, action: TunnelAction, target: string, addresses?: readonly string[]): Decision {
    return policy.decide({ ...subject, action, target, ...(addresses === undefined ? {} : { addresses }) })
  }

  function refused(subject: Subject, action: TunnelAction, target: string, { rule, next }: Decision): KithError {
    logger.debug('forward refused', { peer: subject.peer, action, target, rule, next })
    return new KithError('FORWARD_DENIED')
  }

  function decide(subject: Subject, action: TunnelAction, target: string, addresses?: readonly string[]): void {
    const decision = ask(subject, action, target, addresses)
    if (!decision.allowed) throw refused(subject, action, target, decision)
  }

  return {
    async check(subject, action, target) {
      const text = formatTarget(target)
      const checked = (addresses: readonly string[]): Checked => ({ subject, action, target, addresses })
      if (isIP(target.host) !== 0) {
        decide(subject, action, text, [target.host])
        return checked([target.host])
      }
      if (socketPath(target) !== undefined || isReserved(target.host)) {
        decide(subject, action, text)
        return checked([])
      }
      // A name is looked up only when some rule may allow it: otherwise every stranger could let this machine ask for any name.
      const byName = ask(subject, action, text)
      if (!byName.allowed && (byName.byAddress !== true || isOnion(target.host))) throw refused(subject, action, text, byName)
      if (isOnion(target.host)) {
        if (action !== 'forward' || options.outbound?.() === undefined) throw new KithError('FORWARD_ONION')
        return checked([])
      }
      let addresses: readonly string[]
      try {
        addresses = await lookUp(target, clock, resolverFor(subject.peer))
      } catch (cause) {
        // Whether a name exists here is told only to those who may go there.
        decide(subject, action, text, [])
        throw cause
      }
      decide(subject, action, text, addresses)
      if (addresses.length === 0 || addresses.length > MAX_ADDRESSES) throw new KithError('FORWARD_NAME')
      return checked(addresses)
    },
    still({ subject, action, target, addresses }) {
      return ask(subject, action, formatTarget(target), addresses.length === 0 ? undefined : addresses).allowed
    },
  }
}
