import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { concat, type PublicKey } from '../../src/core/bytes.ts'
import { bytesN, type Codec, encode, option } from '../../src/core/codec.ts'
import { type HybridSigner, signHybrid } from '../../src/core/crypto/hybrid.ts'
import { labeled } from '../../src/core/crypto/labels.ts'
import { type BindingOptions, bindingDates, checkBinding, createBinding, decodeBinding, isName, verifyBinding } from '../../src/identity/binding.ts'
import { adoptChain } from '../../src/identity/chain.ts'
import { openKeySet } from '../../src/identity/keys.ts'
import { DAY, deviceOf, failing, type Person, person, rotate, rotation, seedsOf, signerOf, T0 } from './make.ts'

const now = T0 + 60_000
const MINUTE = 60_000
const papers: BindingOptions = { ...bindingDates(T0), serial: 5, name: 'laptop', capabilities: 3n }

const issuer = (who: Person, generation = who.generation) => ({ chain: who.chain, signer: signerOf(`${who.name} ${generation}`, who.mldsa) })
const invalid = (reason: RegExp) => failing('BINDING_INVALID', reason)

/** Offsets of the body's fields (PN-4), for binding bytes without optional fields. */
const AT = { version: 0, did: 1, index: 33, head: 37, serial: 69, notBefore: 77, notAfter: 85, link: 93 }

/** A binding made from any body, signed by whom you like: what a liar could send. */
function assemble(body: Uint8Array, identity: HybridSigner, device: HybridSigner): Uint8Array {
  const message = labeled('icn/binding/v1', body)
  const own = signHybrid(identity, message)
  const link = signHybrid(device, message)
  const pq: Codec<Uint8Array | undefined> = option(bytesN(3309))
  return concat(body, own.ed25519, encode(pq, own.mldsa), link.ed25519, encode(pq, link.mldsa))
}

function changed(body: Uint8Array, at: number, bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(body)
  copy.set(bytes, at)
  return copy
}

test('binding, with and without post-quantum keys, verifies and gives its fields', () => {
  for (const mldsa of [false, true]) {
    const who = person('ann', { mldsa })
    const device = deviceOf('laptop', mldsa)
    const fallbackKem = new Uint8Array(1216).fill(7)
    const encoded = createBinding(issuer(who), device, { ...papers, fallbackKem })
    const binding = verifyBinding(encoded, { chain: who.chain, now })
    assert.equal(binding.did, who.chain.did)
    assert.deepEqual(binding.linkKey, device.ed25519.publicKey)
    assert.deepEqual(binding.deviceMldsa, device.mldsa?.publicKey)
    assert.deepEqual(binding.fallbackKem, fallbackKem)
    assert.equal(binding.name, 'laptop')
    assert.equal(binding.capabilities, 3n)
    assert.equal(binding.serial, 5)
    assert.equal(binding.notAfterMs, T0 + 30 * DAY)
    assert.ok(encoded.length <= 16 * 1024)
  }
})

test('binding, one bit changed anywhere or any end cut off, refused', () => {
  const who = person('ann')
  const encoded = createBinding(issuer(who), deviceOf('laptop', false), papers)
  for (let at = 0; at < encoded.length; at++) {
    const bad = Uint8Array.from(encoded)
    bad[at] = (bad[at] as number) ^ (1 << (at & 7))
    assert.throws(() => verifyBinding(bad, { chain: who.chain, now }), /^KithError.*binding/, `byte ${at}`)
    assert.throws(() => decodeBinding(encoded.subarray(0, at)), { code: 'BINDING_INVALID' })
  }
  assert.throws(() => decodeBinding(concat(encoded, Uint8Array.of(0))), { code: 'BINDING_INVALID' })
  assert.throws(() => decodeBinding(new Uint8Array(16 * 1024 + 1)), invalid(/16 KiB/))
})

test('binding, with post-quantum keys, one bit changed in any signature, refused', () => {
  const who = person('ann', { mldsa: true })
  const encoded = createBinding(issuer(who), deviceOf('laptop'), papers)
  const proofs = encoded.length - (64 + 1 + 3309 + 64 + 1 + 3309)
  for (const at of [0, 63, 65, 3000, 3374, 3400, 3437, 3439, 6747]) {
    const bad = Uint8Array.from(encoded)
    bad[proofs + at] = (bad[proofs + at] as number) ^ 1
    assert.throws(() => verifyBinding(bad, { chain: who.chain, now }), { code: 'BINDING_INVALID' }, `proof byte ${at}`)
  }
})

test('binding, arbitrary bytes, only ever BINDING_INVALID', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => assert.throws(() => decodeBinding(bytes), { code: 'BINDING_INVALID' })))
})

