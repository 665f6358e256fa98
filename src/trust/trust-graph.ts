import type { Timer } from '../core/clock.ts'
import { asKithError, KithError } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import { WriteBehind } from '../mesh/known-keys-writes.ts'
import type { RecordMessage } from '../mesh/messages/types.ts'
import type { PeerClass } from '../mesh/types.ts'
import type { AttestationOutcome, AttestOptions, EdgeFilter, RevokeOptions, SetOptions, TrustGraph, TrustStatus } from './api.ts'
import { type JudgeContext, judgeStatement } from './attestations.ts'
import { EdgeGraph } from './edge-graph.ts'
import type { EdgeKey } from './edge-slots.ts'
import { explainScore } from './explain.ts'
import { Said } from './said.ts'
import { classOfScore, FULL, type ScoreWeights, scoreOf } from './score.ts'
import { decodeStatement, encodeStatement, MAX_LIFE_MS, MAX_SEQUENCE_LEAD, sortLabels } from './statement.ts'
import { StatementRate } from './statement-rate.ts'
import { type TrustMetrics, trustMetrics } from './trust-metrics.ts'
import { DEFAULT_STATEMENTS_PER_HOUR, limitsOf, type TrustComponents, type TrustOptions, weightsOf } from './trust-options.ts'
import { EDGE_NS, readRows, rowKey, SAID_NS } from './trust-rows.ts'
import type { GraphKind, TrustEdge, TrustScore, TrustStatement, TrustView } from './types.ts'

/** The system's clock may be set: expiries are looked at this often at least. */
const MAX_SLEEP_MS = 3_600_000
const MIN_SLEEP_MS = 10
const EXPIRE_AT_ONCE = 4_096
const DEFAULT_LISTED = 1_000

/**
 * Reads what is stored; own edges first, so that those of trusted issuers find their room. Nothing is applied of what was said while this node was away: offer
 * it again, what is known already is `stale`.
 * @throws TypeError for options out of range. @throws KithError `STORE_FAILED`.
 */
export async function openTrustGraph(components: TrustComponents, options: TrustOptions = {}): Promise<TrustGraph> {
  const graph = new StoredTrustGraph(components, options)
  await graph.load()
  return graph
}

class StoredTrustGraph implements TrustGraph {
  readonly #components: TrustComponents
  readonly #weights: Readonly<Record<GraphKind | 'class', ScoreWeights>>
  readonly #edges: EdgeGraph
  readonly #said: Said
  readonly #ownRate: StatementRate
  readonly #judging: JudgeContext
  readonly #writes: WriteBehind
  readonly #metrics: TrustMetrics
  readonly #outcomes: Map<AttestationOutcome, number> = new Map()
  readonly #listeners: Set<(targets: readonly Did[]) => void> = new Set()
  readonly #changed: Set<Did> = new Set()
  #timer: Timer | undefined
  #timerForMs = Number.POSITIVE_INFINITY
  #closed = false

