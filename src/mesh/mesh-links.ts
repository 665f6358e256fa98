import { networkInterfaces } from 'node:os'
import { equal, type PublicKey } from '../core/bytes.ts'
import { KithError } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import type { Device } from '../identity/types.ts'
import type { Transport } from '../transport/types.ts'
import type { AddressBook } from './address-book.ts'
import { AddressNews } from './address-news.ts'
import { schemeOf, splitAddress } from './addresses.ts'
import { createAdmission } from './admission.ts'
import { createBudgets } from './admission-budget.ts'
import { currentDevice } from './current-device.ts'
import { Dialer } from './dialer.ts'
import type { Discovery } from './discovery.ts'
import { Gate } from './gate.ts'
import { HelloCache } from './hello-cache.ts'
import type { AuthenticatedLink } from './hello-types.ts'
import type { Invites } from './invite.ts'
import type { KnownKeys } from './known-keys.ts'
import { LINK_PROTOCOL } from './link-control.ts'
import type { Member } from './link-member.ts'
import type { LinkReview } from './link-review.ts'
import { LinkTable } from './link-table.ts'
import { createLocateAnswerer } from './locate.ts'
import { type LinkMetrics, linkMetrics } from './mesh-metrics.ts'
import type { MeshRules } from './mesh-rules.ts'
import type { MeshComponents, Waiting } from './mesh-types.ts'
import { Presence } from './presence.ts'
import { Reach } from './reach.ts'
import { Reconnector } from './reconnect.ts'
import { Router } from './router.ts'
import type { Settings } from './settings.ts'
import type { LinkEvent } from './types.ts'
import { Upgrader } from './upgrade.ts'

/** What was read from the store before a mesh exists. */
export interface Opened {
  readonly book: AddressBook
  readonly known: KnownKeys
  readonly invites: Invites
  readonly boot: number
}

/** What the links are told by the mesh they belong to, and what they tell it. */
export interface MeshLinksHooks {
  readonly device: () => Device
  readonly settings: () => Settings
  readonly ruling: () => MeshRules
  readonly review: () => LinkReview
  /** Aborted when the mesh closes. */
  readonly closing: AbortSignal
  readonly onMember: (member: Member, link: AuthenticatedLink) => void
  readonly onEvent: (event: LinkEvent) => void
  readonly onWarning: (peer: Did | null, error: KithError) => void
  /** This peer shows another history of our own keys. */
  readonly onContradicted: (by: Did) => void
}

/** Everything by which links are made, kept and used: transports, the gate they enter by, the table they stand in, and who dials when. */
export class MeshLinks {
  readonly transports: Map<string, Transport> = new Map()
  readonly metrics: LinkMetrics
  readonly admission: ReturnType<typeof createAdmission>
  readonly budgets: ReturnType<typeof createBudgets>
  readonly router: Router
  readonly gate: Gate
  readonly dialer: Dialer
  readonly presence: Presence
  readonly news: AddressNews
  readonly reach: Reach
  readonly reconnector: Reconnector
  readonly #components: MeshComponents
  readonly #hooks: MeshLinksHooks
  readonly #upgrader: Upgrader
  readonly #answerLocate: ReturnType<typeof createLocateAnswerer>
  #table: LinkTable

  constructor(components: MeshComponents, { book, known, invites, boot }: Opened, hooks: MeshLinksHooks) {
    const { clock, random, logger, config = {} } = components
    const { device, settings, ruling, review } = hooks
    const { did } = device()
    this.#components = components
    this.#hooks = hooks
    this.metrics = linkMetrics(components.metrics)
    this.#setTransports(components.transports)
    this.#table = this.#newTable()
    this.router = new Router({
      clock,
      logger,
      refuse: ({ peer }, protocol, access) => ruling().refuse(peer, protocol, access),
      onMalformed: (member) => review().malformed(member, 'header'),
    })
    this.admission = createAdmission(config.admission === undefined ? { clock } : { clock, limits: config.admission })
    const policy = { classOf: (peer: Did) => ruling().classOf(peer), constraints: (peer: Did) => ruling().constraints(peer) }
    const expecting = (): boolean => invites.outstanding
    this.budgets = createBudgets({ clock, policy, expecting, ...(config.isolated === undefined ? {} : { limits: config.isolated }) })
    this.#answerLocate = createLocateAnswerer({ device: currentDevice(device), clock })
    this.presence = new Presence({
      clock,
      logger,
      discoveries: discoveriesOf(components.discovery),
      interfaces: () => interfacesOf(components),
      self: () => ({ did, linkKey: device().linkSigner.publicKey, name: device().name }),
      onFound: (found) => {
        if (!book.has(found)) return
        this.reconnector.refresh()
        this.reconnector.wake(found)
      },
      onMoved: () => {
        this.#tellAll()
        this.reconnector.wake()
      },
    })
    this.news = new AddressNews({ book, logger, addresses: () => this.presence.addresses })
    this.gate = new Gate({
      device,
      known,
      cache: new HelloCache(),
      clock,
      random,
      logger,
      boot,
      table: () => this.#table,
      admission: this.admission,
      budgets: this.budgets,
      classOf: policy.classOf,
      mayLink: (peer) => review().mayLink(peer),
      conduct: components.conduct,
      requirePq: () => settings().requirePq,
      pollUs: () => settings().pollUs,
      onMember: hooks.onMember,
      onWarning: hooks.onWarning,
      onContradicted: hooks.onContradicted,
      metrics: this.metrics,
    })
    this.dialer = new Dialer({
      own: did,
      transports: this.transports,
      localKey: () => device().linkSigner.publicKey,
      clock,
      random,
      book,
      known,
      prefer: () => settings().prefer,
      requirePostQuantum: () => settings().requirePq,
      found: (peer) => this.presence.candidates(peer),
      establish: (channel, peer, signal, peerHas) => this.gate.establish(channel, peer, signal, peerHas),
      onResult: (scheme, result) => this.metrics.dialled(scheme, result),
    })
    this.reach = new Reach({
      table: () => this.#table,
      dialer: this.dialer,
      router: this.router,
      book,
      mayLink: (peer) => review().mayLink(peer),
      canDial: (scheme) => this.transports.has(scheme),
      closing: hooks.closing,
    })
    this.reconnector = new Reconnector({
      clock,
      random,
      targets: () => this.reach.targets(),
      connected: (target) => this.reach.connected(target),
      dial: (target, signal) => this.reach.redial(target, signal),
    })
    this.#upgrader = new Upgrader(clock, () => this.#table, this.dialer)
  }

