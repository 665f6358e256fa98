import type { Socket } from 'node:net'
import { connect, TLSSocket } from 'node:tls'
import { equal, type PublicKey } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import { type ClientHello, X25519MLKEM768 } from '../front/client-hello.ts'
import type { Path } from '../types.ts'
import { checkLinkCertificate } from './certificate.ts'
import { TlsChannel } from './channel.ts'
import { LINK_PROTOCOL, type LinkContexts } from './credentials.ts'
import { SocketWire } from './socket-wire.ts'

/** RFC 9266: the channel binding of TLS 1.3. */
const EXPORTER = 'EXPORTER-Channel-Binding'
const EXPORTER_BYTES = 32

const HANDSHAKE_MS = 10_000

export interface HandshakeOptions {
  readonly contexts: LinkContexts
  readonly clock: Clock
  readonly path: Path
  readonly timeoutMs?: number
}

/**
 * The listening end over a socket whose ClientHello is `hello`. The socket is destroyed on any failure.
 * @throws KithError `HANDSHAKE_FAILED` (details.part and details.reason say what it was), `HANDSHAKE_TIMEOUT`, `SELF_DIAL`.
 */
export async function acceptLink(socket: Socket, hello: ClientHello, options: HandshakeOptions): Promise<TlsChannel> {
  const { hybrid, classical } = options.contexts
  // A client that has the hybrid group gets no other: what is said of the link is then so, and nobody in between can talk it down.
  const postQuantum = hybrid !== undefined && hello.groups.includes(X25519MLKEM768)
  const tls = new TLSSocket(socket, {
    isServer: true,
    secureContext: postQuantum ? hybrid : classical,
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: [LINK_PROTOCOL],
  })
  await settled(tls, 'secure', options)
  return open(tls, 'listener', postQuantum, undefined, options)
}

/**
 * The dialing end over a connected socket, which is destroyed on any failure.
 * @throws KithError as `acceptLink`, and `WRONG_KEY` when another key than `expect` answers; the signal's reason.
 */
export async function dialLink(socket: Socket, expect: PublicKey, signal: AbortSignal, options: HandshakeOptions): Promise<TlsChannel> {
  const tls = connect({
    socket,
    secureContext: options.contexts.dialer,
    ALPNProtocols: [LINK_PROTOCOL],
    // There is no authority to ask: the certificate must be the one form that says a key, and the key the expected one.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  })
  await settled(tls, 'secureConnect', options, signal)
  const group = (tls.getEphemeralKeyInfo() as { name?: string } | null)?.name
  return open(tls, 'dialer', group === 'X25519MLKEM768', expect, options)
}

/** Judges what was negotiated and who is there, before a byte of it is read. */
function open(tls: TLSSocket, role: 'dialer' | 'listener', postQuantum: boolean, expect: PublicKey | undefined, options: HandshakeOptions): TlsChannel {
  const { contexts, clock, path } = options
  try {
    if (tls.alpnProtocol !== LINK_PROTOCOL) throw failed('protocol', 'alpn')
    if (tls.getProtocol() !== 'TLSv1.3') throw failed('protocol', 'version')
    if (tls.isSessionReused()) throw failed('protocol', 'resumed')
    const certificate = tls.getPeerX509Certificate()
    if (certificate === undefined) throw failed('certificate', 'missing')
    if (certificate.issuerCertificate !== undefined && !certificate.issuerCertificate.raw.equals(certificate.raw)) throw failed('certificate', 'chain')
    const remoteKey = checkLinkCertificate(certificate.raw, clock.now())
    if (expect !== undefined && !equal(remoteKey, expect)) throw new KithError('WRONG_KEY', undefined, { details: { address: path.address } })
    if (equal(remoteKey, contexts.localKey)) throw new KithError('SELF_DIAL')
    const binding = tls.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER, Buffer.alloc(0))
    return new TlsChannel(new SocketWire(tls, clock), { role, localKey: contexts.localKey, remoteKey, path, postQuantum }, binding, clock)
  } catch (error) {
    tls.destroy()
    throw error
  }
}

/** Waits for the end of the handshake, within its deadline. */
function settled(tls: TLSSocket, event: 'secure' | 'secureConnect', options: HandshakeOptions, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    let cause: unknown
    const settle = (): void => {
      deadline.cancel()
      signal?.removeEventListener('abort', abort)
      tls.off(event, done)
      tls.off('close', closed)
      tls.off('end', closed)
    }
    const fail = (error: unknown): void => {
      settle()
      tls.destroy()
      reject(error)
    }
    const done = (): void => {
      settle()
      // Nothing is read before the other side was judged.
      tls.pause()
      resolve()
    }
    const closed = (): void => fail(new KithError('HANDSHAKE_FAILED', undefined, { cause, details: { part: 'tls', reason: reasonOf(cause) } }))
    const abort = (): void => fail(signal?.reason)
    const deadline = options.clock.after(options.timeoutMs ?? HANDSHAKE_MS, () => fail(new KithError('HANDSHAKE_TIMEOUT')))
    // Stays for good: an error that nobody listens to would end the process.
    tls.on('error', (error) => {
      cause ??= error
    })
    tls.on(event, done)
    tls.on('close', closed)
    tls.on('end', closed)
    signal?.addEventListener('abort', abort, { once: true })
    if (signal?.aborted === true) abort()
    else if (tls.destroyed) closed()
  })
}

/** The TLS library's name of what went wrong, such as `ERR_SSL_UNSUPPORTED_PROTOCOL`. */
function reasonOf(cause: unknown): string {
  const code = (cause as { code?: unknown } | undefined)?.code
  return typeof code === 'string' ? code.slice(0, 80) : 'closed'
}

function failed(part: string, reason: string): KithError {
  return new KithError('HANDSHAKE_FAILED', undefined, { details: { part, reason } })
}
