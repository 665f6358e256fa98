import { concat, type PublicKey } from '../../src/core/bytes.ts'
import { type Clock, type ManualClock, systemClock } from '../../src/core/clock.ts'
import { createSigner, parsePublicKey, randomSeed } from '../../src/core/crypto/ed25519.ts'
import { signLabeled, verifyLabeled } from '../../src/core/crypto/labels.ts'
import { KithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import type { FileMesh } from '../../src/files/files.ts'
import { type BlobComponents, type Blobs, createBlobs } from '../../src/gossip/blobs/blobs.ts'
import type { BlobSink } from '../../src/gossip/blobs/fetch-types.ts'
import type { GrantMessages } from '../../src/gossip/blobs/grant.ts'
import type { BlobSource } from '../../src/gossip/blobs/manifest.ts'
import { type Did, didPublicKey, formatDid } from '../../src/identity/did.ts'
import type { MeshPolicy } from '../../src/mesh/mesh-types.ts'
import type { RecordHead, RecordMessage } from '../../src/mesh/messages/types.ts'
import type { ConstraintSet, LeanHandler, LinkStatus, StreamContext, StreamHandler, ViolationReport } from '../../src/mesh/types.ts'
import { createMemoryNetwork, createMemoryTransport } from '../../src/transport/memory.ts'
import type { Channel, Connection, LinkStream } from '../../src/transport/types.ts'
import { ONE_OF_EACH } from '../support/policy.ts'

const [BLOBS, FILES] = [1, 2]

/** A few machines of different people, real links in memory between them, and their blobs. */
export interface BlobWorld {
  node(name: string, options?: NodeOptions): BlobNode
  /** A link between two of them. */
  link(a: BlobNode, b: BlobNode): Promise<Link>
  close(): Promise<void>
}

export interface NodeOptions {
  readonly clock?: Clock
  readonly limits?: Partial<ConstraintSet>
  readonly gossip?: BlobComponents['gossip']
  /** Changes what it says on streams it serves, or takes them over (`undefined`). */
  readonly tamper?: (stream: LinkStream) => LinkStream | undefined
}

export interface BlobNode {
  readonly name: string
  readonly did: Did
  readonly blobs: Blobs
  readonly messages: GrantMessages
  readonly violations: ViolationReport[]
  /** Peers whose protocol is denied by the owner. */
  readonly denied: Set<Did>
  /** Topics that peers may read here. */
  readonly readers: Map<string, Did[]>
  /** Signers it has not met. */
  readonly strangers: Set<Did>
  /** A stream to a peer, for those who speak by hand. */
  open(peer: BlobNode): Promise<LinkStream>
  /** The mesh as files see it. */
  readonly fileMesh: FileMesh
  /** May be `false` to refuse files. */
  acceptsFiles: boolean
  readonly policy: MeshPolicy
  /** Wraps streams this node opens. */
  tap: (stream: LinkStream, peer: Did) => LinkStream
  /** How many it opened, by peer. */
  readonly opened: Map<Did, number>
}

export interface Link {
  readonly near: Connection
  readonly far: Connection
  close(): Promise<void>
}

interface Inner extends BlobNode {
  handler: LeanHandler | undefined
  fileHandler: StreamHandler | undefined
  readonly tamper: (stream: LinkStream) => LinkStream | undefined
  readonly links: Map<Did, { connection: Connection; key: PublicKey }>
}

export function createBlobWorld(): BlobWorld {
  const network = createMemoryNetwork()
  const links: Link[] = []
  const nodes: Inner[] = []
  let names = 0

  function node(name: string, options: NodeOptions = {}): BlobNode {
    const clock = options.clock ?? systemClock
    const identity = createSigner('link', randomSeed(systemRandom))
    const did = formatDid(parsePublicKey(identity.publicKey))
    const constraints: ConstraintSet = { ...ONE_OF_EACH, messagesPerSecond: 10_000, burst: 10_000, outstandingRequests: 8, ...options.limits }
    const denied = new Set<Did>()
    const readers = new Map<string, Did[]>()
    const strangers = new Set<Did>()
    const violations: ViolationReport[] = []
    const messages = fakeMessages(did, identity, clock, strangers)
    const policy = {
      decide: ({ peer, action, target }: { peer: Did; action: string; target?: string }) => ({
        allowed: action === 'file' ? inner.acceptsFiles : action === 'subscribe' ? (readers.get(target ?? '') ?? []).includes(peer) : !denied.has(peer),
        rule: 'test',
        next: '',
      }),
      constraints: () => constraints,
    } as unknown as MeshPolicy
    const inner: Inner = {
      name,
      did,
      messages,
      violations,
      denied,
      readers,
      strangers,
      opened: new Map(),
      links: new Map(),
      handler: undefined,
      tamper: options.tamper ?? ((stream) => stream),
      tap: (stream) => stream,
      blobs: undefined as unknown as Blobs,
      open: async (peer) => await openTo(inner, peer.did, BLOBS),
      policy,
      acceptsFiles: true,
      fileHandler: undefined,
      fileMesh: {
        did,
        open: async (peer) => (await openTo(inner, peer, FILES)).toDuplex(),
        handle: (_protocol, handler) => {
          inner.fileHandler = handler
        },
      },
    }
    const mesh: BlobComponents['mesh'] = {
      did,
      policy,
      openLean: async (peer) => inner.tap(await openTo(inner, peer as Did, BLOBS), peer as Did),
      handleLean: (_protocol, handler) => {
        inner.handler = handler
        return () => {
          inner.handler = undefined
        }
      },
      links: () => [...inner.links.keys()].map((peer) => ({ did: peer, state: 'connected' }) as LinkStatus),
    }
    const { gossip } = options
    Object.assign(inner, {
      blobs: createBlobs({
        mesh,
        messages,
        clock,
        random: systemRandom,
        logger: silentLogger,
        conduct: { report: (violation) => violations.push(violation) },
        ...(gossip === undefined ? {} : { gossip }),
      }),
    })
    nodes.push(inner)
    return inner
  }

  async function openTo(from: Inner, peer: Did, protocol: number): Promise<LinkStream> {
    const link = from.links.get(peer)
    if (link === undefined) throw new KithError('PEER_UNREACHABLE')
    if (protocol === BLOBS) from.opened.set(peer, (from.opened.get(peer) ?? 0) + 1)
    const stream = await link.connection.open()
    stream.write(Uint8Array.of(protocol))
    return stream
  }

  function serve(node: Inner, connection: Connection, peer: Inner, linkKey: PublicKey): void {
    node.links.set(peer.did, { connection, key: linkKey })
    const context = { peer: peer.did, linkKey, signal: new AbortController().signal } as unknown as StreamContext
    connection.onStream = (stream) => {
      // One byte in front stands for the router's header.
      stream.onData = (data, start, end) => {
        stream.onData = () => {}
        stream.consume(1)
        if (data[start] === FILES) void node.fileHandler?.(stream.toDuplex(), context)
        else {
          const served = node.tamper(stream)
          if (served !== undefined) (node.handler as LeanHandler)(served, context)
        }
        if (start + 1 < end) stream.onData(data, start + 1, end)
      }
    }
  }

  async function link(a: BlobNode, b: BlobNode): Promise<Link> {
    const name = `far-${names++}`
    const make = () => {
      const signer = createSigner('link', randomSeed(systemRandom))
      return { signer, transport: createMemoryTransport({ network, signer, random: systemRandom, clock: systemClock }) }
    }
    const [dialer, listener] = [make(), make()]
    let accepted: (channel: Channel) => void = () => {}
    const arriving = new Promise<Channel>((resolve) => {
      accepted = resolve
    })
    const server = await listener.transport.listen(`memory://${name}`, accepted)
    const channel = await dialer.transport.dial(`memory://${name}`, { expect: listener.signer.publicKey, signal: AbortSignal.timeout(5_000) })
    const near = channel.multiplex()
    const far = (await arriving).multiplex()
    serve(a as Inner, near, b as Inner, near.remoteKey)
    serve(b as Inner, far, a as Inner, far.remoteKey)
    const made: Link = {
      near,
      far,
      async close() {
        ;(a as Inner).links.delete(b.did)
        ;(b as Inner).links.delete(a.did)
        await near.close()
        await far.close()
        await server.close()
      },
    }
    links.push(made)
    return made
  }

  return {
    node,
    link,
    async close() {
      await Promise.all(nodes.map((one) => one.blobs.close()))
      await Promise.all(links.map((one) => one.close()))
    },
  }
}

type Signing = ReturnType<typeof createSigner>

/** Records of the form `did || u64 time || payload || signature`; each node has met everybody but its `strangers`. */
function fakeMessages(did: Did, signer: Signing, clock: Clock, strangers: Set<Did>): GrantMessages {
  const device = parsePublicKey(signer.publicKey)
  return {
    signRecord({ topic, type, payload }) {
      const head = Buffer.alloc(10)
      head.writeBigUInt64BE(BigInt(clock.now()))
      head.writeUInt16BE(type, 8)
      const body = concat(didPublicKey(did), head, payload)
      const bytes = concat(body, signLabeled(signer, 'icn/test-record/v1', new TextEncoder().encode(topic), body))
      return { bytes } as RecordMessage
    },
    readRecord(bytes) {
      if (bytes.length < 32 + 10 + 64) throw new KithError('WIRE_MALFORMED')
      return { from: formatDid(parsePublicKey(bytes.slice(0, 32))) } as RecordHead
    },
    async verifyRecord(bytes, topic) {
      if (bytes.length < 32 + 10 + 64) throw new KithError('WIRE_MALFORMED')
      const body = bytes.subarray(0, -64)
      const key = parsePublicKey(body.slice(0, 32))
      const from = formatDid(key)
      if (strangers.has(from)) throw new KithError('DEVICE_UNKNOWN')
      if (!verifyLabeled(key, bytes.subarray(-64), 'icn/test-record/v1', new TextEncoder().encode(topic), body)) throw new KithError('SIGNATURE_INVALID')
      const view = Buffer.from(body)
      return { from, device: key, timeMs: Number(view.readBigUInt64BE(32)), type: view.readUInt16BE(40), payload: body.slice(42) } as unknown as RecordMessage
    },
    directory: {
      papers: async (wanted) => ({ did: wanted, binding: device, chain: new Uint8Array(0) }),
      learn: async (papers) => {
        strangers.delete(papers.did)
        return {} as never
      },
    },
  }
}

/** Content in memory. */
export function bytesSource(content: Uint8Array): BlobSource & { reads: number; content: Uint8Array } {
  return {
    size: content.length,
    reads: 0,
    content,
    async read(target, position) {
      this.reads++
      target.set(this.content.subarray(position, position + target.length))
    },
  }
}

/** A file in memory that keeps what was written. */
export function bytesSink(size: number): BlobSink & { readonly content: Uint8Array; writes: number; end: number } {
  const content = new Uint8Array(size)
  return {
    content,
    writes: 0,
    end: 0,
    async read(target, position) {
      const part = content.subarray(position, Math.min(position + target.length, this.end))
      target.set(part)
      return part.length
    },
    async write(data, position) {
      this.writes++
      content.set(data, position)
      this.end = Math.max(this.end, position + data.length)
    },
  }
}

/** A stream whose owner says something else than it thinks: `change` sees every write. */
export function says(stream: LinkStream, change: (data: Uint8Array) => Uint8Array | undefined): LinkStream {
  const write = stream.write.bind(stream)
  stream.write = (data, start = 0, end = data.length) => {
    const changed = change(data.subarray(start, end))
    return changed === undefined ? true : write(changed)
  }
  return stream
}

/** Runs virtual time until the promise has settled. */
export async function settle<T>(clock: ManualClock, promise: Promise<T>, withinMs = 600_000): Promise<T> {
  let settled = false
  const watched = promise.finally(() => {
    settled = true
  })
  watched.catch(() => undefined)
  for (let spent = 0; !settled && spent <= withinMs; spent += 250) {
    for (let turn = 0; turn < 40 && !settled; turn++) await new Promise((resolve) => setImmediate(resolve))
    if (!settled) await clock.run(250)
  }
  if (!settled) throw new Error('not settled in time')
  return await watched
}

/** Everything that comes on a stream until it ends: bytes, and the code it ended with. */
export function listen(stream: LinkStream): { readonly bytes: () => Buffer; readonly ended: Promise<KithError | undefined> } {
  const parts: Buffer[] = []
  const ended = new Promise<KithError | undefined>((resolve) => {
    stream.onEnd = () => resolve(undefined)
    stream.onError = (error) => resolve(error)
  })
  stream.onData = (data, start, end) => {
    parts.push(Buffer.from(data.subarray(start, end)))
    stream.consume(end - start)
  }
  return { bytes: () => Buffer.concat(parts), ended }
}
