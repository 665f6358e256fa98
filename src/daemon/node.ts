import type { Duplex } from 'node:stream'
import type { TrustDesk } from '../assembly/trust-desk.ts'
import type { AnyOperation, InputOf, OutputOf } from '../call/define.ts'
import { KithError } from '../core/errors.ts'
import type { Audit } from '../core/observe/audit.ts'
import { Secret } from '../core/secret.ts'
import type { InboxEntry, SendResult } from '../files/index.ts'
import type { GossipEntry, SubscribeOptions } from '../gossip/types.ts'
import type { BookPeer } from '../mesh/address-book.ts'
import type { InboxEntry as MailMessage, MailPage, TellOptions, Told } from '../mesh/mailbox/types.ts'
import type { Joined, MeshPolicy, PeerBook } from '../mesh/mesh-types.ts'
import type { ChainStanding, Explanation, ProtocolOptions, StreamHandler } from '../mesh/types.ts'
import type { TunnelStatus } from '../tunnel/index.ts'
import type { NodeEvent } from './events.ts'
import type {
  InviteOptions,
  Node,
  NodeEvents,
  NodeForward,
  NodeForwardOptions,
  NodeMailbox,
  NodeOptions,
  NodeRegistration,
  NodeRemoteForwardOptions,
  NodeSendOptions,
  NodeSocksOptions,
  NodeTopics,
  Waiting,
} from './node-types.ts'
import { openRuntime, type Runtime } from './runtime.ts'
import type { OwnCallOptions, ReachableOperation } from './services/calls.ts'
import { isSshServer } from './services/ssh-forward.ts'
import type { NodeStatus } from './status.ts'

const TOPIC: { readonly [T in NodeEvent['type']]: keyof NodeEvents } = {
  up: 'link',
  down: 'link',
  moved: 'link',
  paired: 'paired',
  warning: 'warning',
  message: 'message',
  ready: 'state',
  degraded: 'state',
  stopping: 'state',
}

/**
 * Opens the node of a home, making its identity when there is none.
 *
 * ```ts
 * await using node = await createNode({ home: './a', listen: ['tcp://127.0.0.1:0'] })
 * ```
 *
 * @throws KithError `HOME_IN_USE`, `HOME_UNSAFE`, `CONFIG_INVALID`, and, with `start`, what keeps the node from running: `PASSPHRASE_WRONG`, `ADDRESS_IN_USE`, ...
 */
export async function createNode(options: NodeOptions): Promise<Node> {
  const passphrase = secretOf(options.passphrase)
  try {
    const runtime = await openRuntime({
      home: options.home,
      control: options.control ?? true,
      start: options.start ?? true,
      ...(options.env === undefined ? {} : { env: options.env }),
      ...(options.listen === undefined ? {} : { flags: { listen: options.listen } }),
      ...(passphrase === undefined ? {} : { passphrase }),
      ...(options.identitySources === undefined ? {} : { identitySources: options.identitySources }),
      ...(options.create === false ? {} : { create: options.name === undefined ? {} : { name: options.name } }),
    })
    const node = new LocalNode(runtime, passphrase === options.passphrase ? undefined : passphrase)
    if (options.start !== false) await node.start()
    return node
  } catch (error) {
    if (passphrase !== options.passphrase) passphrase?.wipe()
    throw error
  }
}

function secretOf(passphrase: NodeOptions['passphrase']): Secret | undefined {
  if (passphrase === undefined || passphrase instanceof Secret) return passphrase
  if (passphrase.length === 0) throw new TypeError('a passphrase is not empty')
  return Secret.take(typeof passphrase === 'string' ? Buffer.from(passphrase) : Buffer.from(passphrase))
}

class LocalNode implements Node {
  readonly #runtime: Runtime
  /** The copy made here; wiped at the end. */
  readonly #passphrase: Secret | undefined

  constructor(runtime: Runtime, passphrase: Secret | undefined) {
    this.#runtime = runtime
    this.#passphrase = passphrase
  }

  get did(): string {
    const { did } = this.#runtime
    if (did === null) throw new KithError('IDENTITY_MISSING', undefined, { next: 'kith init' })
    return did
  }

  get addresses(): readonly string[] {
    return this.#runtime.addresses
  }

  get policy(): MeshPolicy {
    return this.#runtime.mesh.policy
  }

  get trust(): TrustDesk {
    return this.#runtime.assembly.trust
  }

  get audit(): Pick<Audit, 'list' | 'verify'> {
    return this.#runtime.assembly.audit
  }

  get topics(): NodeTopics {
    const { gossip } = this.#runtime.assembly
    return { create: (options) => gossip.define(options), remove: (name) => gossip.remove(name), list: () => gossip.topics() }
  }

  get mailbox(): NodeMailbox {
    const { mail } = this.#runtime.assembly
    return {
      host: (peer) => mail.host(peer),
      unhost: (peer) => mail.unhost(peer),
      use: (peers) => mail.useHosts(peers),
      status: () => mail.status(),
    }
  }

  get peers(): Omit<PeerBook, 'get' | 'onChange'> {
    return this.#runtime.mesh.book
  }

  async start(): Promise<void> {
    await this.#runtime.startServices()
    const error = this.#runtime.supervisor.errorOf('mesh')
    if (error === undefined) return
    // Who asked for a running node gets none, and the home is free again.
    await this.close()
    throw error
  }

