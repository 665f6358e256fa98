import { equal, type PublicKey } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import { nearest } from '../core/nearest.ts'
import type { Store, StoreOp } from '../core/store/types.ts'
import { type Did, didPublicKey, parseDid } from '../identity/did.ts'
import { type BookAddress, type BookPeer, decodePeer, encodePeer, MAX_ADDRESSES, MAX_URL } from './address-book-codec.ts'
import { isPeerClass } from './constraints.ts'
import { cleanName, isPeerName, likeness, looksLikeDid, MAX_NAME, uniqueName } from './peer-name.ts'
import type { PeerClass } from './types.ts'

export type { BookAddress, BookPeer }

export const MAX_PEERS = 10_000
const NAMESPACE = 'mesh/book'
/** Shorter prefixes of a DID are refused: they become ambiguous with the next peer. */
const MIN_PREFIX = 8

export interface NewPeer {
  readonly did: Did
  /** Wished for; cleaned and made unique. */
  readonly name?: string
  readonly class?: PeerClass
  readonly pending?: PeerClass | null
  readonly met?: string
  readonly addresses?: readonly { readonly url: string; readonly linkKey?: PublicKey | undefined }[]
}

/**
 * The peers this node knows by name, durable, held in memory for every decision. Reading is immediate; a change counts once it is stored.
 */
export class AddressBook {
  readonly #store: Store
  readonly #clock: Clock
  readonly #peers: Map<Did, BookPeer> = new Map()
  #saving: Promise<unknown> = Promise.resolve()
  readonly #watchers: Set<(did: Did, held: boolean) => void> = new Set()
  /** Called after each change; one owner. */
  onChange: (did: Did) => void = () => undefined

  constructor(store: Store, clock: Clock) {
    this.#store = store
    this.#clock = clock
  }

  /** @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`. */
  static async open(store: Store, clock: Clock): Promise<AddressBook> {
    const book = new AddressBook(store, clock)
    for await (const { value } of store.scan(NAMESPACE)) {
      const peer = decodePeer(value)
      book.#peers.set(peer.did, peer)
    }
    return book
  }

  get(did: Did): BookPeer | undefined {
    return this.#peers.get(did)
  }

  has(did: Did): boolean {
    return this.#peers.has(did)
  }

