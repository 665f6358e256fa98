import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { ml_kem768_x25519 as XWing } from '@noble/post-quantum/hybrid.js'
import { fromHex, toHex } from '../../../src/core/bytes.ts'
import {
  isXwingPublicKey,
  XWING_CIPHERTEXT_BYTES,
  XWING_PUBLIC_KEY_BYTES,
  xwingDecapsulate,
  xwingEncapsulate,
  xwingPublicKey,
} from '../../../src/core/crypto/xwing.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { Secret } from '../../../src/core/secret.ts'

const bytesOf = (secret: Secret): Uint8Array => secret.use((bytes) => Uint8Array.from(bytes))

// draft-connolly-cfrg-xwing-kem-10, appendix C.
interface DraftVector {
  readonly seed: string
  readonly ss: string
  readonly pk: string
  readonly ct: string
}
const VECTORS = JSON.parse(readFileSync(new URL('../../vectors/xwing-draft-10.json', import.meta.url), 'utf8')) as DraftVector[]

test("X-Wing, the draft's vectors, give these keys and secrets", () => {
  assert.equal(VECTORS.length, 3)
  for (const { seed, ss, pk, ct } of VECTORS) {
    const secret = Secret.take(fromHex(seed))
    assert.equal(toHex(xwingPublicKey(secret)), pk)
    assert.equal(toHex(bytesOf(xwingDecapsulate(secret, fromHex(ct)))), ss)
  }
})

test('X-Wing, both directions against an independent implementation, gives one secret', () => {
  for (let round = 0; round < 4; round++) {
    const seed = systemRandom.bytes(32)
    const oracle = XWing.keygen(seed)
    const secret = Secret.take(Uint8Array.from(seed))
    assert.deepEqual(xwingPublicKey(secret), oracle.publicKey)

    const theirs = XWing.encapsulate(oracle.publicKey)
    assert.deepEqual(bytesOf(xwingDecapsulate(secret, theirs.cipherText)), theirs.sharedSecret)

    const ours = xwingEncapsulate(oracle.publicKey, systemRandom)
    assert.equal(ours.ciphertext.length, XWING_CIPHERTEXT_BYTES)
    assert.deepEqual(XWing.decapsulate(ours.ciphertext, oracle.secretKey), bytesOf(ours.sharedSecret))
  }
})

test('X-Wing ciphertext, either half changed, gives another secret', () => {
  const seed = Secret.random(32, systemRandom)
  const { ciphertext, sharedSecret } = xwingEncapsulate(xwingPublicKey(seed), systemRandom)
  assert.deepEqual(bytesOf(xwingDecapsulate(seed, ciphertext)), bytesOf(sharedSecret))
  for (const at of [0, 1087, 1088]) {
    const changed = Uint8Array.from(ciphertext)
    changed[at] = (changed[at] as number) ^ 1
    assert.notDeepEqual(bytesOf(xwingDecapsulate(seed, changed)), bytesOf(sharedSecret))
  }
})

test('X-Wing, keys or ciphertexts that no honest side makes, are refused', () => {
  const seed = Secret.random(32, systemRandom)
  const publicKey = xwingPublicKey(seed)
  assert.equal(isXwingPublicKey(publicKey), true)
  assert.equal(publicKey.length, XWING_PUBLIC_KEY_BYTES)

  const beyondModulus = Uint8Array.from(publicKey).fill(0xff, 0, 3)
  assert.equal(isXwingPublicKey(beyondModulus), false)
  assert.throws(() => xwingEncapsulate(beyondModulus, systemRandom), { code: 'KEY_INVALID' })
  const smallOrder = Uint8Array.from(publicKey).fill(0, 1184)
  assert.throws(() => xwingEncapsulate(smallOrder, systemRandom), { code: 'KEY_INVALID' })
  assert.throws(() => xwingEncapsulate(publicKey.subarray(1), systemRandom), { code: 'KEY_INVALID' })

  const { ciphertext } = xwingEncapsulate(publicKey, systemRandom)
  assert.throws(() => xwingDecapsulate(seed, Uint8Array.from(ciphertext).fill(0, 1088)), { code: 'DECRYPT_FAILED' })
  assert.throws(() => xwingDecapsulate(seed, ciphertext.subarray(1)), TypeError)
})
