import assert from 'node:assert/strict'
import { equal } from '../../../src/core/bytes.ts'
import { decode, encode } from '../../../src/core/codec.ts'
import { Secret } from '../../../src/core/secret.ts'
import { packRecoveryKeys, unpackRecoveryKeys } from '../../../src/daemon/recovery/key-file.ts'
import { adoptChain, cancelRecovery } from '../../../src/identity/chain.ts'
import { cancellationCodec, signCancelWord } from '../../../src/identity/chain-cancellation.ts'
import { attestRecovery } from '../../../src/identity/chain-recovery.ts'
import { decodeChainState, encodeChainState } from '../../../src/identity/chain-store.ts'
import { decodeCase, encodeCase, newCase } from '../../../src/recovery/case.ts'
import { exchangeCodec } from '../../../src/recovery/protocol.ts'
import { recoveryIdOf } from '../../../src/recovery/request.ts'
import { decodeMessage, encodeMessage, messageText, parseMessageText } from '../../../src/recovery/wire.ts'
import { ASKED, ann, didOf, POLICY, requestFor, TRUSTEES, trusteeOf } from '../../recovery/support.ts'
import type { FuzzTarget } from '../mutate.ts'

const { chain } = ann()
const entry = requestFor(chain)
const id = recoveryIdOf(entry)
const request = { did: entry.did, previous: entry.previous, policy: POLICY, recoveryId: id, keys: entry.keys }
const attestations = TRUSTEES.slice(0, 3).map((name) => attestRecovery(request, trusteeOf(name), ASKED + 1_000))
const words = TRUSTEES.slice(1, 4).map((name) => signCancelWord({ ...request }, trusteeOf(name), ASKED + 2_000))
const cancellation = { did: entry.did, previous: entry.previous, recoveryId: id, words }
const complete = { ...entry, attestations }
const messages = [
  encodeMessage({ kind: 'recovery', entry }),
  encodeMessage({ kind: 'recovery', entry: complete }),
  encodeMessage({ kind: 'end', cancellation }),
]
const codes = ['WIRE_MALFORMED', 'VERSION_UNSUPPORTED', 'KEY_INVALID', 'DID_INVALID'] as const

/** Requests, attestations and ends, as links, the topic and files bring them: what decodes is the one encoding of what it says, and only what was signed counts. */
const message: FuzzTarget = {
  name: 'recovery-message',
  seeds: messages,
  codes: [...codes, 'CHAIN_INVALID', 'CHAIN_STALE'],
  run(input) {
    const decoded = decodeMessage(input)
    assert.ok(equal(encodeMessage(decoded), input))
    const now = ASKED + 10_000
    if (decoded.kind === 'end') {
      const state = cancelRecovery(chain, decoded.cancellation, { now })
      assert.ok(state.cancelled.length === 1 && decoded.cancellation.words.length >= POLICY.threshold)
      return 'ended'
    }
    if (decoded.entry.attestations.length === 0) return 'asked'
    const { state } = adoptChain(chain, [decoded.entry], { now })
    assert.ok(state.pending !== undefined && equal(state.pending.entry.hash, entry.hash), 'nothing but what was signed is ever taken')
    return 'taken'
  },
  iterations: 4_000,
}

const exchange: FuzzTarget = {
  name: 'recovery-exchange',
  seeds: [messages.slice(1), messages.slice(0, 1)].map((some) => encode(exchangeCodec, { _version: undefined, messages: some })),
  codes,
  run(input) {
    const decoded = decode(exchangeCodec, input)
    assert.ok(decoded.messages.length <= 2 && equal(encode(exchangeCodec, decoded), input))
    return String(decoded.messages.length)
  },
  iterations: 10_000,
}

const cancel: FuzzTarget = {
  name: 'recovery-cancellation',
  seeds: [encode(cancellationCodec, { _version: undefined, ...cancellation }), encode(cancellationCodec, { _version: undefined, ...cancellation, words: [] })],
  codes,
  run(input) {
    const decoded = decode(cancellationCodec, input)
    assert.ok(equal(encode(cancellationCodec, decoded), input))
    return String(decoded.words.length)
  },
  iterations: 10_000,
}

/** As a person pastes it. */
const text: FuzzTarget = {
  name: 'recovery-text',
  seeds: messages.map((one) => Buffer.from(messageText(one))),
  codes: ['RECOVERY_INVALID'],
  run(input) {
    const parsed = parseMessageText(Buffer.from(input).toString('latin1'))
    assert.ok(
      messages.some((one) => equal(one, parsed)),
      'a mistyped text is none',
    )
    return 'parsed'
  },
  iterations: 5_000,
}

const kept = newCase(entry, POLICY, { mine: true, byHand: true, seenMs: ASKED, from: undefined })
for (const one of attestations) kept.attestations.set(one.trustee, one)
for (const word of words) kept.words.set(word.trustee, word)

const stored: FuzzTarget = {
  name: 'recovery-case',
  seeds: [encodeCase(kept), encodeCase(newCase(entry, POLICY, { mine: false, byHand: false, seenMs: ASKED, from: undefined }))],
  codes,
  run(input) {
    const one = decodeCase(input)
    return `${one.attestations.size} ${one.words.size}`
  },
  iterations: 4_000,
}

const ended = cancelRecovery(chain, cancellation, { now: ASKED + 10_000 })
const state: FuzzTarget = {
  name: 'chain-state-cancelled',
  seeds: [encodeChainState(ended), encodeChainState(adoptChain(chain, [complete], { now: ASKED + 10_000 }).state)],
  codes: [...codes, 'CHAIN_INVALID'],
  run(input) {
    const decoded = decodeChainState(input)
    assert.ok(equal(encodeChainState(decoded), input))
    return `${decoded.cancelled.length}`
  },
  iterations: 4_000,
}

/** The opened file, for whoever writes it by hand. */
const keys: FuzzTarget = {
  name: 'recovery-keys',
  seeds: [packRecoveryKeys({ did: didOf('ann'), phrase: Secret.take(Buffer.from('abandon abandon about')) }).use((bytes) => Uint8Array.from(bytes))],
  codes: ['KEYSTORE_DAMAGED', 'KEYSTORE_UNSUPPORTED'],
  run(input) {
    if (input.length === 0) return 'nothing'
    using plaintext = Secret.take(Uint8Array.from(input))
    const unpacked = unpackRecoveryKeys(plaintext)
    unpacked.phrase.wipe()
    return 'opened'
  },
  iterations: 4_000,
}

export const recoveryTargets: readonly FuzzTarget[] = [message, exchange, cancel, text, stored, state, keys]
