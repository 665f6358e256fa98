import { equal, equalSecret, toHex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { bytesN, type Codec, decode, encode, struct, text } from '../core/codec.ts'
import { parsePublicKey } from '../core/crypto/ed25519.ts'
import { hmacSha256 } from '../core/crypto/hash.ts'
import { hashLabeled } from '../core/crypto/labels.ts'
import { asKithError, KithError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'
import type { Store } from '../core/store/types.ts'
import { type Did, didPublicKey, formatDid } from '../identity/did.ts'
import type { LinkStream } from '../transport/types.ts'
import type { AddressBook } from './address-book.ts'
import { peerClass } from './address-book-codec.ts'
import { sourceKeys, sourceOfPath } from './admission-source.ts'
import { atLeast } from './constraints.ts'
import { type Invite, type Invites, inviteKey } from './invite.ts'
import type { LinkContext } from './link-member.ts'
import { cleanName } from './peer-name.ts'
import { StreamReader } from './stream-reader.ts'
import type { Ticket } from './ticket.ts'
import type { PeerClass } from './types.ts'
import { pairWords } from './words.ts'

/**
 * # Pairing, protocol `icn/pair/1` (PN-12)
 *
 * ```text
 * J: id 8 || c_J 32 = H("icn/pair-commit/v1", r_J)
 * I: r_I 32
 * J: r_J 32 || HMAC(k, 01 || Hh || r_J || r_I) 32 || name                then J's end
 * I: HMAC(k, 02 || Hh || r_J || r_I) 32 || name || u8 class              then I's end; the class in effect now
 *    or: 32 bytes, the DID key of whoever used the ticket up, to somebody who proved the ticket; or a reset, INVITE_REFUSED
 * ```
 *
 * The joiner commits to its number before it sees the inviter's, so neither side can search for matching words. Both HMACs cover Hh and thereby both
 * identities, machines and the channel. Unknown, expired, spent and wrong tickets take the same steps and get the same code.
 *
 * A joiner whose answer got lost may come again: for the same identity a used ticket repeats its grant, unless the inviter has forgotten it since.
 */
export const PAIR_PROTOCOL = 'icn/pair/1'

export interface Paired {
  readonly did: Did
  readonly name: string
  readonly words: string
  readonly class: PeerClass
  readonly pending: PeerClass | null
}

const DEADLINE_MS = 15_000
const MAX_BYTES = 512
const MAX_NAME_BYTES = 64
/** Failures per source and minute. */
const FAILURES = 5
const REMEMBERED_SOURCES = 4_096

interface PairOpen {
  readonly id: Uint8Array
  readonly commitment: Uint8Array
}
interface PairProve {
  readonly joinerRandom: Uint8Array
  readonly proof: Uint8Array
  readonly name: string
}
interface PairGrant {
  readonly proof: Uint8Array
  readonly name: string
  readonly class: PeerClass
}

export const openCodec: Codec<PairOpen> = struct<PairOpen>({ id: bytesN(8), commitment: bytesN(32) })
export const proveCodec: Codec<PairProve> = struct<PairProve>({
  joinerRandom: bytesN(32),
  proof: bytesN(32),
  name: text(MAX_NAME_BYTES),
})
export const grantCodec: Codec<PairGrant> = struct<PairGrant>({ proof: bytesN(32), name: text(MAX_NAME_BYTES), class: peerClass })

function proof(k: Uint8Array, step: 1 | 2, helloHash: Uint8Array, joinerRandom: Uint8Array, inviterRandom: Uint8Array): Uint8Array {
  return hmacSha256(k, Uint8Array.of(step), helloHash, joinerRandom, inviterRandom)
}

export interface PairingComponents {
  readonly did: Did
  /** What this machine is called to others. */
  readonly name: () => string
  readonly store: Store
  readonly book: AddressBook
  readonly invites: Invites
  readonly clock: Clock
  readonly random: Random
  readonly onPaired: (paired: Paired) => void
  readonly onWarning: (peer: Did, error: KithError) => void
}

/** The inviter's side. */
export class PairingServer {
  readonly #components: PairingComponents
  /** When a source failed during the last minute: at most five times each, oldest source first. */
  readonly #failures: Map<string, readonly number[]> = new Map()
  /** Stands in for the key of an unknown ticket, so that it costs the same work. */
  readonly #nobody: Uint8Array

  constructor(components: PairingComponents) {
    this.#components = components
    this.#nobody = components.random.bytes(32)
  }

  /** Serves one attempt; the stream ends with it. */
  serve(stream: LinkStream, context: LinkContext): void {
    const { clock, random } = this.#components
    const reader = new StreamReader(stream, { clock, deadlineMs: DEADLINE_MS, limit: MAX_BYTES, signal: context.signal })
    const run = async (): Promise<void> => {
      const { id, commitment } = decode(openCodec, await reader.read(40))
      const inviterRandom = random.bytes(32)
      stream.write(inviterRandom)
      const shown = decode(proveCodec, await reader.rest())
      const invite = this.#components.invites.find(id)
      const k = invite?.k ?? this.#nobody
      const committed = equalSecret(hashLabeled('icn/pair-commit/v1', shown.joinerRandom), commitment)
      const proved = equalSecret(proof(k, 1, context.helloHash, shown.joinerRandom, inviterRandom), shown.proof)
      const allowed = this.#mayTry(context)
      if (invite === undefined || !committed || !proved || !allowed || this.#components.invites.expired(invite)) throw this.#refused(context)
      const paired = await this.#grant(invite.id, context, shown.name, { joiner: shown.joinerRandom, inviter: inviterRandom })
      if (paired === undefined) {
        this.#refused(context)
        this.#tellSpent(stream, context, this.#components.invites.find(id) ?? invite)
        return
      }
      const answer = {
        proof: proof(k, 2, context.helloHash, shown.joinerRandom, inviterRandom),
        name: cleanName(this.#components.name(), this.#components.did),
        class: paired.class,
      }
      stream.write(encode(grantCodec, answer))
      stream.end()
      this.#components.onPaired(paired)
    }
    void run()
      .catch((error: unknown) => stream.reset(asKithError(error, 'INTERNAL').number))
      .finally(() => reader.close())
  }

  /** Uses the ticket up and writes the peer down in one durable step; undefined when it is spent. */
  async #grant(id: Uint8Array, context: LinkContext, name: string, random: { joiner: Uint8Array; inviter: Uint8Array }): Promise<Paired | undefined> {
    const { book, invites, store, clock, did } = this.#components
    return await book.exclusive(async () => {
      const invite = invites.find(id)
      const again = invite?.users.some((use) => use.did === context.peer) ?? false
      const held = book.get(context.peer)
      // Whoever was let in by this ticket and forgotten since is not let in by it again: forgetting undoes a pairing.
      if (invite === undefined || (again ? held === undefined : invite.usesLeft === 0)) return undefined
      const { now, pending } = granted(invite.class, invite.trustTicket)
      // A class that a person gave is not taken back by a ticket.
      const keeps = held !== undefined && atLeast(held.class, invite.class)
      const peer = book.merged({
        did: context.peer,
        name,
        class: keeps ? held.class : held === undefined || atLeast(now, held.class) ? now : held.class,
        pending: keeps ? null : pending,
        met: `invite ${toHex(id)}`,
      })
      const used = invites.used(invite, { did: context.peer, name: peer.name, atMs: clock.now() })
      await store.batch([invites.writeOf(used), book.writeOf(peer)], { durable: true })
      invites.saved(used)
      book.saved(peer)
      const words = pairWords({ helloHash: context.helloHash, inviter: did, joiner: context.peer, inviterRandom: random.inviter, joinerRandom: random.joiner })
      return { did: context.peer, name: peer.name, words, class: peer.class, pending: peer.pending }
    })
  }

  #tellSpent(stream: LinkStream, context: LinkContext, invite: Invite): void {
    const first = invite.users[0]?.did
    // Somebody who was let in and forgotten learns nothing more.
    if (first === undefined || invite.users.some(({ did }) => did === context.peer)) {
      stream.reset(new KithError('INVITE_REFUSED').number)
      return
    }
    stream.write(didPublicKey(first))
    stream.end()
    this.#components.onWarning(
      context.peer,
      new KithError('INVITE_REFUSED', 'a ticket that was used up was tried again: if you do not know its first user, undo the pairing', {
        details: { invite: toHex(invite.id), first_user: first, tried_by: context.peer },
        next: `kith peers forget ${first}`,
      }),
    )
  }

  #mayTry(context: LinkContext): boolean {
    return this.#recent(sourceOf(context)).length < FAILURES
  }

  #recent(source: string): readonly number[] {
    const since = this.#components.clock.monotonic() - 60_000
    return (this.#failures.get(source) ?? []).filter((at) => at > since)
  }

  #refused(context: LinkContext): KithError {
    const source = sourceOf(context)
    const recent = this.#recent(source)
    this.#failures.delete(source)
    this.#failures.set(source, [...recent, this.#components.clock.monotonic()].slice(-FAILURES))
    if (this.#failures.size > REMEMBERED_SOURCES) this.#failures.delete(this.#failures.keys().next().value as string)
    return new KithError('INVITE_REFUSED')
  }
}

