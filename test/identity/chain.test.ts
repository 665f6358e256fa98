import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { concat, toHex } from '../../src/core/bytes.ts'
import { type HybridSigner, signHybrid } from '../../src/core/crypto/hybrid.ts'
import { labeled } from '../../src/core/crypto/labels.ts'
import { adoptChain, anchorChain, chainTail, repinChain } from '../../src/identity/chain.ts'
import { assembleEntry, CHAIN_LABEL, type ChainBody, decodeChain, encodeBody, encodeChain } from '../../src/identity/chain-codec.ts'
import { decodeChainState, encodeChainState } from '../../src/identity/chain-store.ts'
import { didPublicKey } from '../../src/identity/did.ts'
import { commitNext } from '../../src/identity/keys.ts'
import type { ChainEntry, RecoveryPolicy } from '../../src/identity/types.ts'
import { DAY, failing, inception, keysOf, person, rotate, rotation, signerOf, T0 } from './make.ts'

const now = T0 + 10 * DAY

/** An entry with some fields changed, signed again as its maker would. */
function forge(entry: ChainEntry, changes: Partial<ChainBody>, signer: HybridSigner, previous?: HybridSigner): ChainEntry {
  const { did, index, previous: before, kind, reason, timeMs, keys, next, policy } = entry
  const body: ChainBody = { did, index, previous: before, kind, reason, timeMs, keys, next, policy, ...changes }
  const encoded = encodeBody(body)
  const message = labeled(CHAIN_LABEL, encoded)
  return assembleEntry(encoded, body, {
    signature: signHybrid(signer, message),
    previousSignature: previous === undefined ? undefined : signHybrid(previous, message),
    attestations: entry.attestations,
  })
}

const adopt = (...entries: ChainEntry[]) => adoptChain(undefined, entries, { now })
const refused = (reason: RegExp) => failing('CHAIN_INVALID', reason)

test('chain, every kind of entry with and without post-quantum keys, survives encoding', () => {
  for (const mldsa of [false, true]) {
    const who = person('ann', { mldsa })
    rotate(who, 'scheduled')
    rotate(who, 'compromised')
    const encoded = encodeChain(who.chain.entries)
    assert.deepEqual(decodeChain(encoded), who.chain.entries)
    assert.equal(adoptChain(undefined, decodeChain(encoded), { now }).outcome, 'new')
    assert.deepEqual(decodeChainState(encodeChainState(who.chain)), who.chain)
  }
})

test('chain, any one byte changed or cut, is refused or is not the same chain', () => {
  const who = person('ann', { mldsa: false })
  rotate(who, 'scheduled')
  const encoded = encodeChain(who.chain.entries)
  for (let at = 0; at < encoded.length; at++) {
    const changed = Uint8Array.from(encoded)
    changed[at] = (changed[at] as number) ^ 1
    assert.throws(() => adopt(...decodeChain(changed)), { code: 'CHAIN_INVALID' }, `byte ${at}`)
  }
  for (let length = 0; length < encoded.length; length++)
    assert.throws(() => decodeChain(encoded.subarray(0, length)), { code: 'CHAIN_INVALID' }, `cut at ${length}`)
  assert.throws(() => decodeChain(new Uint8Array([...encoded, 0])), { code: 'CHAIN_INVALID' })
  assert.throws(() => decodeChain(Uint8Array.of(0)), { code: 'CHAIN_INVALID' })
  assert.throws(() => decodeChain(new Uint8Array(4 * 1024 * 1024 + 1)), { code: 'CHAIN_INVALID' })
})

test('chain, arbitrary bytes, only ever CHAIN_INVALID', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => assert.throws(() => decodeChain(bytes), { code: 'CHAIN_INVALID' })))
})

