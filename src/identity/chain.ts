import { compare, equal } from '../core/bytes.ts'
import { encode } from '../core/codec.ts'
import { KithError } from '../core/errors.ts'
import { judgeCancellation, type RecoveryCancellation } from './chain-cancellation.ts'
import { entryBytes, invalidChain, MAX_CHAIN_BYTES, MAX_ENTRIES } from './chain-codec.ts'
import { judgeRecovery, type Quorum, samePolicy } from './chain-recovery.ts'
import { checkEntry } from './chain-rules.ts'
import type { Did } from './did.ts'
import { keySetCodec } from './keys.ts'
import type { CancelledRecovery, ChainEntry, ChainFork, ChainState, ChainStatus, KeySet, PendingRecovery } from './types.ts'

/**
 * # Adopting chains (PN-6)
 *
 * A DID stays while its keys change: each change is an entry that opens the commitment of the entry before. A verifier keeps one chain per DID and only ever
 * extends it by valid entries.
 *
 * ```text
 *  inception(0) --next--> rotate(1) --next--> rotate(2) ...             shown a chain that is
 *      |                                                                 a prefix of mine: stale     longer: extended
 *      +-- other keys at one index: two valid histories                  contradicting: forked (never decided by time or hash)
 * ```
 *
 * Two entries at one index:
 * 1. same kind, keys and next: one event told twice; the smaller hash is kept, no alarm. Where the two name other trustees, or only one says `compromised`, the
 *    first adopted stays until an entry that opens the next commitment follows the other: whoever has the present keys can sign their entry anew;
 * 2. a rotation against a recovery still in its delay: the rotation wins, unless the recovery carries override attestations;
 * 3. a rotation that arrives after the recovery was adopted is refused and recorded: it had the whole delay;
 * 4. otherwise the first adopted stays, the pair is kept as proof and the chain is `forked` until a person re-pins it.
 */
export interface AdoptOptions {
  /** Wall clock, ms since the epoch. */
  readonly now: number
  /** Refuse a chain of another DID. */
  readonly did?: Did
  /** Chains of trustees that are known here, for recoveries. */
  readonly chainOf?: (did: Did) => ChainState | undefined
}

export type AdoptOutcome = 'new' | 'extended' | 'same' | 'stale' | 'forked' | 'pending'

export interface Adoption {
  readonly state: ChainState
  /** `stale`: what was shown is shorter or was overtaken; answer with the tail. `pending`: a recovery waits for its delay (`state.pending`). */
  readonly outcome: AdoptOutcome
}

/**
 * Verifies what was shown and gives the next state; `known` is never changed. `entries` may be a whole chain or a tail that begins at or below the
 * entry after the known head.
 * @throws KithError `CHAIN_INVALID` when any entry that is new here is not valid, whatever else was shown with it.
 */
export function adoptChain(known: ChainState | undefined, entries: readonly ChainEntry[], options: AdoptOptions): Adoption {
  const first = entries[0]
  if (first === undefined) throw invalidChain('it is empty')
  const did = options.did ?? known?.did ?? first.did
  if (first.did !== did || (known !== undefined && known.did !== did)) throw invalidChain('it is of another DID')
  if (known === undefined) {
    const state = extend(undefined, entries, options)
    return { state, outcome: 'new' }
  }
  const state = settleChain(known, options.now)
  if (state.status === 'forked') return { state, outcome: 'forked' }
  if (first.index > state.index + 1) throw invalidChain(`it begins behind entry ${state.index}, the last one known here`)
  const shown = [...state.entries.slice(0, first.index), ...entries]
  const shared = Math.min(state.entries.length, shown.length)
  const at = state.entries.findIndex((entry, index) => index < shared && !equal(entry.hash, (shown[index] as ChainEntry).hash))
  if (at >= 0) return contradict(state, shown, at, options)
  if (shown.length < state.entries.length) return { state, outcome: 'stale' }
  if (shown.length === state.entries.length) return { state, outcome: state.pending === undefined ? 'same' : 'pending' }
  return grow(state, shown.slice(shared), options)
}

/** `tail` goes on where `state` ends. */
function grow(state: ChainState, tail: readonly ChainEntry[], options: AdoptOptions): Adoption {
  const pending = state.pending
  const next = tail[0] as ChainEntry
  if (pending !== undefined && next.kind === 'recover' && next.index === pending.entry.index) return retell(state, pending, next, options)
  // Whatever grows on a history that is about to be replaced, also a recovery by trustees named in it, waits for that.
  if (pending?.overrides === true) return { state, outcome: 'pending' }
  const grown = extend(state, tail, options)
  return { state: grown, outcome: grown.index > state.index ? 'extended' : 'pending' }
}

