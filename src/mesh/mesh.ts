import { networkInterfaces } from 'node:os'
import type { Duplex } from 'node:stream'
import { isDeepStrictEqual } from 'node:util'
import { equal, type PublicKey, toHex } from '../core/bytes.ts'
import { asKithError, KithError } from '../core/errors.ts'
import { nextTurn } from '../core/turn.ts'
import type { Did } from '../identity/did.ts'
import type { Device } from '../identity/types.ts'
import type { LinkStream, Transport } from '../transport/types.ts'
import { AddressBook, type BookPeer } from './address-book.ts'
import { AddressNews } from './address-news.ts'
import { schemeOf, splitAddress } from './addresses.ts'
import { createAdmission } from './admission.ts'
import { createBudgets } from './admission-budget.ts'
import { adoptOwn } from './adopt-shown.ts'
import { nextBoot } from './boot.ts'
import { CatchUp } from './catch-up.ts'
import { ChainDesk } from './chain-desk.ts'
import { ChainVerdicts } from './chain-verdicts.ts'
import { atLeast } from './constraints.ts'
import { currentDevice } from './current-device.ts'
import { abortable, Dialer } from './dialer.ts'
import type { Discovery } from './discovery.ts'
import { drainMembers } from './drain.ts'
import { Gate } from './gate.ts'
import { HelloCache } from './hello-cache.ts'
import type { AuthenticatedLink } from './hello-types.ts'
import { Invites } from './invite.ts'
import { type KnownKeys, openKnownKeys } from './known-keys.ts'
import { LINK_PROTOCOL } from './link-control.ts'
import { LinkEvents } from './link-events.ts'
import type { Member } from './link-member.ts'
import { LinkReview } from './link-review.ts'
import { LinkTable } from './link-table.ts'
import { createLocateAnswerer } from './locate.ts'
import { type LinkMetrics, linkMetrics } from './mesh-metrics.ts'
import { MeshRules } from './mesh-rules.ts'
import type { Joined, Mesh, MeshComponents, MeshConfig, MeshInvites, MeshPolicy, PeerBook, Waiting } from './mesh-types.ts'
import { type MeshMessages, openMessages } from './messages/messages.ts'
import type { Messages } from './messages/types.ts'
import { serveOwnProtocols } from './own-protocols.ts'
import { PairingServer } from './pairing.ts'
import { PairingService } from './pairing-service.ts'
import { createPeerBook } from './peer-book.ts'
import { PING_PROTOCOL, pingOnce } from './ping.ts'
import { Presence } from './presence.ts'
import { Reach } from './reach.ts'
import { Reconnector } from './reconnect.ts'
import { Router } from './router.ts'
import { meshSettings, type Settings } from './settings.ts'
import { linkList, linkTotals, streamsOf } from './status.ts'
import type { ChainStanding, Explanation, LeanHandler, LinkEvent, LinkStatus, ProtocolOptions, StreamHandler } from './types.ts'
import { Upgrader } from './upgrade.ts'
import { explain, explainRefusal } from './why.ts'

/** What was read from the store before a mesh exists. */
interface Opened {
  readonly book: AddressBook
  readonly known: KnownKeys
  readonly invites: Invites
  readonly boot: number
}

const MAX_PINGS = 1_000

/**
 * Opens a node's mesh: reads its state and counts this start; nothing touches the network before `start`, `listen` or `dial`.
 * @throws TypeError for a bad configuration. @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`.
 */
export async function createMesh(components: MeshComponents): Promise<Mesh> {
  const { store, clock, logger } = components
  meshSettings(components.config ?? {})
  const opened = {
    book: await AddressBook.open(store, clock),
    known: await openKnownKeys({ store, clock, log: logger }),
    invites: await Invites.open(store, clock),
    boot: await nextBoot(store, components.boot),
  }
  const node = new MeshNode(components, opened)
  await node.load()
  return node
}

