import { equal, fromHex, toHex } from '../core/bytes.ts'
import type { Clock, Timer } from '../core/clock.ts'
import { asKithError, isKithError, KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Signer } from '../core/signer.ts'
import type { Store } from '../core/store/types.ts'
import { type RecoveryCancellation, signCancelWord } from '../identity/chain-cancellation.ts'
import { ATTEST_WITHIN_MS, attestRecovery } from '../identity/chain-recovery.ts'
import { MAX_FUTURE_MS } from '../identity/chain-rules.ts'
import type { Did } from '../identity/did.ts'
import type { ChainEntry, ChainState } from '../identity/types.ts'
import type { DeviceDirectory } from '../mesh/messages/types.ts'
import { type Case, completeEntry, endMessage, recoveryMessage, requestOf, stageOf, statusOf, targetOf } from './case.ts'
import { CaseBook } from './case-book.ts'
import { recoveryIdOf, recoveryWords } from './request.ts'
import type { RecoveryNews, RecoveryStage, RecoveryStatus } from './types.ts'
import { addAttestations, addWords, verifiedCase, type Witnesses } from './verify.ts'
import { decodeMessage, encodeMessage, type RecoveryMessage } from './wire.ts'

export interface DeskParts {
  /** The identity of this node. */
  readonly did: Did
  readonly store: Store
  readonly clock: Clock
  readonly logger: Logger
  readonly directory: Pick<DeviceDirectory, 'chainOf' | 'learnChain' | 'cancelRecovery'>
  /** Whether a person here holds on to this identity. */
  readonly keeps: (did: Did) => boolean
  /** Says it on `identity:recovery`. */
  readonly publish: (message: Uint8Array) => Promise<void>
  readonly onNews: (news: RecoveryNews) => void
}

/** Where a message came from. A request that nobody attested yet is kept only when a peer of the address book or a person brought it. */
export type Source = { readonly kind: 'topic' } | { readonly kind: 'file' } | { readonly kind: 'link'; readonly peer: Did }

/** `later`: what it takes to judge it is not known here yet. */
export type Taken = 'new' | 'known' | 'later' | 'refused'

/** Who speaks for a trustee: its identity's present keys. */
export interface TrusteeSigner {
  readonly did: Did
  readonly signer: Signer
}

/** Timers run at most so long, so that a clock that is set forward is noticed. */
const LOOK_MS = 6 * 3_600_000
const LIVE: ReadonlySet<RecoveryStage | undefined> = new Set<RecoveryStage | undefined>(['collecting', 'waiting', undefined])

/**
 * # The desk: recoveries that are known to this node
 *
 * It merges what links, the topic and files bring, checks every word by itself, hands a complete recovery, or its end, to the history of the identity, and signs for
 * this node's identity when a person says so. The delay is counted by the history (`adoptChain`), from the first sight of a complete quorum.
 */
export class RecoveryDesk {
  readonly #parts: DeskParts
  readonly #cases: CaseBook
  readonly #witnesses: Witnesses
  #last: Promise<unknown> = Promise.resolve()
  #timer: Timer | undefined
  #closed = false

  private constructor(parts: DeskParts, cases: CaseBook) {
    const { directory, clock, logger } = parts
    this.#parts = parts
    this.#cases = cases
    this.#witnesses = { chainOf: (did) => directory.chainOf(did), now: () => clock.now(), logger }
  }

  /** @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`. */
  static async open(parts: DeskParts): Promise<RecoveryDesk> {
    return new RecoveryDesk(parts, await CaseBook.open(parts))
  }