test('inception, each rule broken, refused', () => {
  const entry = inception('ann')
  const signer = signerOf('ann 0', false)
  adopt(entry)
  assert.throws(() => adopt(forge(entry, { keys: keysOf('bob 0', false) }, signerOf('bob 0', false))), refused(/another key than the DID/))
  assert.throws(() => adopt(forge(entry, {}, signerOf('bob 0', false))), refused(/not signed by its own keys/))
  assert.throws(() => adopt(forge(entry, { index: 1 }, signer)), refused(/does not begin/))
  assert.throws(() => adopt(forge(entry, { kind: 'rotate', reason: 'lost' }, signer)), refused(/does not begin/))
  assert.throws(() => adopt(forge(entry, { previous: new Uint8Array(32).fill(1) }, signer)), refused(/names an entry before/))
  assert.throws(() => adopt(forge(entry, { reason: 'lost' }, signer)), refused(/has a reason/))
  assert.throws(() => adopt(forge(entry, {}, signer, signer)), refused(/older signature/))
  assert.throws(() => adopt(forge(entry, { timeMs: now + DAY + 1 }, signer)), refused(/24 h ahead/))
  assert.throws(() => adopt(rotation(person('ann'), 'lost')), refused(/does not begin/))
})

test('inception with a post-quantum key, its post-quantum signature missing or wrong, refused', () => {
  const entry = inception('ann', { mldsa: true })
  const classical = { ed25519: signerOf('ann 0', true).ed25519, mldsa: undefined }
  assert.throws(() => adopt(forge(entry, {}, classical)), refused(/not signed by its own keys/))
  const foreign = { ed25519: signerOf('ann 0', true).ed25519, mldsa: signerOf('bob 0', true).mldsa }
  assert.throws(() => adopt(forge(entry, {}, foreign)), refused(/not signed by its own keys/))
  assert.throws(() => adopt(forge(inception('ann'), {}, signerOf('ann 0', true))), refused(/not signed by its own keys/))
})

test('rotation, each rule broken, refused', () => {
  const who = person('ann')
  const first = inception('ann')
  const entry = rotation(who, 'lost')
  const signer = signerOf('ann 1', false)
  assert.equal(adopt(first, entry).state.index, 1)
  const bad = (changes: Partial<ChainBody>, reason: RegExp, by = signer, previous?: HybridSigner) =>
    assert.throws(() => adopt(first, forge(entry, changes, by, previous)), refused(reason))
  bad({ keys: keysOf('thief 1', false) }, /other keys than were committed/, signerOf('thief 1', false))
  bad({}, /not signed by its own keys/, signerOf('ann 0', false))
  bad({ previous: new Uint8Array(32) }, /does not follow/)
  bad({ index: 2 }, /index is missing/)
  bad({ index: 0 }, /index is missing/)
  bad({ did: person('bob').chain.did }, /another DID/)
  bad({ timeMs: T0 - 1 }, /backwards/)
  bad({ timeMs: now + DAY + 1 }, /24 h ahead/)
  bad({ reason: 'none' }, /no reason/)
  bad({ kind: 'inception' }, /second inception/)
  bad({}, /exactly a scheduled/, signer, signerOf('ann 0', false))
  const attestation = {
    trustee: entry.did,
    recoveryId: new Uint8Array(16),
    timeMs: T0,
    signature: entry.signature.ed25519,
    textSignature: entry.signature.ed25519,
  }
  assert.throws(() => adopt(first, { ...entry, attestations: [attestation] }), refused(/only a recovery carries/))
})

test('chain, of a thousand entries, is the longest', () => {
  const who = person('ann')
  for (let index = 1; index < 1000; index++) rotate(who, 'lost', { now: T0 + DAY })
  assert.equal(adoptChain(undefined, decodeChain(encodeChain(who.chain.entries)), { now }).state.index, 999)
  const more = [...who.chain.entries, rotation(who, 'lost')]
  assert.throws(() => adoptChain(undefined, more, { now }), refused(/more than 1000/))
  assert.throws(() => encodeChain(more), TypeError)
  const encoded = encodeChain(who.chain.entries)
  const oneMore = concat(Uint8Array.of(0xe9, 0x07), encoded.subarray(2), encoded.subarray(2, 300))
  assert.throws(() => decodeChain(oneMore), { code: 'CHAIN_INVALID' })
})

test('stored state, its status, times or ends changed, is not taken for a state', () => {
  const who = person('ann')
  rotate(who, 'lost')
  const stored = encodeChainState(who.chain)
  const bad = (bytes: Uint8Array) => assert.throws(() => decodeChainState(bytes), /^KithError/)
  assert.deepEqual(decodeChainState(stored), who.chain)
  bad(stored.with(0, 2))
  bad(stored.with(1, 3))
  // ... || list<u64 adopted> (1 + 16) || no forks (1) || no pending (1)
  const times = stored.length - 19
  assert.equal(stored[times], 2)
  bad(concat(stored.subarray(0, times), Uint8Array.of(1), stored.subarray(times + 9)))
  bad(stored.subarray(0, stored.length - 1))
  bad(concat(stored, Uint8Array.of(0)))
})

