import { equal, type PublicKey, toHex, utf8 } from '../core/bytes.ts'
import type { Clock, Timer } from '../core/clock.ts'
import { asKithError, KithError } from '../core/errors.ts'
import type { Audit, AuditEvent } from '../core/observe/audit.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Did } from '../identity/did.ts'
import { WriteBehind } from '../mesh/known-keys-writes.ts'
import type { BanStatus, ViolationReport } from '../mesh/types.ts'
import { NodeActs } from './node-acts.ts'
import { MAX_PROOFS, MAX_REASON_BYTES, type StandingRecord, type Violation } from './standing-codec.ts'
import { type StandingMetrics, standingMetrics } from './standing-metrics.ts'
import { banDevice, charge, isIsolated, isSlow, reputationAt, rest, restore, running, sameKey, settle, statusOf, tidy } from './standing-record.ts'
import { StandingTable } from './standing-table.ts'
import type { Decided, ProvedAgainst, Standing, StandingComponents } from './standing-types.ts'
import { StandingWatch } from './standing-watch.ts'
import type { StandingStatus } from './types.ts'
import { ViolationStore } from './violation-store.ts'
import {
  banLength,
  clipEvidence,
  FULL_REPUTATION,
  MAX_BAN_MS,
  type ProofKind,
  type StandingOverrides,
  type StandingRules,
  standingRules,
} from './violations.ts'
import { Warnings } from './warnings.ts'

const SWEEP_MS = 60_000
const TIDY_MS = 3_600_000

/** Reads what was held against whom. @throws TypeError for bad rules. @throws KithError `STORE_FAILED`. */
export async function openStanding(components: StandingComponents): Promise<Standing> {
  const standing = new PeerStanding(components)
  await standing.load()
  return standing
}

class PeerStanding implements Standing {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #own: Did
  readonly #metrics: StandingMetrics
  readonly #audit: Audit | undefined
  readonly #acts: NodeActs
  readonly #writes: WriteBehind
  readonly #table: StandingTable
  readonly #evidence: ViolationStore
  readonly #warnings: Warnings
  readonly #watch: StandingWatch = new StandingWatch()
  readonly #listeners: Set<(peer: Did) => void> = new Set()
  #rules: StandingRules
  #timer: Timer | undefined
  #tidyMs = 0
  #closed = false

