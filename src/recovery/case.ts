import { compare, equal, toHex } from '../core/bytes.ts'
import { bytes, type Codec, constant, decode, encode, mapped, option, struct, u8, uint53 } from '../core/codec.ts'
import { KithError } from '../core/errors.ts'
import { isCancelled } from '../identity/chain.ts'
import type { CancelTarget, CancelWord } from '../identity/chain-cancellation.ts'
import type { RecoveryRequest } from '../identity/chain-recovery.ts'
import { type Did, formatDid } from '../identity/did.ts'
import type { ChainEntry, ChainState, RecoveryAttestation, RecoveryPolicy } from '../identity/types.ts'
import { recoveryIdOf } from './request.ts'
import type { RecoveryStage, RecoveryStatus } from './types.ts'
import { decodeMessage, encodeMessage, MAX_MESSAGE_BYTES, type RecoveryMessage } from './wire.ts'

/**
 * # One recovery as this node knows it
 *
 * ```text
 * at rest = u8 1 || u8 flags (1: asked for by this node, 2: a person brought it) || u64 first_seen_ms || bytes message of the recovery || option<bytes message of its end>
 * ```
 */
export interface Case {
  readonly id: Uint8Array
  readonly entry: ChainEntry
  readonly policy: RecoveryPolicy
  readonly attestations: Map<Did, RecoveryAttestation>
  readonly words: Map<Did, CancelWord>
  /** This node asked for it. */
  readonly mine: boolean
  /** A person brought it as a file or text. */
  readonly byHand: boolean
  readonly seenMs: number
  /** Who brought a request that nobody attested yet. */
  readonly from: Did | undefined
  stage: RecoveryStage | undefined
  /** When it takes effect here, while it waits. */
  dueMs: number | undefined
}

interface Stored {
  readonly _version: undefined
  readonly flags: number
  readonly seenMs: number
  readonly recovery: Uint8Array
  readonly end: Uint8Array | undefined
}

const stored: Codec<Stored> = struct<Stored>({
  _version: constant(1),
  flags: u8,
  seenMs: uint53,
  recovery: bytes(MAX_MESSAGE_BYTES),
  end: option(bytes(MAX_MESSAGE_BYTES)),
})

export const caseCodec: Codec<Case> = mapped(
  stored,
  ({ flags, seenMs, recovery, end }) => {
    const message = decodeMessage(recovery)
    const policy = message.kind === 'recovery' ? message.entry.policy : undefined
    if (message.kind !== 'recovery' || policy === undefined) throw new KithError('WIRE_MALFORMED')
    const ended = end === undefined ? undefined : decodeMessage(end)
    const made = newCase(message.entry, policy, { mine: (flags & 1) === 1, byHand: (flags & 2) === 2, seenMs, from: undefined })
    for (const one of message.entry.attestations) made.attestations.set(one.trustee, one)
    if (ended?.kind === 'end') for (const word of ended.cancellation.words) made.words.set(word.trustee, word)
    return made
  },
  (one) => {
    const end = endMessage(one)
    return {
      _version: undefined,
      flags: (one.mine ? 1 : 0) + (one.byHand ? 2 : 0),
      seenMs: one.seenMs,
      recovery: encodeMessage(recoveryMessage(one)),
      end: end === undefined ? undefined : encodeMessage(end),
    }
  },
)

export function encodeCase(one: Case): Uint8Array {
  return encode(caseCodec, one)
}

/** @throws KithError `WIRE_MALFORMED`. */
export function decodeCase(encoded: Uint8Array): Case {
  return decode(caseCodec, encoded)
}

export function newCase(entry: ChainEntry, policy: RecoveryPolicy, options: Pick<Case, 'mine' | 'byHand' | 'seenMs' | 'from'>): Case {
  const bare: ChainEntry = { ...entry, attestations: [] }
  return { id: recoveryIdOf(entry), entry: bare, policy, attestations: new Map(), words: new Map(), stage: undefined, dueMs: undefined, ...options }
}

/** With everything that was attested, in the order of the trustees' keys: the same set is the same bytes everywhere. */
export function completeEntry({ entry, attestations }: Case): ChainEntry {
  return { ...entry, attestations: [...attestations.values()].sort((a, b) => compareText(a.trustee, b.trustee)) }
}

