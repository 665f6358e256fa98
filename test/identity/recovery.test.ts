import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toHex } from '../../src/core/bytes.ts'
import { adoptChain, settleChain } from '../../src/identity/chain.ts'
import { createRecovery, createRotation } from '../../src/identity/chain-make.ts'
import { attestRecovery, type RecoveryRequest } from '../../src/identity/chain-recovery.ts'
import { decodeChainState, encodeChainState } from '../../src/identity/chain-store.ts'
import type { ChainEntry, ChainState, RecoveryAttestation, RecoveryPolicy } from '../../src/identity/types.ts'
import { DAY, failing, keysOf, type Person, person, rotate, rotation, signerOf, T0 } from './make.ts'

const TRUSTEES = ['tia', 'tom', 'tea', 'tim', 'ted'] as const
const trustee = (name: string) => person(name).chain.did
const POLICY: RecoveryPolicy = { threshold: 2, override: 4, delayS: 3 * 86_400, trustees: TRUSTEES.map(trustee) }
const OTHER: RecoveryPolicy = { threshold: 1, override: 0, delayS: 86_400, trustees: [trustee('eve')] }

interface RecoverOptions {
  by?: readonly string[]
  at?: number
  policy?: RecoveryPolicy
  keys?: string
  change?: (attestations: RecoveryAttestation[]) => readonly RecoveryAttestation[]
  request?: Partial<RecoveryRequest>
  entryPolicy?: RecoveryPolicy | null
  next?: string
  now?: number
}

/** A recovery of `who` behind the head of its chain. */
function recover(who: Person, options: RecoverOptions = {}): ChainEntry {
  const { by = ['tia', 'tom'], at = T0 + 10 * DAY, policy = POLICY, keys = `${who.name} again` } = options
  const request: RecoveryRequest = {
    did: who.chain.did,
    previous: who.chain.head,
    policy,
    recoveryId: new Uint8Array(16).fill(9),
    keys: keysOf(keys, false),
    ...options.request,
  }
  const attestations = by.map((name) => attestRecovery(request, { did: trustee(name), signer: signerOf(`${name} 0`, false).ed25519 }, at))
  return createRecovery({
    chain: who.chain,
    signer: signerOf(keys, false),
    reason: 'lost',
    next: keysOf(options.next ?? `${keys} next`, false),
    policy: (options.entryPolicy === null ? undefined : (options.entryPolicy ?? policy)) as RecoveryPolicy,
    attestations: options.change?.(attestations) ?? attestations,
    now: options.now ?? at,
  })
}

const ann = () => person('ann', { policy: POLICY })
const refused = (reason: RegExp) => failing('CHAIN_INVALID', reason)
const seen = T0 + 11 * DAY
const adopt = (state: ChainState, entries: readonly ChainEntry[], now: number) => adoptChain(state, entries, { now })

test('recovery by a quorum, first seen live, waits its delay and then takes effect', () => {
  const who = ann()
  const entry = recover(who)
  const pending = adopt(who.chain, [entry], seen)
  assert.equal(pending.outcome, 'pending')
  assert.equal(pending.state.index, 0)
  assert.equal(pending.state.pending?.dueMs, seen + 3 * DAY)
  assert.deepEqual(decodeChainState(encodeChainState(pending.state)), pending.state)
  const later = adopt(pending.state, [entry], seen + 3 * DAY - 1)
  assert.equal(later.outcome, 'pending')
  assert.equal(later.state.pending?.dueMs, seen + 3 * DAY)
  const done = adopt(later.state, [entry], seen + 3 * DAY)
  assert.equal(done.state.index, 1)
  assert.deepEqual(done.state.keys, keysOf('ann again', false))
  assert.deepEqual(settleChain(later.state, seen + 3 * DAY).head, done.state.head)
  assert.equal(settleChain(later.state, seen + 3 * DAY - 1), later.state)
})

test('recovery, heard of when every attestation is older than the delay, takes effect at once', () => {
  const who = ann()
  const entry = recover(who)
  assert.equal(adopt(who.chain, [entry], T0 + 13 * DAY).outcome, 'extended')
  const newcomer = adoptChain(undefined, [...who.chain.entries, entry], { now: T0 + 13 * DAY })
  assert.equal(newcomer.state.index, 1)
  const young = adoptChain(undefined, [...who.chain.entries, entry], { now: T0 + 13 * DAY - 1 })
  assert.equal(young.state.index, 0)
  assert.ok(young.state.pending)
})

test('recovered identity, goes on with the keys the recovery promised and with no others', () => {
  const who = ann()
  const state = adopt(who.chain, [recover(who)], T0 + 20 * DAY).state
  const go = (signer: string) =>
    createRotation({ chain: state, signer: signerOf(signer, false), reason: 'lost', next: keysOf('later', false), policy: POLICY, now: T0 + 20 * DAY })
  assert.equal(adopt(state, [go('ann again next')], T0 + 20 * DAY).state.index, 2)
  assert.throws(() => adopt(state, [go('ann 1')], T0 + 20 * DAY), refused(/committed/))
})

