import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { type Clock, systemClock } from '../../src/core/clock.ts'
import type { ErrorCode } from '../../src/core/errors.ts'
import { type Logger, silentLogger } from '../../src/core/observe/log.ts'
import type { Metrics } from '../../src/core/observe/metrics.ts'
import { systemRandom } from '../../src/core/random.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { greet } from '../../src/mesh/hello.ts'
import { HelloCache } from '../../src/mesh/hello-cache.ts'
import type { AuthenticatedLink, GreetContext } from '../../src/mesh/hello-types.ts'
import { openKnownKeys } from '../../src/mesh/known-keys.ts'
import { createMesh } from '../../src/mesh/mesh.ts'
import type { Mesh, MeshConfig } from '../../src/mesh/mesh-types.ts'
import type { MuxConnection } from '../../src/transport/mux/connection.ts'
import { createTcpTransport } from '../../src/transport/tcp.ts'
import type { Channel } from '../../src/transport/types.ts'
import { NOW, skewed, type TestDevice, testDevice, testIdentity } from '../mesh/fixtures.ts'
import { within } from '../transport/support.ts'

/** A real node on TCP, and what its log says of those it refused. */
export interface Node {
  readonly name: string
  readonly mesh: Mesh
  readonly device: TestDevice
  readonly url: string
  readonly port: number
  /** Codes of handshakes and greetings that failed, in order. */
  readonly codes: ErrorCode[]
  /** The next code, or the first one not yet taken. */
  code(): Promise<ErrorCode>
}

/** A logger that keeps the codes. */
function listening(codes: ErrorCode[], heard: () => void): Logger {
  const debug = (_event: string, fields: { code?: unknown } = {}): void => {
    // Whoever asks for the key at an address closes when it has the answer.
    if (typeof fields.code !== 'string' || fields.code === 'CLOSED') return
    codes.push(fields.code as ErrorCode)
    heard()
  }
  const logger: Logger = { ...silentLogger, debug, child: () => logger }
  return logger
}

/** Wall time of the fixtures' bindings, running as the machine's clock does. */
export function fixtureClock(): Clock {
  const start = NOW - systemClock.now()
  return skewed(systemClock, start)
}

export interface NodeOptions {
  readonly clock?: Clock
  readonly config?: MeshConfig
  readonly metrics?: Metrics
}

export async function startNode(t: TestContext, name: string, options: NodeOptions = {}): Promise<Node> {
  const clock = options.clock ?? fixtureClock()
  const device = testDevice(testIdentity(name), name)
  device.name = name
  const codes: ErrorCode[] = []
  let taken = 0
  let wake: () => void = () => {}
  const logger = listening(codes, () => wake())
  const mesh = await createMesh({
    device,
    store: createMemoryStore(),
    transports: [createTcpTransport({ signer: device.linkSigner, clock, random: systemRandom, logger })],
    clock,
    random: systemRandom,
    logger,
    interfaces: () => ['127.0.0.1'],
    config: { drainMs: 0, ...options.config },
    ...(options.metrics === undefined ? {} : { metrics: options.metrics }),
  })
  const [url = ''] = await mesh.listen('tcp://127.0.0.1:0')
  await mesh.start()
  t.after(() => within('the end of a node', mesh.close()))
  const code = async (): Promise<ErrorCode> => {
    while (codes.length <= taken) {
      await within(
        'a code',
        new Promise<void>((resolve) => {
          wake = resolve
        }),
      )
    }
    return codes[taken++] as ErrorCode
  }
  return { name, mesh, device, url, port: Number(url.split(':').at(-1)), codes, code }
}

/** A peer in good standing, linked to the node. */
export async function startGood(t: TestContext, node: Node, options: NodeOptions = {}): Promise<Node> {
  const good = await startNode(t, 'good', options)
  await node.mesh.book.add(good.mesh.did, { name: 'good' })
  await good.mesh.book.add(node.mesh.did, { name: 'node', urls: [node.url] })
  await within('the good link', good.mesh.dial(node.mesh.did))
  return good
}