/** Wires the parts together; each rule lives in the part it is about. */
class MeshNode implements Mesh {
  readonly book: PeerBook
  readonly invites: MeshInvites
  readonly #components: MeshComponents
  readonly #opened: Opened
  readonly #transports: Map<string, Transport> = new Map()
  readonly #router: Router
  readonly #dialer: Dialer
  readonly #gate: Gate
  readonly #budgets: ReturnType<typeof createBudgets>
  readonly #admission: ReturnType<typeof createAdmission>
  readonly #answerLocate: ReturnType<typeof createLocateAnswerer>
  readonly #presence: Presence
  readonly #news: AddressNews
  readonly #reach: Reach
  readonly #reconnector: Reconnector
  readonly #upgrader: Upgrader
  readonly #pairing: PairingService
  readonly #metrics: LinkMetrics
  readonly #events: LinkEvents
  readonly #closing: AbortController = new AbortController()
  readonly #chains: ChainDesk
  readonly #catchUp: CatchUp
  readonly #verdicts: ChainVerdicts
  readonly #review: LinkReview
  #shows: (did: Did) => boolean = () => false
  #rules: MeshRules | undefined
  #messages: MeshMessages | undefined
  #policy: MeshPolicy | undefined
  #settings: Settings
  #device: Device
  #table: LinkTable
  #started = false
  #closed: Promise<void> | undefined

