/** Statements and evidence that hold nothing, or come without end. */
import { concat, equal } from '../../../src/core/bytes.ts'
import { hashLabeled } from '../../../src/core/crypto/labels.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { encodePayload } from '../../../src/gossip/entry.ts'
import { encodeChain } from '../../../src/identity/chain-codec.ts'
import { formatDid } from '../../../src/identity/did.ts'
import { decodeEnvelope, ENVELOPE_ID_LABEL } from '../../../src/mesh/messages/envelope.ts'
import { MESSAGE_TYPE } from '../../../src/mesh/messages/types.ts'
import { ATTESTATION_TOPIC } from '../../../src/trust/attestations.ts'
import { EVIDENCE_TOPIC, encodeEvidence } from '../../../src/trust/evidence.ts'
import { encodeStatement } from '../../../src/trust/statement.ts'
import type { TrustStatement } from '../../../src/trust/types.ts'
import type { Abuser, Aim } from '../abuser.ts'
import { type Case, gossip, turn } from '../case.ts'

const YEAR_MS = 365 * 86_400_000
const outcome = (name: string): string => `kith_trust_statements_total{outcome="${name}"}`
const evidence = (name: string): string => `kith_evidence_total{outcome="${name}"}`

function statement(aim: Aim, changes: Partial<TrustStatement> = {}): Uint8Array {
  const now = Date.now()
  const [honest] = aim.honest
  return encodeStatement({
    subject: honest === undefined ? aim.did : formatDid(honest.didKey),
    graph: 'social',
    scope: undefined,
    weight: 10_000,
    labels: [],
    evidence: [],
    createdMs: now,
    expiresMs: now + YEAR_MS / 2,
    sequence: now + Math.floor(Math.random() * 100_000),
    ...changes,
  })
}

const attestations: Case = {
  name: 'trust statements without end',
  as: 'known',
  expects: [
    [outcome('rate')],
    [outcome('malformed')],
    [outcome('unsupported')],
    [gossip('suite')],
    [gossip('author_rate'), gossip('verifier_busy'), outcome('rate')],
  ],
  async run({ line, abuser, aim }) {
    const talk = await line.gossip(ATTESTATION_TOPIC)
    const say = async (payload: Uint8Array, suite: 'hybrid' | 'ed25519' = 'hybrid'): Promise<void> => {
      const framed = encodePayload({ references: [], data: payload })
      await talk.frame({ kind: 'push', envelope: abuser.craft({ topic: ATTESTATION_TOPIC, type: MESSAGE_TYPE.trust, suite, payload: framed }) })
    }
    for (let i = 0; i < 20 && talk.open; i++) {
      // Each of somebody who does not exist: rows for nothing.
      await say(statement(aim, { subject: formatDid(somebody(abuser)) }))
      await say(statement(aim, { evidence: [{ kind: 1, body: systemRandom.bytes(200) }] }))
      await say(systemRandom.bytes(100))
      await say(statement(aim), 'ed25519')
      await turn()
    }
  },
}

/** A valid key of nobody; making many would cost the abuser more than the victim. */
function somebody(abuser: Abuser): typeof abuser.device.didKey {
  const keys = [abuser.device.linkSigner.publicKey, ...abuser.aim.honest.flatMap(({ didKey, linkKey }) => [didKey, linkKey])]
  return keys[Math.floor(Math.random() * keys.length)] as typeof abuser.device.didKey
}

const proofs: Case = {
  name: 'evidence that proves nothing',
  as: 'stranger',
  expects: [[evidence('malformed')], [evidence('invalid')], [evidence('busy'), gossip('author_rate'), gossip('verifier_busy')]],
  async run({ line, abuser, aim }) {
    const talk = await line.gossip(EVIDENCE_TOPIC)
    const say = async (data: Uint8Array): Promise<void> => {
      const payload = encodePayload({ references: [], data })
      await talk.frame({ kind: 'push', envelope: abuser.craft({ topic: EVIDENCE_TOPIC, type: MESSAGE_TYPE.evidence, payload }) })
    }
    const [honest] = aim.honest
    for (let i = 0; i < 20 && talk.open; i++) {
      await say(concat(Uint8Array.of(1, 4), systemRandom.bytes(200)))
      // Two entries in an honest peer's name that it did not sign, in its number, with the abuser's papers.
      const pair = [0, 1].map(() => abuser.craft({ seq: 7, ...(honest === undefined ? {} : { from: honest.didKey, device: honest.linkKey }) }))
      await say(proof(abuser, pair))
      await turn()
    }
  },
}

function proof(abuser: Abuser, [one, other]: readonly Uint8Array[]): Uint8Array {
  const [first, second] = [one as Uint8Array, other as Uint8Array].sort((a, b) => Buffer.compare(idOf(a), idOf(b)))
  if (first === undefined || second === undefined || equal(first, second)) return new Uint8Array(2)
  return encodeEvidence({ kind: 'equivocation', binding: abuser.device.binding, chain: encodeChain(abuser.device.chain.entries), first, second })
}

function idOf(bytes: Uint8Array): Uint8Array {
  return hashLabeled(ENVELOPE_ID_LABEL, decodeEnvelope(bytes).body)
}

export const TRUST_CASES: readonly Case[] = [attestations, proofs]
