import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import type { TestContext } from 'node:test'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { concat } from '../../src/core/bytes.ts'
import type { Clock } from '../../src/core/clock.ts'
import { createSigner, randomSeed } from '../../src/core/crypto/ed25519.ts'
import type { KithError } from '../../src/core/errors.ts'
import { systemRandom } from '../../src/core/random.ts'
import type { Secret } from '../../src/core/secret.ts'
import { makeLinkCertificate } from '../../src/transport/tls/certificate.ts'
import type { Channel } from '../../src/transport/types.ts'
import { type Side, within } from './support.ts'

/** A clock whose time stands still until it is moved; what is due then runs. */
export function handClock(start: number = Date.parse('2026-06-01T00:00:00Z')): Clock & { advance(ms: number): void } {
  let at = 0
  const waiting = new Set<{ due: number; run: () => void }>()
  return {
    now: () => start + at,
    monotonic: () => at,
    after(ms, run) {
      const entry = { due: at + ms, run }
      waiting.add(entry)
      return { cancel: () => void waiting.delete(entry) }
    },
    advance(ms) {
      at += ms
      for (const entry of [...waiting]) {
        if (entry.due > at || !waiting.delete(entry)) continue
        entry.run()
      }
    },
  }
}

export function pem(label: string, der: Uint8Array): string {
  return `-----BEGIN ${label}-----\n${Buffer.from(der).toString('base64')}\n-----END ${label}-----\n`
}

/** Certificate and key as a TLS library takes them. `now` is when the certificate was made. */
export function linkPem(now: number, seed: Secret = randomSeed(systemRandom)): { cert: string; key: string; der: Uint8Array } {
  const head = Buffer.from('302e020100300506032b657004220420', 'hex')
  const key = pem(
    'PRIVATE KEY',
    seed.use((bytes) => concat(head, bytes)),
  )
  const signer = createSigner('link', seed)
  const der = makeLinkCertificate(signer, now, systemRandom)
  return { cert: pem('CERTIFICATE', der), key, der }
}

export interface Door {
  readonly port: number
  /** How each connection ended that did not become a channel. */
  readonly failures: KithError[]
  failed(): Promise<KithError>
  readonly channels: Channel[]
}

export async function listenTls(t: TestContext, side: Side): Promise<Door> {
  const failures: KithError[] = []
  const channels: Channel[] = []
  const waiting: ((error: KithError) => void)[] = []
  const server = await side.transport.listen(
    'tls://127.0.0.1:0',
    (channel) => {
      t.after(() => channel.close())
      channels.push(channel)
    },
    {
      onFailed: (error) => {
        failures.push(error)
        waiting.shift()?.(error)
      },
    },
  )
  t.after(() => server.close())
  return {
    port: Number(server.addresses[0]?.split(':').at(-1)),
    failures,
    channels,
    failed: () => within('the failure', new Promise<KithError>((resolve) => waiting.push(resolve))),
  }
}

/** A TLS client that is no node of ours. */
export function tlsClient(t: TestContext, port: number, options: ConnectionOptions): TLSSocket {
  const client = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ALPNProtocols: ['icn/1'], minVersion: 'TLSv1.2', ...options })
  client.on('error', () => {})
  t.after(() => client.destroy())
  return client
}

/** Sends bytes and gives back everything that is answered until the end. */
export async function sendRaw(t: TestContext, port: number, pieces: readonly Uint8Array[], options: { readonly end?: boolean } = {}): Promise<Buffer> {
  const socket = connectTcp({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
  t.after(() => socket.destroy())
  socket.on('error', () => {})
  await once(socket, 'connect')
  const parts: Buffer[] = []
  socket.on('data', (chunk: Buffer) => parts.push(chunk))
  const over = once(socket, 'close')
  for (const piece of pieces) {
    socket.write(piece)
    await new Promise(setImmediate)
  }
  if (options.end === true) socket.end()
  socket.on('end', () => socket.end())
  await within('the end of the connection', over)
  return Buffer.concat(parts)
}