  list(): readonly BookPeer[] {
    return [...this.#peers.values()].sort((a, b) => a.name.localeCompare(b.name, 'en'))
  }

  classOf(did: Did): PeerClass {
    return this.#peers.get(did)?.class ?? 'isolated'
  }

  /**
   * Whom a person means: a DID, a unique prefix of one (8 or more characters, with or without `did:icn:z`), or a name.
   * @throws KithError `PEER_UNKNOWN` with the nearest name, `PEER_AMBIGUOUS` with all that match.
   */
  resolve(text: string): Did {
    // Every stream asks here: what is in the book was parsed once.
    const known = this.#peers.get(text as Did)
    if (known !== undefined) return known.did
    const did = asDid(text)
    if (did !== undefined) return did
    const byName = [...this.#peers.values()].filter((peer) => peer.name.toLowerCase() === text.toLowerCase())
    const byPrefix = text.length < MIN_PREFIX ? [] : [...this.#peers.values()].filter((peer) => startsWith(peer.did, text))
    const found = new Set([...byName, ...byPrefix])
    const [only] = found
    if (only !== undefined && found.size === 1) return only.did
    const shown = text.slice(0, 64)
    if (found.size === 0) {
      const close = nearest(
        text,
        [...this.#peers.values()].map((peer) => peer.name),
      )
      throw new KithError('PEER_UNKNOWN', close === undefined ? `no peer is called ${shown}` : `no peer is called ${shown}; did you mean ${close}?`, {
        details: { peer: shown, nearest: close ?? null },
        next: 'kith peers',
      })
    }
    const matches = [...found].map((peer) => ({ did: peer.did, name: peer.name }))
    throw new KithError('PEER_AMBIGUOUS', `${shown} could be ${matches.map(({ name }) => name).join(', ')}`, {
      details: { peer: shown, matches },
      next: 'kith peers',
    })
  }

  /** Puts a peer in, or merges into what is known: a class is never lowered and a name never replaced by this. @throws KithError `BUDGET_EXCEEDED`, `STORE_FAILED`. */
  add(peer: NewPeer): Promise<BookPeer> {
    return this.#change(async () => this.#save(this.merged(peer)))
  }

  /** What `add` would store, for a caller that stores it together with something else (`saved`). */
  merged(peer: NewPeer): BookPeer {
    const known = this.#peers.get(peer.did)
    if (known === undefined && this.#peers.size >= MAX_PEERS) {
      throw new KithError('BUDGET_EXCEEDED', `the address book holds ${MAX_PEERS} peers already`, { next: 'kith peers forget PEER' })
    }
    const added = (peer.addresses ?? []).map(({ url, linkKey }) => ({ url, linkKey, lastSuccessMs: 0, lastFailureMs: 0 }))
    const base: BookPeer = known ?? {
      did: peer.did,
      name: this.#free(cleanName(peer.name ?? '', peer.did), peer.did),
      class: 'known',
      pending: null,
      met: 'added',
      sinceMs: this.#clock.now(),
      addresses: [],
    }
    return {
      ...base,
      class: peer.class ?? base.class,
      pending: peer.pending === undefined ? base.pending : peer.pending,
      met: peer.met ?? base.met,
      addresses: mergeAddresses(base.addresses, added),
    }
  }

  /** The write that makes `merged` durable, for a transaction; follow it with `saved`. */
  writeOf(peer: BookPeer): StoreOp {
    return { type: 'put', ns: NAMESPACE, key: didPublicKey(peer.did), value: encodePeer(peer) }
  }

  saved(peer: BookPeer): void {
    const before = this.#peers.get(peer.did)?.class
    this.#peers.set(peer.did, peer)
    this.#changed(peer.did, peer.class !== before)
  }

  /** @throws TypeError for a name of another form. @throws KithError `PEER_UNKNOWN`, `PEER_AMBIGUOUS` when another peer has it. */
  rename(did: Did, name: string): Promise<BookPeer> {
    if (!isPeerName(name)) throw new TypeError(`a name is 1 to ${MAX_NAME} letters, digits and . _ -, beginning with a letter or digit`)
    return this.#update(did, (peer) => {
      if (this.#taken(name, did)) throw new KithError('PEER_AMBIGUOUS', `another peer is called ${name}`, { details: { name }, next: 'kith peers' })
      return { ...peer, name }
    })
  }

  setClass(did: Did, held: PeerClass, pending: PeerClass | null): Promise<BookPeer> {
    return this.#update(did, (peer) => ({ ...peer, class: held, pending }))
  }

  addAddresses(did: Did, addresses: readonly { url: string; linkKey?: PublicKey | undefined }[]): Promise<BookPeer> {
    return this.#update(did, (peer) => ({
      ...peer,
      addresses: mergeAddresses(
        peer.addresses,
        addresses.map(({ url, linkKey }) => ({ url, linkKey, lastSuccessMs: 0, lastFailureMs: 0 })),
      ),
    }))
  }

  /** Notes how a dial went; a link key that was found replaces the one stored there. Unknown peers and addresses are left out. */
  async note(did: Did, url: string, result: { readonly ok: boolean; readonly linkKey?: PublicKey }): Promise<void> {
    if (!this.#peers.get(did)?.addresses.some((address) => address.url === url)) return
    const now = this.#clock.now()
    const noted = (address: BookAddress): BookAddress => {
      const linkKey = result.linkKey ?? address.linkKey
      return result.ok ? { ...address, linkKey, lastSuccessMs: now } : { ...address, linkKey, lastFailureMs: now }
    }
    // Worth keeping, but not worth a disk flush for every attempt.
    await this.#update(did, (peer) => ({ ...peer, addresses: peer.addresses.map((address) => (address.url === url ? noted(address) : address)) }), false)
  }

  /** Forgets a peer; false when it was not there. */
  forget(did: Did): Promise<boolean> {
    return this.#change(async () => {
      if (!this.#peers.has(did)) return false
      await this.#store.batch([{ type: 'delete', ns: NAMESPACE, key: didPublicKey(did) }], { durable: true })
      this.#peers.delete(did)
      this.#changed(did, true)
      return true
    })
  }

