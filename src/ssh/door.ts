import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Caller, IdentityProvider } from '../access/types.ts'
import type { Callee } from '../call/types.ts'
import type { Clock, Timer } from '../core/clock.ts'
import type { Logger } from '../core/observe/log.ts'
import { silentMetrics } from '../core/observe/metrics.ts'
import type { Signer } from '../core/signer.ts'
import { Admission, type Place } from './admission.ts'
import { type DialTarget, serveForwards } from './forwards.ts'
import { guardConnection } from './guard.ts'
import { describeHostKey, type HostKeyView, libraryHostKeys } from './host-key.ts'
import { HYBRID, offerFor, patchServer, serverOffer } from './key-exchange.ts'
import { DISCONNECT, type ServerConnection, ssh2Library } from './library.ts'
import { DEFAULT_SSH_LIMITS, type SshLimits } from './limits.ts'
import { createLogin, type Origin } from './login.ts'
import { type SshMetrics, sshMetrics } from './metrics.ts'
import { watchOpenings } from './openings.ts'
import { Outlet } from './outlet.ts'
import { Rekeying } from './rekeying.ts'
import { type MayListen, serveRemoteForwards } from './remote-forwards.ts'
import { type ServeSftp, serveSessions } from './session.ts'

export interface SshDoorOptions {
  /** Role `service`; stays the caller's. */
  readonly hostKey: Signer
  /** A host certificate of that key (PROTOCOL.certkeys). */
  readonly hostCertificate?: Uint8Array
  readonly identity: IdentityProvider
  readonly limits?: () => SshLimits
  /** Absent: -L, -D, -W and ProxyJump are refused. */
  readonly dial?: DialTarget
  /** Absent: -R is refused. */
  readonly mayListen?: MayListen
  /** Whether somebody known may be connected at all; asked at login and when the rules change. Absent: yes. */
  readonly mayConnect?: (caller: Caller) => boolean
  /** Calls back when `mayListen` or `mayConnect` may say something else; returns the way to stop. Absent: they never do. */
  readonly onRules?: (changed: () => void) => () => void
  /** Whether -R may ask for addresses beyond loopback at all. Default no. */
  readonly publicListen?: () => boolean
  /** Absent: no operations can be called. */
  readonly callee?: Callee
  /** Carries calls on a control channel. */
  readonly control?: (channel: Duplex, caller: Caller) => void
  /** Absent: no SFTP. */
  readonly sftp?: ServeSftp
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics?: SshMetrics
}

/** Somebody who is logged in. */
export interface SshSessionView {
  readonly id: number
  readonly caller: string
  readonly user: string
  readonly remote_address: string
  readonly transport: Origin['transport']
  readonly since: string
  readonly channels: number
  /** Whether the key exchange was post-quantum. */
  readonly pq: boolean
}

export interface SshDoor {
  readonly hostKey: HostKeyView
  /** A connection that begins, or will begin, with `SSH-2.0-`. Takes it over, also when it refuses it. */
  accept(connection: Duplex, origin: Origin): void
  sessions(): readonly SshSessionView[]
  /** False when there is no such session. */
  end(id: number): boolean
  /** Takes nothing new; those who have not logged in are sent away. */
  drain(): void
  /** Ends everything. Idempotent. */
  close(): void
}

interface Session {
  readonly id: number
  readonly caller: Caller
  readonly user: string
  readonly origin: Origin
  readonly sinceMs: number
  channels: number
  readonly pq: () => boolean
  end(): void
}

/** Time for the last words to reach the client before its connection is cut. */
const LAST_WORDS_MS = 1_000
/** Seconds between questions whether an idle client is still there, and how many may stay unanswered. */
const KEEPALIVE = { keepaliveInterval: 30_000, keepaliveCountMax: 4 } as const
const IDENTIFICATION = Buffer.from('Kith')

/**
 * The SSH door: public keys and certificates, forwards both ways, SFTP, operations, and a control channel for calls.
 *
 * ```text
 * accept -> admission -> identification -> key exchange -> login -> channels
 *              |             |  deadline       |  deadline   |  attempts
 *              `-------------+-----------------+-------------+--> cut off, counted
 * ```
 */