test('recovery, each rule of its attestations broken, refused', () => {
  const who = ann()
  const bad = (options: RecoverOptions, reason: RegExp) => assert.throws(() => adopt(who.chain, [recover(who, options)], seen), refused(reason))
  assert.equal(adopt(who.chain, [recover(who)], seen).outcome, 'pending')
  bad({ by: ['tia'] }, /fewer than the threshold/)
  bad({ by: [] }, /without attestations/)
  bad({ by: ['tia', 'tia'] }, /attests twice/)
  bad({ by: ['tia', 'eve'] }, /not by a trustee/)
  bad({ at: seen + DAY + 1, now: seen }, /attestation is dated more than 24 h ahead/)
  bad({ now: seen + DAY + 1 }, /entry is dated more than 24 h ahead/)
  assert.throws(() => adopt(who.chain, [{ ...recover(who), previousSignature: recover(who).signature }], seen), refused(/not signed by the previous/))
  bad({ entryPolicy: null }, /changes the policy/)
  bad({ change: ([a, b]) => [a, { ...b, recoveryId: new Uint8Array(16) }] as RecoveryAttestation[] }, /different recoveries/)
  bad({ change: ([a, b]) => [a, { ...b, signature: (a as RecoveryAttestation).signature }] as RecoveryAttestation[] }, /does not verify/)
  bad({ change: ([a, b]) => [a, { ...b, textSignature: (a as RecoveryAttestation).textSignature }] as RecoveryAttestation[] }, /does not verify/)
  bad({ change: ([a, b]) => [a, { ...b, timeMs: (b as RecoveryAttestation).timeMs + 1 }] as RecoveryAttestation[] }, /does not verify/)
  bad({ change: ([a, b]) => [a, { ...b, trustee: trustee('tea') }] as RecoveryAttestation[] }, /does not verify/)
  bad({ request: { keys: keysOf('thief', false) } }, /does not verify/)
  bad({ request: { previous: new Uint8Array(32) } }, /does not verify/)
  bad({ request: { did: trustee('bob') } }, /does not verify/)
  bad({ request: { policy: OTHER } }, /does not verify/)
  bad({ entryPolicy: OTHER }, /changes the policy/)
  bad({ entryPolicy: { ...POLICY, threshold: 1 } }, /changes the policy/)
})

test('recovery of an identity that has no policy, refused', () => {
  const who = person('ann')
  assert.throws(() => adopt(who.chain, [recover(who)], seen), refused(/without a policy/))
})

test('trustee who rotated, attesting with the keys of the time, counts; with keys replaced before, not', () => {
  const who = ann()
  const tia = person('tia')
  rotate(tia, 'lost', { now: T0 + 5 * DAY })
  const chainOf = (did: string) => (did === tia.chain.did ? tia.chain : undefined)
  const live = (entry: ChainEntry) => adoptChain(who.chain, [entry], { now: seen, chainOf })
  assert.throws(() => live(recover(who, { at: T0 + 10 * DAY })), refused(/does not verify/))
  assert.equal(live(recover(who, { at: T0 + 4 * DAY })).outcome, 'extended')
  const attest = (attestations: RecoveryAttestation[]): RecoveryAttestation[] => {
    const request = { did: who.chain.did, previous: who.chain.head, policy: POLICY, recoveryId: new Uint8Array(16).fill(9), keys: keysOf('ann again', false) }
    return [attestRecovery(request, { did: tia.chain.did, signer: signerOf('tia 1', false).ed25519 }, T0 + 10 * DAY), attestations[1] as RecoveryAttestation]
  }
  assert.equal(live(recover(who, { change: attest })).outcome, 'pending')
})

test('rotation, seen while a recovery waits, wins; the same recovery shown again is stale', () => {
  const who = ann()
  const entry = recover(who)
  const pending = adopt(who.chain, [entry], seen).state
  const mine = rotation(who, 'lost', { now: seen, policy: POLICY })
  const won = adopt(pending, [mine], seen + DAY)
  assert.equal(won.outcome, 'extended')
  assert.equal(toHex(won.state.head), toHex(mine.hash))
  assert.equal(won.state.pending, undefined)
  const again = adopt(won.state, [entry], seen + 2 * DAY)
  assert.equal(again.outcome, 'stale')
  assert.equal(again.state.status, 'first-seen')
})