  /**
   * Calls back after each change of an entry, whatever changed; `held`: also its class, or whether it is there. Returns the way to stop. A watcher does not throw.
   */
  watch(watcher: (did: Did, held: boolean) => void): () => void {
    this.#watchers.add(watcher)
    return () => void this.#watchers.delete(watcher)
  }

  /** Runs `change` alone: no other change of the book happens meanwhile. */
  exclusive<T>(change: () => Promise<T>): Promise<T> {
    return this.#change(change)
  }

  #changed(did: Did, held: boolean): void {
    this.onChange(did)
    for (const watcher of [...this.#watchers]) watcher(did, held)
  }

  #update(did: Did, edit: (peer: BookPeer) => BookPeer, durable = true): Promise<BookPeer> {
    return this.#change(async () => {
      const peer = this.#peers.get(did)
      if (peer === undefined) throw new KithError('PEER_UNKNOWN', 'this peer is not in the address book', { details: { did }, next: 'kith peers' })
      return this.#save(edit(peer), durable)
    })
  }

  async #save(peer: BookPeer, durable = true): Promise<BookPeer> {
    await this.#store.batch([this.writeOf(peer)], { durable })
    this.saved(peer)
    return peer
  }

  #change<T>(run: () => Promise<T>): Promise<T> {
    const done = this.#saving.then(run)
    this.#saving = done.catch(() => undefined)
    return done
  }

  #taken(name: string, except: Did): boolean {
    const lower = name.toLowerCase()
    // Rules name classes and DIDs in the same place: a peer may be called like neither.
    if (isPeerClass(lower)) return true
    for (const peer of this.#peers.values()) if (peer.did !== except && (peer.name.toLowerCase() === lower || startsWith(peer.did, name))) return true
    return false
  }

  /**
   * A name that nobody has, or could be taken to have, and that is not the beginning of a DID: otherwise a newcomer could answer to it. What the owner
   * chooses (`rename`) only has to be free.
   */
  #free(name: string, did: Did): string {
    const resembled = new Set([...this.#peers.values()].filter((peer) => peer.did !== did).map((peer) => likeness(peer.name)))
    return uniqueName(name, (candidate) => this.#taken(candidate, did) || looksLikeDid(candidate) || resembled.has(likeness(candidate)))
  }
}

/** Newest knowledge first; of one URL the later entry's link key counts, and what was learnt about it stays. */
function mergeAddresses(known: readonly BookAddress[], added: readonly BookAddress[]): readonly BookAddress[] {
  const all = new Map<string, BookAddress>(known.map((address) => [address.url, address]))
  for (const address of added) {
    if (address.url.length > MAX_URL) throw new TypeError(`an address is at most ${MAX_URL} characters`)
    const before = all.get(address.url)
    const sameKey = before?.linkKey !== undefined && address.linkKey !== undefined && equal(before.linkKey, address.linkKey)
    if (before === undefined) all.set(address.url, address)
    else if (!sameKey && address.linkKey !== undefined) all.set(address.url, { ...before, linkKey: address.linkKey })
  }
  if (all.size <= MAX_ADDRESSES) return [...all.values()]
  // Room is made by the addresses that worked longest ago.
  return [...all.values()].sort((a, b) => freshness(b, added) - freshness(a, added)).slice(0, MAX_ADDRESSES)
}

function freshness(address: BookAddress, added: readonly BookAddress[]): number {
  return added.some(({ url }) => url === address.url) ? Number.POSITIVE_INFINITY : address.lastSuccessMs
}

function asDid(text: string): Did | undefined {
  try {
    return parseDid(text)
  } catch {
    return undefined
  }
}

/** With `did:icn:z`, from the `z` on, or from behind it; base58 tells capital letters apart. */
function startsWith(did: Did, prefix: string): boolean {
  if (prefix.length < MIN_PREFIX) return false
  return did.startsWith(prefix) || did.slice('did:icn:'.length).startsWith(prefix) || did.slice('did:icn:z'.length).startsWith(prefix)
}
