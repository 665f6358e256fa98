import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { systemClock } from '../../src/core/clock.ts'
import { createSigner } from '../../src/core/crypto/ed25519.ts'
import { Secret } from '../../src/core/secret.ts'
import { dial } from '../../src/stream/dial.ts'
import type { EncryptedStream } from '../../src/stream/encrypted-stream.ts'
import { listen } from '../../src/stream/listen.ts'
import { multiplex } from '../../src/transport/mux/connection.ts'
import type { Connection } from '../../src/transport/types.ts'

/** Both processes know both keys: nothing here is secret. */
const SEEDS = { dialer: Buffer.alloc(32, 1), listener: Buffer.alloc(32, 2) }
const signerOf = (role: 'dialer' | 'listener') => createSigner('link', Secret.take(Buffer.from(SEEDS[role])))

/** The same encrypted stream under our multiplexer and under npm's. */
export async function encrypted(socket: Socket, role: 'dialer' | 'listener'): Promise<EncryptedStream> {
  const config = { key: signerOf(role), namespace: 'kith-bench', maxMessageBytes: 65_536 }
  if (role === 'listener') return await listen(socket, { ...config, admit: () => true })
  return await dial(socket, { ...config, peer: signerOf('listener').publicKey })
}

export function muxOver(stream: EncryptedStream): Connection {
  const path = { scheme: 'tcp', address: 'tcp://127.0.0.1:1', direct: true }
  const info = { role: stream.role, localKey: stream.localKey, remoteKey: stream.remoteKey, path, postQuantum: false }
  return multiplex(stream.toPipe(), info, systemClock)
}

/** @hyperswarm/secret-stream over a socket; undefined where the benchmark’s own packages are not installed. */
export function secretStream(socket: Socket, initiator: boolean): Duplex | undefined {
  try {
    const NoiseSecretStream = createRequire(import.meta.url)('@hyperswarm/secret-stream') as new (initiator: boolean, raw: Socket) => Duplex
    return new NoiseSecretStream(initiator, socket)
  } catch {
    return undefined
  }
}