export function createSshDoor(options: SshDoorOptions): SshDoor {
  const { IncomingClient } = ssh2Library()
  const { hostKey, hostCertificate, clock, logger, mayConnect = () => true } = options
  const identity: IdentityProvider = {
    resolve: async (presentation) => {
      const caller = await options.identity.resolve(presentation)
      return caller !== undefined && mayConnect(caller) ? caller : undefined
    },
  }
  const limits = options.limits ?? (() => DEFAULT_SSH_LIMITS)
  const count = options.metrics ?? sshMetrics(silentMetrics)
  const hostKeys = libraryHostKeys(hostKey, hostCertificate)
  const offer = serverOffer(hostCertificate !== undefined)
  const admission = new Admission(limits, clock)
  const running = new Set<() => void>()
  const strangers = new Set<() => void>()
  const sessions = new Map<number, Session>()
  let lastId = 0
  let open = true
  const stopWatching = options.onRules?.(() => {
    for (const session of [...sessions.values()]) if (!mayConnect(session.caller)) session.end()
  })

  function accept(socket: Duplex, origin: Origin): void {
    socket.on('error', () => {})
    const place = open ? admission.enter(origin.remoteAddress) : 'draining'
    if (typeof place === 'string') {
      count.refused(place)
      if (place !== 'draining')
        logger.info('connection refused', { door: 'ssh', reason: place, remote_addr: origin.remoteAddress, transport: origin.transport })
      socket.destroy()
      return
    }
    if (socket instanceof Socket) socket.setNoDelay(true)
    count.connections(1)
    serve(socket, origin, place)
  }

  function serve(socket: Duplex, origin: Origin, place: Place): void {
    const current = limits()
    const over = new AbortController()
    const timers = new Set<Timer>()
    const began = clock.monotonic()
    let session: Session | undefined

    const emitter: ConstructorParameters<typeof IncomingClient>[5] = { emit: (_event, _connection, { header }) => identified(header.versions.software) }
    const connection: ServerConnection = new IncomingClient(
      socket,
      { 'ssh-ed25519': hostKeys.plain },
      IDENTIFICATION,
      offer.common,
      undefined,
      emitter,
      KEEPALIVE,
    )
    const { _protocol: protocol } = connection

    const cut = (): void => void socket.destroy()
    /** Tells the client, when it can still be told, and ends the connection. */
    const end = (reason: number): void => {
      try {
        if (protocol._destruct !== undefined && socket.writable) protocol.disconnect(reason)
      } catch {
        // During a key exchange there may be no way to say anything.
      }
      socket.end()
      timers.add(clock.after(LAST_WORDS_MS, cut))
    }
    const finished = (): void => {
      if (over.signal.aborted) return
      over.abort()
      for (const timer of timers) timer.cancel()
      rekeying.stop()
      place.leave()
      running.delete(cut)
      strangers.delete(cut)
      count.connections(-1)
      if (session === undefined) return
      sessions.delete(session.id)
      count.sessions(-1)
      logger.info('connection closed', {
        door: 'ssh',
        remote_addr: origin.remoteAddress,
        caller: session.caller.id,
        duration_ms: Math.round(clock.monotonic() - began),
      })
    }
    const late = (what: string) => (): void => {
      logger.debug('SSH client too slow', { what, remote_addr: origin.remoteAddress })
      count.refused('late')
      cut()
    }

    const broken = (reason: string): void => {
      logger.debug('SSH client broke the rules', { reason, remote_addr: origin.remoteAddress })
      count.refused('broken')
      cut()
    }

    running.add(cut)
    strangers.add(cut)
    guardConnection(connection, socket, {
      unreadBytes: current.unreadBytes,
      channels: current.channels,
      broken,
    })
    let exchange = ''
    const rekeying = new Rekeying({ clock, limit: current.rekeyBytes })
    patchServer(protocol, hostKeys, (name) => {
      // New keys before login would be work for nobody: no client asks for them.
      if (exchange !== '' && session === undefined) broken('keys exchanged anew before login')
      else if (session !== undefined && !rekeying.exchanged()) broken('keys exchanged anew too often')
      exchange = name
    })
    const openings = watchOpenings(protocol)
    const identification = clock.after(current.identificationMs, late('identification'))
    timers.add(identification)
    timers.add(clock.after(current.loginMs, () => session === undefined && late('login')()))
    connection.on('error', (error: Error & { level?: string }) => {
      logger.debug('SSH connection failed', { level: error.level, message: error.message, remote_addr: origin.remoteAddress })
      // The library stops reading and waits for the client; nobody else does.
      timers.add(clock.after(LAST_WORDS_MS, cut))
    })
    socket.once('close', finished)
    connection.on('close', finished)
    connection.on('end', () => {
      // Half of a connection is none in this protocol.
      socket.end()
      timers.add(clock.after(LAST_WORDS_MS, cut))
    })

    function identified(software: string): boolean {
      protocol._offer = offerFor(offer, software)
      identification.cancel()
      connection.on(
        'authentication',
        createLogin({
          identity,
          origin,
          logger,
          attempts: current.attempts,
          failed: () => {
            count.logins('reject')
            admission.failed(origin.remoteAddress)
          },
          exhausted: () => end(DISCONNECT.noMoreMethods),
          accepted,
        }),
      )
      return true
    }

    function accepted(caller: Caller, user: string): void {
      place.loggedIn()
      strangers.delete(cut)
      count.logins('accept')
      const id = ++lastId
      const made: Session = {
        id,
        caller,
        user,
        origin,
        sinceMs: clock.now(),
        channels: 0,
        pq: () => exchange === HYBRID,
        end: () => end(DISCONNECT.byApplication),
      }
      session = made
      sessions.set(id, made)
      count.sessions(1)
      const channels = (change: 1 | -1): void => {
        made.channels += change
      }
      const { signal } = over
      const common = { caller, signal, count: channels }
      caller.revoked?.addEventListener('abort', () => end(DISCONNECT.byApplication), { once: true, signal })
      const outlet = new Outlet(socket, connection)
      const mayForward = caller.noForwarding !== true
      serveForwards(connection, { ...common, dial: mayForward ? options.dial : undefined, control: options.control, openings, outlet })
      serveRemoteForwards(connection, {
        ...common,
        mayListen: mayForward ? options.mayListen : undefined,
        onRules: options.onRules ?? (() => () => {}),
        public: options.publicListen ?? (() => false),
        outlet,
        most: current.remoteForwards,
      })
      serveSessions(connection, { ...common, callee: options.callee, sftp: options.sftp, outlet, logger })
      rekeying.watch(connection, socket)
    }
  }

  return {
    hostKey: describeHostKey(hostKey.publicKey, hostCertificate !== undefined),
    accept,
    sessions: () =>
      [...sessions.values()].map(({ id, caller, user, origin, sinceMs, channels, pq }) => ({
        id,
        caller: caller.id,
        user,
        remote_address: origin.remoteAddress,
        transport: origin.transport,
        since: new Date(sinceMs).toISOString(),
        channels,
        pq: pq(),
      })),
    end(id) {
      const session = sessions.get(id)
      session?.end()
      return session !== undefined
    },
    drain() {
      open = false
      for (const cut of [...strangers]) cut()
    },
    close() {
      open = false
      stopWatching?.()
      for (const cut of [...running]) cut()
    },
  }
}
