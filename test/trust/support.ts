import { createHash } from 'node:crypto'
import type { PublicKey } from '../../src/core/bytes.ts'
import { type ManualClock, manualClock } from '../../src/core/clock.ts'
import { publicKeyOfSeed } from '../../src/core/crypto/ed25519.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { Secret } from '../../src/core/secret.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { Store } from '../../src/core/store/types.ts'
import { type Did, didPublicKey, formatDid } from '../../src/identity/did.ts'
import { MESSAGE_TYPE, type RecordMessage } from '../../src/mesh/messages/types.ts'
import type { TrustGraph } from '../../src/trust/api.ts'
import { ATTESTATION_TOPIC } from '../../src/trust/attestations.ts'
import { EdgeGraph, type EdgeLimits } from '../../src/trust/edge-graph.ts'
import type { EdgeKey, EdgeValue } from '../../src/trust/edge-slots.ts'
import { encodeStatement, MAX_LIFE_MS } from '../../src/trust/statement.ts'
import { openTrustGraph } from '../../src/trust/trust-graph.ts'
import { DEFAULT_LIMITS, type TrustComponents, type TrustOptions } from '../../src/trust/trust-options.ts'
import type { TrustStatement } from '../../src/trust/types.ts'

export const NOW = 1_800_000_000_000
export const DAY = 86_400_000
export const HOUR = 3_600_000

const dids: Map<string, Did> = new Map()

/** The identity of a name: a valid key, the same in every run. */
export function did(name: string | number): Did {
  const seed = createHash('sha256').update(`trust ${name}`).digest()
  const known = dids.get(String(name)) ?? formatDid(publicKeyOfSeed(Secret.take(seed)))
  dids.set(String(name), known)
  return known
}

/** Many names at once for the graph alone, which never looks at a key: no curve is asked. */
export function plainDids(prefix: string, count: number): Did[] {
  return Array.from({ length: count }, (_, at) => formatDid(createHash('sha256').update(`${prefix} ${at}`).digest() as Uint8Array as PublicKey))
}

export const me: Did = did('me')

export function edgeGraph(limits: Partial<EdgeLimits> = {}, changed: (target: Did) => void = () => undefined): EdgeGraph & { readonly gone: EdgeKey[] } {
  const gone: EdgeKey[] = []
  const graph = new EdgeGraph(me, { ...DEFAULT_LIMITS, ...limits }, { forgotten: (key) => gone.push(key), changed })
  return Object.assign(graph, { gone })
}

export type EdgeParts = Partial<EdgeKey & EdgeValue>

/** A social edge from now on for a year, unless said otherwise. */
export function put(graph: EdgeGraph, source: Did, target: Did, weight: number, parts: EdgeParts = {}, now: number = NOW): string {
  const createdMs = parts.createdMs ?? now
  return graph.put(
    { source, target, graph: parts.graph ?? 'social', scope: parts.scope },
    { weight, createdMs, expiresMs: parts.expiresMs ?? createdMs + MAX_LIFE_MS, sequence: parts.sequence ?? 1 },
    now,
  )
}

export interface World {
  readonly graph: TrustGraph
  readonly clock: ManualClock
  readonly store: Store
  readonly published: Uint8Array[]
}

export async function world(options: TrustOptions & { components?: Partial<TrustComponents>; clock?: ManualClock; store?: Store } = {}): Promise<World> {
  const { components, clock = manualClock(NOW), store = createMemoryStore(), ...rest } = options
  const published: Uint8Array[] = []
  const graph = await openTrustGraph(
    {
      did: me,
      store,
      clock,
      logger: silentLogger,
      directory: { keys: async () => undefined },
      publish: async (payload) => {
        published.push(payload)
      },
      ...components,
    },
    rest,
  )
  return { graph, clock, store, published }
}

