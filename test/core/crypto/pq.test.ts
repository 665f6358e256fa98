import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { test } from 'node:test'
import { ml_dsa65 } from '@noble/post-quantum/ml-dsa.js'
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js'
import { fromHex, utf8 } from '../../../src/core/bytes.ts'
import { labeled } from '../../../src/core/crypto/labels.ts'
import { createPostQuantumSigner, MLDSA_PUBLIC_KEY_BYTES, MLDSA_SIGNATURE_BYTES, mldsaPublicKeyOfSeed, verifyMldsa } from '../../../src/core/crypto/mldsa.ts'
import { encapsulate, generateMlKem768, isEncapsulationKey, mlKem768OfSeed } from '../../../src/core/crypto/mlkem.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { Secret } from '../../../src/core/secret.ts'

const LABEL = 'icn/test-purpose/v1'
const message = labeled(LABEL, utf8('hello'))
const bytesOf = (secret: Secret): Uint8Array => secret.use((bytes) => Uint8Array.from(bytes))

test('ML-DSA signer, from a seed, agrees with an independent implementation in both directions', () => {
  const seed = systemRandom.bytes(32)
  const oracle = ml_dsa65.keygen(seed)
  const signer = createPostQuantumSigner('link', Secret.take(Uint8Array.from(seed)))
  assert.deepEqual(signer.publicKey, oracle.publicKey)
  assert.equal(signer.publicKey.length, MLDSA_PUBLIC_KEY_BYTES)
  assert.deepEqual(mldsaPublicKeyOfSeed(Secret.take(Uint8Array.from(seed))), oracle.publicKey)

  const signature = signer.sign(message)
  assert.equal(signature.length, MLDSA_SIGNATURE_BYTES)
  assert.equal(ml_dsa65.verify(signature, message, oracle.publicKey), true)
  assert.equal(verifyMldsa(signer.publicKey, message, ml_dsa65.sign(message, oracle.secretKey)), true)
  assert.notDeepEqual(signer.sign(message), signature)
})

test('ML-DSA verification, anything changed or of a wrong length, is false', () => {
  const signer = createPostQuantumSigner('identity', Secret.random(32, systemRandom))
  const signature = signer.sign(message)
  assert.equal(verifyMldsa(signer.publicKey, message, signature), true)
  assert.equal(verifyMldsa(signer.publicKey, labeled(LABEL, utf8('hellp')), signature), false)
  for (const at of [0, 1000, 3308]) {
    const changed = Uint8Array.from(signature)
    changed[at] = (changed[at] as number) ^ 1
    assert.equal(verifyMldsa(signer.publicKey, message, changed), false)
  }
  assert.equal(verifyMldsa(signer.publicKey, message, signature.subarray(1)), false)
  assert.equal(verifyMldsa(signer.publicKey.subarray(1), message, signature), false)
  const other = createPostQuantumSigner('identity', Secret.random(32, systemRandom))
  assert.equal(verifyMldsa(other.publicKey, message, signature), false)
})

test('ML-DSA signer, foreign prefix or after close, refuses', () => {
  const seed = Secret.random(32, systemRandom)
  const signer = createPostQuantumSigner('identity', seed)
  assert.equal(seed.wiped, true)
  assert.throws(() => signer.sign(new Uint8Array(33)), { code: 'SIGNER_REFUSED' })
  signer.close()
  signer.close()
  assert.throws(() => signer.sign(message), { code: 'SECRET_WIPED' })
  assert.throws(() => createPostQuantumSigner('link', Secret.alloc(31)), TypeError)
})

test('ML-DSA seed, as PKCS8 seed form, is the same key', () => {
  const seed = systemRandom.bytes(32)
  const der = Buffer.concat([fromHex('3034020100300b060960864801650304031204228020'), seed])
  const jwk = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }).export({ format: 'jwk' })
  const publicKey = mldsaPublicKeyOfSeed(Secret.take(seed))
  assert.equal(jwk.pub, Buffer.from(publicKey).toString('base64url'))
})

test('ML-KEM, both directions against an independent implementation, gives one secret', () => {
  const ours = generateMlKem768()
  const theirs = ml_kem768.encapsulate(ours.encapsulationKey)
  assert.deepEqual(bytesOf(ours.decapsulate(theirs.cipherText)), theirs.sharedSecret)

  const seed = systemRandom.bytes(64)
  const oracle = ml_kem768.keygen(seed)
  const { ciphertext, sharedSecret } = encapsulate(oracle.publicKey)
  assert.deepEqual(ml_kem768.decapsulate(ciphertext, oracle.secretKey), bytesOf(sharedSecret))

  const restored = mlKem768OfSeed(Secret.take(seed))
  assert.deepEqual(restored.encapsulationKey, oracle.publicKey)
  assert.deepEqual(bytesOf(restored.decapsulate(ciphertext)), bytesOf(sharedSecret))
})

test('ML-KEM ciphertext, changed, gives another secret and no error', () => {
  const pair = generateMlKem768()
  const { ciphertext, sharedSecret } = encapsulate(pair.encapsulationKey)
  ciphertext[0] = (ciphertext[0] as number) ^ 1
  assert.notDeepEqual(bytesOf(pair.decapsulate(ciphertext)), bytesOf(sharedSecret))
})

test('ML-KEM decapsulator, wrong length or after close, refuses', () => {
  const pair = generateMlKem768()
  assert.throws(() => pair.decapsulate(new Uint8Array(1087)), TypeError)
  pair.close()
  pair.close()
  assert.throws(() => pair.decapsulate(new Uint8Array(1088)), { code: 'SECRET_WIPED' })
})

test('ML-KEM encapsulation key, a coefficient of 3,329 or more at any place, is refused', () => {
  const { encapsulationKey } = generateMlKem768()
  assert.equal(isEncapsulationKey(encapsulationKey), true)
  assert.equal(isEncapsulationKey(encapsulationKey.subarray(1)), false)
  for (const coefficient of [0, 1, 255, 256, 766, 767]) {
    for (const [value, expected] of [
      [3328, true],
      [3329, false],
      [4095, false],
    ] as const) {
      const changed = Uint8Array.from(encapsulationKey)
      const at = Math.floor(coefficient / 2) * 3
      if (coefficient % 2 === 0) {
        changed[at] = value & 0xff
        changed[at + 1] = ((changed[at + 1] as number) & 0xf0) | (value >> 8)
      } else {
        changed[at + 1] = ((changed[at + 1] as number) & 0x0f) | ((value & 0x0f) << 4)
        changed[at + 2] = value >> 4
      }
      assert.equal(isEncapsulationKey(changed), expected)
      if (!expected) assert.throws(() => encapsulate(changed), { code: 'KEY_INVALID' })
    }
  }
})
