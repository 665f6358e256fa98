import assert from 'node:assert/strict'
import type { Duplex } from 'node:stream'
import { type ManualClock, manualClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { seededRandom } from '../../src/core/random.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { Store } from '../../src/core/store/types.ts'
import { createMesh } from '../../src/mesh/mesh.ts'
import type { Mesh, MeshComponents } from '../../src/mesh/mesh-types.ts'
import type { LinkEvent } from '../../src/mesh/types.ts'
import { createMemoryNetwork, createMemoryTransport, type MemoryNetwork } from '../../src/transport/memory.ts'
import type { Channel, Path, Transport } from '../../src/transport/types.ts'
import { NOW, type TestDevice, type TestIdentity, testDevice, testIdentity } from './fixtures.ts'

/** Nodes in one network and one time. */
export interface World {
  readonly network: MemoryNetwork
  readonly clock: ManualClock
  node(name: string, options?: NodeOptions): Promise<WorldNode>
  /** Lets everything run that is due now, and `ms` more. */
  run(ms?: number): Promise<void>
  /** Runs time until the condition holds. */
  until(condition: () => boolean, withinMs?: number): Promise<void>
  /** The promise's value, time running meanwhile. */
  settle<T>(promise: Promise<T>, withinMs?: number): Promise<T>
  close(): Promise<void>
}

export interface NodeOptions extends Partial<Omit<MeshComponents, 'device' | 'store'>> {
  readonly identity?: TestIdentity
  readonly device?: TestDevice
  readonly store?: Store
  /** Further schemes that this node carries, over the same network (`asScheme`). */
  readonly schemes?: readonly string[]
  /** Address to listen at; default `memory://NAME`, null for none. */
  readonly listen?: string | null
  readonly start?: boolean
}

export interface WorldNode {
  readonly name: string
  readonly mesh: Mesh
  readonly device: TestDevice
  readonly identity: TestIdentity
  readonly store: Store
  readonly events: LinkEvent[]
  readonly url: string
}

export function createWorld(options: { latencyMs?: number } = {}): World {
  const network = createMemoryNetwork(options)
  const clock = manualClock(NOW)
  const meshes: Mesh[] = []

  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  async function run(ms = 0): Promise<void> {
    for (let i = 0; i < 5; i++) await turn()
    if (ms > 0) await clock.run(ms)
    for (let i = 0; i < 5; i++) await turn()
  }
  async function until(condition: () => boolean, withinMs = 120_000): Promise<void> {
    const end = clock.monotonic() + withinMs
    while (!condition()) {
      for (let turns = 0; turns < 20 && !condition(); turns++) await turn()
      if (condition()) return
      assert.ok(clock.monotonic() < end, 'the condition did not come to hold in time')
      const next = clock.next ?? 1_000
      await clock.run(Math.max(1, Math.min(next, end - clock.monotonic())))
    }
  }
  async function settle<T>(promise: Promise<T>, withinMs = 120_000): Promise<T> {
    let done = false
    const watched = promise.finally(() => {
      done = true
    })
    watched.catch(() => undefined)
    await until(() => done, withinMs)
    return await watched
  }
  async function node(name: string, given: NodeOptions = {}): Promise<WorldNode> {
    const {
      identity: givenIdentity,
      device: givenDevice,
      store = createMemoryStore(),
      listen = `memory://${name}`,
      start = true,
      schemes = [],
      ...rest
    } = given
    const identity = givenIdentity ?? testIdentity(name)
    const device = givenDevice ?? testDevice(identity, name)
    device.name = name
    const random = seededRandom(`mesh ${name} ${meshes.length}`)
    const transport = createMemoryTransport({ network, signer: device.linkSigner, random, clock, name })
    const mesh = await createMesh({
      device,
      store,
      transports: [transport, ...schemes.map((scheme) => asScheme(transport, scheme))],
      clock,
      random,
      logger: silentLogger,
      interfaces: () => [],
      ...rest,
    })
    meshes.push(mesh)
    const events: LinkEvent[] = []
    mesh.onEvent((event) => events.push(event))
    if (listen !== null) await mesh.listen(listen)
    if (start) await mesh.start()
    return { name, mesh, device, identity, store, events, url: listen ?? '' }
  }
  return {
    network,
    clock,
    node,
    run,
    until,
    settle,
    close: async () => {
      await settle(Promise.all(meshes.map((mesh) => mesh.close())))
    },
  }
}

/** The memory transport under another name: `tcp://x` is `memory://x-tcp`, so that paths can be told apart and liked differently. */
export function asScheme(transport: Transport, scheme: string): Transport {
  const inner = (url: string): string => `memory://${url.slice(scheme.length + 3)}-${scheme}`
  const outer = (path: Path): Path => ({ ...path, scheme, address: path.address.replace(/^memory:/, `${scheme}:`).replace(new RegExp(`-${scheme}$`), '') })
  const renamed = (channel: Channel): Channel => {
    const { path } = channel
    const multiplex = channel.multiplex.bind(channel)
    return Object.assign(channel, {
      path: outer(path),
      multiplex: (options?: Parameters<Channel['multiplex']>[0]) => Object.assign(multiplex(options), { path: outer(path) }),
    })
  }
  return {
    scheme,
    listen: async (address, onChannel, options) => {
      const listener = await transport.listen(inner(address), (channel) => onChannel(renamed(channel)), options)
      return { addresses: [address], close: () => listener.close() }
    },
    dial: async (address, options) => renamed(await transport.dial(inner(address), options)),
    locate: async (address, request, options) => await (transport.locate as NonNullable<Transport['locate']>).call(transport, inner(address), request, options),
  }
}

/** Both know each other and where to find each other. */
export async function acquaint(a: WorldNode, b: WorldNode): Promise<void> {
  await a.mesh.book.add(b.mesh.did, { name: b.name, ...(b.url === '' ? {} : { urls: [b.url] }) })
  await b.mesh.book.add(a.mesh.did, { name: a.name, ...(a.url === '' ? {} : { urls: [a.url] }) })
}

/** Everything up to the end of a stream. */
export async function readAll(stream: Duplex): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

/** An echo that answers with the peer's DID in front. */
export function serveEcho(node: WorldNode, protocol = 'test/echo/1'): void {
  node.mesh.handle(protocol, async (stream) => {
    stream.end(`${node.name}:${await readAll(stream)}`)
  })
}

export async function askEcho(world: World, from: WorldNode, to: WorldNode, text: string, protocol = 'test/echo/1'): Promise<string> {
  const stream = await world.settle(from.mesh.open(to.mesh.did, protocol))
  stream.end(text)
  return await world.settle(readAll(stream))
}
