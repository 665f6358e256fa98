import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { base58Encode } from '../../src/core/base58.ts'
import { concat } from '../../src/core/bytes.ts'
import { didPublicKey, formatDid, formatDidKey, isDid, parseDid, shortDid } from '../../src/identity/did.ts'
import { didDocument } from '../../src/identity/document.ts'
import { keysOf } from './make.ts'

const key = keysOf('ann 0').ed25519
const did = formatDid(key)

test('DID, any key, is spelled in one way and read back', () => {
  fc.assert(
    fc.property(fc.string(), (name) => {
      const someone = keysOf(name, false).ed25519
      const text = formatDid(someone)
      assert.match(text, /^did:icn:z[1-9A-HJ-NP-Za-km-z]{40,45}$/)
      assert.equal(parseDid(text), text)
      assert.ok(isDid(text))
      assert.deepEqual(didPublicKey(parseDid(text)), someone)
      assert.equal(parseDid(formatDidKey(text as typeof did)), text)
    }),
    { numRuns: 30 },
  )
})

test('DID, the example of the did:key method, is the same identity', () => {
  const example = 'did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK'
  assert.equal(formatDidKey(parseDid(example)), example)
})

test('DID, any other text, refused', () => {
  const spelled = base58Encode(key)
  const bad = [
    '',
    'did:icn:',
    'did:icn:z',
    `did:icn:${spelled}`,
    `DID:ICN:z${spelled}`,
    `did:icn:Z${spelled}`,
    `did:web:z${spelled}`,
    `did:icn:z${spelled} `,
    ` did:icn:z${spelled}`,
    `did:icn:z1${spelled}`,
    `did:icn:z${spelled.slice(1)}`,
    `did:icn:z${spelled}#key-0`,
    `did:icn:z${spelled.slice(0, -1)}0`,
    `did:icn:z${'z'.repeat(200_000)}`,
    `did:icn:f${Buffer.from(key).toString('hex')}`,
    `did:icn:u${Buffer.from(key).toString('base64url')}`,
    `did:icn:z${base58Encode(concat(Uint8Array.of(0xed, 1), key))}`,
    `did:key:z${spelled}`,
    `did:key:z${base58Encode(concat(Uint8Array.of(0xe7, 1), key))}`,
    `did:key:z${base58Encode(concat(Uint8Array.of(0xed, 1), key, Uint8Array.of(0)))}`,
  ]
  for (const text of bad) {
    assert.throws(() => parseDid(text), { code: 'DID_INVALID' }, text.slice(0, 60))
    assert.ok(!isDid(text), text.slice(0, 60))
  }
  assert.ok(!isDid(formatDidKey(did)))
})

test('DID, bytes that are no usable point, refused', () => {
  const points = [new Uint8Array(32), new Uint8Array(32).fill(255), Uint8Array.of(1, ...new Uint8Array(31)), Uint8Array.of(2, ...new Uint8Array(31))]
  for (const bytes of points) assert.throws(() => parseDid(`did:icn:z${base58Encode(bytes)}`), { code: 'DID_INVALID' })
})

test('DID, one letter changed anywhere, is refused or is another key', () => {
  const letters = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
  fc.assert(
    fc.property(fc.integer({ min: 9, max: did.length - 1 }), fc.constantFrom(...letters), (at, letter) => {
      fc.pre(did[at] !== letter)
      const changed = did.slice(0, at) + letter + did.slice(at + 1)
      try {
        assert.equal(parseDid(changed), changed)
      } catch (error) {
        assert.equal((error as { code: string }).code, 'DID_INVALID')
      }
    }),
  )
})

test('short form, of a DID, is twelve characters of it', () => {
  assert.equal(shortDid(did).length, 12)
  assert.ok(did.includes(`:${shortDid(did)}`))
})

test('DID document, with and without chain, has the core shape and the current keys', () => {
  const plain = didDocument({ did })
  assert.equal(plain.id, did)
  assert.deepEqual(plain.alsoKnownAs, [formatDidKey(did)])
  assert.deepEqual(
    plain.verificationMethod.map((method) => method.id),
    [`${did}#key-0`],
  )
  assert.equal(`did:key:${plain.verificationMethod[0]?.publicKeyMultibase}`, formatDidKey(did))
  const full = didDocument({ did, chain: { index: 2, keys: keysOf('ann 2') } })
  assert.deepEqual(full.assertionMethod, [`${did}#key-2`, `${did}#key-2-mldsa`])
  const pq = Buffer.from(full.verificationMethod[1]?.publicKeyMultibase.slice(1) ?? '', 'base64url')
  assert.equal(pq.subarray(0, 2).toString('hex'), '9124')
  assert.deepEqual(new Uint8Array(pq.subarray(2)), keysOf('ann 2').mldsa)
  for (const method of full.verificationMethod) assert.equal(method.controller, did)
})
