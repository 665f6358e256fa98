import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import fc from 'fast-check'
import { fromHex, toHex } from '../../src/core/bytes.ts'
import { Secret } from '../../src/core/secret.ts'
import { deriveEthereum, deriveSecp256k1, deriveSecp256k1Node } from '../../src/vault/bip32.ts'
import { extendedPublicKey, parseExtendedKey } from '../../src/vault/bip32-extended.ts'
import { parsePhrase, phraseToSeed } from '../../src/vault/bip39.ts'
import { ETHEREUM } from '../../src/vault/paths.ts'
import { addScalars, isCompressedPoint, isScalar, publicKeyOfScalar } from '../../src/vault/secp256k1.ts'
import { deriveEd25519 } from '../../src/vault/slip10.ts'

const { vectors, invalid } = JSON.parse(readFileSync(new URL('../vectors/bip32.json', import.meta.url), 'utf8')) as {
  vectors: { seed: string; chains: [string, string, string][] }[]
  invalid: [string, string][]
}
const hex = (secret: Secret): string => secret.use((bytes) => toHex(bytes))
const ORDER = secp256k1.Point.Fn.ORDER
const bytesOf = (value: bigint): Uint8Array => fromHex(value.toString(16).padStart(64, '0'))

test('derivation, the vectors 1 to 4 of BIP-32, keys, chain codes and extended public keys agree', () => {
  for (const { seed, chains } of vectors) {
    const root = Secret.take(fromHex(seed))
    for (const [path, xpub, xprv] of chains) {
      const expected = parseExtendedKey(xprv)
      assert.equal(hex(deriveSecp256k1Node(root, path)), hex(expected.privateKey as Secret) + toHex(expected.chainCode), path)
      assert.equal(extendedPublicKey(root, path), xpub, path)
      const published = parseExtendedKey(xpub)
      assert.equal(published.privateKey, undefined)
      assert.deepEqual(published.publicKey, expected.publicKey)
      assert.deepEqual(
        [published.depth, published.fingerprint, published.index, published.chainCode],
        [expected.depth, expected.fingerprint, expected.index, expected.chainCode],
      )
    }
  }
})

test('extended key, the invalid ones of vector 5, refused', () => {
  for (const [why, text] of invalid) assert.throws(() => parseExtendedKey(text), { code: 'KEY_INVALID' }, why)
})

test('extended key, any text and any change of one letter, refused', () => {
  const xpub = vectors[0]?.chains[1]?.[1] as string
  fc.assert(fc.property(fc.string({ maxLength: 200 }), (text) => void assert.throws(() => parseExtendedKey(text), { code: 'KEY_INVALID' })))
  for (let at = 0; at < xpub.length; at++) {
    const changed = `${xpub.slice(0, at)}${xpub[at] === 'a' ? 'b' : 'a'}${xpub.slice(at + 1)}`
    assert.throws(() => parseExtendedKey(changed), { code: 'KEY_INVALID' })
  }
})

test('Ethereum key, the phrase abandon … about, is the published one and not the one of Ed25519', () => {
  const seed = phraseToSeed(parsePhrase(`${'abandon '.repeat(11)}about`))
  const key = deriveEthereum(seed)
  assert.equal(hex(key), '1ab42cc412b618bdea3a599e3c9bae199ebf030895b039e9db1e30dafb12b727')
  assert.equal(toHex(key.use(publicKeyOfScalar)), '0237b0bb7a8288d38ed49a524b5dc98cff3eb5ca824c9f9dc0dfdb3d9cd600f299')
  assert.throws(() => deriveEd25519(seed, ETHEREUM), { code: 'PATH_INVALID' })
})

test('derivation on both curves, the same hardened path, gives two keys', () => {
  const seed = Secret.take(Buffer.alloc(64, 7))
  assert.notEqual(hex(deriveSecp256k1(seed, "m/74'/0'/0'/0'")), hex(deriveEd25519(seed, "m/74'/0'/0'/0'")))
})

test('derivation from a seed of a length outside the standard, a TypeError', () => {
  for (const length of [1, 15, 65]) assert.throws(() => deriveSecp256k1(Secret.alloc(length), 'm'), TypeError)
})

test('scalars, any two below the order, are added as an independent implementation adds them', () => {
  const edge = fc.constantFrom(0n, 1n, 2n, ORDER - 1n, ORDER - 2n, ORDER / 2n, ORDER / 2n + 1n, (1n << 256n) - ORDER)
  const scalar = fc.oneof(edge, fc.bigInt({ min: 0n, max: ORDER - 1n }))
  fc.assert(
    fc.property(scalar, scalar, (a, b) => {
      const target = bytesOf(a)
      addScalars(target, bytesOf(b))
      assert.equal(toHex(target), toHex(bytesOf((a + b) % ORDER)))
    }),
    { numRuns: 500 },
  )
})

test('scalar, zero, the order and beyond, is none; its neighbours are', () => {
  const top = (1n << 256n) - 1n
  for (const bad of [0n, ORDER, ORDER + 1n, top]) {
    assert.equal(isScalar(bytesOf(bad)), false)
    assert.throws(() => publicKeyOfScalar(bytesOf(bad)), TypeError)
  }
  for (const good of [1n, 255n, ORDER - 1n, ORDER - 256n]) assert.equal(isScalar(bytesOf(good)), true)
})

test('public key of any scalar, equals an independent implementation, and is a point; changed bytes mostly are none', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 1n, max: ORDER - 1n }), (value) => {
      const point = publicKeyOfScalar(bytesOf(value))
      assert.equal(toHex(point), toHex(secp256k1.getPublicKey(bytesOf(value), true)))
      assert.equal(isCompressedPoint(point), true)
      for (const wrong of [point.subarray(1), Buffer.concat([point, point]), Buffer.concat([Buffer.of(4), point.subarray(1)])])
        assert.equal(isCompressedPoint(wrong), false)
    }),
    { numRuns: 20 },
  )
})