  async invite(options: InviteOptions = {}): Promise<string> {
    return (await this.#runtime.mesh.invites.create(options)).ticket
  }

  join(ticket: string, options: Waiting & { readonly name?: string } = {}): Promise<Joined> {
    return this.#runtime.mesh.join(ticket, options)
  }

  confirm(peer: string): Promise<BookPeer> {
    return this.#runtime.mesh.confirm(peer)
  }

  anchor(peer: string, options: { readonly head?: string } = {}): Promise<ChainStanding> {
    return this.#runtime.mesh.anchor(peer, options)
  }

  repin(peer: string, head: string): Promise<ChainStanding> {
    return this.#runtime.mesh.repin(peer, head)
  }

  handle(protocol: string, handler: StreamHandler, options?: ProtocolOptions): () => void {
    return this.#runtime.handle(protocol, handler, options)
  }

  open(peer: string, protocol: string, options: Waiting = {}): Promise<Duplex> {
    return this.#runtime.mesh.open(peer, protocol, options)
  }

  async forward({ peer, knownHosts, hostKey, keyFile, ...options }: NodeForwardOptions): Promise<NodeForward> {
    const { mesh, tunnels, forwards } = this.#runtime
    if (isSshServer(peer)) return this.#opened(await forwards.openSsh({ ...options, server: peer, knownHosts, hostKey, keyFile }))
    if (knownHosts !== undefined || hostKey !== undefined || keyFile !== undefined) throw new TypeError('host keys and key files are for servers of SSH')
    return this.#opened(await tunnels.forward({ ...options, peer: mesh.book.resolve(peer) }))
  }

  async forwardRemote({ peer, ...options }: NodeRemoteForwardOptions): Promise<NodeForward> {
    const { mesh, tunnels } = this.#runtime
    return this.#opened(await tunnels.remote({ ...options, peer: mesh.book.resolve(peer) }))
  }

  async socks({ peer, ...options }: NodeSocksOptions): Promise<NodeForward> {
    const { mesh, tunnels } = this.#runtime
    return this.#opened(await tunnels.socks({ ...options, peer: mesh.book.resolve(peer) }))
  }

  #opened({ id, local }: TunnelStatus): NodeForward {
    const { tunnels } = this.#runtime
    const close = async (): Promise<void> => {
      if (tunnels.list().some((tunnel) => tunnel.id === id)) await tunnels.remove(id)
    }
    return { id, address: local, close, [Symbol.asyncDispose]: close }
  }

  async send(peer: string, path: string, options: NodeSendOptions = {}): Promise<SendResult> {
    const { mesh, files } = this.#runtime
    return await files.send(mesh.book.resolve(peer), { ...options, path })
  }

  async inbox(): Promise<readonly InboxEntry[]> {
    return await this.#runtime.files.list()
  }

  async publish(topic: string, data: string | Uint8Array): Promise<GossipEntry> {
    return await this.#runtime.assembly.gossip.publish(topic, typeof data === 'string' ? Buffer.from(data) : data)
  }

  subscribe(topic: string, options: SubscribeOptions = {}): AsyncIterableIterator<GossipEntry> {
    return this.#runtime.assembly.gossip.subscribe(topic, options)
  }

  async tell(peer: string, message: string | Uint8Array, options: TellOptions = {}): Promise<Told> {
    return await this.#runtime.assembly.mail.tell(peer, message, options)
  }

  async messages(page: MailPage = {}): Promise<readonly MailMessage[]> {
    return await this.#runtime.assembly.mail.inbox(page)
  }

  operation(operation: AnyOperation): () => void {
    return this.#runtime.calls.offer([operation], { elsewhere: true })
  }

  async call<T extends AnyOperation>(path: string, input?: InputOf<T>, options?: OwnCallOptions): Promise<OutputOf<T>> {
    return (await this.#runtime.calls.call(path, input, options)) as OutputOf<T>
  }

  async *stream<T extends AnyOperation>(path: string, input?: InputOf<T>, options?: OwnCallOptions): AsyncGenerator<OutputOf<T>> {
    for await (const { value } of this.#runtime.calls.stream(path, input, options)) yield value as OutputOf<T>
  }

  operations(peer?: string, options?: Waiting): Promise<readonly ReachableOperation[]> {
    return this.#runtime.calls.operations(peer, options)
  }

  offerAt(head: string, { alias }: { readonly alias: string }): NodeRegistration {
    const registration = this.#runtime.calls.offerAt(this.#runtime.mesh.book.resolve(head), alias)
    return {
      ...registration,
      [Symbol.asyncDispose]: registration.close,
      get phase() {
        return registration.phase
      },
    }
  }

  ping(peer: string, options: Waiting & { readonly count?: number } = {}): Promise<readonly number[]> {
    return this.#runtime.mesh.ping(peer, options)
  }

  why(peer: string, action?: string, target?: string): Explanation {
    return this.#runtime.mesh.why(peer, action, target)
  }

  status(): NodeStatus {
    return this.#runtime.status()
  }

  on<T extends keyof NodeEvents>(topic: T, listener: (event: NodeEvents[T]) => void): () => void {
    return this.#runtime.events.on((event) => {
      if (TOPIC[event.type] === topic) listener(event as NodeEvents[T])
    })
  }

  async close(): Promise<void> {
    await this.#runtime.close()
    this.#passphrase?.wipe()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
