import type { Duplex } from 'node:stream'
import { isDeepStrictEqual } from 'node:util'
import { equal, type PublicKey, toHex } from '../core/bytes.ts'
import { asKithError, KithError } from '../core/errors.ts'
import { nextTurn } from '../core/turn.ts'
import type { Did } from '../identity/did.ts'
import type { Device } from '../identity/types.ts'
import type { LinkStream, Transport } from '../transport/types.ts'
import { AddressBook, type BookPeer } from './address-book.ts'
import { adoptOwn } from './adopt-shown.ts'
import { nextBoot } from './boot.ts'
import { atLeast } from './constraints.ts'
import { abortable } from './dialer.ts'
import { drainMembers } from './drain.ts'
import type { AuthenticatedLink } from './hello-types.ts'
import { Invites } from './invite.ts'
import { openKnownKeys } from './known-keys.ts'
import { LinkEvents } from './link-events.ts'
import type { Member } from './link-member.ts'
import { type MeshChains, meshChains } from './mesh-chains.ts'
import { either, interfacesOf, MeshLinks, type Opened } from './mesh-links.ts'
import { meshPairing } from './mesh-pairing.ts'
import { MeshRules } from './mesh-rules.ts'
import type { Joined, Mesh, MeshComponents, MeshConfig, MeshInvites, MeshPolicy, PeerBook, Waiting } from './mesh-types.ts'
import { type MeshMessages, openMessages } from './messages/messages.ts'
import type { Messages } from './messages/types.ts'
import type { PairingService } from './pairing-service.ts'
import { createPeerBook } from './peer-book.ts'
import { PING_PROTOCOL, pingOnce } from './ping.ts'
import { meshSettings, type Settings } from './settings.ts'
import { linkList, linkTotals, streamsOf } from './status.ts'
import type { ChainStanding, Explanation, LeanHandler, LinkEvent, LinkStatus, ProtocolOptions, StreamHandler } from './types.ts'
import { explain, explainRefusal } from './why.ts'

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

/** The face of the parts, a method for each of `Mesh`, which is what makes it long; each rule lives in the part it is about. */
class MeshNode implements Mesh {
  readonly book: PeerBook
  readonly invites: MeshInvites
  readonly #components: MeshComponents
  readonly #opened: Opened
  readonly #links: MeshLinks
  readonly #chains: MeshChains
  readonly #pairing: PairingService
  readonly #events: LinkEvents
  readonly #closing: AbortController = new AbortController()
  #shows: (did: Did) => boolean = () => false
  #rules: MeshRules | undefined
  #messages: MeshMessages | undefined
  #policy: MeshPolicy | undefined
  #settings: Settings
  #device: Device
  #started = false
  #closed: Promise<void> | undefined