export function statement(subject: Did, weight: number, parts: Partial<TrustStatement> = {}): TrustStatement {
  const createdMs = parts.createdMs ?? NOW
  return {
    subject,
    graph: 'social',
    scope: undefined,
    weight,
    labels: [],
    evidence: [],
    createdMs,
    expiresMs: createdMs + MAX_LIFE_MS,
    sequence: createdMs,
    ...parts,
  }
}

/** A record as it comes out of the verifier. */
export function recordOf(from: Did, payload: Uint8Array, parts: Partial<RecordMessage> = {}): RecordMessage {
  const record: Omit<RecordMessage, symbol> = {
    class: 'record',
    id: createHash('sha256').update(payload).digest(),
    suite: 'hybrid',
    from,
    device: didPublicKey(from),
    to: { kind: 'topic', topic: ATTESTATION_TOPIC },
    timeMs: NOW,
    type: MESSAGE_TYPE.trust,
    payload,
    bytes: payload,
    epoch: 1,
    seq: 1,
    ...parts,
  }
  return record as RecordMessage
}

export function attestation(from: Did, subject: Did, weight: number, parts: Partial<TrustStatement> = {}): RecordMessage {
  const said = statement(subject, weight, parts)
  return recordOf(from, encodeStatement(said), { timeMs: said.createdMs })
}

export interface PlainEdge extends EdgeKey, EdgeValue {}

/** PN-11 as it is written, over a list, in big integers: what the graph must agree with. */
export function reference(
  edges: readonly PlainEdge[],
  target: Did,
  options: { now?: number; graph?: PlainEdge['graph']; scope?: string; direct?: number; transitive?: number } = {},
): { score: number; direct: number; transitive: number; introducer: Did | undefined; mean: number } {
  const { now = NOW, graph = 'social', scope, direct: wd = 7_000, transitive: wt = 3_000 } = options
  const live = edges.filter((edge) => edge.graph === graph && edge.scope === scope && edge.weight > 0 && now < edge.expiresMs)
  const weight = (from: Did, to: Did): bigint => BigInt(live.find((edge) => edge.source === from && edge.target === to)?.weight ?? 0)
  const introducers = live
    .filter((edge) => edge.target === target && edge.source !== me)
    .map((edge) => edge.source)
    .sort((a, b) => Buffer.compare(keyBytes(a), keyBytes(b)))
  const S = 2n ** 20n
  let q = S
  let best = 0n
  let bestShare = 0n
  let introducer: Did | undefined
  const products: number[] = []
  for (const m of introducers) {
    const a = weight(me, m)
    if (a === 0n) continue
    const b = weight(m, target)
    const c = (a * b * S) / 100_000_000n
    q = (q * (S - c)) / S
    if (a > best) best = a
    products.push((Number(a) * Number(b)) / 1e8)
    if (c > bestShare) {
      bestShare = c
      introducer = m
    }
  }
  const either = ((S - q) * 10_000n) / S
  const transitive = either < best ? either : best
  const direct = weight(me, target)
  const raw = (direct * BigInt(wd) + transitive * BigInt(wt)) / 10_000n
  const mean = products.length === 0 ? 0 : products.reduce((sum, each) => sum + each, 0) / products.length
  return {
    score: Number(direct === 0n && raw > 3_999n ? 3_999n : raw),
    direct: Number(direct),
    transitive: Number(transitive),
    introducer,
    mean: Math.min(1, (Number(direct) / 1e4) * (wd / 1e4) + mean * (wt / 1e4)),
  }
}

/** Order is that of the 32 bytes, not of the spelling; decoded apart from the code under test. */
function keyBytes(of: Did): Uint8Array {
  return Buffer.from(base58Bytes(of.slice('did:icn:z'.length)))
}

function base58Bytes(text: string): Uint8Array {
  let value = 0n
  for (const letter of text) value = value * 58n + BigInt('123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'.indexOf(letter))
  return Buffer.from(value.toString(16).padStart(64, '0'), 'hex')
}
