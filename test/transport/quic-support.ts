import { createSocket, type RemoteInfo } from 'node:dgram'
import { once } from 'node:events'
import type { TestContext } from 'node:test'
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
}

/** A dials B on loopback. */
export async function channels(t: TestContext, options: Partial<QuicOptions> = {}, wire?: Relay): Promise<ChannelPair> {
  const a = side(options)
  const b = side(options)
  const { promise, resolve } = Promise.withResolvers<Channel>()
  const server = await b.transport.listen('quic://127.0.0.1:0', resolve)
  const address = server.addresses[0] as string
  const dialer = await a.transport.dial(wire === undefined ? address : wire.to(address), { expect: b.key, signal: AbortSignal.timeout(10_000) })
  const listener = await promise
  t.after(async () => {
    dialer.close()
    listener.close()
    await server.close()
  })
  return { dialer, listener, server, a, b }
}

export interface Pair {
  readonly dialer: Connection
  readonly listener: Connection
}

export async function connections(t: TestContext, options: Partial<QuicOptions> = {}, wire?: Relay): Promise<Pair> {
  const pair = await channels(t, options, wire)
  pair.dialer.send(Buffer.from('hello'))
  await pair.listener.receive()
  pair.listener.send(Buffer.from('verdict'))
  await pair.dialer.receive()
  const dialer = pair.dialer.multiplex()
  const listener = pair.listener.multiplex()
  t.after(() => Promise.all([dialer.close(), listener.close()]))
  return { dialer, listener }
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

const RETIRE_MS = 5_000

/** A wire between one dialer and a listener that can be cut. */
export interface Relay {
  /** The address that leads to `address` through the wire. */
  to(address: string): string
  /** From here on nothing passes. */
  cut(): void
  close(): void
  /** Closes it later, without keeping the process. */
  retire(): void
}

export async function relay(t: TestContext): Promise<Relay> {
  const wire = await openRelay()
  t.after(() => wire.close())
  return wire
}

export async function openRelay(): Promise<Relay> {
  const near = createSocket('udp4')
  const far = createSocket('udp4')
  let target = 0
  let dialer: RemoteInfo | undefined
  let open = true
  near.on('message', (message, from) => {
    // The question whether anybody listens comes from a socket of its own.
    if (message.length === 1) return
    dialer = from
    if (open) far.send(message, target, '127.0.0.1')
  })
  far.on('message', (message) => {
    if (open && dialer !== undefined) near.send(message, dialer.port, dialer.address)
  })
  for (const socket of [near, far]) {
    const bound = once(socket, 'listening')
    socket.bind(0, '127.0.0.1')
    await bound
  }
  let closed = false
  const close = (): void => {
    if (closed) return
    closed = true
    near.close()
    far.close()
  }
  return {
    close,
    retire() {
      near.unref()
      far.unref()
      setTimeout(close, RETIRE_MS).unref()
    },
    to(address) {
      target = Number(new URL(address.replace('quic:', 'http:')).port)
      return `quic://127.0.0.1:${near.address().port}`
    },
    cut: () => {
      open = false
    },
  }
}

/** Turns of the event loop until `condition` holds; the test's own time limit bounds it. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate)
}
