import { equal } from '../../core/bytes.ts'
import { type Clock, sleep } from '../../core/clock.ts'
import { publicKeyOfSeed } from '../../core/crypto/ed25519.ts'
import { asKithError, KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Random } from '../../core/random.ts'
import type { Secret } from '../../core/secret.ts'
import type { Channel, DialOptions, Listener, ListenOptions, Transport } from '../types.ts'
import { formatAddress, parseAddress, resolveHost } from './address.ts'
import { QuicChannel } from './channel.ts'
import { Clients } from './clients.ts'
import { STREAM_LIMIT } from './connection.ts'
import { connect } from './dial.ts'
import { fromNative } from './errors.ts'
import { FirstStream } from './first-stream.ts'
import { parseRemote, withPrivateKeyProto } from './keys.ts'
import { QuicListener } from './listener.ts'
import { type Availability, loadNative, type NativeConnection, type NativeQuinnConfig, type NativeServer } from './native.ts'
import { nothing } from './nothing.ts'

/** Dead peers are noticed after this long, and half-open handshakes end. */
const IDLE_MS = 15_000
const KEEP_ALIVE_MS = 5_000
/** Window of one stream; the connection's window has room for all of them, so that no stream can starve another or the first one. */
const WINDOW_BYTES = 1 << 20
const SOCKET_BUFFER_BYTES = 4 << 20
const DIAL_MS = 10_000
const REBIND_MS = 2_000
const REBIND_STEP_MS = 100
const MOST_HANDSHAKES = 6_000

export interface QuicOptions {
  /** Seed of the link key (32 bytes). Read once, here; the caller keeps it. */
  readonly seed: Secret
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** Silence of a peer, in ms, after which its connections are lost. Default 15,000. */
  readonly idleMs?: number
  /** How long a dial waits for an answer, in ms. Default 10,000. */
  readonly dialTimeoutMs?: number
  /** Handshakes under way at once; more wait. One that a stranger leaves half-open holds about 45 kB until `idleMs` is over. Default 6,000. */
  readonly maxHandshakes?: number
  /** The native library, for tests. */
  readonly availability?: Availability
}

/** Whether this machine can use QUIC, and why not: for `doctor`. */
export function quicAvailability(): { readonly ok: boolean; readonly reason: string | null } {
  const loaded = loadNative()
  return loaded.ok ? { ok: true, reason: null } : { ok: false, reason: loaded.reason }
}

/**
 * QUIC v1 links (scheme `quic`, URL `quic://HOST:PORT`): TLS 1.3 with certificates bound to both link keys by the library (quinn, rustls;
 * libp2p's TLS profile). Without the library's package everything but this function throws `SCHEME_UNAVAILABLE`.
 *
 * Not provided: a post-quantum key exchange, a channel binding, admission before the handshake.
 */