  /** Another one after `renew`. */
  get table(): LinkTable {
    return this.#table
  }

  async start(): Promise<void> {
    this.reconnector.start()
    this.#upgrader.start()
    await this.presence.start()
  }

  /** Dials and listens no more; links stand. */
  async stop(): Promise<void> {
    this.reconnector.stop()
    this.#upgrader.stop()
    this.dialer.close()
    await this.presence.stop()
    await this.presence.stopListening()
  }

  /** @throws KithError `ADDRESS_INVALID`, `SCHEME_UNAVAILABLE`, `CLOSED`, and what the transport throws. */
  async listen(url: string, options: Waiting): Promise<readonly string[]> {
    const parts = splitAddress(url)
    if (parts === undefined) throw new KithError('ADDRESS_INVALID', undefined, { details: { address: url.slice(0, 100) } })
    const transport = this.transports.get(parts.scheme)
    if (transport === undefined) throw new KithError('SCHEME_UNAVAILABLE', `this node has no transport for ${parts.scheme}`, { next: 'kith doctor' })
    const listener = await transport.listen(url, (channel) => this.gate.accept(channel), {
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      admit: (source, evict) => this.admission.handshake(source, evict),
      onFailed: (error) => this.metrics.strangerLeft(error),
      onLocate: (request, source) => this.#answerLocate(request, source),
    })
    if (this.#hooks.closing.aborted) {
      await listener.close()
      throw new KithError('CLOSED')
    }
    await this.presence.listening(listener, url)
    this.#tellAll()
    return listener.addresses
  }

  /** A link to another machine of the own identity. @throws KithError `SELF_DIAL`, and as `Dialer.race`. */
  async linkDevice(linkKey: PublicKey, urls: readonly string[], options: Waiting): Promise<void> {
    const { did, linkSigner } = this.#hooks.device()
    if (equal(linkKey, linkSigner.publicKey)) throw new KithError('SELF_DIAL')
    if (this.#table.get(linkKey)?.current !== undefined) return
    const known = urls.filter((url) => splitAddress(url) !== undefined).map((url) => ({ url, linkKey }))
    const found = this.presence.candidates(did).filter((candidate) => candidate.linkKey !== undefined && equal(candidate.linkKey, linkKey))
    const candidates = [...known, ...found].filter(({ url }) => this.transports.has(schemeOf(url)))
    await this.dialer.race(did, candidates, either(options.signal, this.#hooks.closing))
  }

  /** Goes on with the device's present link key: every link ends, `change` makes it count, and the same addresses are listened on. */
  async renew(transports: readonly Transport[], change: () => void): Promise<void> {
    const urls = this.presence.bound
    await this.presence.stopListening()
    await this.#table.close(new KithError('GOING_AWAY', 'this machine goes on with another link key'))
    change()
    this.#setTransports(transports)
    this.#table = this.#newTable()
    for (const url of urls) await this.listen(url, {})
    this.reconnector.refresh()
    this.reconnector.wake()
  }

  #tellAll(): void {
    for (const member of this.#table.members()) this.news.tell(member)
  }

  #setTransports(transports: readonly Transport[]): void {
    this.transports.clear()
    for (const transport of transports) this.transports.set(transport.scheme, transport)
  }

  #newTable(): LinkTable {
    const { device, settings, review, onEvent } = this.#hooks
    return new LinkTable({
      localKey: device().linkSigner.publicKey,
      clock: this.#components.clock,
      prefer: () => settings().prefer,
      onEvent: (event) => {
        this.metrics.links(this.#table.linked)
        onEvent(event)
        this.reconnector.refresh()
      },
      onStream: (member, stream) => {
        if (this.gate.mayOpen(member)) this.router.accept(member, stream)
        else stream.reset(new KithError('BUDGET_EXCEEDED').number)
      },
      onMalformed: (member) => review().malformed(member, LINK_PROTOCOL),
      onAddresses: (member, urls) => this.news.told(member, urls),
    })
  }
}

/** Aborts with either. */
export function either(signal: AbortSignal | undefined, closing: AbortSignal): AbortSignal {
  return signal === undefined ? closing : AbortSignal.any([signal, closing])
}

/** IP addresses of this machine. */
export function interfacesOf({ interfaces }: Pick<MeshComponents, 'interfaces'>): readonly string[] {
  if (interfaces !== undefined) return interfaces()
  return Object.values(networkInterfaces()).flatMap((addresses) => (addresses ?? []).map(({ address }) => address))
}

function discoveriesOf(given: MeshComponents['discovery']): readonly Discovery[] {
  if (given === undefined) return []
  return 'onPeer' in given ? [given] : given
}
