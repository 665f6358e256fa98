import { compare, toHex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { sha256 } from '../core/crypto/hash.ts'
import { asKithError, isKithError } from '../core/errors.ts'
import { Lru } from '../core/lru.ts'
import type { Logger } from '../core/observe/log.ts'
import { type Metrics, silentMetrics } from '../core/observe/metrics.ts'
import { decodeBinding } from '../identity/binding.ts'
import { decodeChain, encodeChain } from '../identity/chain-codec.ts'
import type { Did } from '../identity/did.ts'
import type { ChainEntry, ChainState } from '../identity/types.ts'
import { TokenBucket } from '../mesh/admission-rate.ts'
import { trusteeChains } from '../mesh/adopt-shown.ts'
import type { DevicePapers, Equivocation } from '../mesh/messages/types.ts'
import { decodeEvidence, type Evidence, encodeEvidence } from './evidence.ts'
import { accusedBy, checkEvidence, concerns } from './evidence-check.ts'
import type { Standing } from './standing-types.ts'

/**
 * What became of evidence. `proved`: it holds, and is the first of its kind against the device. `known`: that device was proved against before. `busy`: offer it again
 * later. None of the others says anything against whoever carried it.
 */
export type EvidenceOutcome = 'proved' | 'known' | 'malformed' | 'invalid' | 'unsupported' | 'busy'

export interface EvidenceComponents {
  readonly standing: Pick<Standing, 'prove' | 'proved' | 'withdraw' | 'deviceRevoked'>
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics?: Metrics
  /** Papers of a device, to show whose it is. */
  readonly papers: (did: Did, device: Uint8Array) => Promise<DevicePapers | undefined>
  /** Whether its identity has revoked a device, as far as is known here. */
  readonly revoked: (did: Did, device: Uint8Array) => Promise<boolean>
  /** Chains of trustees, for identities that were recovered. */
  readonly chainOf?: (did: Did) => Promise<ChainState | undefined>
  /** The history of an identity as it is known here: what a thief of its old keys signed is not held against it. */
  readonly history?: (did: Did) => Promise<ChainState | undefined>
  /** Puts evidence that this node found itself on `trust:evidence`. Absent: it stays here. */
  readonly publish?: (evidence: Uint8Array) => Promise<void>
}

/** A check takes some milliseconds of signatures, and anybody may send bytes that look like evidence. */
const CHECKS_PER_SECOND = 10
const CHECKS_AT_ONCE = 20
const REMEMBERED = 4_096

/** Where evidence comes in, from others and from what this node saw, is checked once, and counts. */
export class EvidenceDesk {
  readonly #components: EvidenceComponents
  readonly #checks: TokenBucket
  /** Hashes of what did not hold. */
  readonly #refused: Lru<string, EvidenceOutcome> = new Lru(REMEMBERED)
  readonly #count: (outcome: EvidenceOutcome) => void

  constructor(components: EvidenceComponents) {
    this.#components = components
    this.#checks = new TokenBucket(components.clock, CHECKS_PER_SECOND, CHECKS_AT_ONCE)
    const outcomes = (components.metrics ?? silentMetrics).counter('kith_evidence_total', 'Evidence that came or was found, by what became of it.', ['outcome'])
    this.#count = (outcome) => outcomes.add(1, { outcome })
  }

  /** Evidence that somebody passed on. */
  async take(encoded: Uint8Array): Promise<EvidenceOutcome> {
    const outcome = await this.#take(encoded, false)
    this.#count(outcome)
    return outcome
  }

  /** Two things of one number that this node saw: held against the device, and shown to others when it fits. */
  async found({ did, device, proof }: Equivocation): Promise<EvidenceOutcome> {
    const { papers, standing, logger } = this.#components
    if (standing.proved(did, device, 'equivocation')) return 'known'
    const shown = await papers(did, device)
    if (shown === undefined) {
      logger.warn('a device contradicts itself, and its papers are not known here', { peer: did })
      return 'invalid'
    }
    const [first, second] = proof
    return await this.#make({ kind: 'equivocation', binding: shown.binding, chain: upTo(shown), first, second })
  }

  /** Two histories of one identity that were shown here. Both whole, from the inception. */
  async foundFork(one: readonly ChainEntry[], other: readonly ChainEntry[]): Promise<EvidenceOutcome> {
    const [a, b] = forkOf(one, other) ?? []
    if (a === undefined || b === undefined) return 'invalid'
    return await this.#make({ kind: 'chain-fork', first: encodeChain(a), second: encodeChain(b) })
  }

  async #make(evidence: Evidence): Promise<EvidenceOutcome> {
    const { publish, logger } = this.#components
    let encoded: Uint8Array | undefined
    try {
      encoded = encodeEvidence(evidence)
    } catch (error) {
      if (!isKithError(error, 'MESSAGE_TOO_LARGE')) throw error
    }
    const outcome = encoded === undefined ? await this.#judge(evidence, new Uint8Array(0)) : await this.#take(encoded, true)
    this.#count(outcome)
    if (outcome !== 'proved' || encoded === undefined || publish === undefined) return outcome
    await publish(encoded).catch((error: unknown) => {
      logger.warn('evidence was not published', { error: asKithError(error, 'INTERNAL').toJSON() })
    })
    return outcome
  }

  async #take(encoded: Uint8Array, own: boolean): Promise<EvidenceOutcome> {
    const hash = toHex(sha256(encoded))
    const before = this.#refused.get(hash)
    if (before !== undefined) return before
    const outcome = await this.#look(encoded, own)
    if (outcome === 'malformed' || outcome === 'invalid') this.#refused.set(hash, outcome)
    return outcome
  }

  async #look(encoded: Uint8Array, own: boolean): Promise<EvidenceOutcome> {
    let evidence: Evidence
    try {
      evidence = decodeEvidence(encoded)
    } catch (error) {
      if (isKithError(error, 'WIRE_MALFORMED')) return 'malformed'
      if (isKithError(error, 'VERSION_UNSUPPORTED')) return 'unsupported'
      throw error
    }
    if (evidence.kind === 'conflicting-ledger-entries') return 'unsupported'
    if (this.#isKnown(evidence)) {
      // More of the identity's history may be known by now than when it was proved.
      if (!(await this.#concerns(evidence))) this.#components.standing.withdraw({ ...accusedBy(evidence), hash: sha256(encoded) })
      return 'known'
    }
    if (!own && !this.#checks.take()) return 'busy'
    return await this.#judge(evidence, encoded)
  }

  #isKnown(evidence: Evidence): boolean {
    try {
      const { did, device, kind } = accusedBy(evidence)
      return this.#components.standing.proved(did, device, kind)
    } catch (error) {
      if (isKithError(error, 'EVIDENCE_INVALID')) return false
      throw error
    }
  }

  async #concerns(evidence: Evidence): Promise<boolean> {
    const { did } = accusedBy(evidence)
    const known = await this.#components.history?.(did)
    return known === undefined || concerns(evidence, known)
  }

  async #judge(evidence: Evidence, encoded: Uint8Array): Promise<EvidenceOutcome> {
    const { standing, clock, chainOf, revoked, logger } = this.#components
    try {
      const trustees = await trusteeChains(entriesOf(evidence), chainOf === undefined ? undefined : { chain: chainOf })
      const proof = checkEvidence(evidence, encoded, { now: clock.now(), chainOf: (trustee) => trustees.get(trustee) })
      if (!(await this.#concerns(evidence))) return 'invalid'
      if (!standing.prove(proof)) return 'known'
      logger.warn('a device was proved to contradict itself', { peer: proof.did, kind: proof.kind })
      if (proof.device !== undefined && (await revoked(proof.did, proof.device))) standing.deviceRevoked(proof.did, proof.device)
      return 'proved'
    } catch (error) {
      if (isKithError(error, 'EVIDENCE_INVALID')) return 'invalid'
      throw error
    }
  }
}

