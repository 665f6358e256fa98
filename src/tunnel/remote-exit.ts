import type { Socket } from 'node:net'
import { toHex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { asKithError, KithError } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import type { Policy, StreamContext } from '../mesh/types.ts'
import type { LinkStream } from '../transport/types.ts'
import { Connections } from './connections.ts'
import { join } from './entry.ts'
import type { ServedStatus } from './exit.ts'
import type { Checked, Gate } from './gate.ts'
import { encodeAccepted, encodeListening, LISTEN_PROTOCOL, type ListenRequest } from './listen-wire.ts'
import { type LocalListener, listenLocal } from './listener.ts'
import { abortSocket } from './local-socket.ts'
import type { StreamOpener } from './opener.ts'
import { type ForwardTarget, formatTarget, socketPath } from './target.ts'

export interface RemoteExitOptions {
  readonly mesh: StreamOpener
  readonly gate: Gate
  readonly policy: Policy
  readonly clock: Clock
  readonly idleMs: () => number
}

export interface RemoteExit {
  /** Serves the control stream of a peer that asks this node to listen. */
  listen(stream: LinkStream, context: StreamContext, request: ListenRequest & { kind: 'listen' }): Promise<void>
  list(): readonly ServedStatus[]
  stop(): void
  close(): Promise<void>
}

interface Listening {
  readonly peer: Did
  readonly control: LinkStream
  readonly checked: Checked
  readonly listener: LocalListener
  readonly connections: Connections
}

/** Places where this node listens for others. */
const MAX_LISTENERS = 64
const MAX_LISTENERS_OF_PEER = 16
/** How long the stream to the peer may take to open for an accepted connection. */
const OPEN_TIMEOUT_MS = 15_000

/** The listening side of remote forwards: under policy `listen`, for as long as the control stream is open. */
export function createRemoteExit(options: RemoteExitOptions): RemoteExit {
  const { mesh, gate, policy, clock, idleMs } = options
  const open = new Map<string, Listening>()
  /** Being decided: counted like open ones, so that requests that come together are counted together. */
  const asking = new Set<{ readonly peer: Did }>()

  async function listen(stream: LinkStream, context: StreamContext, { token, target }: ListenRequest & { kind: 'listen' }): Promise<void> {
    const key = `${context.peer} ${toHex(token)}`
    let gone = false
    const lost = (): void => {
      gone = true
      void end(key, stream)
    }
    stream.onData = (_data, start, finish) => stream.consume(finish - start)
    stream.onEnd = lost
    stream.onError = lost
    const own = { peer: context.peer }
    let allowed = false
    try {
      const before = open.get(key)
      if (before !== undefined) {
        before.control.reset(new KithError('CLOSED').number)
        await end(key, before.control)
      }
      checkRoom(context.peer)
      asking.add(own)
      const place = listenPlace(target)
      // Any free port is decided once it is known which one it is; everything else before anything listens.
      const asked =
        place.port === 0 && socketPath(place) === undefined ? undefined : await gate.check({ peer: context.peer, transport: 'link' }, 'listen', place)
      if (gone) return
      const connections = new Connections({ clock, idleMs })
      const listener = await listenLocal(place, (socket) => {
        if (allowed) void carry(socket, context, token, connections)
        else abortSocket(socket)
      })
      const checked = asked ?? (await decideBound(context.peer, place, listener))
      if (gone || open.has(key)) {
        await listener.close()
        throw new KithError('CLOSED')
      }
      allowed = true
      open.set(key, { peer: context.peer, control: stream, checked, listener, connections })
      stream.write(encodeListening(listener.port))
    } catch (error) {
      if (!gone) stream.reset(asKithError(error, 'INTERNAL').number)
    } finally {
      asking.delete(own)
    }
  }

  async function decideBound(peer: Did, place: ForwardTarget, listener: LocalListener): Promise<Checked> {
    try {
      return await gate.check({ peer, transport: 'link' }, 'listen', { host: place.host, port: listener.port })
    } catch (error) {
      await listener.close()
      throw error
    }
  }

  function checkRoom(peer: Did): void {
    const all = [...open.values(), ...asking]
    const own = all.filter((other) => other.peer === peer).length
    if (all.length >= MAX_LISTENERS || own >= MAX_LISTENERS_OF_PEER) throw new KithError('BUDGET_EXCEEDED')
  }

  async function carry(socket: Socket, { peer, linkKey }: StreamContext, token: Uint8Array, connections: Connections): Promise<void> {
    const { meter, leave } = connections.enter(() => abortSocket(socket))
    socket.once('close', leave)
    try {
      const stream = await mesh.openLean(peer, LISTEN_PROTOCOL, { signal: AbortSignal.timeout(OPEN_TIMEOUT_MS), linkKey: toHex(linkKey) })
      stream.write(encodeAccepted(token))
      join(socket, stream, meter, () => {})
    } catch (error) {
      connections.lastError = asKithError(error, 'PEER_UNREACHABLE')
      abortSocket(socket)
    }
  }

  async function end(key: string, control: LinkStream): Promise<void> {
    const listening = open.get(key)
    if (listening?.control !== control) return
    open.delete(key)
    const closed = listening.listener.close()
    listening.connections.endAll()
    await closed
  }

  const stopWatching = policy.onChange?.(() => {
    for (const [key, { checked, control }] of [...open]) {
      if (gate.still(checked)) continue
      control.reset(new KithError('FORWARD_DENIED').number)
      void end(key, control)
    }
  })

  return {
    listen,
    list: () =>
      [...open.values()].map(({ peer, listener, connections }) => ({
        ...{ peer, target: `listens on ${listener.address}`, connections: connections.size },
        ...{ bytes_in: connections.bytesIn, bytes_out: connections.bytesOut },
      })),
    stop() {
      for (const { listener } of open.values()) listener.stop()
    },
    async close() {
      stopWatching?.()
      await Promise.all(
        [...open].map(([key, { control }]) => {
          control.reset(new KithError('CLOSED').number)
          return end(key, control)
        }),
      )
    },
  }
}

/** Only addresses and sockets: what a name means here is not for the peer to find out. */
function listenPlace({ host, port }: ForwardTarget): ForwardTarget {
  if (host === 'localhost') return { host: '127.0.0.1', port }
  if (socketPath({ host, port }) !== undefined || /^[0-9.]+$/.test(host) || host.includes(':')) return { host, port }
  throw new KithError('FORWARD_TARGET', 'a place to listen is an address, not a name', { details: { target: formatTarget({ host, port }) } })
}
