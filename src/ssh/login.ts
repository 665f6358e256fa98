import type ssh2 from 'ssh2'
import { blobFingerprint } from '../access/ssh-wire.ts'
import type { Caller, IdentityProvider, Presentation } from '../access/types.ts'
import type { Logger } from '../core/observe/log.ts'
import { isUserName, shownUser } from './user-name.ts'
import { CERTIFICATE_ALGORITHM, KEY_ALGORITHM, keyOfBlob, keyOfCertificate, verifySsh } from './wire.ts'

/** Where a connection comes from. */
export interface Origin {
  readonly remoteAddress: string
  readonly remotePort: number
  readonly transport: 'tcp' | 'tls' | 'wss'
}

export interface LoginOptions {
  readonly identity: IdentityProvider
  readonly origin: Origin
  readonly logger: Logger
  /** Refused keys until the connection ends; 0: no end. */
  readonly attempts: number
  /** A key was refused. */
  failed(): void
  /** One too many. */
  exhausted(): void
  accepted(caller: Caller, user: string): void
}

/** Refused by the door itself, before anybody is asked. */
type Reason = 'user' | 'algorithm' | 'key' | 'signature' | 'unknown' | 'error'

/**
 * Answers the authentication requests of one connection: public keys and certificates, nothing else. The other methods, `none` among them, are answered with
 * what remains and are not counted: every client begins with `none`. A key that is not known is refused and the client may offer the next one.
 */
export function createLogin(options: LoginOptions): (request: ssh2.AuthContext) => void {
  const { identity, origin, logger, attempts } = options
  let refused = 0
  let over = false

  function refuse(request: ssh2.AuthContext, key: string, reason: Reason): void {
    log('reject', request.username, key, reason)
    refused += 1
    options.failed()
    if (attempts > 0 && refused >= attempts) {
      over = true
      options.exhausted()
      return
    }
    request.reject(['publickey'])
  }

  /** One line in this order of fields: the filter in packaging/fail2ban reads it. */
  function log(result: 'accept' | 'reject', user: string, key: string, reason?: Reason): void {
    const { remoteAddress, remotePort, transport } = origin
    const fields = { door: 'ssh', result, remote_addr: remoteAddress, remote_port: remotePort, transport, user: shownUser(user), key }
    logger.info('auth attempt', reason === undefined ? fields : { ...fields, reason })
  }

  async function decide(request: ssh2.PublicKeyAuthContext): Promise<void> {
    const { algo, data } = request.key
    const certified = algo === CERTIFICATE_ALGORITHM
    if (!certified && algo !== KEY_ALGORITHM) return refuse(request, '-', 'algorithm')
    const key = certified ? keyOfCertificate(data) : keyOfBlob(data)
    if (key === undefined) return refuse(request, '-', 'key')
    const shown = blobFingerprint(data)
    if (!isUserName(request.username)) return refuse(request, shown, 'user')
    const proved = request.signature !== undefined && request.blob !== undefined
    if (proved && !verifySsh(key, request.blob as Buffer, request.signature as Buffer)) return refuse(request, shown, 'signature')
    const common = { user: request.username, address: origin.remoteAddress }
    const presentation: Presentation = certified
      ? { kind: 'ssh-certificate', certificate: new Uint8Array(data), ...common }
      : { kind: 'ssh-key', key, ...common }
    const caller = await identity.resolve(presentation)
    if (over) return
    if (caller === undefined || caller.revoked?.aborted === true) return refuse(request, shown, 'unknown')
    // Without a signature the client only asks whether it is worth making one.
    if (proved) {
      over = true
      log('accept', request.username, shown)
      options.accepted(caller, request.username)
    }
    request.accept()
  }

  return (request) => {
    if (over) return
    if (request.method !== 'publickey') {
      request.reject(['publickey'])
      return
    }
    decide(request as ssh2.PublicKeyAuthContext).catch((error: unknown) => {
      logger.error('identity of an SSH key could not be decided', { error })
      if (!over) refuse(request, '-', 'error')
    })
  }
}