/** The histories in evidence, for whoever attested recoveries in them; none where they do not decode. */
function entriesOf(evidence: Evidence): readonly ChainEntry[] {
  const shown = evidence.kind === 'equivocation' ? [evidence.chain] : evidence.kind === 'chain-fork' ? [evidence.first, evidence.second] : []
  try {
    return shown.flatMap((chain) => decodeChain(chain))
  } catch (error) {
    if (isKithError(error, 'CHAIN_INVALID')) return []
    throw error
  }
}

/** As much of a history as the binding needs. */
function upTo({ binding, chain }: DevicePapers): Uint8Array {
  const { chainIndex } = decodeBinding(binding)
  const entries = decodeChain(chain)
  return entries.length <= chainIndex + 1 ? chain : encodeChain(entries.slice(0, chainIndex + 1))
}

/** The two histories cut where they first rotate to different keys, or promise different ones, in the order of evidence. */
function forkOf(one: readonly ChainEntry[], other: readonly ChainEntry[]): readonly [readonly ChainEntry[], readonly ChainEntry[]] | undefined {
  const at = one.findIndex((entry, index) => {
    const contrary = other[index]
    if (entry.kind !== 'rotate' || contrary?.kind !== 'rotate') return false
    return compare(entry.keys.ed25519, contrary.keys.ed25519) !== 0 || compare(entry.next, contrary.next) !== 0
  })
  if (at === -1) return undefined
  const [a, b] = [one.slice(0, at + 1), other.slice(0, at + 1)]
  return compare((a.at(-1) as ChainEntry).hash, (b.at(-1) as ChainEntry).hash) < 0 ? [a, b] : [b, a]
}