test('binding, signed by another identity, by another device or by one side only, refused', () => {
  const who = person('ann')
  const device = deviceOf('laptop', false)
  const { body } = decodeBinding(createBinding(issuer(who), device, papers))
  const verify = (bytes: Uint8Array) => () => verifyBinding(bytes, { chain: who.chain, now })
  assert.equal(verifyBinding(assemble(body, signerOf('ann 0', false), device), { chain: who.chain, now }).name, 'laptop')
  assert.throws(verify(assemble(body, signerOf('bob 0', false), device)), invalid(/identity did not sign/))
  assert.throws(verify(assemble(body, signerOf('ann 0', false), deviceOf('thief', false))), invalid(/link key did not sign/))
  assert.throws(verify(assemble(body, signerOf('ann 0', true), device)), invalid(/identity did not sign/))
  assert.throws(verify(assemble(body, signerOf('ann 0', false), deviceOf('laptop', true))), invalid(/post-quantum key did not sign/))
})

test('binding of post-quantum keys, one of their signatures missing or of another key, refused', () => {
  const who = person('ann', { mldsa: true })
  const device = deviceOf('laptop')
  const { body } = decodeBinding(createBinding(issuer(who), device, papers))
  const own = signerOf('ann 0')
  const verify = (identity: HybridSigner, link: HybridSigner) => () => verifyBinding(assemble(body, identity, link), { chain: who.chain, now })
  assert.throws(verify({ ...own, mldsa: undefined }, device), invalid(/identity did not sign/))
  assert.throws(verify({ ...own, mldsa: signerOf('bob 0').mldsa }, device), invalid(/identity did not sign/))
  assert.throws(verify(own, { ...device, mldsa: undefined }), invalid(/post-quantum key did not sign/))
  assert.throws(verify(own, { ...device, mldsa: deviceOf('thief').mldsa }), invalid(/post-quantum key did not sign/))
})

test('binding, a body that breaks one rule although everybody signed, refused', () => {
  const who = person('ann')
  const device = deviceOf('laptop', false)
  const { body } = decodeBinding(createBinding(issuer(who), device, papers))
  const own = signerOf('ann 0', false)
  const verify =
    (at: number, bytes: Uint8Array, link = device) =>
    () =>
      verifyBinding(assemble(changed(body, at, bytes), own, link), { chain: who.chain, now })
  assert.throws(verify(AT.version, Uint8Array.of(2)), invalid(/malformed/))
  assert.throws(verify(AT.did, person('bob').chain.keys.ed25519), invalid(/another identity/))
  assert.throws(verify(AT.index, Uint8Array.of(0, 0, 0, 1)), invalid(/does not reach/))
  assert.throws(verify(AT.head, new Uint8Array(32)), invalid(/another chain/))
  assert.throws(verify(AT.link, own.ed25519.publicKey, { ed25519: own.ed25519, mldsa: undefined }), invalid(/link key is an identity key/))
  const begin = new DataView(body.buffer, body.byteOffset).getBigUint64(AT.notBefore)
  const ends = new Uint8Array(8)
  new DataView(ends.buffer).setBigUint64(0, begin)
  assert.throws(verify(AT.notAfter, ends), invalid(/ends before/))
  assert.throws(verify(AT.serial, new Uint8Array(8).fill(255)), invalid(/malformed/))
})

test('binding, whose link key is an identity key of any generation, refused', () => {
  const who = person('ann')
  rotate(who, 'lost', { now: T0 })
  const { body } = decodeBinding(createBinding(issuer(who), deviceOf('laptop', false), papers))
  for (const generation of [0, 1]) {
    const stolen = openKeySet('link', seedsOf(`ann ${generation}`, false))
    assert.throws(() => createBinding(issuer(who), stolen, papers), TypeError)
    const bad = assemble(changed(body, AT.link, stolen.ed25519.publicKey), signerOf('ann 1', false), stolen)
    assert.throws(() => verifyBinding(bad, { chain: who.chain, now }), invalid(/link key is an identity key/))
  }
})

test('binding, at the edges of its time, is valid from ten minutes before it begins until it ends', () => {
  const who = person('ann')
  const encoded = createBinding(issuer(who), deviceOf('laptop', false), { ...papers, notBefore: T0, notAfter: T0 + DAY })
  const at = (time: number) => () => verifyBinding(encoded, { chain: who.chain, now: time })
  assert.throws(at(T0 - 10 * MINUTE - 1), invalid(/not valid yet/))
  assert.doesNotThrow(at(T0 - 10 * MINUTE))
  assert.doesNotThrow(at(T0 + DAY - 1))
  assert.throws(at(T0 + DAY), { code: 'BINDING_EXPIRED' })
})