  constructor({ store, clock, logger, own, metrics, audit, rules, kept }: StandingComponents) {
    this.#clock = clock
    this.#logger = logger
    this.#own = own
    this.#audit = audit
    this.#metrics = standingMetrics(metrics)
    this.#acts = new NodeActs(audit, clock, logger)
    this.#rules = standingRules(rules)
    this.#writes = new WriteBehind(store, clock, logger, 'standing')
    this.#evidence = new ViolationStore(store, this.#writes, () => this.#rules.evidenceBytes)
    this.#warnings = new Warnings(clock)
    this.#table = new StandingTable({
      store,
      clock,
      logger,
      writes: this.#writes,
      rules: () => this.#rules,
      kept: kept ?? (() => false),
      onForgotten: ({ did, violations }) => {
        this.#dropEvidence(violations)
        this.#show(did)
      },
    })
  }

  /** Called once by `openStanding`. */
  async load(): Promise<void> {
    await this.#table.load()
    await this.#evidence.load()
    for (const { did } of [...this.#table.all()]) this.#show(did)
    this.#tidy()
  }

  report(violation: ViolationReport): void {
    const { peer, device, kind, protocol } = violation
    this.#metrics.violation(kind)
    if (peer === this.#own) this.#metrics.unheld('own')
    // What was under way when the ban began changes nothing: a burst counts as one.
    else if (this.banOf(peer, device) !== undefined) this.#metrics.unheld('banned')
    else if (kind === 'hard-limit' && !this.#warnings.heeds(`${peer} ${toHex(device)} ${protocol}`)) this.#metrics.unheld('warned')
    else {
      const record = this.#table.open(peer, 'met')
      if (record === undefined) this.#metrics.unheld('full')
      else this.#charge(record, violation)
    }
  }

  banOf(peer: Did, device: PublicKey): BanStatus | undefined {
    if (this.#watch.size === 0) return undefined
    const ban = this.banOfPeer(peer)
    if (ban !== undefined || this.#watch.bannedDevices === 0) return ban
    // A key stays banned whatever identity it comes with next.
    const key = toHex(device)
    const holder = this.#watch.holderOf(key)
    return holder === undefined ? undefined : running(this.#table.get(holder)?.devices.get(key)?.ban, this.#clock.now())
  }

  banOfPeer(peer: Did): BanStatus | undefined {
    return this.#watch.has(peer) ? running(this.#table.get(peer)?.ban, this.#clock.now()) : undefined
  }

  isolated(peer: Did): boolean {
    const record = this.#watch.has(peer) ? this.#table.get(peer) : undefined
    return record !== undefined && isIsolated(record, this.#clock.now(), this.#rules)
  }

  onChange(listener: (peer: Did) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  reputationOf(did: Did): number {
    const record = this.#table.get(did)
    return record === undefined ? FULL_REPUTATION : reputationAt(record, this.#clock.now(), this.#rules)
  }

  status(did: Did): StandingStatus {
    return statusOf(did, this.#table.get(did), this.#clock.now(), this.#rules)
  }

  list(): readonly StandingStatus[] {
    return [...this.#table.all()].map(({ did }) => this.status(did)).reverse()
  }

  async evidenceOf(did: Did, place: number): Promise<Uint8Array | undefined> {
    const violation = this.#table.get(did)?.violations[place]
    return violation === undefined ? undefined : await this.#evidence.get(violation.evidence)
  }

  async ban(did: Did, by: Decided & { readonly device?: PublicKey; readonly durationMs?: number }): Promise<StandingStatus> {
    const { device, durationMs, reason } = by
    if (durationMs !== undefined && !(Number.isInteger(durationMs) && durationMs >= 1_000 && durationMs <= MAX_BAN_MS)) {
      throw new TypeError('a ban lasts a whole number of ms, from a second to 30 days')
    }
    const untilMs = this.#clock.now() + (durationMs ?? banLength((this.#table.get(did)?.bans ?? 0) + 1, this.#rules))
    return await this.#decide('ban', did, by, { until: new Date(untilMs).toISOString(), ...deviceDetail(device) }, (record) => {
      record.bans++
      if (device === undefined) record.ban = { untilMs, reason }
      else banDevice(record, device, { untilMs, reason }, this.#clock.now())
      rest(record, untilMs, this.#clock.now(), this.#rules)
      this.#metrics.banned('owner')
    })
  }

  async unban(did: Did, by: Decided & { readonly device?: PublicKey }): Promise<StandingStatus> {
    const { device } = by
    const { devices, state } = this.status(did)
    const banned = device === undefined ? state === 'banned' : devices.some((one) => equal(one.device, device))
    if (!banned) throw new KithError('NOT_FOUND', 'there is no such ban', { details: { did } })
    return await this.#decide('unban', did, by, deviceDetail(device), (record) => {
      if (device !== undefined) record.devices.delete(toHex(device))
      else {
        record.ban = undefined
        record.devices.clear()
      }
      restore(record, this.#clock.now(), this.#rules)
    })
  }

  async quarantine(did: Did, by: Decided): Promise<StandingStatus> {
    return await this.#decide('quarantine', did, by, {}, (record) => {
      record.held = true
    })
  }

  async release(did: Did, by: Decided): Promise<StandingStatus> {
    const record = this.#table.get(did)
    if (record === undefined || !(record.held || isSlow(record, this.#clock.now(), this.#rules))) {
      throw new KithError('NOT_FOUND', 'this peer is in no quarantine', { details: { did } })
    }
    return await this.#decide('release', did, by, {}, (found) => {
      found.held = false
      restore(found, this.#clock.now(), this.#rules)
    })
  }

  async pardon(did: Did, by: Decided): Promise<StandingStatus> {
    if (this.#table.get(did) === undefined) throw new KithError('NOT_FOUND', 'nothing is held against this peer', { details: { did } })
    return await this.#decide('pardon', did, by, {}, (record) => {
      this.#dropEvidence(record.violations)
      record.violations = []
      record.ban = undefined
      record.devices.clear()
      record.held = false
      record.bans = 0
      // Remembered as decided: the same proof comes round again.
      record.proofs = record.proofs.map((proof) => ({ ...proof, pardoned: true }))
      restore(record, this.#clock.now(), this.#rules)
    })
  }

  prove({ did, device, kind, hash }: ProvedAgainst): boolean {
    if (this.proved(did, device, kind)) return false
    this.#metrics.violation(kind)
    if (did === this.#own) {
      this.#metrics.unheld('own')
      this.#logger.error('evidence against this identity itself: a copy of one of its keys is in use', { kind })
      return false
    }
    const record = this.#table.open(did, 'told')
    if (record === undefined || record.proofs.length >= MAX_PROOFS) {
      this.#metrics.unheld('full')
      return false
    }
    const now = this.#clock.now()
    const reason = `evidence: ${kind}`
    record.proofs = [...record.proofs, { kind, device, hash, timeMs: now, pardoned: false, revoked: false }]
    record.lastMs = Math.max(record.lastMs, now)
    if (device !== undefined) {
      banDevice(record, device, { untilMs: now + MAX_BAN_MS, reason }, now, 'told')
      this.#metrics.banned('evidence')
    }
    this.#acts.note(device === undefined ? 'quarantine' : 'ban', did, reason, { evidence: toHex(hash), ...deviceDetail(device) })
    this.#changed(record)
    return true
  }

  proved(did: Did, device: PublicKey | undefined, kind: ProofKind): boolean {
    return this.#table.get(did)?.proofs.some((proof) => proof.kind === kind && sameKey(proof.device, device)) === true
  }

  withdraw({ did, device, kind, hash }: ProvedAgainst): void {
    const record = this.#table.get(did)
    const left = record?.proofs.filter((proof) => proof.kind !== kind || !sameKey(proof.device, device) || !equal(proof.hash, hash))
    if (record === undefined || left === undefined || left.length === record.proofs.length) return
    record.proofs = left
    this.#acts.note('release', did, `evidence: ${kind} is of keys that are not its own`, { evidence: toHex(hash), ...deviceDetail(device) })
    this.#changed(record)
  }

  deviceRevoked(did: Did, device: PublicKey): void {
    const record = this.#table.get(did)
    if (record?.proofs.some((proof) => !proof.revoked && sameKey(proof.device, device)) !== true) return
    record.proofs = record.proofs.map((proof) => (sameKey(proof.device, device) ? { ...proof, revoked: true } : proof))
    this.#changed(record)
  }

  forkDecided(did: Did): void {
    const record = this.#table.get(did)
    if (record?.proofs.some(({ kind, pardoned }) => kind === 'chain-fork' && !pardoned) !== true) return
    record.proofs = record.proofs.map((proof) => (proof.kind === 'chain-fork' ? { ...proof, pardoned: true } : proof))
    this.#changed(record)
  }

  configure(rules: StandingOverrides): void {
    this.#rules = standingRules(rules)
    for (const { did } of [...this.#table.all()]) this.#show(did)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    this.#listeners.clear()
    await this.#acts.close()
    await this.#writes.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #charge(record: StandingRecord, { device, kind, protocol, evidence }: ViolationReport): void {
    const now = this.#clock.now()
    const clip = evidence === undefined ? undefined : clipEvidence(evidence)
    if (clip?.clipped === true) this.#metrics.clipped()
    const place = `${kind} on ${protocol.slice(0, 64)}`
    const kept = this.#evidence.keep(clip?.bytes)
    const violation: Violation = { kind, weight: this.#rules.weights[kind], timeMs: now, device, evidence: kept, protocol: protocol.slice(0, 64) }
    this.#dropEvidence(charge(record, violation, this.#rules))
    if (record.reputation === 0) {
      record.quarantined = true
      record.bans++
      const untilMs = now + banLength(record.bans, this.#rules)
      const reason = `violations, the last one ${place}`
      banDevice(record, device, { untilMs, reason }, now)
      rest(record, untilMs, now, this.#rules)
      this.#metrics.banned('violations')
      this.#acts.note('ban', record.did, reason, { until: new Date(untilMs).toISOString(), ...deviceDetail(device) })
    } else if (record.reputation < this.#rules.quarantineBelow && !record.quarantined) {
      record.quarantined = true
      this.#acts.note('quarantine', record.did, `reputation ${record.reputation} after ${place}`)
    }
    this.#changed(record)
  }

  /** An act of the owner: first in the audit log, then in force, then durable. */
  async #decide(
    action: string,
    did: Did,
    { actor, reason }: Decided,
    details: NonNullable<AuditEvent['details']>,
    act: (record: StandingRecord) => void,
  ): Promise<StandingStatus> {
    if (did === this.#own) throw new TypeError('nothing is held against the own identity')
    if (actor.trim() === '') throw new TypeError('whoever decides has a name')
    if (reason.trim() === '' || utf8(reason).length > MAX_REASON_BYTES) throw new TypeError(`a reason has 1 to ${MAX_REASON_BYTES} bytes`)
    await this.#audit?.append({ actor, action, subject: did, reason, details })
    const record = this.#table.open(did, 'owner') as StandingRecord
    record.decided = true
    act(record)
    this.#changed(record)
    await this.#writes.flush()
    return this.status(did)
  }

  #changed(record: StandingRecord): void {
    this.#table.save(record)
    this.#show(record.did)
  }

  /** Brings up to date what is answered from memory, and tells when that changed. */
  #show(did: Did): void {
    const changed = this.#watch.show(did, this.#table.get(did), this.#clock.now(), this.#rules)
    const { bannedDevices: devices, bannedPeers: peers, isolated: quarantined } = this.#watch
    this.#metrics.state({ devices, peers, quarantined, records: this.#table.size, evidenceBytes: this.#evidence.bytes })
    this.#arm()
    if (!changed) return
    for (const listener of [...this.#listeners]) {
      try {
        listener(did)
      } catch (error) {
        this.#logger.error('a listener of standing failed', { error: asKithError(error, 'INTERNAL').toJSON() })
      }
    }
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#closed || this.#table.size === 0) return
    this.#timer = this.#clock.after(SWEEP_MS, () => {
      this.#timer = undefined
      this.#sweep()
      this.#arm()
    })
  }

  /** Bans that ran out and quarantines that were outlived. */
  #sweep(): void {
    const now = this.#clock.now()
    for (const did of this.#watch.dids()) {
      const record = this.#table.get(did)
      if (record === undefined) continue
      const before = record.quarantined
      settle(record, now, this.#rules)
      if (before && !record.quarantined) {
        this.#acts.note('release', did, `reputation ${record.reputation}`)
        this.#table.save(record)
      }
      this.#show(did)
    }
    if (Math.abs(now - this.#tidyMs) >= TIDY_MS) this.#tidy()
  }

  #tidy(): void {
    const now = this.#clock.now()
    this.#tidyMs = now
    for (const record of [...this.#table.all()]) {
      const { dropped, clean } = tidy(record, now, this.#rules)
      this.#dropEvidence(dropped)
      if (clean) this.#table.forget(record)
      else if (dropped.length > 0) this.#table.save(record)
    }
  }

  #dropEvidence(violations: readonly Violation[]): void {
    for (const { evidence } of violations) if (evidence !== 0) this.#evidence.drop(evidence)
  }
}

function deviceDetail(device: PublicKey | undefined): { readonly device?: string } {
  return device === undefined ? {} : { device: toHex(device) }
}