test('scheduled rotation, without the signature of the previous keys or with another, refused', () => {
  const who = person('ann')
  const first = inception('ann')
  const entry = rotation(who, 'scheduled')
  assert.equal(adopt(first, entry).state.index, 1)
  assert.throws(() => adopt(first, forge(entry, {}, signerOf('ann 1', false))), refused(/exactly a scheduled/))
  assert.throws(() => adopt(first, forge(entry, {}, signerOf('ann 1', false), signerOf('bob 0', false))), refused(/not signed by the previous/))
})

test('rotation that drops the post-quantum key, refused; one that adds it, adopted', () => {
  const signer = signerOf('ann 0', true)
  const first = forge(inception('ann', { mldsa: true }), { next: commitNext(keysOf('ann 1', false)) }, signer)
  const who = { ...person('ann', { mldsa: true }), chain: adopt(first).state, mldsa: false }
  assert.throws(() => adopt(first, rotation(who, 'lost')), refused(/post-quantum key was dropped/))
  const plain = person('bob')
  const opening = forge(inception('bob'), { next: commitNext(keysOf('bob 1', true)) }, signerOf('bob 0', false))
  plain.chain = adopt(opening).state
  const upgraded = adopt(opening, rotation(plain, 'lost', { mldsa: true })).state
  assert.equal(upgraded.keys.mldsa?.length, 1952)
  assert.equal(upgraded.did, plain.chain.did)
})

test('closed chain, anything behind it, refused', () => {
  const who = person('ann')
  const first = inception('ann')
  const close = rotation(who, 'scheduled', { kind: 'close' })
  const closed = adopt(first, close).state
  assert.equal(closed.closed, true)
  const more = rotation({ ...who, chain: closed, generation: 1 }, 'lost')
  assert.throws(() => adopt(first, close, more), refused(/follows the closing/))
  assert.throws(() => adoptChain(closed, [more], { now }), refused(/follows the closing/))
})

test('recovery policy, each rule broken, refused', () => {
  const [a, b, c] = ['t1', 't2', 't3'].map((name) => person(name).chain.did)
  const good: RecoveryPolicy = { threshold: 2, override: 3, delayS: 86_400, trustees: [a, b, c] as RecoveryPolicy['trustees'] }
  const self = person('ann').chain.did
  assert.equal(person('ann', { policy: good }).chain.entries[0]?.policy?.threshold, 2)
  const bad = (changes: Partial<RecoveryPolicy>, reason: RegExp) => assert.throws(() => person('ann', { policy: { ...good, ...changes } }), refused(reason))
  bad({ threshold: 0 }, /threshold/)
  bad({ threshold: 4, override: 0 }, /threshold/)
  bad({ override: 2 }, /override/)
  bad({ override: 4 }, /override/)
  bad({ delayS: 86_399 }, /shorter than a day/)
  bad({ trustees: [a, a, b] as RecoveryPolicy['trustees'] }, /twice/)
  bad({ trustees: [a, b, self] as RecoveryPolicy['trustees'] }, /own trustee/)
})

test('adoption, the same, a longer and a shorter chain, is same, extended and stale', () => {
  const who = person('ann')
  const start = who.chain
  rotate(who, 'lost')
  rotate(who, 'scheduled', { now: T0 + 2 * DAY })
  const entries = who.chain.entries
  assert.equal(adoptChain(start, entries, { now }).outcome, 'extended')
  assert.equal(adoptChain(start, entries, { now }).state.index, 2)
  assert.equal(adoptChain(start, chainTail(who.chain, 0), { now }).state.index, 2)
  assert.equal(adoptChain(who.chain, entries, { now }).outcome, 'same')
  assert.equal(adoptChain(who.chain, entries.slice(1), { now }).outcome, 'same')
  const stale = adoptChain(who.chain, entries.slice(0, 2), { now })
  assert.equal(stale.outcome, 'stale')
  assert.equal(stale.state.index, 2)
  assert.throws(() => adoptChain(start, entries.slice(2), { now }), refused(/begins behind/))
  assert.throws(() => adoptChain(start, [], { now }), refused(/empty/))
})

