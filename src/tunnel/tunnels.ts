import type { Clock } from '../core/clock.ts'
import { type ErrorCode, isKithError, KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import { type Random, systemRandom } from '../core/random.ts'
import type { Did } from '../identity/did.ts'
import type { LeanHandler, Policy, ProtocolOptions } from '../mesh/types.ts'
import { Connections } from './connections.ts'
import type { Outbound } from './dial.ts'
import { type CarrierOptions, openEntry } from './entry.ts'
import { createExit, type Exit, type ServedStatus } from './exit.ts'
import { type FarSide, openFarEntry } from './far-entry.ts'
import { LISTEN_PROTOCOL } from './listen-wire.ts'
import type { LocalListener } from './listener.ts'
import { checkForward, Opener, type StreamOpener } from './opener.ts'
import { createRemotes } from './remotes.ts'
import { openDoor } from './socks/door.ts'
import { type ForwardTarget, formatTarget, isLoopback, parseLocal, parseTarget, socketPath } from './target.ts'
import { FORWARD_PROTOCOL } from './wire.ts'

export interface TunnelsOptions {
  readonly mesh: StreamOpener & {
    handleLean(protocol: string, handler: LeanHandler, options?: ProtocolOptions): void
    /** Whether a peer that is linked runs on this machine too. */
    isHere?(peer: Did): boolean
    /** A peer of the address book by name, DID, or prefix of one. @throws KithError. */
    resolve?(text: string): Did
  }
  readonly policy: Policy
  readonly clock: Clock
  readonly logger: Logger
  readonly random?: Random
  readonly resolve?: (host: string) => Promise<readonly string[]>
  /** The owner's proxy for what leaves here for others; asked for each connection. */
  readonly outbound?: () => Outbound | undefined
  /** How long a connection may carry nothing, in ms; 0 for ever. */
  readonly idleMs?: () => number
  /** How long a target may take to answer, in ms. */
  readonly connectMs?: () => number
}

interface TunnelOptions {
  readonly peer: Did
  /** What it is called in the list. Default: a short one of its own. */
  readonly id?: string
  readonly signal?: AbortSignal
}

export interface ForwardOptions extends TunnelOptions {
  /** `HOST:PORT` or `unix:/path` as seen from the other machine. */
  readonly target: string
  /** `HOST:PORT` or `unix:/path` here. Default: 127.0.0.1 with the target's port, or any free one when that is taken or means the target itself. */
  readonly local?: string
  /** Listen beyond loopback. Default false. */
  readonly allowPublicBind?: boolean
  /** Asks the peer first whether it would be allowed. Default true; a forward that is to wait for its peer does not. */
  readonly check?: boolean
}

export interface RemoteForwardOptions extends TunnelOptions {
  /** Where the peer listens: `HOST:PORT` with an address of its machine, or `unix:/path`; port 0 for any free one. */
  readonly remote: string
  /** What its connections reach on this side: `HOST:PORT` or `unix:/path`. */
  readonly to: string
  /** Keeps asking when the peer is away or refuses at first. Default false. */
  readonly wait?: boolean
}

export interface FarForwardOptions extends Pick<ForwardOptions, 'target' | 'local' | 'allowPublicBind' | 'check' | 'id' | 'signal'> {
  /** Closed with the forward, and when it could not be opened. */
  readonly far: FarSide
}

export interface SocksOptions extends TunnelOptions {
  /** `HOST:PORT` or `unix:/path` here. Default `127.0.0.1:1080`. */
  readonly local?: string
  /** Listen beyond loopback; clients then have to give a password. Default false. */
  readonly allowPublicBind?: boolean
}

export interface TunnelStatus {
  readonly id: string
  readonly kind: 'forward' | 'remote' | 'socks' | 'ssh'
  /** DID; for `ssh` the server, `ssh://USER@HOST:PORT`. */
  readonly peer: string
  /** Where connections end: on the peer's side, for `remote` on this one; `*` for `socks`. */
  readonly target: string
  /** Where programs connect: on this side, for `remote` on the peer's. */
  readonly local: string
  /** False for a remote forward whose peer does not listen at the moment, and for one that waits for its owner, as `last_error` says. */
  readonly open: boolean
  readonly connections: number
  readonly total: number
  /** Bytes from the peer, and to it. */
  readonly bytes_in: number
  readonly bytes_out: number
  readonly since: string
  readonly last_error: { readonly code: ErrorCode; readonly message: string; readonly next: string | null } | null
}

/** A proxy that was opened; the password is told this once. */
export interface SocksOpened extends TunnelStatus {
  readonly password: string | null
}

export interface Tunnels {
  /** The accepting end, for doors that are no link. */
  readonly exit: Exit
  /** @throws KithError `FORWARD_DENIED`, `FORWARD_TARGET`, `ADDRESS_IN_USE`, `BIND_REFUSED`, `PEER_UNREACHABLE`. */
  forward(options: ForwardOptions): Promise<TunnelStatus>
  /** A forward whose far side is no peer. @throws KithError as its `check`, `FORWARD_TARGET`, `ADDRESS_IN_USE`, `BIND_REFUSED`. */
  through(options: FarForwardOptions): Promise<TunnelStatus>
  /** Lets the peer listen and carry back. @throws KithError `FORWARD_DENIED`, `FORWARD_TARGET`, `ADDRESS_IN_USE`, `PEER_UNREACHABLE`. */
  remote(options: RemoteForwardOptions): Promise<TunnelStatus>
  /** Opens a SOCKS5 and HTTP CONNECT proxy whose connections leave at the peer. @throws KithError `ADDRESS_IN_USE`, `BIND_REFUSED`. */
  socks(options: SocksOptions): Promise<SocksOpened>
  list(): readonly TunnelStatus[]
  /** Where this node itself listens for programs of its own, as bound. */
  entries(): readonly string[]
  /** What others reach through this node now. */
  serving(): readonly ServedStatus[]
  /** @throws KithError `NOT_FOUND`. */
  remove(id: string): Promise<void>
  /** Stops listening; connections that run go on until they or their links end. */
  drain(): void
  close(): Promise<void>
}

const MAX_TUNNELS = 256
const CHECK_TIMEOUT_MS = 20_000
const CONNECT_TIMEOUT_MS = 10_000
const DEFAULT_SOCKS = '127.0.0.1:1080'
const PASSWORD_BYTES = 18

interface Tunnel {
  readonly id: string
  readonly kind: TunnelStatus['kind']
  readonly peer: string
  readonly target: string
  readonly since: string
  readonly connections: Connections
  readonly end: { readonly address: string; readonly listening?: boolean; stop(): void; close?(): Promise<void> }
  /** What the owner has to do before it can carry anything. */
  readonly waiting?: () => KithError | undefined
}

/** Port forwards of one node: serves those of its peers under policy, and opens its own. */
export function createTunnels(options: TunnelsOptions): Tunnels {
  const { mesh, clock, logger } = options
  const random = options.random ?? systemRandom
  const idleMs = options.idleMs ?? ((): number => 0)
  const connectMs = options.connectMs ?? ((): number => CONNECT_TIMEOUT_MS)
  const exit = createExit(options)
  const remotes = createRemotes({ mesh, policy: options.policy, gate: exit.gate, clock, random, idleMs, connectMs })
  // The policy is asked per request, with the target: who may open the protocol at all says nothing yet.
  mesh.handleLean(FORWARD_PROTOCOL, exit.handle, { access: 'handler' })
  mesh.handleLean(LISTEN_PROTOCOL, remotes.handle, { access: 'handler' })
  const opener = new Opener(mesh, clock)
  const tunnels = new Map<string, Tunnel>()
  let counter = 0

  function status({ id, kind, peer, target, since, connections, end, waiting }: Tunnel): TunnelStatus {
    const waits = waiting?.()
    const error = waits ?? connections.lastError
    return {
      ...{ id, kind, peer, target, local: end.address, open: waits === undefined && (end.listening ?? true) },
      ...{ connections: connections.size, total: connections.total, bytes_in: connections.bytesIn, bytes_out: connections.bytesOut },
      since,
      last_error: error === null ? null : { code: error.code, message: error.message, next: error.next ?? null },
    }
  }

  function carrier(): CarrierOptions {
    return { mesh, opener, connections: new Connections({ clock, idleMs }), logger }
  }

  function checkRoom(id: string | undefined): void {
    if (id !== undefined && tunnels.has(id)) throw new KithError('FORWARD_EXISTS', `there is a tunnel ${id} already`, { next: `kith tunnels close ${id}` })
    if (tunnels.size >= MAX_TUNNELS) throw new KithError('BUDGET_EXCEEDED', 'too many forwards are open', { next: 'kith tunnels close ID' })
  }

  function add(letter: string, tunnel: Omit<Tunnel, 'id' | 'since'> & { id: string | undefined }): TunnelStatus {
    counter++
    const added = { ...tunnel, id: tunnel.id ?? `${letter}${counter}`, since: new Date(clock.now()).toISOString() }
    tunnels.set(added.id, added)
    return status(added)
  }

  async function forward({ peer, target: text, local, allowPublicBind = false, check = true, id, signal }: ForwardOptions): Promise<TunnelStatus> {
    const target = parseTarget(text)
    const wanted = local === undefined ? undefined : parseLocal(local)
    if (wanted !== undefined) checkBind(wanted, allowPublicBind)
    checkRoom(id)
    if (check) await checkForward(mesh, peer, target, within(signal))
    const base = { ...carrier(), peer, target }
    const here = isLoopback(target.host) && mesh.isHere?.(peer) === true
    const end = await openAt(wanted, target, here, (local) => openEntry({ ...base, local }))
    return add('f', { id, kind: 'forward', peer, target: formatTarget(target), connections: base.connections, end })
  }

  async function through({ far, target: text, local, allowPublicBind = false, check = true, id, signal }: FarForwardOptions): Promise<TunnelStatus> {
    try {
      const target = parseTarget(text)
      const wanted = local === undefined ? undefined : parseLocal(local)
      if (wanted !== undefined) checkBind(wanted, allowPublicBind)
      checkRoom(id)
      if (check) await far.check(within(signal))
      const connections = new Connections({ clock, idleMs })
      const here = isLoopback(target.host) && far.here
      const listener = await openAt(wanted, target, here, (place) => openFarEntry({ far, target, local: place, connections, logger }))
      const close = async (): Promise<void> => {
        far.close()
        await listener.close()
      }
      const waiting = (): KithError | undefined => far.waiting?.()
      return add('f', { id, kind: 'ssh', peer: far.name, target: formatTarget(target), connections, end: { ...listener, close }, waiting })
    } catch (error) {
      far.close()
      throw error
    }
  }

  async function remote({ peer, remote: place, to: text, wait = false, id, signal }: RemoteForwardOptions): Promise<TunnelStatus> {
    const [at, to] = [parseLocal(place), parseTarget(text)]
    checkRoom(id)
    const base = carrier()
    const end = await remotes.open({ ...base, peer, remote: at, to }, wait, within(signal))
    return add('r', { id, kind: 'remote', peer, target: formatTarget(to), connections: base.connections, end })
  }

  async function socks({ peer, local = DEFAULT_SOCKS, allowPublicBind = false, id }: SocksOptions): Promise<SocksOpened> {
    const wanted = parseLocal(local)
    checkBind(wanted, allowPublicBind)
    checkRoom(id)
    const base = carrier()
    const password = isLoopback(wanted.host) ? undefined : Buffer.from(random.bytes(PASSWORD_BYTES)).toString('base64url')
    const resolvePeer = (text: string): Did => {
      if (mesh.resolve === undefined) throw new KithError('PEER_UNKNOWN')
      return mesh.resolve(text)
    }
    const end = await openDoor({ ...base, clock, peer, local: wanted, resolvePeer, password })
    return { ...add('s', { id, kind: 'socks', peer, target: '*', connections: base.connections, end }), password: password ?? null }
  }

  async function close({ end, connections }: Tunnel): Promise<void> {
    end.stop()
    connections.endAll()
    await end.close?.()
  }

  return {
    exit,
    forward,
    through,
    remote,
    socks,
    list: () => [...tunnels.values()].map(status),
    entries: () => [...tunnels.values()].flatMap(({ kind, end }) => (kind === 'remote' ? [] : [end.address])),
    serving: () => [...exit.list(), ...remotes.list()],
    async remove(id) {
      const tunnel = tunnels.get(id)
      if (tunnel === undefined) throw new KithError('NOT_FOUND', `there is no tunnel ${id.slice(0, 40)}`, { next: 'kith tunnels' })
      tunnels.delete(id)
      await close(tunnel)
    },
    drain() {
      for (const { end, kind } of tunnels.values()) if (kind !== 'remote') end.stop()
      remotes.stop()
    },
    async close() {
      opener.close()
      const open = [...tunnels.values()]
      tunnels.clear()
      await Promise.all(open.map(close))
      await remotes.close()
      exit.close()
    },
  }
}

function within(signal: AbortSignal | undefined): AbortSignal {
  const deadline = AbortSignal.timeout(CHECK_TIMEOUT_MS)
  return signal === undefined ? deadline : AbortSignal.any([signal, deadline])
}

function checkBind(local: ForwardTarget, allowPublicBind: boolean): void {
  if (isLoopback(local.host) || allowPublicBind) return
  throw new KithError('BIND_REFUSED', `${formatTarget(local)} can be reached from other machines`, { next: 'add --allow-public-bind if that is meant' })
}

/**
 * The target's own port is what people expect on their side; when it is taken, or reserved, any free one will do. Between two nodes on one machine it would be
 * the target's very address: a server that is not up yet could not start, and each connection would come back to the forward for ever.
 */
async function openAt(
  wanted: ForwardTarget | undefined,
  target: ForwardTarget,
  here: boolean,
  open: (local: ForwardTarget) => Promise<LocalListener>,
): Promise<LocalListener> {
  if (wanted !== undefined) return await open(wanted)
  const host = '127.0.0.1'
  try {
    return await open({ host, port: here || socketPath(target) !== undefined ? 0 : target.port })
  } catch (error) {
    if (!isKithError(error, 'ADDRESS_IN_USE')) throw error
    return await open({ host, port: 0 })
  }
}
