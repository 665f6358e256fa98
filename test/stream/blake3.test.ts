import assert from 'node:assert/strict'
import test from 'node:test'
import { x25519 as curve } from '@noble/curves/ed25519.js'
import { blake3 as oracle } from '@noble/hashes/blake3.js'
import fc from 'fast-check'
import { blake3 } from '../../src/core/crypto/blake3.ts'
import { x25519, x25519PublicKey } from '../../src/core/crypto/x25519.ts'
import { lowOrderPoints } from './fixtures.ts'

test('blake3, every length around blocks and chunks, equals the oracle plain, keyed and extended', () => {
  const key = Buffer.alloc(32, 0x5a)
  const input = Buffer.from(Array.from({ length: 9_000 }, (_, i) => i % 251))
  const lengths = [
    0, 1, 2, 3, 4, 5, 31, 32, 33, 63, 64, 65, 127, 128, 129, 219, 1_023, 1_024, 1_025, 2_047, 2_048, 2_049, 3_072, 3_073, 4_096, 4_097, 7_168, 8_193,
  ]
  for (const length of lengths) {
    const bytes = input.subarray(0, length)
    assert.deepEqual(Buffer.from(blake3(bytes)), Buffer.from(oracle(bytes)), `plain ${length}`)
    assert.deepEqual(Buffer.from(blake3(bytes, { key, length: 131 })), Buffer.from(oracle(bytes, { key, dkLen: 131 })), `keyed ${length}`)
  }
})

test('blake3, any bytes and key, equals the oracle', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 2_500 }),
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.integer({ min: 1, max: 200 }),
      (input, key, length) => {
        assert.deepEqual(Buffer.from(blake3(input, { key, length })), Buffer.from(oracle(input, { key, dkLen: length })))
      },
    ),
    { numRuns: 200 },
  )
})

test('blake3, a key of the wrong length, is a TypeError', () => {
  assert.throws(() => blake3(new Uint8Array(1), { key: new Uint8Array(31) }), TypeError)
})

test('x25519, any scalars, equals the oracle on both sides', () => {
  const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })
  fc.assert(
    fc.property(bytes32, bytes32, (a, b) => {
      const publicB = new Uint8Array(32)
      x25519PublicKey(publicB, b)
      assert.deepEqual(publicB, Uint8Array.from(curve.getPublicKey(b)))
      const shared = new Uint8Array(32)
      assert.equal(x25519(shared, a, publicB), true)
      assert.deepEqual(shared, Uint8Array.from(curve.getSharedSecret(a, publicB)))
    }),
    { numRuns: 30 },
  )
})

test('x25519, points of low order, are refused and leave zeros', () => {
  for (const point of lowOrderPoints) {
    const shared = new Uint8Array(32).fill(9)
    assert.equal(x25519(shared, new Uint8Array(32).fill(3), point), false)
    assert.deepEqual(shared, new Uint8Array(32))
  }
})
