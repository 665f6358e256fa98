import { compare, equal } from '../core/bytes.ts'
import { encode } from '../core/codec.ts'
import { parsePublicKey } from '../core/crypto/ed25519.ts'
import { sha256 } from '../core/crypto/hash.ts'
import { hashLabeled } from '../core/crypto/labels.ts'
import { isKithError, KithError } from '../core/errors.ts'
import { checkBinding, decodeBinding, verifyBinding } from '../identity/binding.ts'
import { adoptChain } from '../identity/chain.ts'
import { decodeChain } from '../identity/chain-codec.ts'
import { type Did, didPublicKey } from '../identity/did.ts'
import { keySetCodec } from '../identity/keys.ts'
import type { ChainEntry, ChainState } from '../identity/types.ts'
import { decodeEnvelope, ENVELOPE_ID_LABEL, type Envelope, signatureFault } from '../mesh/messages/envelope.ts'
import type { ChainForkEvidence, EquivocationEvidence, Evidence } from './evidence.ts'
import type { ProvedAgainst } from './standing-types.ts'

export interface CheckOptions {
  /** Wall clock, ms. */
  readonly now: number
  /** Chains of trustees that are known here, for identities that were recovered. */
  readonly chainOf?: (did: Did) => ChainState | undefined
}

/** Whom evidence would accuse if it holds: cheap, and enough to see that it was held against them before. @throws KithError `EVIDENCE_INVALID`. */
export function accusedBy(evidence: Evidence): Omit<ProvedAgainst, 'hash'> {
  return sound(() => {
    if (evidence.kind === 'equivocation') {
      const { did, linkKey } = decodeBinding(evidence.binding)
      return { kind: evidence.kind, did, device: linkKey }
    }
    if (evidence.kind === 'chain-fork') {
      const [entry] = decodeChain(evidence.first)
      if (entry === undefined) throw refused('it shows no history')
      return { kind: evidence.kind, did: entry.did, device: undefined }
    }
    throw refused('this version does not judge it')
  })
}

/**
 * Checks evidence from its own bytes alone: nothing that was said about it counts, nor when or by whom.
 * @param encoded the bytes it was decoded from, for its hash. @throws KithError `EVIDENCE_INVALID`.
 */
export function checkEvidence(evidence: Evidence, encoded: Uint8Array, options: CheckOptions): ProvedAgainst {
  const accused = accusedBy(evidence)
  sound(() => {
    if (evidence.kind === 'equivocation') checkEquivocation(evidence, options)
    else if (evidence.kind === 'chain-fork') checkChainFork(evidence, options)
  })
  return { ...accused, hash: sha256(encoded) }
}

/**
 * Whether evidence still speaks about the identity that it names, by the history that is known of it here: a machine that was made with keys from another history, or
 * with keys that were replaced as compromised, is the thief's and not the identity's.
 */
export function concerns(evidence: Evidence, known: ChainState): boolean {
  if (evidence.kind !== 'equivocation') return true
  try {
    const binding = decodeBinding(evidence.binding)
    // Evidence may bring more of the history than is known here yet.
    if (binding.chainIndex <= known.index) checkBinding(binding, { chain: known, now: binding.notBeforeMs })
    return true
  } catch (error) {
    if (isKithError(error)) return false
    throw error
  }
}

function checkEquivocation({ binding, chain, first, second }: EquivocationEvidence, options: CheckOptions): void {
  const [a, b] = [decodeEnvelope(first), decodeEnvelope(second)]
  if (a.class !== b.class || a.class === 'stored') throw refused('the two are not of one class that has numbers')
  if (a.sender !== b.sender) throw refused('the two are not of one device')
  if (!sameNumber(a, b)) throw refused('the two have different numbers')
  if (compare(idOf(a), idOf(b)) >= 0) throw refused('the two are the same, or in the wrong order')
  const device = parsePublicKey(a.device)
  const { notBeforeMs } = decodeBinding(binding)
  // A binding that has run out still shows whose device it was.
  const { did, linkKey, deviceMldsa } = verifyBinding(binding, { chain: adopt(chain, options), now: notBeforeMs })
  if (!equal(didPublicKey(did), a.from) || !equal(linkKey, device)) throw refused('the binding is of another identity or device')
  for (const envelope of [a, b]) if (signatureFault(envelope, device, deviceMldsa) !== undefined) throw refused('the device did not sign it')
}

function sameNumber(a: Envelope, b: Envelope): boolean {
  if (a.seq !== b.seq) return false
  return a.class === 'live' ? equal(a.name, b.name) : a.epoch === b.epoch && a.topic === b.topic
}

function idOf(envelope: Envelope): Uint8Array {
  return hashLabeled(ENVELOPE_ID_LABEL, envelope.body)
}

function checkChainFork({ first, second }: ChainForkEvidence, options: CheckOptions): void {
  const [a, b] = [adopt(first, options), adopt(second, options)]
  const [last, other] = [a.entries.at(-1), b.entries.at(-1)]
  if (a.did !== b.did || last?.kind !== 'rotate' || other?.kind !== 'rotate' || a.index !== b.index)
    throw refused('the histories do not end in rotations at one index')
  // Told twice, with other times, it is one rotation (PN-6, rule 1). Behind one entry both open the same commitment, so there it is the promise that differs.
  if (equal(last.next, other.next) && equal(encode(keySetCodec, a.keys), encode(keySetCodec, b.keys))) throw refused('both rotations are to the same keys')
  // Whoever stole the keys that a recovery replaced can go on with them for ever: that says nothing about the identity that was recovered (PN-6).
  const parted = a.entries.findIndex((entry, index) => !equal(entry.hash, (b.entries[index] as ChainEntry).hash))
  if ([a, b].some(({ entries }) => entries[parted]?.kind === 'recover')) throw refused('the histories part at a recovery')
  if (compare(a.head, b.head) >= 0) throw refused('the histories are in the wrong order')
}

/** A history that is valid to its end. */
function adopt(encoded: Uint8Array, { now, chainOf }: CheckOptions): ChainState {
  const entries = decodeChain(encoded)
  const { state } = adoptChain(undefined, entries, chainOf === undefined ? { now } : { now, chainOf })
  if (state.entries.length !== entries.length) throw refused('a recovery in the history has not taken effect')
  return state
}

/** What does not verify anywhere in it makes the whole no evidence. */
function sound<T>(check: () => T): T {
  try {
    return check()
  } catch (error) {
    if (!isKithError(error) || error.code === 'EVIDENCE_INVALID') throw error
    throw new KithError('EVIDENCE_INVALID', `the evidence does not hold: ${error.message}`, { cause: error })
  }
}

function refused(reason: string): KithError {
  return new KithError('EVIDENCE_INVALID', `the evidence does not hold: ${reason}`, { details: { reason } })
}