test('rotation, seen while a recovery with the override quorum waits, does not win', () => {
  const who = ann()
  const entry = recover(who, { by: ['tia', 'tom', 'tea', 'tim'] })
  const pending = adopt(who.chain, [entry], seen).state
  const thief = rotation(who, 'lost', { now: seen, policy: POLICY })
  const refusedRotation = adopt(pending, [thief], seen + DAY)
  assert.equal(refusedRotation.outcome, 'pending')
  assert.equal(refusedRotation.state.index, 0)
  assert.equal(toHex(settleChain(refusedRotation.state, seen + 3 * DAY).head), toHex(entry.hash))
})

test('override recovery against a rotation of the thief that came first, within the delay, replaces it; later it is stale', () => {
  const who = ann()
  const entry = recover(who, { by: ['tia', 'tom', 'tea', 'tim'] })
  const thief = rotation(who, 'lost', { now: T0 + 9 * DAY, policy: POLICY })
  const stolen = adopt(who.chain, [thief], T0 + 9 * DAY).state
  const contested = adopt(stolen, [entry], seen)
  assert.equal(contested.outcome, 'pending')
  assert.equal(toHex(contested.state.head), toHex(thief.hash))
  const settled = settleChain(contested.state, seen + 3 * DAY)
  assert.equal(toHex(settled.head), toHex(entry.hash))
  assert.equal(settled.index, 1)
  assert.equal(adopt(stolen, [entry], T0 + 12 * DAY).outcome, 'stale')
  assert.equal(adopt(stolen, [recover(who)], seen).outcome, 'stale')
})

test('rotation that arrives after the recovery was adopted, refused and recorded without harm to the status', () => {
  const who = ann()
  const entry = recover(who)
  const state = adopt(who.chain, [entry], T0 + 20 * DAY).state
  const late = rotation(who, 'lost', { now: T0 + 20 * DAY, policy: POLICY })
  const result = adopt(state, [late], T0 + 21 * DAY)
  assert.equal(result.outcome, 'stale')
  assert.equal(result.state.status, 'first-seen')
  assert.equal(toHex(result.state.head), toHex(entry.hash))
  assert.deepEqual(
    result.state.forks.map((fork) => toHex(fork.other.hash)),
    [toHex(late.hash)],
  )
  assert.equal(adopt(result.state, [late], T0 + 22 * DAY).state.forks.length, 1)
})

test('two complete recoveries to different keys, adopted or waiting, freeze the chain', () => {
  const who = ann()
  const a = recover(who)
  const b = recover(who, { by: ['tea', 'tim'], keys: 'thief' })
  assert.equal(adopt(adopt(who.chain, [a], seen).state, [b], seen + 1).outcome, 'forked')
  assert.equal(adopt(adopt(who.chain, [a], T0 + 20 * DAY).state, [b], T0 + 20 * DAY + 1).outcome, 'forked')
  const sameNext = recover(who, { by: ['tea', 'tim'], keys: 'thief', next: 'ann again next' })
  assert.equal(adopt(adopt(who.chain, [a], seen).state, [sameNext], seen + 1).outcome, 'forked')
})

test('one recovery told twice with different times, while it waits, is one recovery and its delay does not begin again', () => {
  const who = ann()
  const first = adopt(who.chain, [recover(who)], seen).state
  const again = adopt(first, [recover(who, { now: T0 + 10 * DAY + 5 })], seen + DAY)
  assert.equal(again.outcome, 'pending')
  assert.equal(again.state.status, 'first-seen')
  assert.equal(again.state.pending?.dueMs, seen + 3 * DAY)
})

test('waiting recovery, shown again with the override quorum, can no longer be stopped and its delay does not begin again', () => {
  const who = ann()
  const first = adopt(who.chain, [recover(who)], seen).state
  const stronger = adopt(first, [recover(who, { by: ['tia', 'tom', 'tea', 'tim'] })], seen + DAY).state
  assert.equal(stronger.pending?.dueMs, seen + 3 * DAY)
  assert.equal(adopt(stronger, [rotation(who, 'lost', { now: seen, policy: POLICY })], seen + DAY).outcome, 'pending')
  assert.throws(() => adopt(first, [recover(who, { by: ['tia', 'eve'] })], seen + DAY), refused(/not by a trustee/))
})

test('two override recoveries against an adopted rotation, the same keys once, different ones never', () => {
  const who = ann()
  const by = ['tia', 'tom', 'tea', 'tim']
  const stolen = adopt(who.chain, [rotation(who, 'lost', { now: T0 + 9 * DAY, policy: POLICY })], T0 + 9 * DAY).state
  const contested = adopt(stolen, [recover(who, { by })], seen).state
  const again = adopt(contested, [recover(who, { by, now: T0 + 10 * DAY + 5 })], seen + 1000)
  assert.equal(again.outcome, 'pending')
  assert.equal(again.state.pending?.dueMs, seen + 3 * DAY)
  assert.equal(adopt(contested, [recover(who, { by, keys: 'thief' })], seen + 1000).outcome, 'forked')
})