  constructor(components: MeshComponents, opened: Opened) {
    const { clock, random, logger, config = {} } = components
    const { book, known, invites } = opened
    this.#components = components
    this.#opened = opened
    this.#settings = meshSettings(config)
    this.#device = components.device
    this.#metrics = linkMetrics(components.metrics)
    this.#events = new LinkEvents(logger)
    this.#setTransports(components.transports)
    this.#table = this.#newTable()
    const policy = { classOf: (did: Did) => this.#ruling.classOf(did), constraints: (did: Did) => this.#ruling.constraints(did) }
    this.#router = new Router({
      clock,
      logger,
      refuse: ({ peer }, protocol, access) => this.#ruling.refuse(peer, protocol, access),
      onMalformed: (member) => this.#review.malformed(member, 'header'),
    })
    this.#admission = createAdmission(config.admission === undefined ? { clock } : { clock, limits: config.admission })
    const expecting = (): boolean => invites.outstanding
    this.#budgets = createBudgets({ clock, policy, expecting, ...(config.isolated === undefined ? {} : { limits: config.isolated }) })
    this.#answerLocate = createLocateAnswerer({ device: currentDevice(() => this.#device), clock })
    this.#presence = new Presence({
      clock,
      logger,
      discoveries: discoveriesOf(components.discovery),
      interfaces: () => this.#interfaces(),
      self: () => ({ did: this.did, linkKey: this.#device.linkSigner.publicKey, name: this.#device.name }),
      onFound: (did) => this.#onFound(did),
      onMoved: () => this.#onMoved(),
    })
    this.#news = new AddressNews({ book, logger, addresses: () => this.addresses })
    this.#gate = new Gate({
      device: () => this.#device,
      known,
      cache: new HelloCache(),
      clock,
      random,
      logger,
      boot: opened.boot,
      table: () => this.#table,
      admission: this.#admission,
      budgets: this.#budgets,
      classOf: policy.classOf,
      mayLink: (did) => this.#review.mayLink(did),
      conduct: components.conduct,
      requirePq: () => this.#settings.requirePq,
      onMember: (member, link) => this.#onMember(member, link),
      onWarning: (peer, error) => this.#emit({ type: 'warning', peer, error }),
      onContradicted: (by) => this.#verdicts.contradicted(by, true),
      metrics: this.#metrics,
    })
    this.#dialer = new Dialer({
      own: this.did,
      transports: this.#transports,
      localKey: () => this.#device.linkSigner.publicKey,
      clock,
      random,
      book,
      known,
      prefer: () => this.#settings.prefer,
      requirePostQuantum: () => this.#settings.requirePq,
      found: (did) => this.#presence.candidates(did),
      establish: (channel, did, signal, peerHas) => this.#gate.establish(channel, did, signal, peerHas),
      onResult: (scheme, result) => this.#metrics.dialled(scheme, result),
    })
    this.#reach = new Reach({
      table: () => this.#table,
      dialer: this.#dialer,
      router: this.#router,
      book,
      mayLink: (did) => this.#review.mayLink(did),
      canDial: (scheme) => this.#transports.has(scheme),
      closing: this.#closing.signal,
    })
    this.#reconnector = new Reconnector({
      clock,
      random,
      targets: () => this.#reach.targets(),
      connected: (target) => this.#reach.connected(target),
      dial: (target, signal) => this.#reach.redial(target, signal),
    })
    this.#upgrader = new Upgrader(clock, () => this.#table, this.#dialer)
    const onPaired = (joined: Joined): void => this.#onPaired(joined)
    const device = (): Device => this.#device
    this.#pairing = new PairingService({
      device,
      book,
      invites,
      known,
      clock,
      random,
      addresses: () => this.addresses,
      link: (ticket, signal) => this.#reach.memberOfTicket(ticket, signal),
      openOn: (member, protocol, signal) => this.#router.open(member, protocol, signal),
      onPaired,
    })
    const pairing = new PairingServer({
      did: this.did,
      name: () => this.#device.name,
      store: components.store,
      book,
      invites,
      clock,
      random,
      onPaired,
      onWarning: (peer, error) => this.#emit({ type: 'warning', peer, error }),
    })
    serveOwnProtocols(this.#router, { device, book, known, invites, pairing, shows: (did) => this.#shows(did), clock, logger })
    this.book = createPeerBook(book, this.did, (did) => this.#onForgotten(did))
    this.invites = {
      create: (options) => this.#pairing.create(options),
      list: () => invites.list(),
      revoke: (id) => book.exclusive(() => invites.revoke(id)),
    }
    this.#chains = new ChainDesk({
      known,
      clock,
      isStale: (did) => [...this.#table.membersOf(did)].some(({ link, state }) => link.chainStale && state !== 'closed'),
    })
    this.#review = new LinkReview({
      known,
      conduct: components.conduct,
      table: () => this.#table,
      gate: this.#gate,
      reconnector: this.#reconnector,
      directory: () => this.#messages?.directory,
      ruling: () => this.#ruling,
      policy: () => this.policy,
    })
    this.#catchUp = new CatchUp({
      known,
      book,
      clock,
      logger,
      closing: this.#closing.signal,
      directory: () => this.messages.directory,
      classOf: policy.classOf,
      members: () => this.#table.members(),
      openOn: (member, protocol, signal) => this.#router.open(member, protocol, signal),
      onAnchored: (did) => this.#verdicts.decided(did),
    })
    this.#verdicts = new ChainVerdicts({
      own: this.did,
      known,
      book,
      logger,
      chains: this.#chains,
      fetch: this.#catchUp,
      table: () => this.#table,
      directory: () => this.messages.directory,
      onFork: components.onFork,
      onDecided: (did) => {
        this.#gate.refresh(did)
        this.#ruling.changed([did])
        this.#reconnector.refresh()
        this.#reconnector.wake(did)
      },
      refresh: (did) => this.#gate.refresh(did),
      onWarning: (peer, error) => this.#emit({ type: 'warning', peer, error }),
    })
    known.onFork = (chain) => this.#verdicts.forked(chain)
    book.onChange = (did) => {
      this.#gate.refresh(did)
      this.#reconnector.refresh()
    }
  }

  async load(): Promise<void> {
    const { store, clock, logger, policy, conduct } = this.#components
    this.#rules = await MeshRules.open({
      store,
      clock,
      logger,
      own: this.did,
      book: this.#opened.book,
      known: this.#opened.known,
      settings: () => this.#settings,
      other: policy,
      conduct,
      interfaces: () => this.#interfaces(),
      accessOf: (protocol) => this.#router.get(protocol)?.access,
      streamsOf: (did) => streamsOf(this.#table.membersOf(did)),
      onChange: () => this.#review.rulesChanged(),
    })
    this.#policy = this.#rules.policy()
    this.#messages = await this.#openMessages()
    this.#opened.known.onChain = (did) => void this.#review.keysChanged(did).catch((error: unknown) => logger.warn('links not reviewed', { peer: did, error }))
    this.#opened.known.onRevoked = (did, linkKey) => this.#review.revoked(did, linkKey)
    await adoptOwn(this.#opened.known, this.#device.chain, this.#components.clock.now())
    const ends = [conduct?.onChange((did) => this.#review.conductChanged(did)), policy?.onChange?.((peers) => this.#review.standingChanged(peers))]
    for (const end of ends) if (end !== undefined) this.#closing.signal.addEventListener('abort', end, { once: true })
  }

  get policy(): MeshPolicy {
    return this.#policy as MeshPolicy
  }

  get messages(): Messages {
    return this.#messages as Messages
  }

  get did(): Did {
    return this.#device.did
  }

  get contradictedBy(): readonly Did[] {
    return this.#verdicts.contradictedBy
  }

  get addresses(): readonly string[] {
    return this.#presence.addresses
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
    await this.#presence.start()
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
    const listener = await transport.listen(url, (channel) => this.#gate.accept(channel), {
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      admit: (source, evict) => this.#admission.handshake(source, evict),
      onFailed: (error) => this.#metrics.strangerLeft(error),
      onLocate: (request, source) => this.#answerLocate(request, source),
    })
    if (this.#closed !== undefined) {
      await listener.close()
      throw new KithError('CLOSED')
    }
    await this.#presence.listening(listener, url)
    for (const member of this.#table.members()) this.#news.tell(member)
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

  async openLean(peer: string, protocol: string, options: Waiting & { readonly linkKey?: string } = {}): Promise<LinkStream> {
    if (options.linkKey !== undefined) {
      this.#alive()
      return await this.#reach.openOn(options.linkKey, peer, protocol, options.signal)
    }
    return await this.#reach.open(this.#resolve(peer), protocol, options.signal)
  }

  async dial(peer: string, options: Waiting & { readonly url?: string } = {}): Promise<LinkStatus> {
    const did = this.#resolve(peer)
    this.#reconnector.wake(did)
    const member = await (options.url === undefined ? this.#reach.member(did, options.signal) : this.#reach.memberAt(did, options.url, options.signal))
    const status = this.links().find((link) => link.did === did && link.linkKey === toHex(member.link.linkKey))
    if (status === undefined) throw new KithError('LINK_LOST')
    return status
  }

  async linkDevice(linkKey: PublicKey, urls: readonly string[], options: Waiting = {}): Promise<void> {
    this.#alive()
    if (equal(linkKey, this.#device.linkSigner.publicKey)) throw new KithError('SELF_DIAL')
    if (this.#table.get(linkKey)?.current !== undefined) return
    const known = urls.filter((url) => splitAddress(url) !== undefined).map((url) => ({ url, linkKey }))
    const found = this.#presence.candidates(this.did).filter((candidate) => candidate.linkKey !== undefined && equal(candidate.linkKey, linkKey))
    const candidates = [...known, ...found].filter(({ url }) => this.#transports.has(schemeOf(url)))
    const signal = options.signal === undefined ? this.#closing.signal : AbortSignal.any([options.signal, this.#closing.signal])
    await this.#dialer.race(this.did, candidates, signal)
  }

  async ping(peer: string, options: Waiting & { readonly count?: number } = {}): Promise<readonly number[]> {
    const count = options.count ?? 1
    if (!Number.isInteger(count) || count < 1 || count > MAX_PINGS) throw new TypeError(`count must be a whole number from 1 to ${MAX_PINGS}`)
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
    return linkList({
      table: this.#table,
      book: this.#opened.book,
      classOf: (did) => this.#ruling.classOf(did),
      chainOf: (did) => this.#chains.standing(did),
      retryOf: (did) => this.#reconnector.status(did),
      dialing: (did) => this.#dialer.dialing(did),
    })
  }

  network(): ReturnType<Mesh['network']> {
    return {
      discovered: this.#presence.discovered(),
      stats: { ...linkTotals(this.#table), isolatedLinks: this.#budgets.isolatedLinks, admission: this.#admission.status },
    }
  }

  async join(ticket: string, options: Waiting & { readonly name?: string } = {}): Promise<Joined> {
    this.#alive()
    const signal = options.signal === undefined ? this.#closing.signal : AbortSignal.any([options.signal, this.#closing.signal])
    return await abortable(this.#pairing.join(ticket, options, signal), signal)
  }

  async confirm(peer: string): Promise<BookPeer> {
    return await this.#pairing.confirm(this.#resolve(peer))
  }

  showHistories(which: (did: Did) => boolean): void {
    this.#shows = which
  }

  async fetchChain(did: Did): Promise<boolean> {
    this.#alive()
    return await this.#catchUp.rest(did)
  }

  chainOf(did: Did): ChainStanding | null {
    return this.#chains.standing(did)
  }

  async anchor(peer: string, options: { readonly head?: string; readonly chain?: Uint8Array } = {}): Promise<ChainStanding> {
    return await this.#verdicts.anchor(this.#resolve(peer), options)
  }

  async repin(peer: string, head: string): Promise<ChainStanding> {
    return await this.#verdicts.repin(this.#resolve(peer), head)
  }

  why(peer: string, action?: string, target?: string): Explanation {
    const did = this.#resolve(peer)
    return explain({
      own: this.did,
      did,
      links: this.#table.linksOf(did),
      dialer: this.#dialer,
      schemes: this.schemes,
      prefer: this.#settings.prefer,
      chain: this.#chains.standing(did),
      decision: action === undefined ? undefined : this.policy.decide({ peer: did, action, ...(target === undefined ? {} : { target }) }),
      standing: {
        class: this.policy.classOf(did),
        score: this.policy.scoreOf(did),
        low: this.#components.conduct?.isolated(did) === true,
        capped: this.#ruling.isCapped(did),
      },
      ban: this.#review.banOf(did),
    })
  }

  wake(): void {
    this.#reconnector.wake()
  }

  async replaceDevice(device: Device, options: { readonly transports?: readonly Transport[] } = {}): Promise<void> {
    this.#alive()
    if (device.did !== this.did) throw new TypeError('a mesh keeps its identity: another one needs another mesh')
    await adoptOwn(this.#opened.known, device.chain, this.#components.clock.now())
    if (equal(device.linkSigner.publicKey, this.#device.linkSigner.publicKey)) {
      this.#device = device
      return
    }
    if (options.transports === undefined) throw new TypeError('a new link key needs transports made with it')
    const urls = this.#presence.bound
    await this.#presence.stopListening()
    await this.#table.close(new KithError('GOING_AWAY', 'this machine goes on with another link key'))
    this.#device = device
    this.#setTransports(options.transports)
    this.#table = this.#newTable()
    for (const url of urls) await this.listen(url)
    this.#reconnector.refresh()
    this.#reconnector.wake()
  }

  onEvent(listener: (event: LinkEvent) => void): () => void {
    return this.#events.on(listener)
  }

  reload(config: MeshConfig): void {
    const rules = this.#settings.rules
    this.#settings = meshSettings(config)
    for (const { did } of this.#table.links()) this.#gate.refresh(did)
    this.#table.reconsider()
    if (!isDeepStrictEqual(rules, this.#settings.rules)) this.#ruling.reloaded()
  }

  get #ruling(): MeshRules {
    return this.#rules as MeshRules
  }

  #alive(): void {
    if (this.#closed !== undefined) throw new KithError('CLOSED', 'this mesh was closed')
  }

  #resolve(peer: string): Did {
    this.#alive()
    const did = this.#opened.book.resolve(peer)
    if (did === this.did) throw new KithError('SELF_DIAL', 'this is the node itself')
    return did
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
      onStream: (member, stream) => {
        if (this.#gate.mayOpen(member)) this.#router.accept(member, stream)
        else stream.reset(new KithError('BUDGET_EXCEEDED').number)
      },
      onMalformed: (member) => this.#review.malformed(member, LINK_PROTOCOL),
      onAddresses: (member, urls) => this.#news.told(member, urls),
    })
  }

  #openMessages(): Promise<MeshMessages> {
    const { store, clock, random, logger, metrics, conduct, yieldTurn = nextTurn } = this.#components
    const { book, known, boot } = this.#opened
    return openMessages({
      device: () => this.#device,
      known,
      store,
      clock,
      random,
      logger,
      metrics,
      conduct,
      boot,
      router: this.#router,
      inBook: (did) => book.has(did),
      constraints: (did) => this.#ruling.constraints(did),
      yieldTurn,
      resolve: (peer) => this.#resolve(peer),
      onLink: (did, signal, run) => this.#reach.onLink(did, signal, run),
      open: (did, protocol, signal) => this.open(did, protocol, signal === undefined ? {} : { signal }),
    })
  }

  async #close(): Promise<void> {
    this.#closing.abort(new KithError('CLOSED', 'this mesh was closed'))
    this.#reconnector.stop()
    this.#upgrader.stop()
    this.#rules?.close()
    this.#dialer.close()
    await this.#presence.stop()
    await this.#presence.stopListening()
    this.#messages?.stop()
    await drainMembers([...this.#table.members()], this.#components.clock, this.#settings.drainMs)
    this.#gate.close()
    await this.#table.close(new KithError('GOING_AWAY'))
    this.#router.close()
    await this.#messages?.close()
    await this.#opened.known.close()
    this.#events.clear()
  }

  #onMember(member: Member, link: AuthenticatedLink): void {
    this.#messages?.linked(member, link)
    const { did, role, clockOffsetMs } = member.link
    this.#dialer.noteOffset(did, clockOffsetMs)
    this.#verdicts.contradicted(did, link.forkShown)
    void this.#verdicts.catchUp(member, link.peerKnows)
    if (role === 'dialer') {
      this.#router.openControl(member).catch((error: unknown) => {
        // The connection is gone, which its end tells.
        this.#components.logger.debug('no control stream', { peer: did, code: asKithError(error, 'INTERNAL').code })
      })
    }
    if (this.#opened.book.has(did)) this.#opened.known.keep(did)
    this.#news.tell(member)
  }

  #onLinkEvent(event: LinkEvent): void {
    this.#metrics.links(this.#table.linked)
    this.#emit(event)
    this.#reconnector.refresh()
  }

  #onPaired({ did, name, words, class: held, pending }: Joined): void {
    this.#opened.known.keep(did)
    // Above Known without waiting for words: whoever made the ticket trusts that it reached its reader alone.
    if (pending === null && atLeast(held, 'partner')) this.#verdicts.vouch(did)
    for (const member of this.#table.membersOf(did)) this.#news.tell(member)
    this.#emit({ type: 'paired', peer: did, name, words, class: held, pending })
  }

  #onFound(did: Did): void {
    if (!this.#opened.book.has(did)) return
    this.#reconnector.refresh()
    this.#reconnector.wake(did)
  }

  #onMoved(): void {
    for (const member of this.#table.members()) this.#news.tell(member)
    this.#reconnector.wake()
  }

  async #onForgotten(did: Did): Promise<void> {
    const { known } = this.#opened
    this.#verdicts.forgotten(did)
    await this.#ruling.local.forgetAllowed(did)
    // A person decided about a contradiction: the next meeting is a first one.
    if (known.peer(did)?.forked === true) known.forget(did)
    else known.keep(did, false)
    await this.#table.close(new KithError('LINK_CLOSED'), did)
  }

  #emit(event: LinkEvent): void {
    this.#metrics.event(event.type)
    this.#events.emit(event)
  }

  #interfaces(): readonly string[] {
    if (this.#components.interfaces !== undefined) return this.#components.interfaces()
    return Object.values(networkInterfaces()).flatMap((addresses) => (addresses ?? []).map(({ address }) => address))
  }
}

function discoveriesOf(given: MeshComponents['discovery']): readonly Discovery[] {
  if (given === undefined) return []
  return 'onPeer' in given ? [given] : given
}
