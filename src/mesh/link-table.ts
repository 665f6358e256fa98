import { compare, equal, type PublicKey, toHex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import type { Connection, LinkStream } from '../transport/types.ts'
import type { LiveRun } from './hello-types.ts'
import type { ControlMessage } from './link-control.ts'
import { type LinkFacts, Member, SUSPECT_MS } from './link-member.ts'
import type { LinkEvent } from './types.ts'

/**
 * # Links (PN-8)
 *
 * The unit is the unordered pair of link keys; a peer has one link per device. The side with the smaller key leads: it keeps one *selected*
 * connection per pair and tells the follower, which opens its streams there. Everything else drains.
 *
 * ```text
 *            add()            leader: choose() -> SELECT            other chosen, or RETIRE received
 * Hello  ------------->  live  ------------------------>  selected  ---------------------------------> retiring ---> closed
 *                          |                                                                              ^  EMPTY both ways, or 60 s: LINK_MOVED
 *                          +---- not chosen --------------------------------------------------------------+
 * ```
 *
 * Provided: exactly one selected connection per pair once both sides have heard each other; no accepted stream is cut by a choice; a connection
 * that stopped answering is passed over after a second and closed after fifteen.
 * Not provided: delivery of what was written into a connection that is lost; its streams end in a retryable error.
 */
export interface LinkTableComponents {
  readonly localKey: PublicKey
  readonly clock: Clock
  /** Schemes from the most to the least liked. */
  readonly prefer: () => readonly string[]
  readonly onEvent: (event: LinkEvent) => void
  /** A stream the peer opened, its header still unread. */
  readonly onStream: (member: Member, stream: LinkStream) => void
  /** What a peer sent on its control stream is no message. */
  readonly onMalformed: (member: Member) => void
  /** Addresses that a peer tells us. */
  readonly onAddresses: (member: Member, urls: readonly string[]) => void
}

/** Connections of one pair at once, those that drain included. */
export const MAX_CONNECTIONS = 4
/** A link is replaced by a new one after this (PN-3): it has no rekeying of its own. */
export const MAX_AGE_MS = 86_400_000

/** All connections with one device of a peer. */
export class Link {
  readonly did: Did
  readonly linkKey: PublicKey
  readonly key: string
  /** Whether this side chooses. */
  readonly leads: boolean
  readonly members: Set<Member> = new Set()
  selected: Member | undefined
  /** Signs of life that are awaited before a newcomer is chosen or passed over. */
  deciding = 0
  /** Of the table's counter, for "the device last used". */
  used = 0
  /** What was reported by the last event; undefined when the link is down. */
  reported: Member | undefined

  constructor(did: Did, linkKey: PublicKey, leads: boolean) {
    this.did = did
    this.linkKey = linkKey
    this.key = toHex(linkKey)
    this.leads = leads
  }

  /** Where new streams go: the selected connection, else the newest. */
  get current(): Member | undefined {
    if (this.selected?.state === 'live' && !this.selected.suspect) return this.selected
    let newest: Member | undefined
    for (const member of this.members) if (member.state === 'live' && !member.suspect && (newest === undefined || member.order > newest.order)) newest = member
    return newest
  }

  get live(): Member[] {
    return [...this.members].filter((member) => member.state === 'live')
  }
}

export class LinkTable {
  readonly #components: LinkTableComponents
  readonly #links: Map<string, Link> = new Map()
  #order = 0
  #uses = 0

  constructor(components: LinkTableComponents) {
    this.#components = components
  }

  links(): Iterable<Link> {
    return this.#links.values()
  }

  linksOf(did: Did): Link[] {
    return [...this.#links.values()].filter((link) => link.did === did)
  }

  /** Devices linked now. */
  get linked(): number {
    let count = 0
    for (const { current } of this.#links.values()) if (current !== undefined) count++
    return count
  }

  *members(): Iterable<Member> {
    for (const { members } of this.#links.values()) yield* members
  }

  *membersOf(did: Did): Iterable<Member> {
    for (const link of this.#links.values()) if (link.did === did) yield* link.members
  }

  get(linkKey: Uint8Array): Link | undefined {
    return this.#links.get(toHex(linkKey))
  }

  /** Processes of this device that are connected right now, for clone detection in Hello. */
  *live(linkKey: PublicKey): Iterable<LiveRun> {
    for (const member of this.get(linkKey)?.members ?? []) {
      if (member.state !== 'closed') yield { boot: member.link.remoteBoot, run: member.link.remoteRun }
    }
  }

  /** Why a further connection is not wanted, `undefined` when it is. Asked before the verdict and again by `add`. */
  refusal(facts: Pick<LinkFacts, 'did' | 'linkKey' | 'remoteBoot' | 'remoteRun'>): KithError | undefined {
    const link = this.get(facts.linkKey)
    let standing = 0
    for (const member of link?.members ?? []) {
      if (member.state === 'closed' || member.link.remoteBoot < facts.remoteBoot) continue
      standing++
      if (member.link.remoteBoot > facts.remoteBoot || !equal(member.link.remoteRun, facts.remoteRun)) {
        return new KithError('DEVICE_CLONED', 'another running node uses the same device key', {
          details: { did: facts.did, linkKey: toHex(facts.linkKey) },
          next: 'kith init --home DIR (on one of the two machines: device keys are never copied)',
        })
      }
    }
    if (standing >= MAX_CONNECTIONS) return new KithError('DUPLICATE', undefined, { details: { connections: standing } })
    return undefined
  }

  /**
   * Takes a connection in. The caller has just multiplexed it, in the same turn.
   * @throws KithError `DUPLICATE`, `DEVICE_CLONED`; the connection is closed with that code.
   */
  add(facts: LinkFacts, connection: Connection): Member {
    const refused = this.refusal(facts)
    if (refused !== undefined) {
      connection.onStream = (stream) => stream.reset(refused.number)
      void connection.close(refused.number, refused.code)
      throw refused
    }
    const link = this.#linkFor(facts)
    const member: Member = new Member(facts, connection, {
      clock: this.#components.clock,
      order: this.#order++,
      leader: link.leads,
      hooks: {
        onControl: (from, message) => this.#control(link, from, message),
        onMalformed: (from) => this.#components.onMalformed(from),
        onRevived: () => this.#changed(link),
        onClosed: (from, error) => this.#closed(link, from, error),
      },
    })
    connection.onStream = (stream) => {
      member.accepted++
      this.#components.onStream(member, stream)
    }
    const before = link.current
    // PN-8 (a): the peer has started again; what is left of its earlier run is gone without having said so.
    for (const other of link.members) if (other.link.remoteBoot < facts.remoteBoot) void other.close(new KithError('LINK_LOST', 'the peer has started again'))
    link.members.add(member)
    if (before?.state === 'live') this.#doubt(link, before)
    if (link.leads) this.#choose(link)
    else if (link.members.size > 1) member.send({ type: 'prefer', id: facts.connectionId })
    this.#report(link, null)
    return member
  }

  /** The link's device last used, else the best round trip (PN-8). */
  pick(did: Did): Member | undefined {
    let best: { link: Link; member: Member } | undefined
    for (const link of this.#links.values()) {
      if (link.did !== did) continue
      const member = link.current
      if (member === undefined) continue
      if (best === undefined || link.used > best.link.used) best = { link, member }
      else if (link.used === best.link.used && (member.rttMs ?? Number.POSITIVE_INFINITY) < (best.member.rttMs ?? Number.POSITIVE_INFINITY))
        best = { link, member }
    }
    return best?.member
  }

  /** Notes that a stream was opened there. */
  used(member: Member): void {
    const link = this.#links.get(toHex(member.link.linkKey))
    if (link !== undefined) link.used = ++this.#uses
  }

  /** Notes how opening a stream there failed: who goes away is drained, who was lost has to show a sign of life. */
  failed(member: Member, error: KithError): void {
    const link = this.#links.get(toHex(member.link.linkKey))
    if (link === undefined || member.state !== 'live') return
    if (error.code === 'GOING_AWAY') member.retire()
    else {
      member.suspect = true
      this.#doubt(link, member)
    }
    this.#changed(link)
  }

  /** The order of schemes changed. */
  reconsider(): void {
    for (const link of this.#links.values()) this.#changed(link)
  }

  /** Ends all links with a peer, or all. */
  async close(error: KithError | null, did?: Did): Promise<void> {
    const ending: Promise<void>[] = []
    for (const link of this.#links.values()) {
      if (did !== undefined && link.did !== did) continue
      for (const member of link.members)
        ending.push(
          member
            .close(error)
            .then(() => member.connection.closed)
            .then(() => undefined),
        )
    }
    await Promise.all(ending)
  }

  #linkFor(facts: LinkFacts): Link {
    const key = toHex(facts.linkKey)
    const known = this.#links.get(key)
    if (known !== undefined && known.did === facts.did) return known
    // The machine proved another identity than before: what hangs on the old one ends.
    for (const member of known?.members ?? []) void member.close(new KithError('WRONG_PEER'))
    const link = new Link(facts.did, facts.linkKey, compare(this.#components.localKey, facts.linkKey) < 0)
    this.#links.set(key, link)
    return link
  }

  #control(link: Link, from: Member, message: ControlMessage): void {
    if (message.type === 'addresses') this.#components.onAddresses(from, message.urls)
    else if (message.type === 'select' && !link.leads) this.#follow(link, message.id)
    // A hint says that the follower has doubts about the present choice.
    else if (message.type === 'prefer' && link.leads && link.selected !== undefined && link.selected !== from) this.#doubt(link, link.selected)
  }

  #follow(link: Link, id: Uint8Array): void {
    const chosen = [...link.members].find((member) => equal(member.link.connectionId, id))
    if (chosen === undefined || chosen.state !== 'live') return
    link.selected = chosen
    for (const member of link.members) if (member !== chosen) member.retire()
    this.#report(link, null)
  }

  #choose(link: Link): void {
    // Whoever connects again may have lost the connection that still looks alive here: it decides whether it answers.
    if (link.deciding > 0 && link.selected?.state === 'live' && !link.selected.suspect) return
    const best = link.live.sort((a, b) => this.#rank(a, b))[0]
    if (best === undefined) return
    if (best !== link.selected) {
      link.selected = best
      best.send({ type: 'select', id: best.link.connectionId })
    }
    // A connection in doubt is left alone: it either answers and drains, or is closed for its silence.
    for (const member of link.live) if (member !== best && !member.suspect) member.retire()
  }

  /** Alive first, then young enough, direct, liked, older. */
  #rank(a: Member, b: Member): number {
    const prefer = this.#components.prefer()
    const now = this.#components.clock.monotonic()
    const place = (member: Member): number => {
      const at = prefer.indexOf(member.path.scheme)
      return at === -1 ? prefer.length : at
    }
    return (
      Number(a.suspect) - Number(b.suspect) ||
      Number(now - a.startedMs > MAX_AGE_MS) - Number(now - b.startedMs > MAX_AGE_MS) ||
      Number(!a.path.direct) - Number(!b.path.direct) ||
      place(a) - place(b) ||
      a.order - b.order
    )
  }

  /** Looks whether a connection still answers; if not within a second, others are used. */
  #doubt(link: Link, member: Member): void {
    link.deciding++
    void member.answers(SUSPECT_MS).then((alive) => {
      link.deciding--
      if (!alive && member.state === 'live') member.suspect = true
      this.#changed(link)
    })
  }

  #changed(link: Link): void {
    if (link.leads) this.#choose(link)
    this.#report(link, null)
  }

  #closed(link: Link, member: Member, error: KithError | null): void {
    link.members.delete(member)
    if (link.selected === member) link.selected = undefined
    if (link.leads) this.#choose(link)
    this.#report(link, error)
    if (link.members.size === 0 && this.#links.get(link.key) === link) this.#links.delete(link.key)
  }

  /** Tells about what changed: the link is there, it runs elsewhere, it is gone. */
  #report(link: Link, error: KithError | null): void {
    const { current } = link
    const known = link.reported
    if (current === known) return
    link.reported = current
    const base = { peer: link.did, linkKey: link.key }
    if (current === undefined) this.#components.onEvent({ type: 'down', ...base, error })
    else if (known === undefined) this.#components.onEvent({ type: 'up', ...base, path: current.path })
    else if (known.path.scheme !== current.path.scheme || known.path.via !== current.path.via)
      this.#components.onEvent({ type: 'moved', ...base, path: current.path })
  }
}