test('thief of the keys who swaps the trustees, is undone by the old ones within the old delay and not by his own', () => {
  const who = ann()
  const swap = rotation(who, 'lost', { now: T0 + 9 * DAY, policy: OTHER })
  const state = adopt(who.chain, [swap], T0 + 9 * DAY).state
  const after: Person = { ...who, chain: state, generation: 1 }
  const eve = recover(after, { by: ['eve'], policy: OTHER, at: T0 + 10 * DAY })
  assert.throws(() => adopt(state, [eve], T0 + 11 * DAY), refused(/changes the policy|not by a trustee/))
  assert.equal(adopt(state, [recover(after)], T0 + 11 * DAY).outcome, 'pending')
  assert.equal(adopt(state, [eve], T0 + 12 * DAY).outcome, 'extended')
  assert.throws(() => adopt(state, [recover(after)], T0 + 12 * DAY), refused(/changes the policy|not by a trustee/))
})

test('policy changed long ago and used since, shown to a newcomer, is accepted by the signed times', () => {
  const who = ann()
  rotate(who, 'lost', { now: T0 + DAY, policy: OTHER })
  const entry = recover(who, { by: ['eve'], policy: OTHER, at: T0 + 10 * DAY })
  const newcomer = adoptChain(undefined, [...who.chain.entries, entry], { now: T0 + 20 * DAY })
  assert.equal(newcomer.state.index, 2)
})

test('recovery that drops the post-quantum key, refused', () => {
  const who = person('ann', { mldsa: true, policy: POLICY })
  assert.throws(() => adopt(who.chain, [recover(who)], seen), refused(/post-quantum key was dropped/))
})

test('attestation made long after its request, or before it, refused', () => {
  const who = ann()
  const entry = (at: number) => recover(who, { at, now: T0 + 10 * DAY })
  assert.throws(() => adopt(who.chain, [entry(T0 + 40 * DAY + 1)], T0 + 41 * DAY), refused(/in time/))
  assert.throws(() => adopt(who.chain, [entry(T0 + 9 * DAY - 1)], T0 + 41 * DAY), refused(/in time/))
  assert.equal(adopt(who.chain, [entry(T0 + 40 * DAY)], T0 + 41 * DAY).outcome, 'pending')
})

test('attestation beyond the threshold, made late, does not let those wait again who hear of it later', () => {
  const who = ann()
  const request = { did: who.chain.did, previous: who.chain.head, policy: POLICY, recoveryId: new Uint8Array(16).fill(9), keys: keysOf('ann again', false) }
  const extra = attestRecovery(request, { did: trustee('tea'), signer: signerOf('tea 0', false).ed25519 }, T0 + 20 * DAY)
  const entry = recover(who, { change: (attestations) => [...attestations, extra] })
  assert.equal(adopt(who.chain, [entry], T0 + 20 * DAY).outcome, 'extended')
})

test('recovery that waits, shown again after the owner’s later policy took effect, goes on under the one it began with', () => {
  const who = ann()
  rotate(who, 'lost', { now: T0 + 9 * DAY, policy: OTHER })
  const entry = recover(who, { at: T0 + 10 * DAY })
  const pending = adopt(who.chain, [entry], T0 + 11 * DAY).state
  assert.equal(pending.pending?.dueMs, T0 + 14 * DAY)
  assert.equal(adopt(pending, [entry], T0 + 13 * DAY).outcome, 'pending')
  assert.equal(settleChain(pending, T0 + 14 * DAY).index, 2)
})

test('word of a trustee whose present keys are not known here, among enough others, is passed over; alone it is refused', () => {
  const who = ann()
  const request = { did: who.chain.did, previous: who.chain.head, policy: POLICY, recoveryId: new Uint8Array(16).fill(9), keys: keysOf('ann again', false) }
  const rotated = attestRecovery(request, { did: trustee('tea'), signer: signerOf('tea 1', false).ed25519 }, T0 + 10 * DAY)
  assert.equal(adopt(who.chain, [recover(who, { change: (attestations) => [...attestations, rotated] })], seen).outcome, 'pending')
  assert.throws(() => adopt(who.chain, [recover(who, { change: ([a]) => [a as RecoveryAttestation, rotated] })], seen), refused(/does not verify/))
})

test('clock of the verifier set back, a waiting recovery waits longer and never less', () => {
  const who = ann()
  const pending = adopt(who.chain, [recover(who)], seen).state
  assert.equal(settleChain(pending, seen - 5 * DAY), pending)
  assert.equal(adopt(pending, [recover(who)], T0 + 9.5 * DAY).state.pending?.dueMs, seen + 3 * DAY)
})
