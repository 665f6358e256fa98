import type { Clock } from '../core/clock.ts'
import { isKithError, KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Did } from '../identity/did.ts'
import type { LeanHandler, Policy, ProtocolOptions } from '../mesh/types.ts'
import { Connections } from './connections.ts'
import type { Outbound } from './dial.ts'
import { type CarrierOptions, openEntry } from './entry.ts'
import { createExit, type Exit } from './exit.ts'
import type { LocalListener } from './listener.ts'
import { checkForward, Opener, type StreamOpener } from './opener.ts'
import { type ForwardTarget, formatTarget, isLoopback, parseLocal, parseTarget, socketPath } from './target.ts'
import { FORWARD_PROTOCOL } from './wire.ts'

export interface TunnelsOptions {
  readonly mesh: StreamOpener & {
    handleLean(protocol: string, handler: LeanHandler, options?: ProtocolOptions): void
    /** Whether a peer that is linked runs on this machine too. */
    isHere?(peer: Did): boolean
  }
  readonly policy: Policy
  readonly clock: Clock
  readonly logger: Logger
  readonly resolve?: (host: string) => Promise<readonly string[]>
  readonly outbound?: () => Outbound | undefined
  /** How long a connection may carry nothing, in ms; 0 for ever. */
  readonly idleMs?: () => number
  /** How long a target may take to answer, in ms. */
  readonly connectMs?: () => number
}

export interface ForwardOptions {
  readonly peer: Did
  /** `HOST:PORT` or `unix:/path` as seen from the other machine. */
  readonly target: string
  /** `HOST:PORT` or `unix:/path` here. Default: 127.0.0.1 with the target's port, or any free one when that is taken or means the target itself. */
  readonly local?: string
  /** Listen beyond loopback. Default false. */
  readonly allowPublicBind?: boolean
  /** Asks the peer first whether it would be allowed. Default true; a forward that is to wait for its peer does not. */
  readonly check?: boolean
  /** What it is called in the list. Default: a short one of its own. */
  readonly id?: string
  readonly signal?: AbortSignal
}

export interface TunnelStatus {
  readonly id: string
  readonly kind: 'forward'
  readonly peer: Did
  readonly target: string
  readonly local: string
  readonly connections: number
  readonly total: number
  /** Bytes from the peer, and to it. */
  readonly bytes_in: number
  readonly bytes_out: number
  readonly since: string
  readonly last_error: { readonly code: string; readonly message: string; readonly next: string | null } | null
}

export interface Tunnels {
  /** The accepting end, for doors that are no link. */
  readonly exit: Exit
  /** @throws KithError `FORWARD_DENIED`, `FORWARD_TARGET`, `ADDRESS_IN_USE`, `BIND_REFUSED`, `PEER_UNREACHABLE`. */
  forward(options: ForwardOptions): Promise<TunnelStatus>
  list(): readonly TunnelStatus[]
  /** @throws KithError `NOT_FOUND`. */
  remove(id: string): Promise<void>
  /** Stops listening; connections that run go on until they or their links end. */
  drain(): void
  close(): Promise<void>
}

const MAX_TUNNELS = 256
const CHECK_TIMEOUT_MS = 20_000

interface Tunnel {
  readonly id: string
  readonly kind: TunnelStatus['kind']
  readonly peer: Did
  readonly target: string
  readonly since: string
  readonly connections: Connections
  readonly listener: LocalListener
}

/** Port forwards of one node: serves those of its peers under policy, and opens its own. */
export function createTunnels(options: TunnelsOptions): Tunnels {
  const { mesh, clock, logger } = options
  const exit = createExit(options)
  // The policy is asked per request, with the target: who may open the protocol at all says nothing yet.
  mesh.handleLean(FORWARD_PROTOCOL, exit.handle, { access: 'handler' })
  const opener = new Opener(mesh, clock)
  const tunnels = new Map<string, Tunnel>()
  let counter = 0

  function status(tunnel: Tunnel): TunnelStatus {
    const { id, kind, peer, target, since, connections, listener } = tunnel
    const error = connections.lastError
    return {
      ...{ id, kind, peer, target, local: listener.address },
      ...{ connections: connections.size, total: connections.total, bytes_in: connections.bytesIn, bytes_out: connections.bytesOut },
      since,
      last_error: error === null ? null : { code: error.code, message: error.message, next: error.next ?? null },
    }
  }

  async function forward({ peer, target: text, local, allowPublicBind = false, check = true, id, signal }: ForwardOptions): Promise<TunnelStatus> {
    const target = parseTarget(text)
    const wanted = local === undefined ? undefined : parseLocal(local)
    if (wanted !== undefined && !isLoopback(wanted.host) && !allowPublicBind) {
      throw new KithError('BIND_REFUSED', `${local} can be reached from other machines`, { next: 'add --allow-public-bind if that is meant' })
    }
    if (tunnels.size >= MAX_TUNNELS) throw new KithError('BUDGET_EXCEEDED', 'too many forwards are open', { next: 'kith tunnels close ID' })
    if (check) {
      const deadline = AbortSignal.timeout(CHECK_TIMEOUT_MS)
      await checkForward(mesh, peer, target, signal === undefined ? deadline : AbortSignal.any([signal, deadline]))
    }
    const connections = new Connections({ clock, idleMs: options.idleMs ?? (() => 0) })
    const base = { mesh, opener, connections, peer, target, logger }
    const listener =
      wanted === undefined ? await openDefault(base, isLoopback(target.host) && mesh.isHere?.(peer) === true) : await openEntry({ ...base, local: wanted })
    counter++
    const tunnel: Tunnel = {
      ...{ id: id ?? `f${counter}`, kind: 'forward', peer, target: formatTarget(target) },
      ...{ since: new Date(clock.now()).toISOString(), connections, listener },
    }
    tunnels.set(tunnel.id, tunnel)
    return status(tunnel)
  }

  async function end({ listener, connections }: Tunnel): Promise<void> {
    const closed = listener.close()
    connections.endAll()
    await closed
  }

  return {
    exit,
    forward,
    list: () => [...tunnels.values()].map(status),
    async remove(id) {
      const tunnel = tunnels.get(id)
      if (tunnel === undefined) throw new KithError('NOT_FOUND', `there is no tunnel ${id.slice(0, 40)}`, { next: 'kith tunnels' })
      tunnels.delete(id)
      await end(tunnel)
    },
    drain() {
      for (const { listener } of tunnels.values()) listener.stop()
    },
    async close() {
      opener.close()
      const open = [...tunnels.values()]
      tunnels.clear()
      await Promise.all(open.map(end))
      exit.close()
    },
  }
}

/**
 * The target's own port is what people expect on their side; when it is taken, or reserved, any free one will do. Between two nodes on one machine it would be
 * the target's very address: a server that is not up yet could not start, and each connection would come back to the forward for ever.
 */
async function openDefault(base: CarrierOptions & { peer: Did; target: ForwardTarget }, here: boolean): Promise<LocalListener> {
  const host = '127.0.0.1'
  const port = here || socketPath(base.target) !== undefined ? 0 : base.target.port
  try {
    return await openEntry({ ...base, local: { host, port } })
  } catch (error) {
    if (!isKithError(error, 'ADDRESS_IN_USE')) throw error
    return await openEntry({ ...base, local: { host, port: 0 } })
  }
}
