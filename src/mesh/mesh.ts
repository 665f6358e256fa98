import { networkInterfaces } from 'node:os'
import type { Duplex } from 'node:stream'
import { equal, toHex } from '../core/bytes.ts'
import { asKithError, KithError } from '../core/errors.ts'
import { type Did, parseDid } from '../identity/did.ts'
import type { Device } from '../identity/types.ts'
import type { LinkStream, Listener, Transport } from '../transport/types.ts'
import { AddressBook, type BookPeer } from './address-book.ts'
import { acceptableAddresses, reachableAddresses, schemeOf, splitAddress } from './addresses.ts'
import { createAdmission } from './admission.ts'
import { createBudgets } from './admission-budget.ts'
import { nextBoot } from './boot.ts'
import { CHAIN_PROTOCOL, serveChain } from './chain-protocol.ts'
import { isPeerClass } from './constraints.ts'
import { abortable, type Candidate, Dialer, deviceId } from './dialer.ts'
import type { Discovery } from './discovery.ts'
import { abortError } from './errors.ts'
import { FoundPeers } from './found-peers.ts'
import { Gate } from './gate.ts'
import { HelloCache } from './hello-cache.ts'
import { Invites } from './invite.ts'
import { openKnownKeys } from './known-keys.ts'
import { LINK_PROTOCOL, MAX_TOLD_ADDRESSES } from './link-control.ts'
import type { Member } from './link-member.ts'
import { LinkTable } from './link-table.ts'
import { createLocateAnswerer } from './locate.ts'
import { type LinkMetrics, linkMetrics } from './mesh-metrics.ts'
import type { Mesh, MeshComponents, MeshConfig, MeshInvites, MeshPolicy, NetworkStats, PeerBook, Waiting } from './mesh-types.ts'
import { PAIR_PROTOCOL, PairingServer } from './pairing.ts'
import { PairingService } from './pairing-service.ts'
import { PING_PROTOCOL, pingOnce, servePing } from './ping.ts'
import { type LocalPolicy, openLocalPolicy } from './policy.ts'
import { Reconnector, type Target } from './reconnect.ts'
import { type Registered, Router } from './router.ts'
import { meshSettings, type Settings } from './settings.ts'
import { linkStatus, unlinkedStatus } from './status.ts'
import type { Ticket } from './ticket.ts'
import type { ConstraintSet, Explanation, LeanHandler, LinkEvent, LinkStatus, PeerClass, ProtocolOptions, StreamContext, StreamHandler } from './types.ts'
import { Upgrader } from './upgrade.ts'
import { explain, explainRefusal } from './why.ts'

/** Everything that is read from the store before a mesh exists. */
interface Opened {
  readonly book: AddressBook
  readonly known: Awaited<ReturnType<typeof openKnownKeys>>
  readonly invites: Invites
  readonly boot: number
}

/** A connection that failed under an opening stream is replaced this often. */
const OPEN_TRIES = 3

/**
 * Opens a node's mesh: reads its state and counts this start; nothing touches the network before `start`, `listen` or `dial`.
 * @throws TypeError for a bad configuration. @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`.
 */
export async function createMesh(components: MeshComponents): Promise<Mesh> {
  const { store, clock, logger } = components
  meshSettings(components.config ?? {})
  const book = await AddressBook.open(store, clock)
  const known = await openKnownKeys({ store, clock, log: logger })
  const invites = await Invites.open(store, clock)
  const boot = await nextBoot(store)
  const node = new MeshNode(components, { book, known, invites, boot })
  await node.openPolicy()
  return node
}

class MeshNode implements Mesh {
  readonly book: PeerBook
  readonly invites: MeshInvites
  readonly #components: MeshComponents
  readonly #opened: Opened
  readonly #router: Router
  readonly #dialer: Dialer
  readonly #gate: Gate
  readonly #budgets: ReturnType<typeof createBudgets>
  readonly #admission: ReturnType<typeof createAdmission>
  readonly #found: FoundPeers
  readonly #reconnector: Reconnector
  readonly #upgrader: Upgrader
  readonly #pairing: PairingService
  readonly #metrics: LinkMetrics
  readonly #discoveries: readonly Discovery[]
  readonly #listeners: Set<(event: LinkEvent) => void> = new Set()
  readonly #listening: Map<Listener, { url: string }> = new Map()
  readonly #transports: Map<string, Transport> = new Map()
  readonly #closing: AbortController = new AbortController()
  #policy: MeshPolicy | undefined
  #local: LocalPolicy | undefined
  #settings: Settings
  #device: Device
  #table: LinkTable
  #started = false
  #closed: Promise<void> | undefined

