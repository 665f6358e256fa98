import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decode, encode } from '../../src/core/codec.ts'
import { adoptChain, cancelRecovery, settleChain } from '../../src/identity/chain.ts'
import { type CancelWord, cancellationCodec, type RecoveryCancellation, signCancelWord } from '../../src/identity/chain-cancellation.ts'
import { createRecovery } from '../../src/identity/chain-make.ts'
import { attestRecovery } from '../../src/identity/chain-recovery.ts'
import { decodeChainState, encodeChainState } from '../../src/identity/chain-store.ts'
import type { ChainEntry, ChainState, RecoveryPolicy } from '../../src/identity/types.ts'
import { DAY, failing, keysOf, type Person, person, rotation, signerOf, T0 } from './make.ts'

const trustee = (name: string) => person(name).chain.did
const POLICY: RecoveryPolicy = { threshold: 2, override: 0, delayS: 3 * 86_400, trustees: ['tia', 'tom', 'tea'].map(trustee) }
const ID = new Uint8Array(16).fill(9)
const AT = T0 + 10 * DAY
const seen = T0 + 11 * DAY
const signer = (name: string) => ({ did: trustee(name), signer: signerOf(`${name} 0`, false).ed25519 })
const refused = (reason: RegExp) => failing('CHAIN_INVALID', reason)

function recover(who: Person, by: readonly string[] = ['tia', 'tom'], recoveryId: Uint8Array = ID, at: number = AT): ChainEntry {
  const request = { did: who.chain.did, previous: who.chain.head, policy: POLICY, recoveryId, keys: keysOf('ann again', false) }
  return createRecovery({
    chain: who.chain,
    signer: signerOf('ann again', false),
    reason: 'compromised',
    next: keysOf('ann again next', false),
    policy: POLICY,
    attestations: by.map((name) => attestRecovery(request, signer(name), at)),
    now: AT,
  })
}

function cancellation(who: Person, by: readonly string[], change: Partial<RecoveryCancellation> = {}, timeMs: number = seen): RecoveryCancellation {
  const target = { did: who.chain.did, previous: who.chain.head, recoveryId: ID, policy: POLICY }
  const words = by.map((name): CancelWord => signCancelWord(target, signer(name), timeMs))
  return { did: target.did, previous: target.previous, recoveryId: ID, words, ...change }
}

const ann = () => person('ann', { policy: POLICY })
const waiting = (who: Person): ChainState => adoptChain(who.chain, [recover(who)], { now: seen }).state

test('recovery that waits, cancelled by as many trustees as it needed, ends and never comes back under its id', () => {
  const who = ann()
  const ended = cancelRecovery(waiting(who), cancellation(who, ['tom', 'tea']), { now: seen + DAY })
  assert.equal(ended.pending, undefined)
  assert.equal(settleChain(ended, seen + 30 * DAY).index, 0)
  assert.throws(() => adoptChain(ended, [recover(who)], { now: seen + DAY }), refused(/trustees ended/))
  assert.throws(() => adoptChain(ended, [recover(who, ['tia', 'tea'])], { now: seen + 20 * DAY }), refused(/trustees ended/))
  const other = adoptChain(ended, [recover(who, ['tia', 'tom'], new Uint8Array(16).fill(8))], { now: seen + DAY })
  assert.equal(other.outcome, 'pending', 'another recovery of the same owner is not ended with it')
})

test('cancellation before the recovery was seen, remembered, keeps it from ever waiting', () => {
  const who = ann()
  const ended = cancelRecovery(who.chain, cancellation(who, ['tom', 'tea']), { now: seen })
  assert.throws(() => adoptChain(ended, [recover(who)], { now: seen }), refused(/trustees ended/))
  assert.equal(cancelRecovery(ended, cancellation(who, ['tia', 'tom']), { now: seen }), ended, 'told twice, it is one')
})