/** The node still answers its good peer. */
export async function assertServes(node: Node, good: Node): Promise<void> {
  const [ms] = await within('a ping of the good peer', good.mesh.ping(node.mesh.did))
  assert.ok(ms !== undefined)
}

/** A bare connection to the node. */
export async function socketTo(t: TestContext, node: Node): Promise<{ socket: Socket; closed: Promise<void> }> {
  const socket = connect({ host: '127.0.0.1', port: node.port, allowHalfOpen: false })
  socket.on('error', () => {})
  socket.resume()
  t.after(() => socket.destroy())
  await within('a connection', once(socket, 'connect'))
  return { socket, closed: once(socket, 'close').then(() => undefined) }
}

/** Somebody with keys of his own, who speaks for himself. */
export interface Attacker {
  readonly device: TestDevice
  readonly context: GreetContext
}

export async function attacker(name: string, clock: Clock = fixtureClock()): Promise<Attacker> {
  const device = testDevice(testIdentity(name), name)
  const known = await openKnownKeys({ store: createMemoryStore(), clock, log: silentLogger })
  const context: GreetContext = {
    device,
    known,
    cache: new HelloCache(),
    clock,
    random: systemRandom,
    log: silentLogger,
    boot: 1,
    run: systemRandom.bytes(8),
  }
  return { device, context }
}

/** Through the handshake, not yet greeted. */
export async function channelTo(t: TestContext, node: Node, from: Attacker): Promise<Channel> {
  const transport = createTcpTransport({ signer: from.device.linkSigner, clock: from.context.clock, random: systemRandom })
  const channel = await within('a channel', transport.dial(node.url, { expect: node.device.linkSigner.publicKey, signal: AbortSignal.timeout(15_000) }))
  t.after(() => channel.close())
  return channel
}

/** Greeted and let in: what follows is up to the attacker. */
export async function linkTo(t: TestContext, node: Node, from: Attacker): Promise<{ link: AuthenticatedLink; mux: MuxConnection }> {
  const channel = await channelTo(t, node, from)
  const link = await within('a link', greet(channel, from.context, { expect: node.device.did }))
  const mux = channel.multiplex({ keepAliveMs: 0 }) as MuxConnection
  t.after(() => mux.close())
  return { link, mux }
}

/** With which code the node ended the attacker's connection. */
export async function endedWith(mux: MuxConnection): Promise<ErrorCode | null> {
  const { error, remote } = await within('the end of the connection', mux.closed)
  assert.ok(error === null || remote, String(error?.stack))
  return error?.code ?? null
}

/** Past the pacing and the limits of our own end, as somebody hostile would write. */
export function frameOf(mux: MuxConnection, type: number, flags: number, id: number, length: number): void {
  mux.outbox.control(type, flags, id, length)
}

export interface Tap {
  readonly url: string
  /** What was sent to the node, per connection. */
  toNode(): readonly Buffer[]
  /** Changes one byte of the next chunk that is long enough to be a record. */
  damage: boolean
}

/** Somebody on the wire before the node. */
export async function tap(t: TestContext, port: number): Promise<Tap> {
  const heard: Buffer[][] = []
  const sockets = new Set<Socket>()
  const made = { damage: false }
  const server = createServer((near) => {
    const chunks: Buffer[] = []
    heard.push(chunks)
    const far = connect({ host: '127.0.0.1', port })
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        near.destroy()
        far.destroy()
        sockets.delete(socket)
      })
    }
    near.on('data', (chunk: Buffer) => {
      chunks.push(Buffer.from(chunk))
      if (made.damage && chunk.length > 20) {
        made.damage = false
        chunk[chunk.length - 1] = (chunk[chunk.length - 1] as number) ^ 1
      }
      far.write(chunk)
    })
    far.on('data', (chunk: Buffer) => near.write(chunk))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return Object.assign(made, { url: `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`, toNode: () => heard.map((chunks) => Buffer.concat(chunks)) })
}