  constructor(components: MeshComponents, opened: Opened) {
    const { clock, random, logger, config = {} } = components
    this.#components = components
    this.#opened = opened
    this.#settings = meshSettings(config)
    this.#device = components.device
    this.#found = new FoundPeers(clock)
    this.#metrics = linkMetrics(components.metrics)
    this.#discoveries =
      components.discovery === undefined ? [] : Array.isArray(components.discovery) ? components.discovery : [components.discovery as Discovery]
    this.#setTransports(components.transports)
    this.#table = this.#newTable()
    this.#router = new Router({ clock, logger, refuse: (context, protocol, access) => this.#refuse(context, protocol, access) })
    this.#admission = createAdmission(config.admission === undefined ? { clock } : { clock, limits: config.admission })
    const budgets = { clock, policy: { classOf: (did: Did) => this.#classOf(did), constraints: (did: Did) => this.#constraints(did) } }
    this.#budgets = createBudgets(config.isolated === undefined ? budgets : { ...budgets, limits: config.isolated })
    this.#gate = new Gate({
      device: () => this.#device,
      known: opened.known,
      cache: new HelloCache(),
      clock,
      random,
      logger,
      boot: opened.boot,
      table: () => this.#table,
      admission: this.#admission,
      budgets: this.#budgets,
      classOf: (did) => this.#classOf(did),
      mayLink: (peer) => this.policy.decide({ peer, action: 'link' }),
      requirePq: () => this.#settings.requirePq,
      onMember: (member) => this.#onMember(member),
      onWarning: (peer, error) => this.#emit({ type: 'warning', peer, error }),
    })
    this.#dialer = new Dialer({
      transports: this.#transports,
      localKey: () => this.#device.linkSigner.publicKey,
      clock,
      random,
      book: opened.book,
      known: opened.known,
      prefer: () => this.#settings.prefer,
      requirePostQuantum: () => this.#settings.requirePq,
      found: (did) => this.#found.candidates(did),
      establish: (channel, did, signal) => this.#gate.establish(channel, did, signal),
      onResult: (scheme, result) => this.#metrics.dialled(scheme, result),
    })
    this.#reconnector = new Reconnector({
      clock,
      random,
      targets: () => this.#targets(),
      connected: ({ did, linkKey }) => (linkKey === undefined ? this.#table.pick(did) !== undefined : this.#table.get(linkKey)?.current !== undefined),
      dial: (target, signal) => this.#redial(target, signal),
    })
    this.#upgrader = new Upgrader(clock, () => this.#table, this.#dialer)
    this.#pairing = new PairingService({
      device: () => this.#device,
      book: opened.book,
      invites: opened.invites,
      known: opened.known,
      clock,
      random,
      addresses: () => this.addresses,
      link: (ticket, signal) => this.#linkOfTicket(ticket, signal),
      openOn: (member, protocol, signal) => this.#router.open(member, protocol, signal),
      onPaired: (joined) => this.#onPaired(joined),
    })
    this.book = this.#peerBook()
    this.invites = {
      create: (options) => this.#pairing.create(options),
      list: () => opened.invites.list(),
      revoke: (id) => opened.invites.revoke(id),
    }
    opened.book.onChange = (did) => this.#onBookChange(did)
    this.#serveOwn()
  }

  async openPolicy(): Promise<void> {
    const local = await openLocalPolicy({
      store: this.#components.store,
      classOf: (did) => this.#classOf(did),
      constraints: (held) => this.#settings.constraints[held],
      openDefault: (peer, protocol) => this.#openDefault(peer, protocol),
      ownPorts: () => this.#settings.ownPorts,
      localAddresses: () => this.#interfaces(),
    })
    for (const rule of local.dropped) this.#components.logger.warn('a stored rule is not valid any more', { ...rule })
    const principal = (text: string): string => (text === '*' || isPeerClass(text) ? text : this.#opened.book.resolve(text))
    this.#local = local
    this.#policy = {
      decide: (request) => local.decide(request),
      constraints: (did) => this.#constraints(did),
      classOf: (did) => this.#classOf(did),
      allow: async (who, action, target) => local.allow(principal(who), action, target),
      deny: async (who, action, target) => local.deny(principal(who), action, target),
      list: () => local.list(),
      test: (who, action, target) => local.decide({ peer: this.#opened.book.resolve(who), action, ...(target === undefined ? {} : { target }) }),
    }
  }

  get policy(): MeshPolicy {
    return this.#policy as MeshPolicy
  }

  get did(): Did {
    return this.#device.did
  }

  get addresses(): readonly string[] {
    return reachableAddresses(
      [...this.#listening.keys()].flatMap(({ addresses }) => addresses),
      this.#interfaces(),
    )
  }

  get schemes(): readonly string[] {
    return [...this.#transports.keys()]
  }

  async start(): Promise<void> {
    this.#alive()
    if (this.#started) return
    this.#started = true
    for (const { did } of this.#opened.book.list()) this.#opened.known.keep(did)
    this.#reconnector.start()
    this.#upgrader.start()
    for (const discovery of this.#discoveries) {
      discovery.onPeer = (found) => this.#onFound(discovery.name, found)
      // Being found is a help: a network that does not allow it must not keep the node from starting.
      await discovery
        .start(this.#announcement())
        .catch((error: unknown) => this.#components.logger.warn('discovery did not start', { discovery: discovery.name, error }))
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async listen(url: string, options: Waiting = {}): Promise<readonly string[]> {
    this.#alive()
    const parts = splitAddress(url)
    if (parts === undefined) throw new KithError('ADDRESS_INVALID', undefined, { details: { address: url.slice(0, 100) } })
    const transport = this.#transports.get(parts.scheme)
    if (transport === undefined) throw new KithError('SCHEME_UNAVAILABLE', `this node has no transport for ${parts.scheme}`, { next: 'kith doctor' })
    const answer = createLocateAnswerer({ device: this.#liveDevice(), clock: this.#components.clock })
    const listener = await transport.listen(url, (channel) => this.#gate.accept(channel), {
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      admit: (source, evict) => this.#admission.handshake(source, evict),
      onLocate: (request, source) => answer(request, source),
    })
    if (this.#closed !== undefined) {
      await listener.close()
      throw new KithError('CLOSED')
    }
    this.#listening.set(listener, { url })
    await this.#announce()
    return listener.addresses
  }

  handle(protocol: string, handler: StreamHandler, options?: ProtocolOptions): () => void {
    return this.#router.handle(protocol, handler, options)
  }

  handleLean(protocol: string, handler: LeanHandler, options?: ProtocolOptions): () => void {
    return this.#router.handleLean(protocol, handler, options)
  }

  async open(peer: string, protocol: string, options: Waiting = {}): Promise<Duplex> {
    const did = this.#resolve(peer)
    const stream = await this.openLean(did, protocol, options)
    const duplex = stream.toDuplex()
    // A refusal arrives as a number; who must run which command where is known here.
    const { onError } = stream
    stream.onError = (error, direction) => onError(explainRefusal(error, this.did, did, protocol), direction)
    return duplex
  }

  async openLean(peer: string, protocol: string, options: Waiting = {}): Promise<LinkStream> {
    const did = this.#resolve(peer)
    for (let attempt = 1; ; attempt++) {
      const member = this.#table.pick(did) ?? (await this.#reach(did, options.signal))
      try {
        const stream = await this.#router.open(member, protocol, options.signal)
        this.#table.used(member)
        return stream
      } catch (thrown) {
        if (options.signal?.aborted === true) throw abortError(options.signal)
        const error = asKithError(thrown, 'INTERNAL')
        if (!error.retryable || attempt >= OPEN_TRIES) throw error
        this.#table.failed(member, error)
      }
    }
  }

  async dial(peer: string, options: Waiting & { readonly url?: string } = {}): Promise<LinkStatus> {
    const did = this.#resolve(peer)
    this.#reconnector.wake(did)
    let member: Member
    if (options.url !== undefined) {
      if (splitAddress(options.url) === undefined) throw new KithError('ADDRESS_INVALID', undefined, { details: { address: options.url.slice(0, 100) } })
      const known = this.#opened.book.get(did)?.addresses.find(({ url }) => url === options.url)
      member = await this.#dialer.race(did, [{ url: options.url, linkKey: known?.linkKey }], options.signal ?? this.#closing.signal)
    } else {
      member = this.#table.pick(did) ?? (await this.#reach(did, options.signal))
    }
    return this.#statusOf(member.link.linkKey, did)
  }

  async ping(peer: string, options: Waiting & { readonly count?: number } = {}): Promise<readonly number[]> {
    const count = options.count ?? 1
    if (!Number.isInteger(count) || count < 1 || count > 1_000) throw new TypeError('count must be a whole number from 1 to 1000')
    const { clock, random } = this.#components
    const did = this.#resolve(peer)
    const times: number[] = []
    for (let i = 0; i < count; i++) {
      const stream = await this.openLean(did, PING_PROTOCOL, options)
      times.push(await pingOnce(stream, { clock, random, signal: options.signal }))
    }
    return times
  }

  links(): readonly LinkStatus[] {
    const { book } = this.#opened
    const linked = [...this.#table.links()].filter(({ current }) => current !== undefined)
    const up = linked.map((link) => linkStatus(link, book.get(link.did), this.#classOf(link.did)))
    const dids = new Set(linked.map(({ did }) => did))
    const down = book.list().filter(({ did }) => !dids.has(did))
    return [...up, ...down.map((peer) => this.#unlinked(peer))]
  }

  network(): { readonly discovered: ReturnType<FoundPeers['list']>; readonly stats: NetworkStats } {
    const members = [...this.#table.links()].flatMap(({ members }) => [...members])
    const sum = (of: (member: Member) => number): number => members.reduce((total, member) => total + of(member), 0)
    const stats = {
      links: [...this.#table.links()].filter(({ current }) => current !== undefined).length,
      connections: members.length,
      streams: sum(({ connection }) => connection.streamCount),
      bytesIn: sum(({ connection }) => connection.bytesIn),
      bytesOut: sum(({ connection }) => connection.bytesOut),
      isolatedLinks: this.#budgets.isolatedLinks,
      admission: this.#admission.status,
    }
    return { discovered: this.#found.list(), stats }
  }

  join(ticket: string, options: Waiting & { readonly name?: string } = {}): ReturnType<PairingService['join']> {
    this.#alive()
    const signal = options.signal === undefined ? this.#closing.signal : AbortSignal.any([options.signal, this.#closing.signal])
    return abortable(this.#pairing.join(ticket, options, signal), signal)
  }

  async confirm(peer: string): Promise<BookPeer> {
    return await this.#pairing.confirm(this.#resolve(peer))
  }

  why(peer: string, action?: string, target?: string): Explanation {
    const did = this.#resolve(peer)
    return explain({
      did,
      links: this.#table.linksOf(did),
      dialer: this.#dialer,
      schemes: this.schemes,
      prefer: this.#settings.prefer,
      decision: action === undefined ? undefined : this.policy.decide({ peer: did, action, ...(target === undefined ? {} : { target }) }),
    })
  }

  wake(): void {
    this.#reconnector.wake()
  }

  async replaceDevice(device: Device, options: { readonly transports?: readonly Transport[] } = {}): Promise<void> {
    this.#alive()
    if (device.did !== this.#device.did) throw new TypeError('a mesh keeps its identity: another one needs another mesh')
    if (equal(device.linkSigner.publicKey, this.#device.linkSigner.publicKey)) {
      this.#device = device
      return
    }
    if (options.transports === undefined) throw new TypeError('a new link key needs transports made with it')
    const urls = [...this.#listening].map(([listener, { url }]) => listener.addresses[0] ?? url)
    await this.#stopListening()
    await this.#table.close(new KithError('GOING_AWAY', 'this machine goes on with another link key'))
    this.#device = device
    this.#setTransports(options.transports)
    this.#table = this.#newTable()
    for (const url of urls) await this.listen(url)
    this.#reconnector.refresh()
    this.#reconnector.wake()
  }

  onEvent(listener: (event: LinkEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  reload(config: MeshConfig): void {
    this.#settings = meshSettings(config)
    for (const { did } of this.#table.links()) this.#gate.refresh(did)
    this.#table.reconsider()
  }

  /** The device as it is at each moment, for what outlives a renewal. */
  #liveDevice(): Pick<Device, 'didKey' | 'linkSigner' | 'chain' | 'binding'> {
    const device = (): Device => this.#device
    return {
      get didKey() {
        return device().didKey
      },
      get linkSigner() {
        return device().linkSigner
      },
      get chain() {
        return device().chain
      },
      get binding() {
        return device().binding
      },
    }
  }

  #alive(): void {
    if (this.#closed !== undefined) throw new KithError('CLOSED', 'this mesh was closed')
  }

  #setTransports(transports: readonly Transport[]): void {
    this.#transports.clear()
    for (const transport of transports) this.#transports.set(transport.scheme, transport)
  }

  #newTable(): LinkTable {
    return new LinkTable({
      localKey: this.#device.linkSigner.publicKey,
      clock: this.#components.clock,
      prefer: () => this.#settings.prefer,
      onEvent: (event) => this.#onLinkEvent(event),
      onStream: (member, stream) => this.#router.accept(member, stream),
      onAddresses: (member, urls) => this.#onAddresses(member, urls),
    })
  }

  async #close(): Promise<void> {
    const { clock, logger } = this.#components
    this.#closing.abort(new KithError('CLOSED', 'this mesh was closed'))
    this.#reconnector.stop()
    this.#upgrader.stop()
    this.#dialer.close()
    await Promise.all(
      this.#discoveries.map((discovery) =>
        discovery.stop().catch((error: unknown) => logger.warn('discovery did not stop', { discovery: discovery.name, error })),
      ),
    )
    await this.#stopListening()
    await this.#drain(clock.monotonic() + this.#settings.drainMs)
    this.#gate.close()
    await this.#table.close(new KithError('GOING_AWAY'))
    this.#router.close()
    await this.#opened.known.close()
    this.#listeners.clear()
  }

  /** Streams that run get a moment to end; no new ones begin. */
  async #drain(until: number): Promise<void> {
    const { clock } = this.#components
    const members = [...this.#table.links()].flatMap(({ members }) => [...members])
    for (const { connection } of members) connection.drain()
    const busy = (): boolean => members.some(({ state, connection, controlAttached }) => state !== 'closed' && connection.streamCount > Number(controlAttached))
    while (busy() && clock.monotonic() < until) {
      await new Promise<void>((resolve) => {
        clock.after(20, resolve, { keepAlive: true })
      })
    }
  }

  async #stopListening(): Promise<void> {
    const listeners = [...this.#listening.keys()]
    this.#listening.clear()
    await Promise.all(listeners.map((listener) => listener.close()))
  }

  /** Protocols every node speaks. */
  #serveOwn(): void {
    const { book, invites, known } = this.#opened
    const { clock, random, store } = this.#components
    const pairing = new PairingServer({
      did: this.#device.did,
      name: () => this.#device.name,
      store,
      book,
      invites,
      clock,
      random,
      onPaired: (paired) => this.#onPaired(paired),
      onWarning: (peer, error) => this.#emit({ type: 'warning', peer, error }),
    })
    this.#router.register(LINK_PROTOCOL, 'handler', (stream, { member }) => {
      member.accepted--
      member.attachControl(stream)
    })
    this.#router.register(PING_PROTOCOL, 'everyone', servePing)
    this.#router.register(PAIR_PROTOCOL, 'everyone', (stream, context) => {
      if (invites.outstanding) pairing.serve(stream, context)
      else stream.reset(new KithError('PROTOCOL_UNKNOWN').number)
    })
    this.#router.handle(
      CHAIN_PROTOCOL,
      async (stream, { peer, signal }) => {
        // The own chain and the asker's own are no secret to it; whom we know is, except to those we know.
        const chainOf = async (did: Did): ReturnType<typeof known.chain> => {
          if (did === this.#device.did) return this.#device.chain
          return did === peer || (book.has(peer) && book.has(did)) ? await known.chain(did) : undefined
        }
        await serveChain(stream, { chainOf, clock, signal }).catch((error: unknown) => {
          this.#components.logger.debug('chain not served', { peer, code: asKithError(error, 'INTERNAL').code })
        })
      },
      { access: 'everyone' },
    )
  }

  #refuse({ peer }: StreamContext, protocol: string, access: Registered['access']): KithError | undefined {
    if (protocol === LINK_PROTOCOL) return undefined
    let streams = 0
    for (const { members } of this.#table.linksOf(peer)) for (const { connection } of members) streams += connection.streamCount
    if (streams > this.#constraints(peer).streams) return new KithError('BUDGET_EXCEEDED')
    if (access === 'handler') return undefined
    const request = protocol === PING_PROTOCOL ? { peer, action: 'ping' } : { peer, action: 'open', target: protocol }
    let decision = this.policy.decide(request)
    if (!decision.allowed && access === 'policy' && this.#components.policy !== undefined) decision = this.#components.policy.decide(request)
    return decision.allowed ? undefined : new KithError('POLICY_DENIED')
  }

  #openDefault(peer: Did, protocol: string): { readonly allowed: boolean; readonly rule: string } | undefined {
    const access = this.#router.get(protocol)?.access
    if (access === 'everyone') return { allowed: true, rule: `${protocol} is open to everyone` }
    if (access === 'book') return { allowed: this.#opened.book.has(peer), rule: `${protocol} is open to peers in the address book` }
    if (access === 'handler') return { allowed: true, rule: `${protocol} decides per request` }
    return undefined
  }

  #classOf(did: Did): PeerClass {
    const peer = this.#opened.book.get(did)
    return peer?.class ?? this.#components.policy?.classOf(did) ?? 'isolated'
  }

  #constraints(did: Did): ConstraintSet {
    const { policy } = this.#components
    return policy !== undefined && !this.#opened.book.has(did) ? policy.constraints(did) : this.#settings.constraints[this.#classOf(did)]
  }

  #resolve(peer: string): Did {
    this.#alive()
    const did = this.#opened.book.resolve(peer)
    if (did === this.#device.did) throw new KithError('SELF_DIAL', 'this is the node itself')
    return did
  }

  async #reach(did: Did, signal: AbortSignal | undefined): Promise<Member> {
    return await this.#dialer.dial(did, signal)
  }

  #targets(): readonly Target[] {
    const targets = new Map<string, Target>()
    for (const { did } of this.#opened.book.list()) {
      const candidates = this.#dialer.candidates(did).filter(({ url }) => this.#transports.has(schemeOf(url)))
      const keyed = candidates.filter(({ linkKey }) => linkKey !== undefined)
      // An address without a key may belong to a machine that is known already: it only counts while there is no other way.
      for (const { linkKey } of keyed.length > 0 ? keyed : candidates.slice(0, 1)) {
        const id = deviceId(did, linkKey)
        targets.set(id, { id, did, linkKey })
      }
    }
    return [...targets.values()]
  }

  async #redial({ did, linkKey }: Target, signal: AbortSignal): Promise<void> {
    if (this.#table.pick(did) === undefined) await this.#dialer.dial(did, signal)
    else await this.#dialer.race(did, this.#candidatesOf(did, linkKey), signal)
  }

  #candidatesOf(did: Did, linkKey: Target['linkKey']): readonly Candidate[] {
    return this.#dialer.candidates(did).filter((candidate) => linkKey === undefined || (candidate.linkKey !== undefined && equal(candidate.linkKey, linkKey)))
  }

  async #linkOfTicket(ticket: Ticket, signal: AbortSignal): Promise<Member> {
    const linked = this.#table.get(ticket.linkKey)?.current
    if (linked !== undefined && linked.link.did === ticket.did) return linked
    const candidates = ticket.urls.map((url) => ({ url, linkKey: ticket.linkKey }))
    return await this.#dialer.race(
      ticket.did,
      candidates.toSorted((a, b) => this.#dialer.rank(schemeOf(a.url)) - this.#dialer.rank(schemeOf(b.url))),
      signal,
    )
  }

  #statusOf(linkKey: Uint8Array, did: Did): LinkStatus {
    const status = this.links().find((link) => link.linkKey === toHex(linkKey) && link.did === did)
    if (status === undefined) throw new KithError('LINK_LOST')
    return status
  }

  #unlinked(peer: BookPeer): LinkStatus {
    const linkKey = peer.addresses.find((address) => address.linkKey !== undefined)?.linkKey
    const retry = this.#reconnector.status(peer.did)
    const state = this.#dialer.dialing(peer.did) ? 'connecting' : retry.state
    return unlinkedStatus(peer, linkKey === undefined ? '' : toHex(linkKey), { ...retry, state })
  }

  #onMember(member: Member): void {
    const { link } = member
    this.#dialer.noteOffset(link.did, link.clockOffsetMs)
    if (link.role === 'dialer') void this.#openControl(member)
    if (!this.#opened.book.has(link.did)) return
    this.#opened.known.keep(link.did)
    this.#tellAddresses(member)
  }

  async #openControl(member: Member): Promise<void> {
    try {
      await this.#router.openControl(member)
    } catch (error) {
      // Either the connection is gone, which its end tells, or it is on its way out.
      this.#components.logger.debug('no control stream', { peer: member.link.did, code: asKithError(error, 'INTERNAL').code })
    }
  }

  #tellAddresses(member: Member): void {
    const urls = this.addresses.slice(0, MAX_TOLD_ADDRESSES)
    if (urls.length > 0) member.send({ type: 'addresses', urls })
  }

  #onAddresses(member: Member, urls: readonly string[]): void {
    const { did, linkKey } = member.link
    if (!this.#opened.book.has(did)) return
    const addresses = acceptableAddresses(urls, member.path.address).map((url) => ({ url, linkKey }))
    if (addresses.length === 0) return
    void this.#opened.book.addAddresses(did, addresses).catch((error: unknown) => this.#components.logger.warn('addresses not stored', { peer: did, error }))
  }

  #onLinkEvent(event: LinkEvent): void {
    this.#metrics.event(event.type)
    this.#metrics.links([...this.#table.links()].filter(({ current }) => current !== undefined).length)
    this.#emit(event)
    this.#reconnector.refresh()
  }

  #emit(event: LinkEvent): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(event)
      } catch (error) {
        this.#components.logger.error('event listener failed', { event: event.type, error })
      }
    }
  }

  #onPaired(joined: { did: Did; name: string; words: string; class: PeerClass; pending: PeerClass | null }): void {
    const { did, name, words, class: held, pending } = joined
    this.#opened.known.keep(did)
    for (const { members } of this.#table.linksOf(did)) for (const member of members) if (member.state === 'live') this.#tellAddresses(member)
    this.#emit({ type: 'paired', peer: did, name, words, class: held, pending })
  }

  #onBookChange(did: Did): void {
    this.#gate.refresh(did)
    this.#reconnector.refresh()
  }

  #onFound(source: string, found: Parameters<FoundPeers['hear']>[1]): void {
    if (this.#closed !== undefined || found.did === this.did) return
    if (!this.#found.hear(source, found) || found.did === undefined || !this.#opened.book.has(found.did)) return
    this.#reconnector.refresh()
    this.#reconnector.wake(found.did)
  }

  #announcement(): Parameters<Discovery['start']>[0] {
    return { did: this.did, linkKey: this.#device.linkSigner.publicKey, urls: this.addresses, name: this.#device.name }
  }

  /** Our addresses changed: those who look and those who are linked are told. */
  async #announce(): Promise<void> {
    for (const link of this.#table.links()) if (this.#opened.book.has(link.did)) for (const member of link.live) this.#tellAddresses(member)
    if (!this.#started) return
    for (const discovery of this.#discoveries) {
      await discovery
        .announce(this.#announcement())
        .catch((error: unknown) => this.#components.logger.warn('announcement failed', { discovery: discovery.name, error }))
    }
  }

  #interfaces(): readonly string[] {
    if (this.#components.interfaces !== undefined) return this.#components.interfaces()
    return Object.values(networkInterfaces()).flatMap((addresses) => (addresses ?? []).map(({ address }) => address))
  }

  #peerBook(): PeerBook {
    const { book } = this.#opened
    return {
      add: async (text, options = {}) => {
        const did = parseDid(text)
        if (did === this.did) throw new KithError('SELF_DIAL', 'this is the node itself')
        const urls = options.urls ?? []
        const bad = urls.find((url) => splitAddress(url) === undefined)
        if (bad !== undefined) throw new KithError('ADDRESS_INVALID', undefined, { details: { address: bad.slice(0, 100) } })
        return await book.add({
          did,
          addresses: urls.map((url) => ({ url })),
          ...(options.name === undefined ? {} : { name: options.name }),
          ...(options.class === undefined ? {} : { class: options.class }),
        })
      },
      rename: async (peer, name) => await book.rename(book.resolve(peer), name),
      forget: async (peer) => {
        const did = book.resolve(peer)
        if (!(await book.forget(did))) throw new KithError('PEER_UNKNOWN', 'this peer is not in the address book', { next: 'kith peers' })
        await this.#local?.forgetAllowed(did)
        this.#opened.known.keep(did, false)
        await this.#table.close(new KithError('LINK_CLOSED'), did)
        return did
      },
      list: () => book.list(),
      get: (did) => book.get(did),
      resolve: (peer) => book.resolve(peer),
    }
  }
}
