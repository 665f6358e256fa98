import type { Clock } from '../core/clock.ts'
import { isKithError, KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Did } from '../identity/did.ts'
import type { LeanHandler, Policy, ProtocolOptions } from '../mesh/types.ts'
import { checkForward, type Entry, type ForwardLocal, isLoopback, openEntry, type StreamOpener } from './entry.ts'
import { createExit } from './exit.ts'
import { formatTarget, parseTarget } from './target.ts'
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
}

export interface ForwardOptions {
  readonly peer: Did
  /** `HOST:PORT` as seen from the other machine. */
  readonly target: string
  /** `HOST:PORT` here. Default: 127.0.0.1 with the target's port, or any free one when that is taken or means the target itself. */
  readonly local?: string
  /** Listen beyond loopback. Default false. */
  readonly allowPublicBind?: boolean
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
  readonly since: string
  readonly last_error: { readonly code: string; readonly message: string; readonly next: string | null } | null
}

export interface Tunnels {
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
  readonly peer: Did
  readonly target: string
  readonly since: string
  readonly entry: Entry
}

/** Port forwards of one node: serves those of its peers under policy, and opens its own. */
export function createTunnels(options: TunnelsOptions): Tunnels {
  const { mesh, clock, logger } = options
  const exit = createExit(options)
  // The policy is asked per request, with the target: who may open the protocol at all says nothing yet.
  mesh.handleLean(FORWARD_PROTOCOL, exit.handle, { access: 'handler' })
  const tunnels = new Map<string, Tunnel>()
  let counter = 0

  function status(tunnel: Tunnel): TunnelStatus {
    const { entry } = tunnel
    const error = entry.lastError
    return {
      id: tunnel.id,
      kind: 'forward',
      peer: tunnel.peer,
      target: tunnel.target,
      local: entry.address,
      connections: entry.connections,
      total: entry.total,
      since: tunnel.since,
      last_error: error === null ? null : { code: error.code, message: error.message, next: error.next ?? null },
    }
  }

  async function forward({ peer, target: text, local, allowPublicBind = false, signal }: ForwardOptions): Promise<TunnelStatus> {
    const target = parseTarget(text)
    const wanted = local === undefined ? undefined : parseLocal(local)
    if (wanted !== undefined && !isLoopback(wanted.host) && !allowPublicBind) {
      throw new KithError('BIND_REFUSED', `${local} can be reached from other machines`, { next: 'add --allow-public-bind if that is meant' })
    }
    if (tunnels.size >= MAX_TUNNELS) throw new KithError('BUDGET_EXCEEDED', 'too many forwards are open', { next: 'kith tunnels close ID' })
    const deadline = AbortSignal.timeout(CHECK_TIMEOUT_MS)
    await checkForward(mesh, peer, target, signal === undefined ? deadline : AbortSignal.any([signal, deadline]))
    const base = { mesh, peer, target, logger }
    const entry =
      wanted === undefined
        ? await openDefault(base, isLoopback(target.host) && mesh.isHere?.(peer) === true ? 0 : target.port)
        : await openEntry({ ...base, local: wanted })
    counter++
    const tunnel: Tunnel = { id: `f${counter}`, peer, target: formatTarget(target), since: new Date(clock.now()).toISOString(), entry }
    tunnels.set(tunnel.id, tunnel)
    return status(tunnel)
  }

  return {
    forward,
    list: () => [...tunnels.values()].map(status),
    async remove(id) {
      const tunnel = tunnels.get(id)
      if (tunnel === undefined) throw new KithError('NOT_FOUND', `there is no tunnel ${id.slice(0, 40)}`, { next: 'kith tunnels' })
      tunnels.delete(id)
      await tunnel.entry.close()
    },
    drain() {
      for (const { entry } of tunnels.values()) entry.drain()
    },
    async close() {
      const open = [...tunnels.values()]
      tunnels.clear()
      await Promise.all(open.map(({ entry }) => entry.close()))
      exit.close()
    },
  }
}

/**
 * The target's own port is what people expect on their side; when it is taken, or reserved, any free one will do. Between two nodes on one machine it would be
 * the target's very address: a server that is not up yet could not start, and each connection would come back to the forward for ever.
 */
async function openDefault(base: Omit<Parameters<typeof openEntry>[0], 'local'>, port: number): Promise<Entry> {
  const host = '127.0.0.1'
  try {
    return await openEntry({ ...base, local: { host, port } })
  } catch (error) {
    if (!isKithError(error, 'ADDRESS_IN_USE')) throw error
    return await openEntry({ ...base, local: { host, port: 0 } })
  }
}

/** `HOST:PORT` to listen on; port 0 allowed. */
function parseLocal(text: string): ForwardLocal {
  const match = /^(.*):0$/.exec(text)
  if (match === null) return parseTarget(text)
  return { host: parseTarget(`${match[1]}:1`).host, port: 0 }
}
