import { createHash } from 'node:crypto'
import { isIP, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { WebSocket } from 'ws'
import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import { formatWssAddress, type KeyedPurpose, keyedPath, type WssAddress } from './address.ts'
import { INCOMING_LIMITS, WebSocketDuplex } from './duplex.ts'

const HANDSHAKE_MS = 10_000

export interface WssConnectOptions {
  readonly purpose: KeyedPurpose
  readonly signal: AbortSignal
  readonly clock: Clock
  /** PEM of further authorities beside none: replaces the machine's own list. */
  readonly authorities?: string
}

/**
 * A WebSocket at the keyed path of `target`, over a connected socket, which is destroyed on any failure. The certificate is judged as a browser would, or by its
 * pin: what passes through is encrypted and authenticated end to end by itself, so that a wrong certificate gives nothing of it away. It is judged because
 * whoever stands in between would learn the path, and that there is one.
 * @throws KithError `HANDSHAKE_FAILED` (details.part: `tls`, `certificate` or `upgrade`), `HANDSHAKE_TIMEOUT`; the signal's reason.
 */
export async function connectWebSocket(socket: Socket, target: WssAddress, options: WssConnectOptions): Promise<Duplex> {
  const { signal, clock } = options
  const late = new AbortController()
  const deadline = clock.after(HANDSHAKE_MS, () => late.abort(new KithError('HANDSHAKE_TIMEOUT')))
  const stop = AbortSignal.any([signal, late.signal])
  try {
    const tls = await secure(socket, target, options, stop)
    return await upgrade(tls, target, options, stop)
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    deadline.cancel()
  }
}

function secure(socket: Socket, { host, pin }: WssAddress, { authorities }: WssConnectOptions, signal: AbortSignal): Promise<TLSSocket> {
  const settings: ConnectionOptions = {
    socket,
    host,
    ALPNProtocols: ['http/1.1'],
    minVersion: 'TLSv1.2',
    rejectUnauthorized: pin === undefined,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(authorities === undefined ? {} : { ca: authorities }),
    ...(pin === undefined ? {} : { checkServerIdentity: () => undefined }),
  }
  return untilReady(signal, (resolve, reject) => {
    const tls = connect(settings)
    let cause: Error | undefined
    tls.on('error', (error) => {
      cause ??= error
    })
    const closed = (): void => reject(failed(/CERT|SIGNATURE|ALTNAME|ISSUER/.test(codeOf(cause)) ? 'certificate' : 'tls', codeOf(cause), cause))
    tls.once('close', closed)
    tls.once('secureConnect', () => {
      tls.off('close', closed)
      const shown = createHash('sha256')
        .update(tls.getPeerX509Certificate()?.raw ?? '')
        .digest()
      if (pin === undefined || shown.equals(pin)) resolve(tls)
      else reject(failed('certificate', 'pin'))
    })
    return () => tls.destroy()
  })
}

function upgrade(tls: TLSSocket, target: WssAddress, { purpose, clock }: WssConnectOptions, signal: AbortSignal): Promise<Duplex> {
  return untilReady(signal, (resolve, reject) => {
    const url = `${formatWssAddress(target)}${keyedPath(target.token, purpose)}`
    const socket = new WebSocket(url, {
      createConnection: () => tls,
      perMessageDeflate: false,
      ...INCOMING_LIMITS,
      followRedirects: false,
      // Masks keep a page's script from choosing the bytes on a wire without TLS (RFC 6455, 10.3). Here they are ciphertext already, and masking costs half the rate.
      generateMask: (mask) => void mask.fill(0),
    })
    socket.on('error', (cause) => reject(failed('upgrade', codeOf(cause), cause)))
    socket.once('unexpected-response', (_request, response) => {
      reject(failed('upgrade', String(response.statusCode)))
      tls.destroy()
    })
    socket.once('open', () => {
      socket.removeAllListeners('error')
      resolve(new WebSocketDuplex(socket, clock))
    })
    return () => socket.terminate()
  })
}

/** Runs one step; the step is ended when the signal fires before it settles. */
function untilReady<T>(signal: AbortSignal, begin: (resolve: (value: T) => void, reject: (error: unknown) => void) => () => void): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason)
      return
    }
    const abort = (): void => {
      reject(signal.reason)
      cancel()
    }
    const settle = (): void => signal.removeEventListener('abort', abort)
    signal.addEventListener('abort', abort, { once: true })
    const cancel = begin(
      (value) => {
        settle()
        resolve(value)
      },
      (error) => {
        settle()
        reject(error)
        cancel()
      },
    )
  })
}

function codeOf(error: Error | undefined): string {
  const code = (error as { code?: unknown } | undefined)?.code
  return typeof code === 'string' ? code.slice(0, 80) : 'closed'
}

function failed(part: string, reason: string, cause?: Error): KithError {
  const message = {
    tls: 'The site did not finish its TLS handshake.',
    certificate: 'The certificate of the site is not good for this address.',
    upgrade: 'The site knows no such path, or took no WebSocket there.',
  }[part]
  return new KithError('HANDSHAKE_FAILED', message, { details: { part, reason }, cause })
}