test('adoption, a chain of another DID, refused', () => {
  const ann = person('ann')
  const bob = person('bob')
  assert.throws(() => adoptChain(ann.chain, bob.chain.entries, { now }), refused(/another DID/))
  assert.throws(() => adoptChain(undefined, bob.chain.entries, { now, did: ann.chain.did }), refused(/another DID/))
  assert.throws(() => adoptChain(ann.chain, ann.chain.entries, { now, did: bob.chain.did }), refused(/another DID/))
  assert.throws(() => adoptChain(ann.chain, bob.chain.entries, { now, did: bob.chain.did }), refused(/another DID/))
  const headless = forge(inception('ann'), { kind: 'recover', reason: 'lost' }, signerOf('ann 0', false))
  assert.throws(() => adoptChain(ann.chain, [headless], { now }), refused(/does not begin/))
})

test('adoption, the state that was known, is never changed', () => {
  const who = person('ann')
  const before = encodeChainState(who.chain)
  adoptChain(who.chain, [...who.chain.entries, rotation(who, 'lost')], { now })
  assert.deepEqual(encodeChainState(who.chain), before)
})

test('two rotations at one index to different next keys, both valid, freeze the chain until a person decides', () => {
  const who = person('ann')
  const mine = rotation(who, 'lost')
  const other = rotation(who, 'lost', { after: 'thief 2' })
  const state = adoptChain(who.chain, [mine], { now }).state
  const forked = adoptChain(state, [other], { now })
  assert.equal(forked.outcome, 'forked')
  assert.equal(forked.state.status, 'forked')
  assert.equal(toHex(forked.state.head), toHex(mine.hash))
  assert.deepEqual(forked.state.forks, [{ kept: mine, other }])
  assert.deepEqual(decodeChainState(encodeChainState(forked.state)), forked.state)
  const more = rotation({ ...who, chain: state, generation: 1 }, 'lost')
  assert.equal(adoptChain(forked.state, [mine, more], { now }).outcome, 'forked')
  assert.equal(adoptChain(forked.state, [mine, more], { now }).state.index, 1)
  const decided = repinChain(forked.state, [...who.chain.entries, other], { now })
  assert.equal(decided.status, 'anchored')
  assert.equal(toHex(decided.head), toHex(other.hash))
  assert.equal(decided.forks.length, 1)
  assert.throws(() => repinChain(forked.state, person('bob').chain.entries, { now }), refused(/another DID/))
})

test('contradicting entry that is not valid itself, shown, accuses nobody', () => {
  const who = person('ann')
  const state = adoptChain(who.chain, [rotation(who, 'lost')], { now }).state
  const thief = forge(rotation(who, 'lost', { after: 'thief 2' }), { keys: keysOf('thief 1', false) }, signerOf('thief 1', false))
  assert.throws(() => adoptChain(state, [thief], { now }), refused(/committed/))
  assert.equal(state.status, 'first-seen')
})

test('one rotation told twice with different times, either order, ends in the smaller hash without alarm', () => {
  const who = person('ann')
  const a = rotation(who, 'lost', { now: T0 + DAY })
  const b = rotation(who, 'lost', { now: T0 + DAY + 5 })
  const [smaller, larger] = toHex(a.hash) < toHex(b.hash) ? [a, b] : [b, a]
  for (const [first, second] of [
    [smaller, larger],
    [larger, smaller],
  ] as const) {
    const result = adoptChain(adoptChain(who.chain, [first], { now }).state, [second], { now })
    assert.equal(result.outcome, 'same')
    assert.equal(result.state.status, 'first-seen')
    assert.equal(toHex(result.state.head), toHex(smaller.hash))
  }
  const kept = adoptChain(who.chain, [smaller], { now }).state
  const beyond = rotation({ ...who, chain: adoptChain(who.chain, [larger], { now }).state, generation: 1 }, 'lost', { now: T0 + 2 * DAY })
  const grown = adoptChain(kept, [larger, beyond], { now })
  assert.equal(grown.outcome, 'extended')
  assert.equal(grown.state.index, 2)
  assert.equal(adoptChain(grown.state, [smaller], { now }).outcome, 'stale')
})