/** A recovery is shown while one waits: the same one, whose delay runs on and which may have gathered its override quorum since, or a contradicting one. */
function retell(state: ChainState, pending: PendingRecovery, recovery: ChainEntry, options: AdoptOptions): Adoption {
  const before = update(state, { entries: state.entries.slice(0, recovery.index), pending: undefined })
  checkEntry(before.entries.at(-1), recovery, options.now)
  // It waits under the policy that was in force when its quorum was first seen, whatever took effect since.
  const at = sameEvent(pending.entry, recovery) ? pending.sinceMs : options.now
  const quorum = judge(before, recovery, options, at)
  if (!sameEvent(pending.entry, recovery)) return { state: withFork(state, 'forked', { kept: pending.entry, other: recovery }), outcome: 'forked' }
  const stronger = quorum.overrides && !pending.overrides
  return { state: stronger ? update(state, { pending: { ...pending, entry: recovery, overrides: true } }) : state, outcome: 'pending' }
}

/** `shown` differs from `state` at index `at`, which both have. */
function contradict(state: ChainState, shown: readonly ChainEntry[], at: number, options: AdoptOptions): Adoption {
  const kept = state.entries[at] as ChainEntry
  const other = shown[at] as ChainEntry
  const before = at === 0 ? undefined : update(state, { entries: state.entries.slice(0, at), pending: undefined })
  if (before !== undefined && other.kind === 'recover' && kept.kind !== 'recover') return contest(state, before, other, options)
  // Everything shown must verify before it may accuse anybody or replace anything.
  const branch = extend(before, shown.slice(at), options)
  if (kept.kind === 'recover' && other.kind !== 'recover') return { state: withFork(state, state.status, { kept, other }), outcome: 'stale' }
  let sameTold = true
  for (let index = at; index < Math.min(state.entries.length, shown.length); index++) {
    const pair = { kept: state.entries[index] as ChainEntry, other: shown[index] as ChainEntry }
    if (isDecided(state, pair)) return { state, outcome: 'stale' }
    if (!sameEvent(pair.kept, pair.other)) return { state: withFork(state, 'forked', pair), outcome: 'forked' }
    sameTold &&= sameTerms(pair.kept, pair.other)
  }
  if (shown.length < state.entries.length) return { state, outcome: 'stale' }
  const beyond = shown[state.entries.length]
  if (!sameTold && (beyond === undefined || beyond.kind === 'recover')) return { state, outcome: 'stale' }
  const replaced = update(branch, {
    status: state.status,
    forks: state.forks,
    adoptedMs: [...state.adoptedMs, ...branch.adoptedMs.slice(state.adoptedMs.length)],
  })
  if (shown.length > state.entries.length) return { state: replaced, outcome: 'extended' }
  return { state: compare(kept.hash, other.hash) <= 0 ? state : replaced, outcome: 'same' }
}

/**
 * A recovery against an entry that was adopted already. It counts only with override attestations and within the delay of that entry's arrival:
 * a thief of the phrase who rotated first is outvoted, and history beyond the delay is not reopened.
 */
function contest(state: ChainState, before: ChainState, recovery: ChainEntry, options: AdoptOptions): Adoption {
  checkEntry(before.entries.at(-1), recovery, options.now)
  const quorum = judge(before, recovery, options)
  const arrivedMs = state.adoptedMs[recovery.index] as number
  if (!quorum.overrides || options.now >= arrivedMs + quorum.delayMs) return { state, outcome: 'stale' }
  if (state.pending?.overrides === true) return retell(state, state.pending, recovery, options)
  return { state: update(state, { pending: wait(recovery, quorum, options.now) }), outcome: 'pending' }
}

/** The number in front of up to 1,000 entries. */
const COUNT_BYTES = 2

