import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { isKithError } from '../core/errors.ts'
import { decodeTicket } from '../mesh/ticket.ts'
import type { ProtocolOptions, StreamContext } from '../mesh/types.ts'
import { createNode } from './node.ts'
import type { InviteOptions, Node, NodeOptions } from './node-types.ts'

/** What `connect` and `serve` speak when nothing else is said: bytes, as the program likes. */
const DEFAULT_PROTOCOL = 'kith/duplex/1'
/** A program that only dials is reached by nobody. */
const NOWHERE = ['tcp://127.0.0.1:0']

export interface DuplexOptions {
  /** Directory of the identity. Absent: an identity of its own that is gone when all is closed. Not with `node`. */
  readonly home?: string
  /** A node that runs already; it stays the caller's. */
  readonly node?: Node
  readonly passphrase?: NodeOptions['passphrase']
  /** What peers call this machine, when its identity is made now. */
  readonly name?: string
  /** The protocol of the streams; both sides say the same. Default `kith/duplex/1`. */
  readonly protocol?: string
}

export interface ServeOptions extends DuplexOptions, ProtocolOptions {
  /** Addresses to listen on, as `tcp://0.0.0.0:4433`. Default: the configuration's, else the peer port on all interfaces. */
  readonly listen?: readonly string[]
}

export interface ConnectOptions extends DuplexOptions {
  readonly signal?: AbortSignal
}

/** Who is at the other end; proved before the first byte. */
export interface DuplexPeer {
  readonly peer: string
}

export interface Served extends AsyncDisposable {
  readonly did: string
  /** Where this node is reached. */
  readonly addresses: readonly string[]
  readonly node: Node
  /** A ticket that lets a stranger connect once. @throws as `node.invite`. */
  invite(options?: InviteOptions): Promise<string>
  /** Takes no more streams; closes the node unless it was given. Idempotent. */
  close(): Promise<void>
}

/**
 * Hands out a plain duplex stream for each peer that connects. Peers in the address book may, and whoever has a ticket; `access` says otherwise.
 *
 * ```ts
 * const server = await serve({ home: './server' }, (stream) => stream.pipe(stream))
 * console.log(await server.invite())
 * ```
 *
 * @throws TypeError. @throws KithError as `createNode`.
 */
export async function serve(options: ServeOptions, onStream: (stream: Duplex, context: StreamContext) => unknown): Promise<Served> {
  const { node, end } = await nodeOf(options, options.listen)
  let stop: () => void
  try {
    const handler = async (stream: Duplex, context: StreamContext): Promise<void> => void (await onStream(stream, context))
    stop = node.handle(options.protocol ?? DEFAULT_PROTOCOL, handler, options.access === undefined ? {} : { access: options.access })
  } catch (error) {
    await end()
    throw error
  }
  let closing: Promise<void> | undefined
  const close = (): Promise<void> => {
    stop()
    closing ??= end()
    return closing
  }
  return {
    did: node.did,
    get addresses() {
      return node.addresses
    },
    node,
    invite: (invitation) => node.invite(invitation),
    close,
    [Symbol.asyncDispose]: close,
  }
}

/**
 * A plain duplex stream to a peer: its DID, its name in the address book, or a ticket of it, which pairs the two first. The stream ends in order by `end()`, and
 * when it has closed the node made for it closes too.
 *
 * ```ts
 * const stream = await connect(ticket, { home: './client' })
 * process.stdin.pipe(stream).pipe(process.stdout)
 * ```
 *
 * @throws TypeError. @throws KithError `INVITE_INVALID`, `INVITE_REFUSED`, `PEER_UNKNOWN`, `PEER_UNREACHABLE`, `STREAM_REFUSED`, `ABORTED`, and as `createNode`.
 */
export async function connect(target: string, options: ConnectOptions = {}): Promise<Duplex & DuplexPeer> {
  const { signal } = options
  signal?.throwIfAborted()
  const { node, end } = await nodeOf(options, NOWHERE)
  try {
    const waiting = signal === undefined ? {} : { signal }
    const peer = await peerOf(node, target, waiting)
    const stream = await node.open(peer, options.protocol ?? DEFAULT_PROTOCOL, waiting)
    stream.once('close', () => void end().catch(() => undefined))
    return Object.assign(stream, { peer })
  } catch (error) {
    await end()
    throw error
  }
}

/** A ticket is used up by whoever uses it first; a peer that is known already needs none. */
async function peerOf(node: Node, target: string, waiting: { readonly signal?: AbortSignal }): Promise<string> {
  if (!target.trimStart().startsWith('kith1')) return node.peers.resolve(target)
  const { did } = decodeTicket(target)
  return isKnown(node, did) ? did : (await node.join(target, waiting)).did
}

function isKnown(node: Node, did: string): boolean {
  try {
    return node.peers.resolve(did) === did && node.peers.list().some((peer) => peer.did === did)
  } catch (error) {
    if (isKithError(error, 'PEER_UNKNOWN')) return false
    throw error
  }
}

interface Opened {
  readonly node: Node
  /** Closes what was opened here. */
  end(): Promise<void>
}

async function nodeOf(options: DuplexOptions, listen: readonly string[] | undefined): Promise<Opened> {
  const { node, home, passphrase, name } = options
  if (node !== undefined) {
    if (home !== undefined) throw new TypeError('a node that runs has its home: give one of the two')
    return { node, end: async () => {} }
  }
  const folder = home === undefined ? await mkdtemp(join(tmpdir(), 'kith-')) : undefined
  const forget = async (): Promise<void> => {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  }
  try {
    const made = await createNode({
      home: home ?? join(folder as string, 'home'),
      control: home !== undefined,
      ...(listen === undefined ? {} : { listen }),
      ...(passphrase === undefined ? {} : { passphrase }),
      ...(name === undefined ? {} : { name }),
      ...(folder === undefined ? {} : { env: { ...process.env, XDG_STATE_HOME: join(folder, 'state') } }),
    })
    return {
      node: made,
      async end() {
        await made.close()
        await forget()
      },
    }
  } catch (error) {
    await forget()
    throw error
  }
}
