import { equal, type PublicKey, toHex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { asKithError, type ErrorCode, isKithError, KithError } from '../core/errors.ts'
import { Lru } from '../core/lru.ts'
import type { Random } from '../core/random.ts'
import type { Did } from '../identity/did.ts'
import type { Channel, Transport } from '../transport/types.ts'
import type { AddressBook } from './address-book.ts'
import { schemeOf } from './addresses.ts'
import { abortError } from './errors.ts'
import type { KnownKeys } from './known-keys.ts'
import type { Member } from './link-member.ts'
import { locate } from './locate.ts'
import { unbanCommand } from './mesh-rules.ts'
import { race } from './race.ts'
import type { CandidateResult } from './types.ts'

/** One way that might lead to a peer. */
export interface Candidate {
  readonly url: string
  /** The machine expected there; without one it is located first (PN-2). */
  readonly linkKey: PublicKey | undefined
}

export interface DialerComponents {
  readonly own: Did
  readonly transports: ReadonlyMap<string, Transport>
  readonly localKey: () => PublicKey
  readonly clock: Clock
  readonly random: Random
  readonly book: AddressBook
  readonly known: KnownKeys
  /** Schemes from the most to the least liked. */
  readonly prefer: () => readonly string[]
  readonly requirePostQuantum: () => boolean
  /** Addresses heard of by discovery. */
  readonly found: (did: Did) => readonly Candidate[]
  /** Hello and the link table: makes a channel a connection of the peer, or closes it. */
  readonly establish: (channel: Channel, did: Did, signal: AbortSignal, peerHas?: number) => Promise<Member>
  /** For counting: the scheme and `ok` or the error code. */
  readonly onResult?: (scheme: string, result: string) => void
}

/** One attempt, from locate to the verdict. */
const ATTEMPT_MS = 20_000
/** The window of the stream's handshake (protocol.md, further rules), less what locate's estimate may be off. */
const CLOCK_WINDOW_MS = 115_000
/** Connections one attempt may take to show a long chain, an entry with post-quantum keys each. Whatever came of it stays for the next attempt. */
const MAX_GREETINGS = 12
const REMEMBERED_PEERS = 1_000
const REMEMBERED_URLS = 16

/** Answers of the peer itself: no other address will change them. */
const DEFINITE: ReadonlySet<ErrorCode> = new Set([
  'POLICY_DENIED',
  'HELLO_REFUSED',
  'BANNED',
  'DEVICE_CLONED',
  'DEVICE_REVOKED',
  'DEVICE_NOT_ALLOWED',
  'VERSION_UNSUPPORTED',
  'CHAIN_FORKED',
  'CHAIN_STALE',
  'CHAIN_INVALID',
  'BINDING_INVALID',
  'BINDING_EXPIRED',
  'BINDING_STALE',
  'BUDGET_EXCEEDED',
  'WRONG_PEER',
  'SELF_DIAL',
])

interface Flight {
  readonly promise: Promise<Member>
  readonly stop: AbortController
  waiting: number
}

/**
 * Finds a way to a peer: races what is known of its addresses over the transports, in the order of preference; asks who is there when no link key is known
 * or the one that was known has gone. What happened on each way is kept for `why`.
 */
export class Dialer {
  readonly #components: DialerComponents
  readonly #flights: Map<Did, Flight> = new Map()
  readonly #results: Lru<Did, Map<string, CandidateResult>> = new Lru(REMEMBERED_PEERS)
  readonly #offsets: Lru<Did, number> = new Lru(REMEMBERED_PEERS)
  readonly #stop: AbortController = new AbortController()

  constructor(components: DialerComponents) {
    this.#components = components
  }

  dialing(did: Did): boolean {
    return this.#flights.has(did)
  }

  results(did: Did): readonly CandidateResult[] {
    return [...(this.#results.get(did)?.values() ?? [])]
  }

  /** The peer's clock minus ours in ms, as last seen. */
  clockOffset(did: Did): number | undefined {
    return this.#offsets.get(did)
  }

  noteOffset(did: Did, ms: number): void {
    this.#offsets.set(did, ms)
  }

  /** Whether somebody asked for links with this peer: only those are dialled unasked. */
  wanted(did: Did): boolean {
    return this.#components.book.has(did)
  }

  /** Every address known of a peer, the most promising first. */
  candidates(did: Did): readonly Candidate[] {
    const known = this.#components.book.get(did)?.addresses ?? []
    const all = new Map<string, Candidate & { lastSuccessMs: number }>()
    for (const { url, linkKey, lastSuccessMs } of known) all.set(url, { url, linkKey, lastSuccessMs })
    for (const { url, linkKey } of this.#components.found(did)) if (!all.has(url)) all.set(url, { url, linkKey, lastSuccessMs: 0 })
    return [...all.values()].sort((a, b) => this.rank(schemeOf(a.url)) - this.rank(schemeOf(b.url)) || b.lastSuccessMs - a.lastSuccessMs)
  }

  /** Place of a scheme in the order of preference: less is better. */
  rank(scheme: string): number {
    const order = this.#components.prefer()
    const at = order.indexOf(scheme)
    return at === -1 ? order.length : at
  }

  /**
   * A link with this peer over whatever works. Calls for the same peer share one race.
   * @throws KithError `PEER_UNREACHABLE` with the result of each address, what the peer itself answered, `ABORTED`.
   */
  async dial(did: Did, signal?: AbortSignal): Promise<Member> {
    if (signal?.aborted === true) throw abortError(signal)
    let flight = this.#flights.get(did)
    if (flight === undefined) {
      const stop = new AbortController()
      const promise = this.race(did, this.candidates(did), stop.signal).finally(() => this.#land(did, stop))
      promise.catch(() => undefined)
      flight = { promise, stop, waiting: 0 }
      this.#flights.set(did, flight)
    }
    flight.waiting++
    try {
      return await abortable(flight.promise, signal)
    } finally {
      flight.waiting--
      if (flight.waiting === 0) {
        // Whoever calls from now on begins anew.
        this.#land(did, flight.stop)
        flight.stop.abort(new KithError('ABORTED', 'nobody waits for this link any more'))
      }
    }
  }

  #land(did: Did, stop: AbortController): void {
    if (this.#flights.get(did)?.stop === stop) this.#flights.delete(did)
  }

  /** Races exactly these. @throws as `dial`. */
  async race(did: Did, candidates: readonly Candidate[], signal: AbortSignal): Promise<Member> {
    if (candidates.length === 0) {
      throw new KithError('PEER_UNREACHABLE', 'no address of this peer is known', { details: { did, candidates: [] }, next: `kith peers add ${did} URL` })
    }
    const result = await race(candidates, {
      clock: this.#components.clock,
      signal: AbortSignal.any([signal, this.#stop.signal]),
      attempt: (candidate, stop) => this.attempt(did, candidate, stop),
    })
    if (result.won) return result.value
    const errors = result.errors.map((error) => asKithError(error, 'INTERNAL'))
    const only = errors.length === 1 ? errors[0] : undefined
    // Among several addresses somebody else at one of them says nothing about the peer.
    const definite = errors.find(({ code }) => DEFINITE.has(code) && (only !== undefined || code !== 'WRONG_PEER'))
    if (definite !== undefined) throw definite
    const urls = new Set(candidates.map(({ url }) => url))
    const details = this.results(did)
      .filter(({ url }) => urls.has(url))
      .map(({ url, result: code, reason }) => ({ url, result: code, reason }))
    const name = this.#components.book.get(did)?.name
    const none = `none of ${candidates.length} addresses${name === undefined ? '' : ` of ${name}`} answered`
    throw new KithError(
      'PEER_UNREACHABLE',
      only === undefined ? none : `no answer${name === undefined ? '' : ` from ${name}`} at ${candidates[0]?.url}: ${inside(only.message)}`,
      {
        details: { did, candidates: details },
        next: `kith why ${name ?? did}`,
        cause: errors[0],
      },
    )
  }

  /** One way, once; its result is remembered. @throws KithError whatever kept it from becoming a link. */
  async attempt(did: Did, candidate: Candidate, signal: AbortSignal): Promise<Member> {
    const { clock } = this.#components
    const late = new AbortController()
    const timer = clock.after(ATTEMPT_MS, () => late.abort(new KithError('TIMEOUT', 'no link within 20 s')))
    try {
      const stop = AbortSignal.any([signal, late.signal])
      const member = await this.#connect(did, candidate, stop)
      this.#remember(did, { url: candidate.url, result: 'ok', reason: `connected over ${member.path.scheme}` })
      await this.#note(did, candidate.url, { ok: true, linkKey: member.link.linkKey })
      return member
    } catch (thrown) {
      const error = signal.aborted ? abortError(signal) : late.signal.aborted ? late.signal.reason : this.#withNext(asKithError(thrown, 'INTERNAL'))
      if (!signal.aborted) {
        this.#remember(did, { url: candidate.url, result: error.code, reason: error.message })
        await this.#note(did, candidate.url, { ok: false })
      }
      throw error
    } finally {
      timer.cancel()
    }
  }

  /** Only the owner of the other machine ends its ban of this one. */
  #withNext(error: KithError): KithError {
    if (error.code !== 'BANNED' || !error.remote) return error
    const next = `${unbanCommand(this.#components.own)} (on the other machine)`
    return new KithError('BANNED', error.message, { remote: true, details: error.details, next, cause: error })
  }

  close(): void {
    this.#stop.abort(new KithError('CLOSED'))
  }

  async #connect(did: Did, candidate: Candidate, signal: AbortSignal): Promise<Member> {
    const transport = this.#components.transports.get(schemeOf(candidate.url))
    if (transport === undefined) throw new KithError('SCHEME_UNAVAILABLE', `this node has no transport for ${schemeOf(candidate.url)}`)
    const expect = candidate.linkKey ?? (await this.#locate(transport, did, candidate.url, signal))
    try {
      return await this.#dialKey(transport, did, candidate.url, expect, signal)
    } catch (error) {
      if (transport.locate === undefined || !mayHeal(error)) throw error
      if (candidate.linkKey === undefined) throw this.#explained(did, error)
      const now = await this.#locate(transport, did, candidate.url, signal)
      if (!isKithError(error, 'CHAIN_STALE') && equal(now, candidate.linkKey)) throw this.#explained(did, error)
      const member = await this.#dialKey(transport, did, candidate.url, now, signal)
      if (!equal(now, candidate.linkKey)) await this.#healed(did, candidate.linkKey, now)
      return member
    }
  }

  /** A listener hangs up without a word on a clock that is too far off; its signed answer to locate says by how much. */
  #explained(did: Did, error: unknown): unknown {
    const offset = this.#offsets.get(did) ?? 0
    if (!isKithError(error, 'HANDSHAKE_FAILED') || Math.abs(offset) < CLOCK_WINDOW_MS) return error
    const apart = `the clocks of the two machines are ${Math.round(Math.abs(offset) / 1000)} s apart`
    return new KithError('HANDSHAKE_TIMESTAMP', apart, { details: { differenceMs: offset }, next: 'set the clock of the machine that is wrong', cause: error })
  }

  /**
   * Greets again for as long as each greeting brings one side further with a chain that does not fit into one: the dialer says what it knows, a listener that is behind
   * answers how far it has come.
   */
  async #dialKey(transport: Transport, did: Did, url: string, expect: PublicKey, signal: AbortSignal): Promise<Member> {
    const { known } = this.#components
    let peerHas: number | undefined
    for (let greetings = 1; ; greetings++) {
      const before = known.peer(did)?.index ?? -1
      try {
        return await this.#greetKey(transport, did, url, expect, signal, peerHas)
      } catch (error) {
        if (!isKithError(error, 'CHAIN_STALE') || greetings >= MAX_GREETINGS) throw error
        const { haveIndex } = error.details
        if (error.remote) {
          if (typeof haveIndex !== 'number' || haveIndex <= (peerHas ?? -2)) throw error
          peerHas = haveIndex
        } else if (transport.locate !== undefined || (known.peer(did)?.index ?? -1) <= before) throw error
      }
    }
  }

  async #greetKey(transport: Transport, did: Did, url: string, expect: PublicKey, signal: AbortSignal, peerHas: number | undefined): Promise<Member> {
    if (equal(expect, this.#components.localKey())) throw new KithError('SELF_DIAL')
    const channel = await transport.dial(url, { expect, signal })
    if (this.#components.requirePostQuantum() && !channel.postQuantum) {
      channel.close()
      throw new KithError('SCHEME_UNAVAILABLE', `${transport.scheme} is not post-quantum and link.require_pq is set`, {
        next: 'kith config show link.require_pq',
      })
    }
    return await this.#components.establish(channel, did, signal, peerHas)
  }

  async #locate(transport: Transport, did: Did, url: string, signal: AbortSignal): Promise<PublicKey> {
    const { clock, random, known } = this.#components
    if (transport.locate === undefined) {
      const [latest] = [...(known.peer(did)?.devices ?? [])].filter(({ revoked }) => !revoked).sort((a, b) => b.lastSeenMs - a.lastSeenMs)
      if (latest !== undefined) return latest.linkKey
    }
    const located = await locate(transport, url, { did, chain: await known.chain(did), known, onChain: (chain) => known.adopt(chain), clock, random, signal })
    this.noteOffset(did, located.clockOffsetMs)
    known.adopt(located.chain)
    return located.linkKey
  }

  /** One machine has a new key: all its addresses get it, unless the new key is another machine we knew already. */
  async #healed(did: Did, before: PublicKey, now: PublicKey): Promise<void> {
    const addresses = this.#components.book.get(did)?.addresses ?? []
    if (addresses.some(({ linkKey }) => linkKey !== undefined && equal(linkKey, now))) return
    const stale = addresses.filter(({ linkKey }) => linkKey !== undefined && equal(linkKey, before))
    if (stale.length > 0)
      await this.#components.book
        .addAddresses(
          did,
          stale.map(({ url }) => ({ url, linkKey: now })),
        )
        .catch(() => undefined)
  }

  /** The book is a help, not a condition: a store that fails does not end a link. */
  async #note(did: Did, url: string, result: { readonly ok: boolean; readonly linkKey?: PublicKey }): Promise<void> {
    await this.#components.book.note(did, url, result).catch(() => undefined)
  }

  #remember(did: Did, result: CandidateResult): void {
    this.#components.onResult?.(schemeOf(result.url), result.result)
    const results = this.#results.get(did) ?? new Map<string, CandidateResult>()
    results.delete(result.url)
    results.set(result.url, result)
    if (results.size > REMEMBERED_URLS) results.delete(results.keys().next().value as string)
    this.#results.set(did, results)
  }
}

/**
 * What locating again can change: the machine's key was replaced while we were apart, or the identity's history grew beyond what a greeting carries.
 * The identity itself answers both. On the encrypted stream a machine that is asked for another key just closes, so a failed handshake may mean that too.
 */
function mayHeal(error: unknown): boolean {
  return isKithError(error, 'WRONG_KEY') || isKithError(error, 'HANDSHAKE_FAILED') || (isKithError(error, 'CHAIN_STALE') && !error.remote)
}

/** The promise, or the signal's reason, whichever is first. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(abortError(signal))
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}

/** Names a device in maps. */
export function deviceId(did: Did, linkKey: PublicKey | undefined): string {
  return `${did} ${linkKey === undefined ? '*' : toHex(linkKey)}`
}

/** A sentence as the end of another. */
function inside(sentence: string): string {
  return sentence.replace(/^[A-Z](?=[a-z]* )/, (letter) => letter.toLowerCase()).replace(/\.$/, '')
}
