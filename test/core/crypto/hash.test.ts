import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromHex, toHex, utf8 } from '../../../src/core/bytes.ts'
import { createSigner, randomSeed } from '../../../src/core/crypto/ed25519.ts'
import { createSha256, hkdfSha256, hmacSha256, sha256 } from '../../../src/core/crypto/hash.ts'
import { type HybridKey, signHybrid, verifyHybrid } from '../../../src/core/crypto/hybrid.ts'
import { hashLabeled, labeled, signLabeled, verifyLabeled } from '../../../src/core/crypto/labels.ts'
import { createPostQuantumSigner } from '../../../src/core/crypto/mldsa.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { Secret } from '../../../src/core/secret.ts'
import { conformance } from '../../conformance.ts'

const LABEL = 'icn/test-purpose/v1'

test('SHA-256, in one piece, in parts and incrementally, is one digest', () => {
  const expected = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
  assert.equal(toHex(sha256(utf8('abc'))), expected)
  assert.equal(toHex(sha256(utf8('a'), utf8(''), utf8('bc'))), expected)
  const state = createSha256()
  for (const letter of 'abc') state.update(utf8(letter))
  assert.equal(toHex(state.digest()), expected)
  assert.equal(toHex(sha256()), 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
})

test('HMAC-SHA256, RFC 4231 case 2, is the published value', () => {
  const expected = '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'
  assert.equal(toHex(hmacSha256(utf8('Jefe'), utf8('what do ya want '), utf8('for nothing?'))), expected)
})

test('HKDF-SHA256, RFC 5869 case 1, is the published value', () => {
  const okm = hkdfSha256(new Uint8Array(22).fill(0x0b), fromHex('000102030405060708090a0b0c'), fromHex('f0f1f2f3f4f5f6f7f8f9'), 42)
  assert.equal(toHex(okm), '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865')
})

test('label, in front of parts, is its length and its bytes', () => {
  assert.equal(toHex(labeled('icn/a/v1', Uint8Array.of(1), Uint8Array.of(2, 3))), `08${Buffer.from('icn/a/v1').toString('hex')}010203`)
  assert.deepEqual(hashLabeled(LABEL, utf8('x')), sha256(labeled(LABEL, utf8('x'))))
})

test('label, too short, too long or not plain ASCII, is a mistake of the caller', () => {
  for (const label of ['', 'icn/a/1', 'i'.repeat(32), 'icn/a /v1', 'icn/é/v1', 'icn/a\n/v1']) assert.throws(() => labeled(label), TypeError, label)
})

test('labeled signature, under another label, key or message, does not verify', () => {
  const signer = createSigner('link', randomSeed(systemRandom))
  const signature = signLabeled(signer, LABEL, utf8('a'), utf8('b'))
  assert.equal(verifyLabeled(signer.publicKey, signature, LABEL, utf8('ab')), true)
  assert.equal(verifyLabeled(signer.publicKey, signature, 'icn/test-purpose/v2', utf8('ab')), false)
  assert.equal(verifyLabeled(signer.publicKey, signature, LABEL, utf8('ac')), false)
  assert.equal(verifyLabeled(createSigner('link', randomSeed(systemRandom)).publicKey, signature, LABEL, utf8('ab')), false)
})

test('hybrid signature, any half missing, added, swapped or broken, does not stand', () => {
  const make = () => ({
    ed25519: createSigner('identity', randomSeed(systemRandom)),
    mldsa: createPostQuantumSigner('identity', Secret.random(32, systemRandom)),
  })
  const signer = make()
  const other = make()
  const key: HybridKey = { ed25519: signer.ed25519.publicKey, mldsa: signer.mldsa.publicKey }
  const message = labeled(LABEL, utf8('x'))
  const signature = signHybrid(signer, message)
  const wrong = signHybrid(other, message)
  assert.equal(verifyHybrid(key, message, signature), true)
  assert.equal(verifyHybrid(key, labeled(LABEL, utf8('y')), signature), false)
  assert.equal(verifyHybrid(key, message, { ...signature, mldsa: undefined }), false)
  assert.equal(verifyHybrid(key, message, { ...signature, mldsa: wrong.mldsa }), false)
  assert.equal(verifyHybrid(key, message, { ...signature, ed25519: wrong.ed25519 }), false)
  assert.equal(verifyHybrid({ ...key, mldsa: undefined }, message, signature), false)
  assert.equal(verifyHybrid({ ...key, mldsa: undefined }, message, { ...signature, mldsa: undefined }), true)

  const classical = signHybrid({ ed25519: signer.ed25519, mldsa: undefined }, message)
  assert.equal(classical.mldsa, undefined)
  assert.equal(verifyHybrid({ ...key, mldsa: undefined }, message, classical), true)
})

conformance('labeled bytes', (g) => labeled(`icn/${'a'.repeat(4 + g.integer(24))}`, g.bytesUpTo(100), g.bytesUpTo(10)))
conformance('labeled hash', (g) => hashLabeled(`icn/${'a'.repeat(4 + g.integer(24))}`, g.bytesUpTo(100), g.bytesUpTo(10)))
