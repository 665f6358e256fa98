import type { TestContext } from 'node:test'
import type { PublicKey } from '../../src/core/bytes.ts'
import { KithError } from '../../src/core/errors.ts'
import type { Channel, Connection, LinkStream, Listener, MultiplexOptions, Transport } from '../../src/transport/types.ts'

/** One end: what dials or listens, and the key it proves. */
export interface Side {
  readonly transport: Transport
  readonly key: PublicKey
}

/** What the suite needs of a transport under test. */
export interface Scene {
  readonly dialer: Side
  readonly listener: Side
  /** A key nobody here has. */
  readonly stranger: PublicKey
  /** Where to listen; any free port. */
  readonly address: string
  /** An address through which connections can be broken by `lose`; absent where nothing can come between. */
  through?(address: string): Promise<string>
  lose?(): void
  close(): Promise<void>
}

export type Setup = () => Promise<Scene>

export const LIMIT_MS = 15_000

/** A bounded wait: fails with the name of what did not come. */
export async function within<T>(what: string, promise: Promise<T>, ms: number = LIMIT_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`still waiting for: ${what}`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

export function hasCode(...codes: string[]): (error: unknown) => boolean {
  return (error) => {
    if (error instanceof KithError && codes.includes(error.code)) return true
    throw new Error(`expected ${codes.join(' or ')}`, { cause: error })
  }
}

export interface Channels extends Scene {
  readonly server: Listener
  readonly near: Channel
  readonly far: Channel
}

/** Both ends of one channel; everything is closed when the test ends. */
export async function channels(t: TestContext, setup: Setup): Promise<Channels> {
  const scene = await setup()
  t.after(() => scene.close())
  const arrived = Promise.withResolvers<Channel>()
  const server = await scene.listener.transport.listen(scene.address, arrived.resolve)
  t.after(() => server.close())
  const listening = server.addresses[0] as string
  const address = scene.through === undefined ? listening : await scene.through(listening)
  const near = await within('dial', scene.dialer.transport.dial(address, { expect: scene.listener.key, signal: AbortSignal.timeout(LIMIT_MS) }))
  t.after(() => near.close())
  const far = await within('the listener’s channel', arrived.promise)
  t.after(() => far.close())
  return { ...scene, server, near, far }
}

export interface Connections extends Channels {
  readonly a: Connection
  readonly b: Connection
}

/** Both ends of one connection, after three messages: as many as Hello takes. */
export async function connections(t: TestContext, setup: Setup, options: MultiplexOptions = {}): Promise<Connections> {
  const scene = await channels(t, setup)
  scene.near.send(Buffer.from('ready?'))
  await within('a message', scene.far.receive())
  scene.far.send(Buffer.from('ready.'))
  await within('an answer', scene.near.receive())
  scene.near.send(Buffer.from('go'))
  await within('the last message', scene.far.receive())
  const a = scene.near.multiplex(options)
  const b = scene.far.multiplex(options)
  t.after(() => Promise.all([a.close(), b.close()]))
  return { ...scene, a, b }
}

/** The next stream the other side opens. */
export function nextStream(connection: Connection): Promise<LinkStream> {
  return within(
    'an inbound stream',
    new Promise((resolve) => {
      connection.onStream = resolve
    }),
  )
}

/** Opens a stream, sends `first` and waits for its other end. */
export async function streamPair(from: Connection, to: Connection, first = 'x'): Promise<[LinkStream, LinkStream]> {
  const inbound = nextStream(to)
  const near = await within('open', from.open())
  near.write(Buffer.from(first))
  const far = await inbound
  await taking(far, first.length)
  return [near, far]
}

/** Takes `length` bytes, then leaves the stream without a reader that consumes. */
async function taking(stream: LinkStream, length: number): Promise<void> {
  let taken = 0
  await within(
    'the first bytes',
    new Promise<void>((resolve) => {
      stream.onData = (_data, start, end) => {
        stream.consume(end - start)
        taken += end - start
        if (taken >= length) resolve()
      }
    }),
  )
}

/** Everything until the end of the peer's half. */
export function readAll(stream: LinkStream): Promise<Buffer> {
  return within(
    'the end of a stream',
    new Promise((resolve, reject) => {
      const parts: Buffer[] = []
      stream.onEnd = () => resolve(Buffer.concat(parts))
      stream.onError = reject
      stream.onData = (data, start, end) => {
        parts.push(Buffer.from(data.subarray(start, end)))
        stream.consume(end - start)
      }
    }),
  )
}

/** What `onError` reports, and then `onClose`. */
export function failure(stream: LinkStream): Promise<{ error: KithError; direction: 'both' | 'write' }> {
  return within(
    'an error of a stream',
    new Promise((resolve) => {
      stream.onError = (error, direction) => resolve({ error, direction })
    }),
  )
}

export function closing(stream: LinkStream): Promise<void> {
  return within(
    'the close of a stream',
    new Promise((resolve) => {
      stream.onClose = resolve
    }),
  )
}

/** Sends back whatever arrives; no faster than it can. */
export function echo(stream: LinkStream): void {
  let owed = 0
  stream.onDrain = () => {
    const credit = owed
    owed = 0
    stream.consume(credit)
  }
  stream.onEnd = () => stream.end()
  stream.onData = (data, start, end) => {
    if (stream.write(data, start, end)) stream.consume(end - start)
    else owed += end - start
  }
}

/** Writes until the stream says stop; the number of bytes taken. */
export function fill(stream: LinkStream, most: number): number {
  const piece = Buffer.alloc(16 * 1024, 1)
  let written = 0
  while (written < most) {
    written += piece.length
    if (!stream.write(piece)) break
  }
  return written
}