  constructor(components: MeshComponents, opened: Opened) {
    const { book, known, invites } = opened
    this.#components = components
    this.#opened = opened
    this.#settings = meshSettings(components.config ?? {})
    this.#device = components.device
    this.#events = new LinkEvents(components.logger)
    const closing = this.#closing.signal
    const device = (): Device => this.#device
    const ruling = (): MeshRules => this.#ruling
    const onWarning = (peer: Did | null, error: KithError): void => this.#emit({ type: 'warning', peer, error })
    this.#links = new MeshLinks(components, opened, {
      device,
      settings: () => this.#settings,
      ruling,
      review: () => this.#chains.review,
      closing,
      onMember: (member, link) => this.#onMember(member, link),
      onEvent: (event) => this.#emit(event),
      onWarning,
      onContradicted: (by) => this.#chains.verdicts.contradicted(by, true),
    })
    const links = this.#links
    const pairing = meshPairing({
      ...{ components, book, known, invites, device, links, onWarning },
      shows: (did) => this.#shows(did),
      onPaired: (joined) => this.#onPaired(joined),
    })
    this.#pairing = pairing.service
    this.book = createPeerBook(book, this.did, (did) => this.#onForgotten(did))
    this.invites = pairing.invites
    this.#chains = meshChains({
      ...{ components, own: this.did, book, known, links, closing, ruling, onWarning },
      policy: () => this.policy,
      messages: () => this.#messages,
    })
    known.onFork = (chain) => this.#chains.verdicts.forked(chain)
    book.onChange = (did) => {
      links.gate.refresh(did)
      links.reconnector.refresh()
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
      interfaces: () => interfacesOf(this.#components),
      accessOf: (protocol) => this.#links.router.get(protocol)?.access,
      streamsOf: (did) => streamsOf(this.#links.table.membersOf(did)),
      onChange: () => this.#chains.review.rulesChanged(),
    })
    this.#policy = this.#rules.policy()
    this.#messages = await this.#openMessages()
    this.#opened.known.onChain = (did) =>
      void this.#chains.review.keysChanged(did).catch((error: unknown) => logger.warn('links not reviewed', { peer: did, error }))
    this.#opened.known.onRevoked = (did, linkKey) => this.#chains.review.revoked(did, linkKey)
    await adoptOwn(this.#opened.known, this.#device.chain, this.#components.clock.now())
    const ends = [
      conduct?.onChange((did) => this.#chains.review.conductChanged(did)),
      policy?.onChange?.((peers) => this.#chains.review.standingChanged(peers)),
    ]
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
    return this.#chains.verdicts.contradictedBy
  }

  get addresses(): readonly string[] {
    return this.#links.presence.addresses
  }

  get schemes(): readonly string[] {
    return [...this.#links.transports.keys()]
  }

  async start(): Promise<void> {
    this.#alive()
    if (this.#started) return
    this.#started = true
    for (const { did } of this.#opened.book.list()) this.#opened.known.keep(did)
    await this.#links.start()
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
    return await this.#links.listen(url, options)
  }

  handle(protocol: string, handler: StreamHandler, options?: ProtocolOptions): () => void {
    return this.#links.router.handle(protocol, handler, options)
  }

  handleLean(protocol: string, handler: LeanHandler, options?: ProtocolOptions): () => void {
    return this.#links.router.handleLean(protocol, handler, options)
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
      return await this.#links.reach.openOn(options.linkKey, peer, protocol, options.signal)
    }
    return await this.#links.reach.open(this.#resolve(peer), protocol, options.signal)
  }

  async dial(peer: string, options: Waiting & { readonly url?: string } = {}): Promise<LinkStatus> {
    const did = this.#resolve(peer)
    this.#links.reconnector.wake(did)
    const member = await (options.url === undefined
      ? this.#links.reach.member(did, options.signal)
      : this.#links.reach.memberAt(did, options.url, options.signal))
    const status = this.links().find((link) => link.did === did && link.linkKey === toHex(member.link.linkKey))
    if (status === undefined) throw new KithError('LINK_LOST')
    return status
  }

  async linkDevice(linkKey: PublicKey, urls: readonly string[], options: Waiting = {}): Promise<void> {
    this.#alive()
    await this.#links.linkDevice(linkKey, urls, options)
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
      table: this.#links.table,
      book: this.#opened.book,
      classOf: (did) => this.#ruling.classOf(did),
      chainOf: (did) => this.#chains.desk.standing(did),
      retryOf: (did) => this.#links.reconnector.status(did),
      dialing: (did) => this.#links.dialer.dialing(did),
    })
  }

  network(): ReturnType<Mesh['network']> {
    return {
      discovered: this.#links.presence.discovered(),
      stats: { ...linkTotals(this.#links.table), isolatedLinks: this.#links.budgets.isolatedLinks, admission: this.#links.admission.status },
    }
  }

  async join(ticket: string, options: Waiting & { readonly name?: string } = {}): Promise<Joined> {
    this.#alive()
    const signal = either(options.signal, this.#closing.signal)
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
    return await this.#chains.catchUp.rest(did)
  }

  chainOf(did: Did): ChainStanding | null {
    return this.#chains.desk.standing(did)
  }

  async anchor(peer: string, options: { readonly head?: string; readonly chain?: Uint8Array } = {}): Promise<ChainStanding> {
    return await this.#chains.verdicts.anchor(this.#resolve(peer), options)
  }

  async repin(peer: string, head: string): Promise<ChainStanding> {
    return await this.#chains.verdicts.repin(this.#resolve(peer), head)
  }

  why(peer: string, action?: string, target?: string): Explanation {
    const did = this.#resolve(peer)
    return explain({
      own: this.did,
      did,
      links: this.#links.table.linksOf(did),
      dialer: this.#links.dialer,
      schemes: this.schemes,
      prefer: this.#settings.prefer,
      chain: this.#chains.desk.standing(did),
      decision: action === undefined ? undefined : this.policy.decide({ peer: did, action, ...(target === undefined ? {} : { target }) }),
      standing: {
        class: this.policy.classOf(did),
        score: this.policy.scoreOf(did),
        low: this.#components.conduct?.isolated(did) === true,
        capped: this.#ruling.isCapped(did),
      },
      ban: this.#chains.review.banOf(did),
    })
  }

  wake(): void {
    this.#links.reconnector.wake()
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
    await this.#links.renew(options.transports, () => {
      this.#device = device
    })
  }

  onEvent(listener: (event: LinkEvent) => void): () => void {
    return this.#events.on(listener)
  }

  reload(config: MeshConfig): void {
    const rules = this.#settings.rules
    this.#settings = meshSettings(config)
    for (const { did } of this.#links.table.links()) this.#links.gate.refresh(did)
    this.#links.table.reconsider()
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
      router: this.#links.router,
      inBook: (did) => book.has(did),
      constraints: (did) => this.#ruling.constraints(did),
      yieldTurn,
      resolve: (peer) => this.#resolve(peer),
      onLink: (did, signal, run) => this.#links.reach.onLink(did, signal, run),
      open: (did, protocol, signal) => this.open(did, protocol, signal === undefined ? {} : { signal }),
    })
  }

  async #close(): Promise<void> {
    this.#closing.abort(new KithError('CLOSED', 'this mesh was closed'))
    this.#rules?.close()
    await this.#links.stop()
    this.#messages?.stop()
    await drainMembers([...this.#links.table.members()], this.#components.clock, this.#settings.drainMs)
    this.#links.gate.close()
    await this.#links.table.close(new KithError('GOING_AWAY'))
    this.#links.router.close()
    await this.#messages?.close()
    await this.#opened.known.close()
    this.#events.clear()
  }

  #onMember(member: Member, link: AuthenticatedLink): void {
    this.#messages?.linked(member, link)
    const { did, role, clockOffsetMs } = member.link
    this.#links.dialer.noteOffset(did, clockOffsetMs)
    this.#chains.verdicts.contradicted(did, link.forkShown)
    void this.#chains.verdicts.catchUp(member, link.peerKnows)
    if (role === 'dialer') {
      this.#links.router.openControl(member).catch((error: unknown) => {
        // The connection is gone, which its end tells.
        this.#components.logger.debug('no control stream', { peer: did, code: asKithError(error, 'INTERNAL').code })
      })
    }
    if (this.#opened.book.has(did)) this.#opened.known.keep(did)
    this.#links.news.tell(member)
  }

  #onPaired({ did, name, words, class: held, pending }: Joined): void {
    this.#opened.known.keep(did)
    // Above Known without waiting for words: whoever made the ticket trusts that it reached its reader alone.
    if (pending === null && atLeast(held, 'partner')) this.#chains.verdicts.vouch(did)
    for (const member of this.#links.table.membersOf(did)) this.#links.news.tell(member)
    this.#emit({ type: 'paired', peer: did, name, words, class: held, pending })
  }

  async #onForgotten(did: Did): Promise<void> {
    const { known } = this.#opened
    this.#chains.verdicts.forgotten(did)
    await this.#ruling.local.forgetAllowed(did)
    // A person decided about a contradiction: the next meeting is a first one.
    if (known.peer(did)?.forked === true) known.forget(did)
    else known.keep(did, false)
    await this.#links.table.close(new KithError('LINK_CLOSED'), did)
  }

  #emit(event: LinkEvent): void {
    this.#links.metrics.event(event.type)
    this.#events.emit(event)
  }
}