/** Verifies and appends. Stops, without fault, at a recovery that has to wait. */
function extend(before: ChainState | undefined, tail: readonly ChainEntry[], options: AdoptOptions): ChainState {
  const entries = [...(before?.entries ?? [])]
  const adoptedMs = [...(before?.adoptedMs ?? [])]
  const cancelled = before?.cancelled ?? []
  if (entries.length + tail.length > MAX_ENTRIES) throw invalidChain(`it has more than ${MAX_ENTRIES} entries`)
  let pending: PendingRecovery | undefined
  let size = COUNT_BYTES + entries.reduce((sum, entry) => sum + entryBytes(entry), 0)
  for (const entry of tail) {
    size += entryBytes(entry)
    if (size > MAX_CHAIN_BYTES) throw invalidChain('it is longer than 4 MiB')
    checkEntry(entries.at(-1), entry, options.now)
    if (entry.kind === 'recover') {
      const quorum = judge({ entries, adoptedMs, cancelled }, entry, options)
      // Heard of later, it counts at once: a quorum is older than the delay, and nothing known here competes with it.
      if (options.now < quorum.completeMs + quorum.delayMs) {
        pending = wait(entry, quorum, options.now)
        break
      }
    }
    entries.push(entry)
    adoptedMs.push(options.now)
  }
  return new State({ entries, adoptedMs, status: before?.status ?? 'first-seen', forks: before?.forks ?? [], pending, cancelled })
}

function wait(entry: ChainEntry, quorum: Quorum, now: number): PendingRecovery {
  return { entry, sinceMs: now, dueMs: now + quorum.delayMs, overrides: quorum.overrides }
}

/** @throws KithError `CHAIN_INVALID` also for a recovery that was ended. */
function judge(
  before: Pick<ChainState, 'entries' | 'adoptedMs' | 'cancelled'>,
  recovery: ChainEntry,
  options: AdoptOptions,
  atMs: number = options.now,
): Quorum {
  const quorum = judgeRecovery(before.entries, before.adoptedMs, recovery, { now: options.now, atMs, chainOf: options.chainOf })
  if (isCancelled(before.cancelled, recovery.previous, recovery.attestations[0]?.recoveryId)) throw invalidChain('its trustees ended this recovery')
  return quorum
}

/** Whether a recovery was ended here before it took effect. */
export function isCancelled(cancelled: readonly CancelledRecovery[], previous: Uint8Array, recoveryId: Uint8Array | undefined): boolean {
  return recoveryId !== undefined && cancelled.some((one) => equal(one.recoveryId, recoveryId) && equal(one.previous, previous))
}

/** Recoveries remembered as ended, per identity; only a quorum of trustees adds one. */
const MAX_CANCELLED = 16

/**
 * A quorum of trustees ends a recovery: one that waits is dropped, and none of its id is taken any more. One that took effect stays: it had the whole delay.
 * @throws KithError `CHAIN_INVALID` unless the quorum is good, `CHAIN_STALE` when the entry it names is not known here.
 */
export function cancelRecovery(known: ChainState, cancellation: RecoveryCancellation, options: AdoptOptions): ChainState {
  const state = settleChain(known, options.now)
  const { previous, recoveryId } = cancellation
  if (cancellation.did !== state.did) throw invalidChain('the cancellation is of another DID')
  const at = state.entries.findIndex((entry) => equal(entry.hash, previous))
  if (at < 0)
    throw new KithError('CHAIN_STALE', 'the cancellation names an entry that is not known here', { details: { did: state.did, haveIndex: state.index } })
  const pending = state.pending?.entry
  const ends = pending !== undefined && equal(pending.previous, previous) && pending.attestations.some((one) => equal(one.recoveryId, recoveryId))
  const before = { entries: state.entries.slice(0, at + 1), adoptedMs: state.adoptedMs.slice(0, at + 1) }
  judgeCancellation(before, cancellation, { now: options.now, atMs: ends ? (state.pending as PendingRecovery).sinceMs : options.now, chainOf: options.chainOf })
  if (isCancelled(state.cancelled, previous, recoveryId)) return state
  if (state.entries[at + 1]?.attestations.some((one) => equal(one.recoveryId, recoveryId)) === true) return state
  const cancelled = [...state.cancelled, { previous, recoveryId }].slice(-MAX_CANCELLED)
  return update(state, ends ? { cancelled, pending: undefined } : { cancelled })
}

/** Lets a recovery take effect whose delay has passed. Call it before using a state that was stored for a while; `adoptChain` does. */
export function settleChain(state: ChainState, now: number): ChainState {
  const pending = state.pending
  if (pending === undefined || now < pending.dueMs) return state
  const at = pending.entry.index
  return update(state, { entries: [...state.entries.slice(0, at), pending.entry], adoptedMs: [...state.adoptedMs.slice(0, at), now], pending: undefined })
}

