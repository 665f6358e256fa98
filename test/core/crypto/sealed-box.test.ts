import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SealingKey, sealTo } from '../../../src/core/crypto/sealed-box.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { Secret } from '../../../src/core/secret.ts'

const take = (bytes: Uint8Array): Secret => Secret.take(Uint8Array.from(bytes))

test('sealed box, secrets of any length, open with the key they were sealed to and with no other', () => {
  using key = new SealingKey(systemRandom)
  using other = new SealingKey(systemRandom)
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), (bytes) => {
      using secret = take(bytes)
      const sealed = sealTo(key.publicKey, secret)
      using opened = key.open(sealed)
      assert.ok(opened?.equals(secret))
      assert.equal(other.open(sealed), undefined)
    }),
    { numRuns: 30 },
  )
})

test('sealed box, any bit changed or cut short, does not open', () => {
  using key = new SealingKey(systemRandom)
  using secret = take(Uint8Array.of(1, 2, 3))
  const sealed = sealTo(key.publicKey, secret)
  for (let at = 0; at < sealed.length; at++) {
    const changed = Uint8Array.from(sealed)
    changed[at] = (changed[at] as number) ^ 0x10
    assert.equal(key.open(changed), undefined, `byte ${at}`)
    assert.equal(key.open(sealed.subarray(0, at)), undefined, `cut at ${at}`)
  }
})

test('sealing key, closed, opens nothing more', () => {
  const key = new SealingKey(systemRandom)
  using secret = take(Uint8Array.of(1))
  const sealed = sealTo(key.publicKey, secret)
  key.close()
  assert.throws(() => key.open(sealed), { code: 'SECRET_WIPED' })
})