export function recoveryMessage(one: Case): RecoveryMessage & { readonly kind: 'recovery' } {
  return { kind: 'recovery', entry: completeEntry(one) }
}

export function endMessage(one: Case): (RecoveryMessage & { readonly kind: 'end' }) | undefined {
  if (one.words.size === 0) return undefined
  const words = [...one.words.values()].sort((a, b) => compareText(a.trustee, b.trustee))
  return { kind: 'end', cancellation: { did: one.entry.did, previous: one.entry.previous, recoveryId: one.id, words } }
}

/** What a trustee attests. */
export function requestOf({ entry, policy, id }: Case): RecoveryRequest {
  return { did: entry.did, previous: entry.previous, policy, recoveryId: id, keys: entry.keys }
}

/** What a trustee cancels. */
export function targetOf({ entry, policy, id }: Case): CancelTarget {
  return { did: entry.did, previous: entry.previous, recoveryId: id, policy }
}

/** How far it is under the history that is known of its identity. */
export function stageOf(one: Case, chain: ChainState): RecoveryStage {
  const at = chain.entries[one.entry.index]
  if (at !== undefined && equal(at.hash, one.entry.hash)) return chain.status === 'forked' ? 'contested' : 'effective'
  if (isCancelled(chain.cancelled, one.entry.previous, one.id)) return 'cancelled'
  if (isWaiting(one, chain)) return chain.status === 'forked' ? 'contested' : 'waiting'
  if (at !== undefined) return 'overtaken'
  return chain.status === 'forked' && one.attestations.size >= one.policy.threshold ? 'contested' : 'collecting'
}

function isWaiting(one: Case, { pending }: ChainState): boolean {
  return pending !== undefined && equal(pending.entry.hash, one.entry.hash)
}

export function statusOf(one: Case, chain: ChainState, own: Did): RecoveryStatus {
  const { entry, policy, attestations, words, mine, id } = one
  const pending = isWaiting(one, chain) ? chain.pending : undefined
  return {
    id: toHex(id),
    did: entry.did,
    stage: stageOf(one, chain),
    role: mine ? 'requester' : entry.did === own ? 'owner' : policy.trustees.includes(own) ? 'trustee' : 'witness',
    requestedMs: entry.timeMs,
    attestedBy: [...attestations.keys()],
    cancelledBy: [...words.keys()],
    threshold: policy.threshold,
    override: policy.override,
    delayS: policy.delayS,
    trustees: policy.trustees,
    newKey: formatDid(entry.keys.ed25519),
    sinceMs: pending?.sinceMs,
    dueMs: pending?.dueMs,
    overrides: pending?.overrides === true,
    attestedHere: attestations.has(own),
    cancelledHere: words.has(own),
  }
}

export interface Room {
  readonly own: Did
  /** Whether a person here holds on to this identity. */
  readonly keeps: (did: Did) => boolean
  /** Everything that wants a place. */
  readonly all: readonly Case[]
}

/**
 * Which one goes first when there is no room: of identities that nobody here knows, before those that a person brought, and last those that concern this node. Among
 * these, what is over, then what only trustees attested who attested others of the same identity too, then what fewest attested, the oldest first: a good trustee attests
 * one at a time, so that no trustee alone can fill the room.
 */
export function byWeight({ own, keeps, all }: Room): (a: Case, b: Case) => number {
  const told = new Map<string, number>()
  for (const { entry, attestations } of all) {
    for (const trustee of attestations.keys()) told.set(`${entry.did} ${trustee}`, (told.get(`${entry.did} ${trustee}`) ?? 0) + 1)
  }
  const nearness = (one: Case): number => {
    if (one.mine || one.entry.did === own || one.attestations.has(own) || one.words.has(own)) return 3
    return one.byHand ? 2 : keeps(one.entry.did) ? 1 : 0
  }
  const over = ({ stage }: Case): number => (stage === undefined || stage === 'collecting' || stage === 'waiting' || stage === 'contested' ? 1 : 0)
  const voices = ({ entry, attestations }: Case): number => {
    const single = [...attestations.keys()].filter((trustee) => told.get(`${entry.did} ${trustee}`) === 1).length
    return single === 0 && attestations.size > 0 ? -1 : single
  }
  return (a, b) => nearness(a) - nearness(b) || over(a) - over(b) || voices(a) - voices(b) || a.seenMs - b.seenMs || compare(a.id, b.id)
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