/** What a ticket gives at once, and what waits for a person who compares the words. */
export function granted(wanted: PeerClass, trustTicket: boolean): { readonly now: PeerClass; readonly pending: PeerClass | null } {
  if (trustTicket || !atLeast(wanted, 'partner')) return { now: wanted, pending: null }
  return { now: 'known', pending: wanted }
}

export interface JoinOptions {
  readonly ticket: Ticket
  readonly context: LinkContext
  readonly did: Did
  /** What this machine calls itself. */
  readonly name: string
  readonly clock: Clock
  readonly random: Random
  readonly signal?: AbortSignal | undefined
}

export interface JoinResult {
  /** What the inviter calls itself. */
  readonly inviterName: string
  readonly class: PeerClass
  readonly words: string
}

/**
 * The joiner's side, on a stream of a link with exactly the ticket's identity and machine. Stores nothing.
 * @throws KithError `INVITE_REFUSED` (with `first_user` when somebody else used the ticket up), `PROOF_INVALID`, `WIRE_MALFORMED`, `KEY_INVALID`, `TIMEOUT`, `LINK_LOST`,
 * `LINK_MOVED`, `ABORTED`.
 */
export async function joinByTicket(stream: LinkStream, options: JoinOptions): Promise<JoinResult> {
  const { ticket, context, random, clock } = options
  const reader = new StreamReader(stream, { clock, deadlineMs: DEADLINE_MS, limit: MAX_BYTES, signal: options.signal })
  try {
    const k = inviteKey(ticket.secret, ticket.id)
    const joinerRandom = random.bytes(32)
    stream.write(encode(openCodec, { id: ticket.id, commitment: hashLabeled('icn/pair-commit/v1', joinerRandom) }))
    const inviterRandom = await reader.read(32)
    stream.write(
      encode(proveCodec, { joinerRandom, proof: proof(k, 1, context.helloHash, joinerRandom, inviterRandom), name: cleanName(options.name, options.did) }),
    )
    stream.end()
    const answer = await reader.rest()
    if (answer.length === 32) throw spent(answer, options.did)
    const grant = decode(grantCodec, answer)
    if (!equalSecret(proof(k, 2, context.helloHash, joinerRandom, inviterRandom), grant.proof)) {
      throw new KithError('PROOF_INVALID', 'the inviter does not know the ticket it is named in')
    }
    const words = pairWords({ helloHash: context.helloHash, inviter: ticket.did, joiner: options.did, inviterRandom, joinerRandom })
    return { inviterName: grant.name, class: grant.class, words }
  } catch (error) {
    const failure = asKithError(error, 'INTERNAL')
    stream.reset(failure.number)
    throw failure.remote && failure.next === undefined && REFUSALS.has(failure.code) ? refused(failure) : failure
  } finally {
    reader.close()
  }
}