test('rotation against close at one index, forks', () => {
  const who = person('ann')
  const state = adoptChain(who.chain, [rotation(who, 'lost')], { now }).state
  assert.equal(adoptChain(state, [rotation(who, 'lost', { kind: 'close' })], { now }).outcome, 'forked')
})

test('status, anchored by someone else, stays through extension', () => {
  const who = person('ann')
  assert.equal(who.chain.status, 'first-seen')
  const anchored = anchorChain(who.chain)
  assert.equal(adoptChain(anchored, [rotation(who, 'lost')], { now }).state.status, 'anchored')
})

test('keys of every generation, asked for, are known and revealed', () => {
  const who = person('ann')
  rotate(who, 'lost')
  assert.deepEqual(who.chain.keysAt(0), keysOf('ann 0', false))
  assert.deepEqual(who.chain.keysAt(1), keysOf('ann 1', false))
  assert.equal(who.chain.keysAt(2), undefined)
  assert.ok(who.chain.reveals(didPublicKey(who.chain.did)))
  assert.ok(who.chain.reveals(keysOf('ann 1', false).ed25519))
  assert.ok(!who.chain.reveals(keysOf('ann 2', false).ed25519))
})

test('chain with post-quantum keys, a bit changed anywhere in it or any end cut off, refused', () => {
  const who = person('ann', { mldsa: true })
  rotate(who, 'scheduled')
  const encoded = encodeChain(who.chain.entries)
  for (let length = 0; length < encoded.length; length++)
    assert.throws(() => decodeChain(encoded.subarray(0, length)), { code: 'CHAIN_INVALID' }, `cut at ${length}`)
  // Every field, and every 37th byte of the long ones.
  for (let at = 0; at < encoded.length; at += at % 500 < 40 ? 1 : 37) {
    const changed = Uint8Array.from(encoded)
    changed[at] = (changed[at] as number) ^ (1 << (at % 8))
    assert.throws(() => adopt(...decodeChain(changed)), { code: 'CHAIN_INVALID' }, `byte ${at}`)
  }
})

test('chain beyond 4 MiB although each entry is valid, is not adopted, so that it can always be stored and shown', () => {
  const who = person('ann', { mldsa: true })
  const entry = rotate(who, 'lost')
  // Size is looked at before signatures.
  assert.throws(() => adoptChain(who.chain, [{ ...entry, body: new Uint8Array(4 * 1024 * 1024), index: 2 }], { now }), refused(/longer than 4 MiB/))
})

test('clock set back, leaves what was adopted in force and takes nothing dated more than a day ahead', () => {
  const who = person('ann')
  rotate(who, 'compromised', { now: T0 + 5 * DAY })
  const known = who.chain
  const back = { now: T0 - 30 * DAY }
  assert.equal(adoptChain(known, known.entries, back).outcome, 'same')
  assert.equal(adoptChain(known, known.entries.slice(0, 1), back).outcome, 'stale')
  const next = rotation(who, 'scheduled', { now: T0 + 6 * DAY })
  assert.throws(() => adoptChain(known, [next], back), refused(/24 h ahead/))
  assert.equal(adoptChain(known, [next], { now: T0 + 6 * DAY }).outcome, 'extended')
  // The owner's own clock set back does not date an entry before the one it follows.
  assert.equal(rotation(who, 'scheduled', { now: T0 - 30 * DAY }).timeMs, T0 + 5 * DAY)
})

test('contradiction that a person decided, shown again by either side, changes nothing; a new one freezes again', () => {
  const who = person('ann')
  const [mine, theirs, third] = ['mine', 'theirs', 'third'].map((after) => rotation(who, 'lost', { after })) as [ChainEntry, ChainEntry, ChainEntry]
  const base = who.chain.entries
  const forked = adoptChain(adoptChain(who.chain, [mine], { now }).state, [theirs], { now }).state
  assert.equal(forked.status, 'forked')
  for (const [chosen, lost] of [
    [mine, theirs],
    [theirs, mine],
  ] as const) {
    const decided = repinChain(forked, [...base, chosen], { now })
    const again = adoptChain(decided, [...base, lost], { now })
    assert.deepEqual([again.outcome, again.state.status, toHex(again.state.head)], ['stale', 'anchored', toHex(chosen.hash)])
    assert.equal(decodeChainState(encodeChainState(decided)).forks.length, 1)
    assert.equal(adoptChain(decided, [...base, third], { now }).outcome, 'forked')
  }
})
