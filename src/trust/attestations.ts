import { isKithError } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import { MESSAGE_TYPE, type RecordMessage } from '../mesh/messages/types.ts'
import type { AttestationOutcome } from './api.ts'
import { type EvidenceContext, judgeEvidence } from './edge-evidence.ts'
import type { EdgeGraph } from './edge-graph.ts'
import type { EdgeKey } from './edge-slots.ts'
import { decodeStatement, MAX_LIFE_MS } from './statement.ts'
import type { StatementRate } from './statement-rate.ts'
import type { TrustStatement } from './types.ts'

/** Where statements travel: signed hybrid, kept as long as an edge may live. */
export const ATTESTATION_TOPIC = 'trust:attestations'
export const ATTESTATION_RETAIN_MS: number = MAX_LIFE_MS

/** A statement dated further ahead than this waits; and it may not be dated further from its envelope, whose date says which binding it was signed under. */
export const CLOCK_SKEW_MS = 600_000

export interface JudgeContext extends Omit<EvidenceContext, 'source' | 'target' | 'now'> {
  readonly me: Did
  readonly edges: EdgeGraph
  readonly rate: StatementRate
  now(): number
  /** Takes a statement of this identity, said by another machine of its own. @throws KithError `TRUST_FULL`. */
  remember(statement: TrustStatement): boolean
  /** Takes a statement that was put into the graph. */
  keep(key: EdgeKey, payload: Uint8Array): void
}

/**
 * Decides on a statement of others, cheapest question first: place and suite, form, dates, number, rate, evidence; then it is put into the graph.
 * ```text
 * what is stale costs nothing and counts for nobody's rate: who replays an issuer's statements uses up nothing of the issuer's
 * ```
 */
export async function judgeStatement(record: RecordMessage, payload: Uint8Array, context: JudgeContext): Promise<AttestationOutcome> {
  if (record.type !== MESSAGE_TYPE.trust || record.to.kind !== 'topic' || record.to.topic !== ATTESTATION_TOPIC || record.suite !== 'hybrid') return 'misplaced'
  const statement = parse(record, payload)
  if (statement === undefined) return 'malformed'
  const now = context.now()
  if (statement.createdMs > now + CLOCK_SKEW_MS) return 'future'
  if (record.from === context.me) return ofOwn(statement, context)
  const key: EdgeKey = { source: record.from, target: statement.subject, graph: statement.graph, scope: statement.scope }
  if (context.edges.isStale(key, statement)) return 'stale'
  // Taking back what counts lowers trust and can be done once per number: never refused for its rate.
  const takesBack = statement.weight === 0 && context.edges.find(key)?.live === true
  if (!takesBack && !context.rate.take(record.from, statement.createdMs, now)) return 'rate'
  if (!(await isSupported(key, statement, now, context))) return 'unsupported'
  const outcome = context.edges.put(key, statement, now)
  if ((outcome === 'applied' || outcome === 'expired') && context.edges.find(key) !== undefined) context.keep(key, payload)
  return outcome
}

function parse(record: RecordMessage, payload: Uint8Array): TrustStatement | undefined {
  try {
    const statement = decodeStatement(payload)
    if (statement.subject === record.from) return undefined
    return Math.abs(statement.createdMs - record.timeMs) > CLOCK_SKEW_MS ? undefined : statement
  } catch (error) {
    if (isKithError(error, 'WIRE_MALFORMED')) return undefined
    throw error
  }
}

/** Shown and numbered after, never obeyed: each machine decides for itself. */
function ofOwn(statement: TrustStatement, context: JudgeContext): AttestationOutcome {
  try {
    return context.remember(statement) ? 'applied' : 'stale'
  } catch (error) {
    if (isKithError(error, 'TRUST_FULL')) return 'full'
    throw error
  }
}

/** Nothing needs no support; something needs one item that holds. */
async function isSupported({ source, target }: EdgeKey, { evidence }: TrustStatement, now: number, context: JudgeContext): Promise<boolean> {
  const asked: EvidenceContext = { source, target, now, keys: (did, device) => context.keys(did, device), score: (did) => context.score(did) }
  const { resolve } = context
  for (const item of evidence) {
    if ((await judgeEvidence(item, resolve === undefined ? asked : { ...asked, resolve })) === 'valid') return true
  }
  return evidence.length === 0
}