/** Without an outstanding ticket the other side does not even offer the protocol. */
const REFUSALS: ReadonlySet<string> = new Set(['PROTOCOL_UNKNOWN', 'POLICY_DENIED', 'INVITE_REFUSED'])

function refused(cause: KithError): KithError {
  return new KithError('INVITE_REFUSED', undefined, { cause, remote: true, next: 'kith invite (on the other machine, for a new ticket)' })
}

function spent(answer: Uint8Array, own: Did): KithError {
  const first = formatDid(parsePublicKey(answer))
  return new KithError('INVITE_REFUSED', 'somebody has used this ticket before you', {
    remote: true,
    details: { first_user: first, mine: first === own },
    next: `kith peers forget ${first} (on the inviting machine, if nobody there knows that identity)`,
  })
}

function sourceOf(context: LinkContext): string {
  return sourceKeys(sourceOfPath(context.path).host).source
}

/** Whether the link's chain extends what the ticket saw. @throws KithError `CHAIN_STALE`, `CHAIN_FORKED`, `INVITE_INVALID`. */
export function checkTicketChain(
  ticket: Ticket,
  link: { readonly linkKey: Uint8Array; readonly chain: { readonly entries: readonly { readonly hash: Uint8Array }[] } },
): void {
  if (!equal(ticket.linkKey, link.linkKey)) {
    throw new KithError('INVITE_INVALID', 'the inviting machine has changed its key since this ticket was made', {
      next: 'kith invite (on the other machine, for a new ticket)',
    })
  }
  const entry = link.chain.entries[ticket.chainIndex]
  if (entry === undefined) throw new KithError('CHAIN_STALE', 'the inviter shows an older history than its ticket')
  if (!equal(entry.hash.subarray(0, ticket.headPrefix.length), ticket.headPrefix)) {
    throw new KithError('CHAIN_FORKED', 'the inviter shows another history than its ticket', { details: { index: ticket.chainIndex } })
  }
}
