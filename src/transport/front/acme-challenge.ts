import type { Clock } from '../../core/clock.ts'
import { handshake, serverSocket, siteContext } from './site-tls.ts'
import type { AlpnHandler, TlsCertificate } from './types.ts'

export const ACME_TLS_PROTOCOL = 'acme-tls/1'
const HANDSHAKE_MS = 10_000

/**
 * Answers TLS-ALPN-01 validations (RFC 8737): the handshake is completed with the certificate of the challenge for that name, and nothing else is said.
 * `certificateFor` gets the server name of the client, undefined when it sent none; undefined closes.
 */
export function acmeChallenge(certificateFor: (serverName: string | undefined) => TlsCertificate | undefined, clock: Clock): AlpnHandler {
  return (socket, hello) => {
    const certificate = certificateFor(hello.serverName)
    if (certificate === undefined) {
      socket.destroy()
      return
    }
    const tls = serverSocket(socket, siteContext(certificate), [ACME_TLS_PROTOCOL])
    const deadline = clock.after(HANDSHAKE_MS, () => tls.destroy())
    const finish = (): void => deadline.cancel()
    tls.on('close', finish)
    handshake(tls).then(
      () => tls.end(),
      () => tls.destroy(),
    )
    tls.resume()
  }
}
