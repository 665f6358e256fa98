import { concat, utf8 } from '../../src/core/bytes.ts'
import { encode } from '../../src/core/codec.ts'
import { cancelRecovery } from '../../src/identity/chain.ts'
import { cancellationCodec, signCancelWord } from '../../src/identity/chain-cancellation.ts'
import { attestationText, attestRecovery } from '../../src/identity/chain-recovery.ts'
import { encodeChainState } from '../../src/identity/chain-store.ts'
import { exchangeCodec } from '../../src/recovery/protocol.ts'
import { recoveryIdOf, recoveryWords } from '../../src/recovery/request.ts'
import { encodeMessage, messageText } from '../../src/recovery/wire.ts'
import { conformance, type Generator } from '../conformance.ts'
import { ASKED, ann, POLICY, requestFor, TRUSTEES, trusteeOf } from './support.ts'

function recovery(g: Generator) {
  const entry = requestFor(ann().chain, { keys: `keys ${g.integer(1e6)}`, now: ASKED + g.integer(1e6) })
  const recoveryId = recoveryIdOf(entry)
  const request = { did: entry.did, previous: entry.previous, policy: POLICY, recoveryId, keys: entry.keys }
  const attestations = TRUSTEES.slice(0, 3).map((name) => attestRecovery(request, trusteeOf(name), ASKED + 1_000_000 + g.integer(1e6)))
  const words = TRUSTEES.slice(2).map((name) => signCancelWord(request, trusteeOf(name), ASKED + 2_000_000 + g.integer(1e6)))
  return { entry, complete: { ...entry, attestations }, cancellation: { did: entry.did, previous: entry.previous, recoveryId, words } }
}

conformance(
  'icn/recovery/1 messages, ids and exchange',
  (g) => {
    const { entry, complete, cancellation } = recovery(g)
    const messages = [encodeMessage({ kind: 'recovery', entry: complete }), encodeMessage({ kind: 'end', cancellation })]
    return concat(recoveryIdOf(entry), encodeMessage({ kind: 'recovery', entry }), ...messages, encode(exchangeCodec, { _version: undefined, messages }))
  },
  8,
)

conformance('icn/recovery-cancel/v1 words', (g) => encode(cancellationCodec, { _version: undefined, ...recovery(g).cancellation }), 8)

conformance(
  'recovery attestation text, words to compare and text to carry',
  (g) => {
    const { entry, complete } = recovery(g)
    const text = attestationText(entry.did, entry.keys, entry.timeMs)
    return concat(text, utf8(recoveryWords(entry)), utf8(messageText(encodeMessage({ kind: 'recovery', entry: complete }))))
  },
  2,
)

conformance(
  'chain state with cancelled recoveries',
  (g) => encodeChainState(cancelRecovery(ann().chain, recovery(g).cancellation, { now: ASKED + 4_000_000 })),
  4,
)
