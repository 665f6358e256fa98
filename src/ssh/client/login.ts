import type ssh2 from 'ssh2'
import { keyBlob } from '../../access/ssh-wire.ts'
import { concat } from '../../core/bytes.ts'
import type { Insides } from '../library.ts'
import { CERTIFICATE_ALGORITHM, KEY_ALGORITHM, sshString } from '../wire.ts'
import type { Credential } from './credential.ts'

const USERAUTH_REQUEST = 50
const SIGNED = Uint8Array.of(1)

/**
 * Shows the credentials in turn, each once; false when there are no more. The request is written here, because the library knows no certificates; the signature
 * bears the plain key's name in both cases.
 */
export function showCredentials(client: ssh2.Client, user: string, credentials: readonly Credential[]): ssh2.AuthHandlerMiddleware {
  const { _protocol: protocol } = client as ssh2.Client & Insides
  let next = -1
  return (_left, _partial, done) => {
    next += 1
    // The first request has to be one of the library's, which keeps its books by it; every server refuses it.
    if (next === 0) return done({ type: 'none', username: user } as never)
    const credential = credentials[next - 1]
    if (credential === undefined) return done(false as never)
    const session = (client as ssh2.Client & Insides)._protocol._kex?.sessionID ?? Buffer.alloc(0)
    send(protocol ?? (client as ssh2.Client & Insides)._protocol, request(user, credential, session))
  }
}

function request(user: string, { signer, certificate }: Credential, session: Uint8Array): Uint8Array {
  const algorithm = certificate === undefined ? KEY_ALGORITHM : CERTIFICATE_ALGORITHM
  const blob = certificate ?? keyBlob(signer.publicKey)
  const body = concat(
    Uint8Array.of(USERAUTH_REQUEST),
    sshString(user),
    sshString('ssh-connection'),
    sshString('publickey'),
    SIGNED,
    sshString(algorithm),
    sshString(blob),
  )
  const signature = signer.sign(concat(sshString(session), body))
  return concat(body, sshString(concat(sshString(KEY_ALGORITHM), sshString(signature))))
}

function send(protocol: Insides['_protocol'], payload: Uint8Array): void {
  const { write } = protocol._packetRW
  const at = write.allocStart
  const packet = write.alloc(payload.length)
  packet.set(payload, at)
  protocol._authsQueue.push('publickey')
  protocol._cipher.encrypt(write.finalize(packet))
}