  /** Looks at what was known before; from then on delays end by themselves. */
  start(): void {
    void this.#inTurn(async () => {
      for (const one of this.#cases.all) await this.#look(one)
      this.#arm()
    }).catch((error: unknown) => this.#failed(error))
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  /** Oldest first. */
  async list(): Promise<readonly RecoveryStatus[]> {
    const found: RecoveryStatus[] = []
    for (const one of this.#cases.all) {
      const chain = await this.#parts.directory.chainOf(one.entry.did)
      if (chain !== undefined) found.push(statusOf(one, chain, this.#parts.did))
    }
    return found.sort((a, b) => a.requestedMs - b.requestedMs || (a.id < b.id ? -1 : 1))
  }

  /** By its id or the beginning of it. @throws KithError `RECOVERY_UNKNOWN`, `RECOVERY_CHAIN`. */
  async get(id: string): Promise<RecoveryStatus> {
    const one = this.#cases.find(id)
    return statusOf(one, await this.#chainOf(one.entry.did), this.#parts.did)
  }

  /** The four words that its requester reads to trustees. @throws KithError `RECOVERY_UNKNOWN`. */
  words(id: string): string {
    return recoveryWords(this.#cases.find(id).entry)
  }

  /** What is known of it, to be passed on: the recovery, and its end as far as trustees said so. @throws KithError `RECOVERY_UNKNOWN`. */
  messages(id: string): readonly Uint8Array[] {
    return messagesOf(this.#cases.find(id)).map(encodeMessage)
  }

  /** Recoveries of this node's own identity that somebody else asked for, as far as they have come; from memory. */
  get alarms(): readonly {
    readonly id: string
    readonly stage: RecoveryStage
    readonly attested: number
    readonly threshold: number
    readonly dueMs: number | undefined
  }[] {
    return this.#cases.all.flatMap(({ id, entry, mine, stage, dueMs, attestations, policy }) =>
      mine || entry.did !== this.#parts.did || stage === undefined
        ? []
        : [{ id: toHex(id), stage, attested: attestations.size, threshold: policy.threshold, dueMs }],
    )
  }

  /** Whom and which recovery a message is about. @throws KithError `WIRE_MALFORMED`. */
  subjectOf(encoded: Uint8Array): { readonly did: Did; readonly id: string } {
    const message = decodeMessage(encoded)
    if (message.kind === 'end') return { did: message.cancellation.did, id: toHex(message.cancellation.recoveryId) }
    return { did: message.entry.did, id: toHex(recoveryIdOf(message.entry)) }
  }

  /** What is known here of the recovery that a message is about; the message itself when that is nothing. */
  answerTo(encoded: Uint8Array): readonly Uint8Array[] {
    const one = this.#cases.get(fromHex(this.subjectOf(encoded).id))
    return one === undefined ? [encoded] : messagesOf(one).map(encodeMessage)
  }

  /** Live recoveries that this peer should know of: it is asked to attest, or it is the one whose identity is asked for. */
  concerning(peer: Did): readonly string[] {
    const { did } = this.#parts
    return this.#cases.all
      .filter((one) => LIVE.has(one.stage) && peer !== did && (one.entry.did === peer || (one.mine && one.policy.trustees.includes(peer))))
      .map(({ id }) => toHex(id))
  }

  /** Whether a recovery of this identity that is not over is known here. */
  isAbout(did: Did): boolean {
    return this.#cases.all.some((one) => one.entry.did === did && LIVE.has(one.stage))
  }

  /** Own requests that still wait for trustees. */
  get collecting(): readonly RecoveryStatusKey[] {
    return this.#cases.all
      .filter((one) => one.mine && one.stage === 'collecting')
      .map((one) => ({ id: toHex(one.id), trustees: one.policy.trustees.filter((trustee) => !one.attestations.has(trustee)) }))
  }

  /** Takes what somebody said. @throws KithError `WIRE_MALFORMED`, `RECOVERY_*`, `CHAIN_INVALID`, `STORE_FAILED`. */
  async take(encoded: Uint8Array, source: Source): Promise<Taken> {
    const message = decodeMessage(encoded)
    const taken = await this.#inTurn(() => (message.kind === 'recovery' ? this.#takeRecovery(message.entry, source) : this.#takeEnd(message.cancellation)))
    if (taken === 'new' && source.kind === 'file')
      await this.#publish(message.kind === 'recovery' ? recoveryIdOf(message.entry) : message.cancellation.recoveryId)
    return taken
  }

  /** Begins an own recovery. @throws KithError `RECOVERY_*`, `CHAIN_INVALID`, `STORE_FAILED`. */
  async request(entry: ChainEntry): Promise<RecoveryStatus> {
    await this.#inTurn(() => this.#takeRecovery(entry, { kind: 'file' }, true))
    return await this.get(toHex(recoveryIdOf(entry)))
  }

  /**
   * Whether this node's identity may attest it; for the moment before a person is asked.
   * @throws KithError `RECOVERY_UNKNOWN`, `RECOVERY_NOT_TRUSTEE`, `RECOVERY_OVER`, `RECOVERY_CONFLICT`, `RECOVERY_CHAIN`.
   */
  async mayAttest(id: string): Promise<RecoveryStatus> {
    const one = this.#cases.find(id)
    const { did, clock } = this.#parts
    const status = await this.#mayActOn(one)
    if (one.attestations.has(did)) return status
    if (one.words.has(did)) throw new KithError('RECOVERY_OVER', 'This identity has said that the recovery is to end.', { details: { id: status.id } })
    const now = clock.now()
    if (now > one.entry.timeMs + ATTEST_WITHIN_MS || now < one.entry.timeMs - MAX_FUTURE_MS) {
      throw new KithError('RECOVERY_OVER', 'The request was made more than 30 days ago, or the clocks differ by more than a day.', {
        details: { id: status.id },
      })
    }
    for (const other of this.#cases.all) {
      const rival = other !== one && other.entry.did === one.entry.did && equal(other.entry.previous, one.entry.previous) && other.attestations.has(did)
      if (rival && LIVE.has(other.stage)) {
        const rivalId = toHex(other.id)
        throw new KithError('RECOVERY_CONFLICT', undefined, { details: { id: status.id, other: rivalId }, next: `kith recovery cancel ${rivalId.slice(0, 8)}` })
      }
    }
    return status
  }

  /** Says, signed, that the new keys are the owner's. Said before, it is said once. @throws as `mayAttest`. */
  async attest(id: string, trustee: TrusteeSigner): Promise<RecoveryStatus> {
    const one = this.#cases.find(id)
    await this.#inTurn(async () => {
      await this.mayAttest(id)
      if (one.attestations.has(trustee.did)) return
      one.attestations.set(trustee.did, attestRecovery(requestOf(one), trustee, this.#parts.clock.now()))
      await this.#cases.save(one)
      await this.#complete(one)
    })
    await this.#publish(one.id)
    return await this.get(toHex(one.id))
  }

  /** Says, signed, that a recovery is to end. @throws KithError `RECOVERY_UNKNOWN`, `RECOVERY_NOT_TRUSTEE`, `RECOVERY_OVER`, `RECOVERY_CHAIN`. */
  async cancel(id: string, trustee: TrusteeSigner): Promise<RecoveryStatus> {
    const one = this.#cases.find(id)
    await this.#inTurn(async () => {
      await this.#mayActOn(one)
      if (one.words.has(trustee.did)) return
      one.words.set(trustee.did, signCancelWord(targetOf(one), trustee, this.#parts.clock.now()))
      await this.#cases.save(one)
      await this.#finish(one)
    })
    await this.#publish(one.id)
    return await this.get(toHex(one.id))
  }

  /** Forgets a recovery here; what others know of it stays with them. @throws KithError `RECOVERY_UNKNOWN`. */
  async forget(id: string): Promise<void> {
    await this.#inTurn(() => this.#cases.drop(this.#cases.find(id)))
  }

  async #takeRecovery(entry: ChainEntry, source: Source, mine = false): Promise<Taken> {
    const chain = await this.#parts.directory.chainOf(entry.did)
    if (chain === undefined || entry.index > chain.index + 1) {
      if (source.kind === 'topic') return 'later'
      throw new KithError('RECOVERY_CHAIN', undefined, { details: { did: entry.did }, next: 'link somebody who knows that identity: kith join' })
    }
    const known = this.#cases.get(recoveryIdOf(entry))
    const from = source.kind === 'link' ? source.peer : undefined
    const one = known ?? verifiedCase(entry, chain, { mine, byHand: source.kind === 'file', seenMs: this.#parts.clock.now(), from })
    const { added, doubtful } = await addAttestations(one, entry, this.#witnesses)
    if (known === undefined) {
      if (one.attestations.size === 0 && source.kind === 'topic') return doubtful ? 'later' : 'refused'
      if (!(await this.#cases.admit(one))) return 'refused'
    }
    if (known === undefined || added > 0) {
      await this.#cases.save(one)
      await this.#complete(one)
    }
    return doubtful ? 'later' : known === undefined || added > 0 ? 'new' : 'known'
  }

  async #takeEnd(cancellation: RecoveryCancellation): Promise<Taken> {
    const one = this.#cases.get(cancellation.recoveryId)
    if (one === undefined || one.entry.did !== cancellation.did || !equal(one.entry.previous, cancellation.previous))
      return await this.#endUnknown(cancellation)
    const added = await addWords(one, cancellation, this.#witnesses)
    if (added === 0) return 'known'
    await this.#cases.save(one)
    await this.#finish(one)
    return 'new'
  }

  /** Of a recovery that never came here: a quorum counts all the same, so that it cannot come later. */
  async #endUnknown(cancellation: RecoveryCancellation): Promise<Taken> {
    const { directory } = this.#parts
    const before = await directory.chainOf(cancellation.did)
    if (before === undefined) return 'later'
    try {
      return (await directory.cancelRecovery(cancellation)) === before ? 'known' : 'new'
    } catch (error) {
      if (isKithError(error, 'CHAIN_STALE')) return 'later'
      if (isKithError(error, 'CHAIN_INVALID')) return 'refused'
      throw error
    }
  }

  /** With enough attestations the history takes it up, and counts the delay. */
  async #complete(one: Case): Promise<void> {
    if (one.attestations.size >= one.policy.threshold) {
      await this.#parts.directory.learnChain(one.entry.did, [completeEntry(one)]).catch((error: unknown) => this.#failed(error))
    }
    if (one.words.size >= one.policy.threshold) await this.#finish(one)
    else await this.#look(one)
    this.#arm()
  }

  async #finish(one: Case): Promise<void> {
    const end = endMessage(one)
    if (end !== undefined && one.words.size >= one.policy.threshold) {
      await this.#parts.directory.cancelRecovery(end.cancellation).catch((error: unknown) => this.#failed(error))
    }
    await this.#look(one)
  }

  /** What has become of it, told when it is something else than before. */
  async #look(one: Case): Promise<void> {
    const { directory, did, onNews } = this.#parts
    const chain = await directory.chainOf(one.entry.did)
    if (chain === undefined) return
    const before = one.stage
    one.stage = stageOf(one, chain)
    one.dueMs = one.stage === 'waiting' ? chain.pending?.dueMs : undefined
    if (one.stage !== before) onNews({ status: statusOf(one, chain, did), before })
  }

  async #mayActOn(one: Case): Promise<RecoveryStatus> {
    const { did } = this.#parts
    const chain = await this.#chainOf(one.entry.did)
    const status = statusOf(one, chain, did)
    const { id } = status
    if (!one.policy.trustees.includes(did)) throw new KithError('RECOVERY_NOT_TRUSTEE', undefined, { details: { id, did: one.entry.did } })
    if (!LIVE.has(status.stage)) throw new KithError('RECOVERY_OVER', undefined, { details: { id, stage: status.stage }, next: 'kith recovery status' })
    return status
  }

  async #chainOf(did: Did): Promise<ChainState> {
    const chain = await this.#parts.directory.chainOf(did)
    if (chain === undefined) throw new KithError('RECOVERY_CHAIN', undefined, { details: { did } })
    return chain
  }

  /** What others lack of it, for whoever reads the topic. */
  async #publish(id: Uint8Array): Promise<void> {
    const one = this.#cases.get(id)
    if (one === undefined) return
    for (const message of messagesOf(one)) {
      if (message.kind === 'end' || message.entry.attestations.length > 0) await this.#parts.publish(encodeMessage(message))
    }
  }

  /** Says again what is known of an own request: it may have gathered what nobody else has together. */
  async republish(id: string): Promise<void> {
    await this.#publish(fromHex(id))
  }

  #arm(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    const live = this.#cases.all.filter((one) => LIVE.has(one.stage))
    if (this.#closed || live.length === 0) return
    const now = this.#parts.clock.now()
    const next = live.reduce((ms, { dueMs }) => (dueMs === undefined ? ms : Math.min(ms, Math.max(dueMs - now, 1))), LOOK_MS)
    this.#timer = this.#parts.clock.after(next, () => this.start())
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#last
    const running = (async () => {
      await before.catch(() => undefined)
      return await work()
    })()
    this.#last = running
    return await running
  }

  #failed(error: unknown): void {
    const { code, message } = asKithError(error, 'INTERNAL')
    if (code !== 'CLOSED') this.#parts.logger.warn('a recovery was not taken up', { code, message })
  }
}

/** An own request and the trustees who have not attested it. */
export interface RecoveryStatusKey {
  readonly id: string
  readonly trustees: readonly Did[]
}

function messagesOf(one: Case): readonly RecoveryMessage[] {
  const end = endMessage(one)
  return end === undefined ? [recoveryMessage(one)] : [recoveryMessage(one), end]
}
