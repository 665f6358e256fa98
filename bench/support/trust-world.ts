import sodium from 'sodium-native'
import type { PublicKey } from '../../src/core/bytes.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { Store } from '../../src/core/store/types.ts'
import { type Did, didPublicKey, formatDid } from '../../src/identity/did.ts'
import { MESSAGE_TYPE, type RecordMessage } from '../../src/mesh/messages/types.ts'
import type { TrustGraph } from '../../src/trust/api.ts'
import { ATTESTATION_TOPIC } from '../../src/trust/attestations.ts'
import { encodeStatement, MAX_LIFE_MS } from '../../src/trust/statement.ts'
import { openTrustGraph } from '../../src/trust/trust-graph.ts'
import { EDGE_NS, rowKey } from '../../src/trust/trust-rows.ts'

const EDGES = 100_000
const PEOPLE = 10_000
/** This node trusts so many itself; they and as many strangers speak of the others. */
const FRIENDS = 500
const BATCH = 1_000

/** A store with a graph of 100,000 edges, and the identities in it. */
export interface TrustWorld {
  readonly me: Did
  readonly people: readonly Did[]
  /** Whom a friend speaks of: the scores that its edges count in. */
  readonly spoken: ReadonlyMap<Did, readonly Did[]>
  readonly store: Store
  open(): Promise<TrustGraph>
}

export async function trustWorld(): Promise<TrustWorld> {
  const [me, ...people] = Array.from({ length: PEOPLE + 1 }, newDid) as [Did, ...Did[]]
  const store = createMemoryStore()
  const now = Date.now()
  const spoken = new Map<Did, Did[]>()
  const edges: (readonly [Did, Did])[] = people.slice(0, FRIENDS).map((friend) => [me, friend])
  for (let at = 0; edges.length < EDGES; at++) {
    const issuer = people[at % (2 * FRIENDS)] as Did
    const target = people[(at * 7_919 + Math.floor(at / (2 * FRIENDS)) * 31) % PEOPLE] as Did
    const targets = spoken.get(issuer) ?? []
    if (issuer === target || targets.includes(target)) continue
    spoken.set(issuer, [...targets, target])
    edges.push([issuer, target])
  }
  for (let from = 0; from < edges.length; from += BATCH) {
    await store.batch(
      edges.slice(from, from + BATCH).map(([source, target], at) => ({
        type: 'put',
        ns: EDGE_NS,
        key: rowKey({ source, target, graph: 'social', scope: undefined }),
        value: statementOf(target, 1_000 + (((from + at) * 37) % 9_000), now, now),
      })),
    )
  }
  return {
    me,
    people,
    spoken,
    store,
    open: () =>
      openTrustGraph(
        { did: me, store, clock: systemClock, logger: silentLogger, directory: { keys: async () => undefined } },
        { statementsPerHour: 1_000_000 },
      ),
  }
}

/** What somebody says about somebody, as the verifier hands it on. */
export function attestation(from: Did, subject: Did, weight: number, sequence: number): RecordMessage {
  const now = Date.now()
  const payload = statementOf(subject, weight, now, sequence)
  const record: Omit<RecordMessage, symbol> = {
    class: 'record',
    id: new Uint8Array(32),
    suite: 'hybrid',
    from,
    device: didPublicKey(from),
    to: { kind: 'topic', topic: ATTESTATION_TOPIC },
    timeMs: now,
    type: MESSAGE_TYPE.trust,
    payload,
    bytes: payload,
    epoch: 1,
    seq: sequence,
  }
  return record as RecordMessage
}

function statementOf(subject: Did, weight: number, now: number, sequence: number): Uint8Array {
  return encodeStatement({
    subject,
    graph: 'social',
    scope: undefined,
    weight,
    labels: [],
    evidence: [],
    createdMs: now,
    expiresMs: now + MAX_LIFE_MS,
    sequence,
  })
}

function newDid(): Did {
  const publicKey = Buffer.alloc(sodium.crypto_sign_PUBLICKEYBYTES)
  sodium.crypto_sign_keypair(publicKey, Buffer.alloc(sodium.crypto_sign_SECRETKEYBYTES))
  return formatDid(Uint8Array.from(publicKey) as PublicKey)
}