test('cancellation after the recovery took effect, too late, changes nothing', () => {
  const who = ann()
  const adopted = settleChain(waiting(who), seen + 3 * DAY)
  assert.equal(adopted.index, 1)
  assert.equal(cancelRecovery(adopted, cancellation(who, ['tia', 'tom', 'tea']), { now: seen + 4 * DAY }), adopted)
  const due = cancelRecovery(waiting(who), cancellation(who, ['tia', 'tom']), { now: seen + 3 * DAY })
  assert.equal(due.index, 1, 'at the moment it is due it has taken effect')
})

test('cancellation, each rule broken, refused and the recovery goes on', () => {
  const who = ann()
  const state = waiting(who)
  const bad = (given: RecoveryCancellation, reason: RegExp) => assert.throws(() => cancelRecovery(state, given, { now: seen }), refused(reason))
  const good = cancellation(who, ['tia', 'tom'])
  const [first, second] = good.words as [CancelWord, CancelWord]
  bad(cancellation(who, ['tia']), /fewer than the threshold/)
  bad(cancellation(who, []), /fewer than the threshold/)
  bad({ ...good, words: [first, first] }, /cancels twice/)
  bad({ ...good, words: [first, { ...second, trustee: trustee('tea') }] }, /does not verify/)
  bad({ ...good, words: [first, { ...second, timeMs: second.timeMs + 1 }] }, /does not verify/)
  bad({ ...good, recoveryId: new Uint8Array(16) }, /does not verify/)
  bad(cancellation(who, ['tia', 'eve']), /not by a trustee/)
  bad(cancellation(who, ['tia', 'tom'], {}, seen + DAY + 1), /dated more than 24 h ahead/)
  bad({ ...good, did: trustee('bob') }, /another DID/)
  assert.throws(() => cancelRecovery(state, { ...good, previous: new Uint8Array(32) }, { now: seen }), failing('CHAIN_STALE', /^$/))
  assert.throws(
    () => cancelRecovery(person('bob').chain, { ...good, did: trustee('bob'), previous: person('bob').chain.head }, { now: seen }),
    refused(/without a policy/),
  )
})

test('attestation words of a recovery, used as its cancellation and the other way round, do not verify', () => {
  const who = ann()
  const [one] = recover(who).attestations
  const given = cancellation(who, ['tia', 'tom'])
  const words = given.words.map((word) => ({ ...word, timeMs: AT, signature: one?.signature ?? word.signature }))
  assert.throws(() => cancelRecovery(waiting(who), { ...given, words }, { now: seen }), refused(/does not verify/))
})

test('cancelled state, written and read back, keeps what was ended; one without is written as before', () => {
  const who = ann()
  const ended = cancelRecovery(waiting(who), cancellation(who, ['tom', 'tea']), { now: seen })
  assert.equal(encodeChainState(ended)[0], 2)
  assert.deepEqual(decodeChainState(encodeChainState(ended)), ended)
  const plain = encodeChainState(who.chain)
  assert.equal(plain[0], 1)
  assert.deepEqual(decodeChainState(plain), who.chain)
  assert.throws(() => decodeChainState(Uint8Array.of(2, ...plain.subarray(1), 0)), failing('WIRE_MALFORMED', /version 2/))
})

test('cancellation, encoded and decoded, is the same', () => {
  const given = { _version: undefined, ...cancellation(ann(), ['tia', 'tom']) }
  assert.deepEqual(decode(cancellationCodec, encode(cancellationCodec, given)), given)
})

test('owner of a cancelled recovery, rotating later, goes on as if it had never been', () => {
  const who = ann()
  const ended = cancelRecovery(waiting(who), cancellation(who, ['tom', 'tea']), { now: seen })
  const after = adoptChain(ended, [rotation(who, 'scheduled', { now: seen + DAY, policy: POLICY })], { now: seen + DAY })
  assert.equal(after.outcome, 'extended')
  assert.equal(after.state.status, 'first-seen')
})
