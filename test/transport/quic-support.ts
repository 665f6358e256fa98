import type { PublicKey } from '../../src/core/bytes.ts'
import { systemClock } from '../../src/core/clock.ts'
import { publicKeyOfSeed } from '../../src/core/crypto/ed25519.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { createQuicTransport, type QuicOptions } from '../../src/transport/quic/index.ts'
import type { Channel, Connection, LinkStream, Listener, Transport } from '../../src/transport/types.ts'

export interface Side {
  readonly transport: Transport
  readonly key: PublicKey
}

export function side(options: Partial<QuicOptions> = {}): Side {
  const seed = Secret.random(32, systemRandom)
  const transport = createQuicTransport({ seed, clock: systemClock, random: systemRandom, logger: silentLogger, ...options })
  return { transport, key: publicKeyOfSeed(seed) }
}

export interface ChannelPair {
  readonly dialer: Channel
  readonly listener: Channel
  readonly server: Listener
  readonly a: Side
  readonly b: Side
  close(): Promise<void>
}

/** A dials B on loopback. */
export async function channels(options: Partial<QuicOptions> = {}): Promise<ChannelPair> {
  const a = side(options)
  const b = side(options)
  const { promise, resolve } = Promise.withResolvers<Channel>()
  const server = await b.transport.listen('quic://127.0.0.1:0', resolve)
  const dialer = await a.transport.dial(server.addresses[0] as string, { expect: b.key, signal: AbortSignal.timeout(10_000) })
  const listener = await promise
  return { dialer, listener, server, a, b, close: () => server.close() }
}

export interface Pair {
  readonly dialer: Connection
  readonly listener: Connection
  close(): Promise<void>
}

export async function connections(options: Partial<QuicOptions> = {}): Promise<Pair> {
  const pair = await channels(options)
  pair.dialer.send(Buffer.from('hello'))
  await pair.listener.receive()
  pair.listener.send(Buffer.from('verdict'))
  await pair.dialer.receive()
  const dialer = pair.dialer.multiplex()
  const listener = pair.listener.multiplex()
  return {
    dialer,
    listener,
    close: async () => {
      await Promise.all([dialer.close(), listener.close()])
      await pair.close()
    },
  }
}

/** The next stream that `connection` accepts. */
export function nextStream(connection: Connection): Promise<LinkStream> {
  return new Promise((resolve) => {
    connection.onStream = resolve
  })
}

export async function readAll(stream: LinkStream): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of stream.toDuplex()) parts.push(part as Buffer)
  return Buffer.concat(parts)
}
