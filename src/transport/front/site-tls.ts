import { constants, X509Certificate } from 'node:crypto'
import { isIP, type Socket } from 'node:net'
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls'
import { KithError } from '../../core/errors.ts'
import type { TlsCertificate } from './types.ts'

/** As an ordinary web server without HTTP/2 offers them; a client that insists on others gets the alert it expects. */
const SITE_PROTOCOLS = ['http/1.1', 'http/1.0', 'http/0.9']

/** An ordinary TLS server on single sockets, with whatever certificate there is at the moment. */
export class SiteTls {
  readonly #certificate: () => TlsCertificate | undefined
  #made: { readonly from: TlsCertificate; readonly context: SecureContext } | undefined
  #read: { readonly from: TlsCertificate; readonly facts: CertificateFacts } | undefined

  constructor(certificate: () => TlsCertificate | undefined) {
    this.#certificate = certificate
  }

  get facts(): CertificateFacts | undefined {
    const from = this.#certificate()
    if (from !== undefined && this.#read?.from !== from) this.#read = { from, facts: factsOf(from) }
    return from === undefined ? undefined : this.#read?.facts
  }

  /** @throws KithError `SCHEME_UNAVAILABLE` without a usable certificate. */
  wrap(socket: Socket): TLSSocket {
    const from = this.#certificate()
    if (from === undefined) throw new KithError('SCHEME_UNAVAILABLE', 'The site has no certificate yet.', { next: 'kith config show' })
    if (this.#made?.from !== from) this.#made = { from, context: siteContext(from) }
    return serverSocket(socket, this.#made.context, SITE_PROTOCOLS)
  }
}

/** What others need to know of a certificate in order to trust it. */
export interface CertificateFacts {
  /** SHA-256 of its DER. */
  readonly pin: Uint8Array
  /** Names and addresses it is for, wildcards left out; none of one that only vouches for itself. */
  readonly names: readonly string[]
}

function factsOf({ cert }: TlsCertificate): CertificateFacts {
  const leaf = new X509Certificate(cert)
  const pin = Buffer.from(leaf.fingerprint256.replaceAll(':', ''), 'hex')
  const own = leaf.checkIssued(leaf) && leaf.verify(leaf.publicKey)
  const entries = own ? [] : (leaf.subjectAltName ?? '').split(', ')
  const names = entries.flatMap((entry) => {
    const name = /^(?:DNS|IP Address):(.+)$/.exec(entry)?.[1] ?? ''
    return /^[A-Za-z0-9.-]{1,253}$/.test(name) || isIP(name) !== 0 ? [name] : []
  })
  return { pin, names }
}

/** @throws KithError `SCHEME_UNAVAILABLE` when key and certificate do not fit. */
export function siteContext({ key, cert }: TlsCertificate): SecureContext {
  try {
    return createSecureContext({
      key,
      cert,
      minVersion: 'TLSv1.2',
      sessionIdContext: 'site',
      honorCipherOrder: true,
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    })
  } catch (cause) {
    throw new KithError('SCHEME_UNAVAILABLE', 'The certificate of the site and its key cannot be used.', { cause, next: 'kith config show' })
  }
}

/** The server's end of TLS over a socket that was accepted: emits `secure` or is destroyed. Never asks for a certificate. */
export function serverSocket(socket: Socket, secureContext: SecureContext, alpn: readonly string[]): TLSSocket {
  return new TLSSocket(socket, { isServer: true, secureContext, requestCert: false, rejectUnauthorized: false, ALPNProtocols: [...alpn] })
}

/** Resolves when the handshake is through; rejects when the socket closes or fails before. The caller destroys it when it has waited long enough. */
export function handshake(tls: TLSSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    let cause: unknown
    const settle = (): void => {
      tls.off('secure', secure)
      tls.off('close', closed)
      tls.off('end', closed)
    }
    const secure = (): void => {
      settle()
      resolve()
    }
    const closed = (): void => {
      settle()
      reject(new KithError('HANDSHAKE_FAILED', undefined, { cause }))
    }
    // Stays for good: an error that nobody listens to would end the process.
    tls.on('error', (error) => {
      cause ??= error
    })
    tls.on('secure', secure)
    tls.on('close', closed)
    tls.on('end', closed)
    if (tls.destroyed) closed()
  })
}