export function createQuicTransport(options: QuicOptions): Transport {
  const { clock, random, logger } = options
  const availability = options.availability ?? loadNative()
  if (!availability.ok) return unavailable(availability.reason)
  const { native } = availability
  const localKey = publicKeyOfSeed(options.seed)
  const idleMs = options.idleMs ?? IDLE_MS
  const config: NativeQuinnConfig = withPrivateKeyProto(
    options.seed,
    (privateKeyProto) =>
      new native.QuinnConfig({
        privateKeyProto,
        handshakeTimeout: idleMs,
        maxIdleTimeout: idleMs,
        keepAliveInterval: Math.min(KEEP_ALIVE_MS, Math.floor(idleMs / 3)),
        maxConcurrentStreamLimit: STREAM_LIMIT + 1,
        maxStreamData: WINDOW_BYTES,
        maxConnectionData: WINDOW_BYTES * (STREAM_LIMIT + 1),
        receiveBufferSize: SOCKET_BUFFER_BYTES,
        sendBufferSize: SOCKET_BUFFER_BYTES,
      }),
  )
  const clients = new Clients(native, config)
  const shared = { localKey, clock, random, logger }

  async function listen(address: string, onChannel: (channel: Channel) => void, listening: ListenOptions = {}): Promise<Listener> {
    const { host, port } = parseAddress(address, 0)
    listening.signal?.throwIfAborted()
    const [endpoint] = await resolveHost(host)
    listening.signal?.throwIfAborted()
    const ip = endpoint?.ip ?? host
    const server = await bind(ip, port, listening.signal)
    const listener = new QuicListener({
      server,
      host: ip,
      maxHandshakes: options.maxHandshakes ?? MOST_HANDSHAKES,
      clock,
      logger,
      onConnection: (connection) => accept(connection, onChannel, listening),
      onFailed: listening.onFailed,
    })
    listening.signal?.addEventListener('abort', () => void listener.close(), { once: true })
    return listener
  }

  /** A port stays taken for a moment after the last connection of a closed listener has ended: a second try comes after that. */
  async function bind(ip: string, port: number, signal: AbortSignal | undefined): Promise<NativeServer> {
    const until = clock.monotonic() + REBIND_MS
    for (;;) {
      try {
        return new native.Server(config, ip, port)
      } catch (cause) {
        const found = fromNative(cause).code
        const code = found === 'LINK_LOST' ? 'ADDRESS_INVALID' : found
        if (code !== 'ADDRESS_IN_USE' || clock.monotonic() >= until) {
          throw new KithError(code, undefined, { details: { address: formatAddress(ip, port) }, cause })
        }
      }
      await sleep(clock, REBIND_STEP_MS, signal)
    }
  }

  function accept(connection: NativeConnection, onChannel: (channel: Channel) => void, { admit, onFailed }: ListenOptions): void {
    const first = new FirstStream()
    let channel: QuicChannel | undefined
    let admitted: { release(): void } | undefined
    try {
      const remote = parseRemote(connection.remoteMultiaddr())
      const evict = (): void => (channel === undefined ? connection.abort() : channel.evict())
      if (equal(remote.key, localKey)) throw new KithError('SELF_DIAL')
      if (admit !== undefined) {
        admitted = admit({ scheme: 'quic', host: remote.host, port: remote.port }, evict)
        if (admitted === undefined) throw new KithError('BUDGET_EXCEEDED')
      }
      const path = { scheme: 'quic', address: formatAddress(remote.host, remote.port), direct: true }
      const greeted = (): void => admitted?.release()
      channel = new QuicChannel({ ...shared, native: connection, first, role: 'listener', remoteKey: remote.key, path, greeted })
    } catch (error) {
      admitted?.release()
      connection.abort()
      const refusal = asKithError(error, 'INTERNAL')
      logger.debug('quic.connection_refused', { reason: refusal.code })
      onFailed?.(refusal)
      return
    }
    connection.inboundStream().then(
      (stream) => first.attach(stream),
      () => channel.evict(),
    )
    onChannel(channel)
  }

  async function dial(address: string, dialling: DialOptions): Promise<Channel> {
    parseAddress(address, 1)
    if (equal(dialling.expect, localKey)) throw new KithError('SELF_DIAL')
    const dialled = await connect(clients, clock, address, dialling, options.dialTimeoutMs ?? DIAL_MS)
    const first = new FirstStream()
    first.attach(dialled.first)
    return new QuicChannel({
      ...shared,
      native: dialled.native,
      first,
      role: 'dialer',
      remoteKey: dialled.remoteKey,
      path: { scheme: 'quic', address: dialled.address, direct: true },
      greeted: nothing,
    })
  }

  return { scheme: 'quic', listen, dial }
}

function unavailable(reason: string): Transport {
  const fail = (): Promise<never> =>
    Promise.reject(new KithError('SCHEME_UNAVAILABLE', `QUIC is not available: ${reason}`, { details: { scheme: 'quic', reason } }))
  return { scheme: 'quic', listen: fail, dial: fail }
}