test('binding, with a serial below the highest seen, is stale', () => {
  const who = person('ann')
  const encoded = createBinding(issuer(who), deviceOf('laptop', false), papers)
  assert.doesNotThrow(() => verifyBinding(encoded, { chain: who.chain, now, minSerial: 5 }))
  assert.throws(() => verifyBinding(encoded, { chain: who.chain, now, minSerial: 6 }), { code: 'BINDING_STALE' })
})

test('binding, of a revoked device, refused', () => {
  const who = person('ann')
  const device = deviceOf('laptop', false)
  const encoded = createBinding(issuer(who), device, papers)
  const asked: PublicKey[] = []
  const revoked = (key: PublicKey) => asked.push(key) > 0
  assert.throws(() => verifyBinding(encoded, { chain: who.chain, now, revoked }), { code: 'DEVICE_REVOKED' })
  assert.deepEqual(asked, [device.ed25519.publicKey])
})

test('binding of an older generation, after a scheduled or lost rotation, runs out within thirty days', () => {
  for (const reason of ['scheduled', 'lost'] as const) {
    const who = person('ann')
    const encoded = createBinding(issuer(who), deviceOf('laptop', false), { ...papers, notAfter: T0 + 400 * DAY })
    rotate(who, reason, { now: T0 + DAY })
    const at = (time: number) => () => verifyBinding(encoded, { chain: who.chain, now: time })
    assert.doesNotThrow(at(T0 + 31 * DAY - 1))
    assert.throws(at(T0 + 31 * DAY), { code: 'BINDING_EXPIRED' })
  }
})

test('binding of an older generation, after a compromise anywhere later, ends at once', () => {
  const who = person('ann')
  const encoded = createBinding(issuer(who), deviceOf('laptop', false), papers)
  rotate(who, 'scheduled', { now: T0 })
  assert.doesNotThrow(() => verifyBinding(encoded, { chain: who.chain, now }))
  rotate(who, 'compromised', { now: T0 })
  assert.throws(() => verifyBinding(encoded, { chain: who.chain, now }), invalid(/compromised/))
})

test('binding made by a replaced key after its end, refused', () => {
  const who = person('ann')
  const before = who.chain
  rotate(who, 'lost', { now: T0 })
  const late = createBinding({ chain: before, signer: signerOf('ann 0', false) }, deviceOf('laptop', false), { ...papers, notBefore: T0 + 1 })
  assert.throws(() => verifyBinding(late, { chain: who.chain, now }), invalid(/had been replaced/))
})

test('binding of a closed identity, refused', () => {
  const who = person('ann')
  const encoded = createBinding(issuer(who), deviceOf('laptop', false), papers)
  const closed = adoptChain(who.chain, [rotation(who, 'lost', { kind: 'close', now: T0 })], { now }).state
  assert.throws(() => verifyBinding(encoded, { chain: closed, now }), invalid(/closed/))
})

test('binding, names that could deceive a reader, neither made nor accepted', () => {
  const who = person('ann')
  const device = deviceOf('laptop', false)
  for (const name of ['a\nb', ' a', 'a ', '\u001b[2J', 'x\u202ey', 'n'.repeat(65), 'é'.repeat(33)]) {
    assert.throws(() => createBinding(issuer(who), device, { ...papers, name }), TypeError, JSON.stringify(name))
  }
  const { body } = decodeBinding(createBinding(issuer(who), device, { ...papers, name: 'ab' }))
  const bad = assemble(changed(body, body.length - 1, Uint8Array.of(0x0a)), signerOf('ann 0', false), device)
  assert.throws(() => decodeBinding(bad), invalid(/malformed/))
  assert.equal(decodeBinding(createBinding(issuer(who), device, { ...papers, name: 'Büro 🖥' })).name, 'Büro 🖥')
  assert.deepEqual(['n'.repeat(64), 'n'.repeat(65), ''].map(isName), [true, false, true])
})

test('binding, whose signatures were verified before, can be judged again by time and knowledge alone', () => {
  const who = person('ann')
  const binding = verifyBinding(createBinding(issuer(who), deviceOf('laptop', false), papers), { chain: who.chain, now })
  assert.doesNotThrow(() => checkBinding(binding, { chain: who.chain, now }))
  assert.throws(() => checkBinding(binding, { chain: who.chain, now: T0 + 30 * DAY }), { code: 'BINDING_EXPIRED' })
})

test('binding, made with signers that are not the chain’s or with dates that cross, a TypeError', () => {
  const who = person('ann')
  assert.throws(() => createBinding({ chain: who.chain, signer: signerOf('bob 0', false) }, deviceOf('l', false), papers), TypeError)
  assert.throws(() => createBinding(issuer(who), deviceOf('l', false), { ...papers, notAfter: papers.notBefore }), TypeError)
})