/** Someone else than the peer vouches for this head: a ticket, an introducer's record, two peers of distinct introducers, or a person. */
export function anchorChain(state: ChainState): ChainState {
  return state.status === 'first-seen' ? update(state, { status: 'anchored' }) : state
}

/**
 * A person's decision between contradicting chains: `entries` is the true one, what was kept before is forgotten but for the proofs.
 * @throws KithError `CHAIN_INVALID` when the chain does not verify from its inception.
 */
export function repinChain(state: ChainState, entries: readonly ChainEntry[], options: AdoptOptions): ChainState {
  const chosen = extend(undefined, entries, options)
  if (chosen.did !== state.did) throw invalidChain('it is of another DID')
  return update(chosen, { status: 'anchored', forks: state.forks })
}

/** The entries after `haveIndex`: what one who is behind is answered with. */
export function chainTail(state: ChainState, haveIndex: number): readonly ChainEntry[] {
  return state.entries.slice(haveIndex + 1)
}

/** One event told twice: the same step to the same keys, promising the same next ones. */
function sameEvent(a: ChainEntry, b: ChainEntry): boolean {
  return a.kind === b.kind && equal(a.next, b.next) && equal(encode(keySetCodec, a.keys), encode(keySetCodec, b.keys))
}

/** Who may recover the identity, and whether what older keys certified has ended: not to be changed by the keys of the entry alone. */
function sameTerms(a: ChainEntry, b: ChainEntry): boolean {
  return samePolicy(a.policy, b.policy) && (a.reason === 'compromised') === (b.reason === 'compromised')
}

/** A person has chosen between these two: whoever lost cannot freeze the chain by showing his history again. */
function isDecided({ status, forks }: ChainState, { kept, other }: ChainFork): boolean {
  const same = (a: ChainEntry, b: ChainEntry): boolean => equal(a.hash, b.hash)
  return status !== 'forked' && forks.some((fork) => (same(fork.kept, kept) && same(fork.other, other)) || (same(fork.kept, other) && same(fork.other, kept)))
}

/** Proofs of contradiction kept per identity; one is enough to freeze it. */
const MAX_FORKS = 4

function withFork(state: ChainState, status: ChainStatus, fork: ChainFork): ChainState {
  const known = state.forks.some((one) => equal(one.other.hash, fork.other.hash) && equal(one.kept.hash, fork.kept.hash))
  const forks = known || state.forks.length >= MAX_FORKS ? state.forks : [...state.forks, fork]
  return update(state, { status, forks })
}

/** The fields that make a state; the rest follows from them. */
export type ChainStateFields = Pick<ChainState, 'entries' | 'adoptedMs' | 'status' | 'forks' | 'pending' | 'cancelled'>

function update(state: ChainState, changes: Partial<ChainStateFields>): ChainState {
  const { adoptedMs, ...fields } = { ...fieldsOf(state), ...changes }
  return new State({ ...fields, adoptedMs: adoptedMs.slice(0, fields.entries.length) })
}

function fieldsOf(state: ChainState): ChainStateFields {
  const { entries, adoptedMs, status, forks, pending, cancelled } = state
  return { entries, adoptedMs, status, forks, pending, cancelled }
}

/** A state from fields that were verified before, as the own store gives them back. */
export function restoreChainState(fields: ChainStateFields): ChainState {
  return new State(fields)
}

class State implements ChainState {
  readonly entries: readonly ChainEntry[]
  readonly adoptedMs: readonly number[]
  readonly status: ChainStatus
  readonly forks: readonly ChainFork[]
  readonly pending: PendingRecovery | undefined
  readonly cancelled: readonly CancelledRecovery[]

  constructor(fields: ChainStateFields) {
    this.entries = fields.entries
    this.adoptedMs = fields.adoptedMs
    this.status = fields.status
    this.forks = fields.forks
    this.pending = fields.pending
    this.cancelled = fields.cancelled
  }

  get #last(): ChainEntry {
    return this.entries[this.entries.length - 1] as ChainEntry
  }
  get did(): Did {
    return this.#last.did
  }
  get index(): number {
    return this.entries.length - 1
  }
  get head(): Uint8Array {
    return this.#last.hash
  }
  get keys(): KeySet {
    return this.#last.keys
  }
  get closed(): boolean {
    return this.#last.kind === 'close'
  }
  keysAt(index: number): KeySet | undefined {
    return this.entries[index]?.keys
  }
  reveals(key: Uint8Array): boolean {
    return this.entries.some((entry) => equal(entry.keys.ed25519, key))
  }
}
