import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { fromHex, toHex } from '../../src/core/bytes.ts'
import { publicKeyOfSeed } from '../../src/core/crypto/ed25519.ts'
import { hmacSha512 } from '../../src/core/crypto/kdf.ts'
import { Secret } from '../../src/core/secret.ts'
import { parsePhrase, phraseToSeed } from '../../src/vault/bip39.ts'
import { deriveIdentitySeeds } from '../../src/vault/identity-seeds.ts'
import { IDENTITY, identityMldsaPath, SSH_HOST, workerPath } from '../../src/vault/paths.ts'
import { deriveEd25519, deriveNode } from '../../src/vault/slip10.ts'

const { vectors } = JSON.parse(readFileSync(new URL('../vectors/slip10-ed25519.json', import.meta.url), 'utf8')) as {
  vectors: { seed: string; chains: [string, string, string, string][] }[]
}
const hex = (secret: Secret): string => secret.use((bytes) => toHex(bytes))

test('derivation, the vectors of SLIP-0010, key, chain code and public key agree', () => {
  for (const { seed, chains } of vectors) {
    for (const [path, chainCode, key, publicKey] of chains) {
      const master = Secret.take(fromHex(seed))
      assert.equal(hex(deriveNode(master, path)), key + chainCode)
      const derived = deriveEd25519(master, path)
      assert.equal(hex(derived), key)
      assert.equal(toHex(publicKeyOfSeed(derived)), publicKey)
    }
  }
})

test('named paths, the phrase of eleven times abandon and about, give the known keys', () => {
  const seed = phraseToSeed(parsePhrase(`${'abandon '.repeat(11)}about`))
  assert.equal(hex(deriveEd25519(seed, IDENTITY)), '603aa5c626317fda4afd87b902e5c9de76c33f40834005245e1c5a675e92d700')
  assert.equal(toHex(publicKeyOfSeed(deriveEd25519(seed, IDENTITY))), 'e78c2766a792f09bfccb51493968ac322283e8d021a30063784d806929762ecc')
  assert.equal(hex(deriveEd25519(seed, workerPath(1))), '550f05587732eeb6bd0de879f77b89e3593a655733f794be9a05dad90c3a1d24')
  assert.equal(hex(deriveEd25519(seed, SSH_HOST)), 'be2dfaff0d268c833fd9c653b9bd352cef3ec2b211db804211c9f912b63dc3ab')
  assert.equal(hex(deriveEd25519(seed, "m/74'/2'/0'/0'")), 'fbed5fa9110df4214baa259a4cd6bd3902373231472d317b8f3686b1d63df17a')
})

test('identity seeds, generations 0 to 2, are the keys of their paths and all different', () => {
  const seed = phraseToSeed(parsePhrase(`${'abandon '.repeat(11)}about`))
  const seen = new Set<string>()
  for (let generation = 0; generation < 3; generation++) {
    const seeds = deriveIdentitySeeds(seed, generation)
    assert.equal(hex(seeds.ed25519), hex(deriveEd25519(seed, generation === 0 ? IDENTITY : `m/74'/0'/2'/${generation}'`)))
    assert.equal(hex(seeds.mldsa), hex(deriveEd25519(seed, identityMldsaPath(generation))))
    seen.add(hex(seeds.ed25519)).add(hex(seeds.mldsa))
  }
  assert.equal(seen.size, 6)
})

test('derivation along a path with a part that is not hardened, refused', () => {
  const seed = Secret.take(Buffer.alloc(64, 7))
  for (const path of ['m/0', "m/74'/0", "m/44'/60'/0'/0/0"]) assert.throws(() => deriveEd25519(seed, path), { code: 'PATH_INVALID' })
})

test('derivation from a seed of a length outside the standard, a TypeError', () => {
  for (const length of [1, 15, 65]) assert.throws(() => deriveEd25519(Secret.alloc(length), 'm'), TypeError)
})

test('HMAC-SHA-512 in guarded memory, any key of at most a block and any parts, equals the runtime', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 128 }), fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 3 }), (key, parts) => {
      assert.equal(hex(hmacSha512(key, ...parts)), createHmac('sha512', key).update(Buffer.concat(parts)).digest('hex'))
    }),
    { numRuns: 50 },
  )
  assert.throws(() => hmacSha512(new Uint8Array(129)), TypeError)
})