  constructor(components: TrustComponents, options: TrustOptions) {
    const { did, store, clock, logger, metrics, directory, resolve } = components
    const limits = limitsOf(options)
    const perHour = options.statementsPerHour ?? DEFAULT_STATEMENTS_PER_HOUR
    this.#components = components
    this.#weights = weightsOf(options)
    this.#said = new Said(did, limits.ownEdges)
    this.#ownRate = new StatementRate(perHour, limits.ownEdges)
    this.#writes = new WriteBehind(store, clock, logger, 'trust edges')
    this.#metrics = trustMetrics(metrics)
    this.#edges = new EdgeGraph(did, limits, {
      forgotten: (key) => this.#writes.delete(EDGE_NS, rowKey(key)),
      changed: (target) => {
        if (this.#listeners.size > 0) this.#changed.add(target)
      },
    })
    this.#judging = {
      me: did,
      edges: this.#edges,
      rate: new StatementRate(perHour, limits.issuerEdges),
      now: () => clock.now(),
      keys: (signer, device) => directory.keys(signer, device),
      score: (signer) => this.score(signer),
      ...(resolve === undefined ? {} : { resolve }),
      remember: (statement) => this.#remember(statement),
      keep: (key, payload) => this.#writes.put(EDGE_NS, rowKey(key), payload),
    }
  }

  async load(): Promise<void> {
    const { did, store, logger } = this.#components
    const now = this.#now()
    for await (const { statement } of readRows(store, SAID_NS, logger, { only: did })) {
      if (statement.createdMs + MAX_LIFE_MS > now) this.#said.restore(statement)
      else this.#writes.delete(SAID_NS, rowKey(keyOf(did, statement)))
    }
    const restore = (source: Did, statement: TrustStatement): void => {
      const key = keyOf(source, statement)
      // An own edge that ran out cannot be brought back by anybody: nothing of it is remembered.
      if (source !== did || now < statement.expiresMs) this.#edges.put(key, statement, now)
      if (this.#edges.find(key) === undefined) this.#writes.delete(EDGE_NS, rowKey(key))
    }
    for await (const { statement } of readRows(store, EDGE_NS, logger, { only: did })) restore(did, statement)
    for await (const { source, statement } of readRows(store, EDGE_NS, logger, { except: did })) restore(source, statement)
    this.#settled()
  }

  get generation(): number {
    return this.#edges.generation
  }

  score(target: Did, view: TrustView = {}): number {
    if (target === this.#components.did) return FULL
    const { direct, transitive } = this.#edges.standing(target, view.graph ?? 'social', view.scope, this.#now())
    return scoreOf(direct, transitive, this.#weights[view.graph ?? 'class'])
  }

  classOf(target: Did, view?: TrustView): PeerClass {
    return classOfScore(this.score(target, view))
  }

  bucketOf(target: Did, view: TrustView = {}): Did | undefined {
    const { direct, introducer } = this.#edges.standing(target, view.graph ?? 'social', view.scope, this.#now())
    return direct > 0 ? undefined : introducer
  }

  explain(target: Did, view: TrustView = {}): TrustScore {
    const explained = explainScore(this.#edges, target, view, this.#weights[view.graph ?? 'class'], this.#now())
    return target === this.#components.did ? { ...explained, score: FULL, class: classOfScore(FULL) } : explained
  }

  async set(target: Did, weight: number, options: SetOptions = {}): Promise<void> {
    this.#check()
    const now = this.#now()
    const statement = this.#statement(target, weight, options, now, now)
    const payload = encodeStatement(statement)
    const key = keyOf(this.#components.did, statement)
    if (weight === 0) this.#edges.remove(key)
    else {
      if (this.#edges.put(key, statement, now) === 'full') throw new KithError('TRUST_FULL')
      this.#writes.put(EDGE_NS, rowKey(key), payload)
    }
    this.#settled()
    await this.#writes.flush()
    if (options.publish === true) await this.attest(target, weight, options)
  }

  async revoke(target: Did, options: RevokeOptions = {}): Promise<boolean> {
    this.#check()
    const { graph = 'social', scope } = options
    const key: EdgeKey = { source: this.#components.did, target, graph, scope }
    const removed = this.#edges.remove(key)
    this.#settled()
    await this.#writes.flush()
    const stands = this.said().some((statement) => statement.subject === target && statement.graph === graph && statement.scope === scope)
    const publish = options.publish ?? (stands && this.#components.publish !== undefined)
    if (publish) await this.attest(target, 0, scope === undefined ? { graph } : { graph, scope })
    return removed || publish
  }

  async attest(target: Did, weight: number, options: AttestOptions = {}): Promise<void> {
    const { publish } = this.#components
    if (publish === undefined) throw new TypeError('this node has no way to publish')
    await publish(await this.createAttestation(target, weight, options))
  }

  async createAttestation(target: Did, weight: number, options: AttestOptions = {}): Promise<Uint8Array> {
    this.#check()
    const { did } = this.#components
    const now = this.#now()
    const key: EdgeKey = { source: did, target, graph: options.graph ?? 'social', scope: options.scope }
    const sequence = this.#said.nextSequence(key, now)
    const statement = this.#statement(target, weight, options, Math.max(now, sequence - MAX_SEQUENCE_LEAD), sequence)
    const payload = encodeStatement(statement)
    const takesBack = weight === 0 && (this.#said.find(key)?.weight ?? 0) > 0
    if (!takesBack && !this.#ownRate.take(did, now, now)) throw new KithError('TRUST_RATE')
    this.#remember(statement)
    await this.#writes.flush()
    return payload
  }

  said(): readonly TrustStatement[] {
    return this.#said.current(this.#now())
  }

  async apply(record: RecordMessage, payload: Uint8Array = record.payload): Promise<AttestationOutcome> {
    this.#check()
    const outcome = await judgeStatement(record, payload, this.#judging)
    this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1)
    this.#metrics.outcome(outcome)
    this.#settled()
    return outcome
  }

  async edges(filter: EdgeFilter = {}): Promise<readonly TrustEdge[]> {
    this.#check()
    const { limit = DEFAULT_LISTED, ...ends } = filter
    const now = this.#now()
    const listed: TrustEdge[] = []
    for (const { source, target, graph, scope, weight, createdMs, expiresMs, sequence } of this.#edges.edges(ends)) {
      if (listed.length >= limit) break
      if (now >= expiresMs) continue
      const { labels, evidence } = await this.#detailsOf({ source, target, graph, scope })
      listed.push({ source, target, graph, scope, weight, labels, evidence, createdMs, expiresMs, sequence })
    }
    return listed
  }

  onChange(listener: (targets: readonly Did[]) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  status(): TrustStatus {
    return { edges: this.#edges.size, issuers: this.#edges.issuers, statements: Object.fromEntries(this.#outcomes) }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#timer?.cancel()
    this.#listeners.clear()
    await this.#writes.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #now(): number {
    return this.#components.clock.now()
  }

  #check(): void {
    if (this.#closed) throw new KithError('CLOSED')
  }

  #statement(target: Did, weight: number, options: AttestOptions, createdMs: number, sequence: number): TrustStatement {
    if (target === this.#components.did) throw new TypeError('nobody makes a trust edge to itself')
    const { graph = 'social', scope, labels = [], evidence = [], expiresMs = createdMs + MAX_LIFE_MS } = options
    if (!(expiresMs > createdMs)) throw new TypeError(`expires before it begins: ${expiresMs}`)
    return { subject: target, graph, scope, weight, labels: sortLabels(labels), evidence, createdMs, expiresMs, sequence }
  }

  /** Labels and evidence stay in the store. */
  async #detailsOf(key: EdgeKey): Promise<Pick<TrustStatement, 'labels' | 'evidence'>> {
    const row = rowKey(key)
    const value = (this.#writes.pending(EDGE_NS, row) ?? { value: await this.#components.store.get(EDGE_NS, row) }).value
    return value === undefined ? { labels: [], evidence: [] } : decodeStatement(value)
  }

  /** Whether it is newer than what was said before. */
  #remember(statement: TrustStatement): boolean {
    const key = keyOf(this.#components.did, statement)
    const known = this.#said.find(key)
    if (known !== undefined && statement.sequence <= known.sequence) return false
    for (const gone of this.#said.remember(statement, this.#now())) this.#writes.delete(SAID_NS, rowKey(gone))
    this.#writes.put(SAID_NS, rowKey(key), encodeStatement(statement))
    return true
  }

  /** After every change: tells who listens, and wakes for the next expiry. */
  #settled(): void {
    this.#metrics.edges(this.#edges.size, this.#edges.issuers)
    this.#arm()
    if (this.#changed.size === 0) return
    const targets = [...this.#changed]
    this.#changed.clear()
    for (const listener of this.#listeners) {
      try {
        listener(targets)
      } catch (error) {
        this.#components.logger.error('a listener of trust changes failed', { error: asKithError(error, 'INTERNAL').toJSON() })
      }
    }
  }

  #arm(): void {
    const next = this.#edges.nextWakeMs
    if (next === undefined || this.#closed || (this.#timer !== undefined && this.#timerForMs <= next)) return
    this.#timer?.cancel()
    this.#timerForMs = next
    this.#timer = this.#components.clock.after(Math.min(MAX_SLEEP_MS, Math.max(MIN_SLEEP_MS, next - this.#now())), () => {
      this.#timer = undefined
      this.#edges.expire(this.#now(), EXPIRE_AT_ONCE)
      this.#settled()
    })
  }
}

function keyOf(source: Did, { subject, graph, scope }: TrustStatement): EdgeKey {
  return { source, target: subject, graph, scope }
}
