import assert from 'node:assert/strict'
import { test } from 'node:test'
import { labeled } from '../../src/core/crypto/labels.ts'
import type { Signer } from '../../src/core/signer.ts'
import { IdentityKeys } from '../../src/identity/identity-keys.ts'
import { cloneSeeds, type KeySeeds, openKeySet, publicKeysOf, type TokenKey, type TokenOpener } from '../../src/identity/keys.ts'
import { type IdentityContent, packIdentity, unpackIdentity } from '../../src/identity/keystore-codec.ts'
import { person, seedsOf, signerOf, T0 } from './make.ts'

const URI = 'pkcs11:token=home;object=kith;id=%01%02?module-path=/usr/lib/softhsm/libsofthsm2.so'
const keyOf = (name: string): TokenKey => ({ kind: 'token', uri: URI, publicKey: publicKeysOf(seedsOf(name)).ed25519 })
const seedsInToken = (name: string): KeySeeds => ({ ...seedsOf(name), ed25519: keyOf(name) })

function content(seeds: KeySeeds): IdentityContent {
  return { createdMs: T0, generation: 0, mayRotate: true, seeds, next: seedsOf('me 1'), phrase: undefined, chain: person('me', { mldsa: true }).chain }
}

test('identity file, key in a token, comes back with its address, its public key and the post-quantum half', () => {
  const packed = packIdentity(content(seedsInToken('me 0')))
  const read = unpackIdentity(packed)
  assert.deepEqual(read.seeds.ed25519, keyOf('me 0'))
  assert.deepEqual(publicKeysOf(read.seeds), publicKeysOf(seedsOf('me 0')))
  assert.deepEqual(publicKeysOf(read.next), publicKeysOf(seedsOf('me 1')))
})

test('identity file, address of a token with a PIN in it, is neither written nor read', () => {
  const uri = `${URI}&pin-value=1234`
  assert.throws(() => packIdentity(content({ ...seedsOf('me 0'), ed25519: { ...keyOf('me 0'), uri } })), TypeError)
  const harmless = { ...keyOf('me 0'), uri: `${URI}&abc-value=1234` }
  const packed = packIdentity(content({ ...seedsOf('me 0'), ed25519: harmless }))
  packed.fill((bytes) => void bytes.write('pin', bytes.indexOf('abc-value')))
  assert.throws(() => unpackIdentity(packed), { code: 'KEYSTORE_DAMAGED' })
})

test('key in a token, nothing that opens tokens, is unavailable and wipes the other half', () => {
  const seeds = seedsInToken('me 0')
  assert.throws(() => openKeySet('identity', seeds), { code: 'TOKEN_UNAVAILABLE' })
  assert.equal(seeds.mldsa?.wiped, true)
})

test('key in a token, role of a machine, is a mistake', () => {
  assert.throws(() => openKeySet('link', seedsInToken('me 0'), tokens), TypeError)
})

test('identity with its key in a token, signing, asks the token once and closes it with itself', () => {
  let opened = 0
  let closed = 0
  const opener: TokenOpener = (key) => {
    opened++
    const inner = tokens(key)
    return { role: inner.role, publicKey: inner.publicKey, sign: (message) => inner.sign(message), close: () => void closed++ }
  }
  const identity = new IdentityKeys(content(cloneSeeds(seedsInToken('me 0'))), opener)
  assert.equal(identity.hardware, true)
  assert.equal(opened, 0, 'looking at an identity asks for no token')
  identity.sign(labeled('icn/test/v1', Buffer.from('a')))
  identity.sign(labeled('icn/test/v1', Buffer.from('b')))
  identity.close()
  assert.deepEqual([opened, closed], [1, 1])
})

const tokens: TokenOpener = (): Signer => signerOf('me 0').ed25519
