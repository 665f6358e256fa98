import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { PublicKey } from '../../src/core/bytes.ts'
import { systemClock } from '../../src/core/clock.ts'
import { KithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import type { Did } from '../../src/identity/did.ts'
import type { LeanHandler, Policy, PolicyRequest, StreamContext } from '../../src/mesh/types.ts'
import type { LinkStream } from '../../src/transport/types.ts'
import { createTunnels, type Tunnels } from '../../src/tunnel/tunnels.ts'
import { type ConnectedPair, connectedPair } from '../support/links.ts'
import { ONE_OF_EACH } from '../support/policy.ts'

export const NEAR = 'did:icn:near' as Did
export const FAR = 'did:icn:far' as Did
const KEY = new Uint8Array(32) as PublicKey

/** Two nodes whose streams carry the name of their protocol as one byte in front, so that both sides can open all of them. */
export interface Nodes {
  readonly near: Tunnels
  readonly far: Tunnels
  readonly asked: PolicyRequest[]
  allowed: (request: PolicyRequest) => boolean
  addresses: (host: string) => readonly string[]
  /** Rules have changed. */
  changed(): void
  /** Takes the link away; streams of it fail. */
  cut(): Promise<void>
  /** Brings a new one. */
  restore(): Promise<void>
  /** A stream of one side, its protocol said, for what no correct node sends. */
  raw(side: 'near' | 'far', protocol: string): Promise<LinkStream>
  target(onSocket: (socket: Socket) => void): Promise<number>
  dial(address: string): Promise<Socket>
  close(): Promise<void>
}

const PROTOCOLS = ['icn/forward/1', 'icn/listen/1']

export async function openNodes(idleMs: () => number = () => 0): Promise<Nodes> {
  let links: ConnectedPair | undefined = await connectedPair()
  const asked: PolicyRequest[] = []
  const watchers = new Set<() => void>()
  const servers: Server[] = []
  const sockets: Socket[] = []
  const nodes = { allowed: (_request: PolicyRequest): boolean => true, addresses: (_host: string): readonly string[] => ['127.0.0.1'] }
  const policy: Policy = {
    decide(request) {
      asked.push(request)
      return { allowed: nodes.allowed(request), rule: 'test', next: '' }
    },
    constraints: () => ONE_OF_EACH,
    classOf: () => 'known',
    scoreOf: () => 1_000,
    onChange(listener) {
      watchers.add(listener)
      return () => watchers.delete(listener)
    },
  }
  const handlers: Record<'near' | 'far', Map<string, LeanHandler>> = { near: new Map(), far: new Map() }
  const serve = (side: 'near' | 'far'): void => {
    if (links === undefined) return
    links[side].onStream = (stream) => {
      stream.onData = (data, start, end) => {
        const handler = handlers[side].get(PROTOCOLS[data[start] as number] as string)
        handler?.(stream, { peer: side === 'far' ? NEAR : FAR, linkKey: KEY, signal: new AbortController().signal } as unknown as StreamContext)
        stream.consume(1)
        if (end > start + 1) stream.onData(data, start + 1, end)
      }
    }
  }
  serve('near')
  serve('far')
  const mesh = (side: 'near' | 'far', did: Did): Parameters<typeof createTunnels>[0]['mesh'] => ({
    did,
    resolve(text) {
      if (text === 'far') return FAR
      throw new KithError('PEER_UNKNOWN')
    },
    async openLean(_peer, protocol, { signal }): Promise<LinkStream> {
      signal?.throwIfAborted()
      if (links === undefined) throw new KithError('PEER_UNREACHABLE')
      const stream = await links[side].open()
      stream.write(Uint8Array.of(PROTOCOLS.indexOf(protocol)))
      return stream
    },
    handleLean: (protocol, handler) => void handlers[side].set(protocol, handler),
  })
  const base = { policy, clock: systemClock, logger: silentLogger, idleMs, resolve: async (host: string) => nodes.addresses(host) }
  const near = createTunnels({ ...base, mesh: mesh('near', NEAR) })
  const far = createTunnels({ ...base, mesh: mesh('far', FAR) })
  return Object.assign(nodes, {
    near,
    far,
    asked,
    changed: () => watchers.forEach((watcher) => void watcher()),
    async cut() {
      const old = links
      links = undefined
      await old?.close()
    },
    async restore() {
      links = await connectedPair()
      serve('near')
      serve('far')
    },
    async raw(side: 'near' | 'far', protocol: string) {
      const stream = await (links as ConnectedPair)[side].open()
      stream.write(Uint8Array.of(PROTOCOLS.indexOf(protocol)))
      return stream
    },
    async target(onSocket: (socket: Socket) => void) {
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        sockets.push(socket)
        socket.on('error', () => {})
        onSocket(socket)
      })
      servers.push(server)
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      return (server.address() as AddressInfo).port
    },
    async dial(address: string) {
      const socket = address.startsWith('unix:')
        ? connect({ path: address.slice(5), allowHalfOpen: true })
        : connect({ host: '127.0.0.1', port: Number(address.slice(address.lastIndexOf(':') + 1)), allowHalfOpen: true })
      sockets.push(socket)
      await once(socket, 'connect')
      socket.on('error', () => {})
      return socket
    },
    async close() {
      await near.close()
      await far.close()
      await links?.close()
      for (const socket of sockets.splice(0)) socket.destroy()
      for (const server of servers.splice(0)) server.close()
    },
  })
}

export async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

/** Exactly so many bytes from the front. */
export async function read(socket: Socket, length: number): Promise<Buffer> {
  for (;;) {
    const chunk = socket.read(length) as Buffer | null
    if (chunk !== null) return chunk
    await once(socket, 'readable')
    if (socket.readableEnded) return Buffer.alloc(0)
  }
}

/** Waits until something holds, looking again at each turn of the loop; at most a second or so. */
export async function until(holds: () => boolean): Promise<void> {
  const end = performance.now() + 5_000
  while (!holds()) {
    if (performance.now() > end) throw new Error('it did not come to hold in time')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
