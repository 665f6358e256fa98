import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { concat, utf8 } from '../../src/core/bytes.ts'
import { openOnce } from '../../src/core/crypto/aead.ts'
import { hmacSha256, sha256 } from '../../src/core/crypto/hash.ts'
import { labeled } from '../../src/core/crypto/labels.ts'
import { generateMlKem768, mlKem768OfSeed } from '../../src/core/crypto/mlkem.ts'
import { x25519, x25519PublicKey } from '../../src/core/crypto/x25519.ts'
import { guardedSecrets } from '../../src/core/guarded-memory.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { didPublicKey } from '../../src/identity/did.ts'
import { bucketOf, decodeSealed, MAX_BUCKET, MAX_SEALED_BYTES, SEALED_HEADER_BYTES, sealedSize } from '../../src/mesh/sealed/sealed-codec.ts'
import { openMessage, sealMessage } from '../../src/mesh/sealed/sealing.ts'
import { testIdentity } from '../mesh/fixtures.ts'
import { machine, message } from './make.ts'

const ann = machine('ann')
const benIdentity = testIdentity('ben')
const laptop = machine('laptop', benIdentity)
const phone = machine('phone', benIdentity)
const eve = machine('eve')

test('sealed message, to several machines, opens on each of them and on no other', async () => {
  const { envelope, head } = message(ann, laptop.did, utf8('hello'))
  const sealed = sealMessage(envelope, head, [laptop.target, phone.target], systemRandom)
  for (const { keys } of [laptop, phone]) assert.deepEqual((await openMessage(sealed, laptop.did, keys)).envelope, envelope)
  await assert.rejects(openMessage(sealed, eve.did, eve.keys), { code: 'NOT_FOR_US' })
  await assert.rejects(openMessage(sealed, laptop.did, eve.keys), { code: 'NEED_PREKEY' })
})

test('sealed message, of a hybrid envelope, opens to exactly that envelope', async () => {
  const sender = machine('ann pq', testIdentity('ann pq', { mldsa: true }))
  const { envelope, head } = message(sender, laptop.did, utf8('hello'), { hybrid: true })
  const sealed = sealMessage(envelope, head, [laptop.target], systemRandom)
  assert.deepEqual((await openMessage(sealed, laptop.did, laptop.keys)).envelope, envelope)
})

test('sealed message, nothing of the sender and nothing of the text, shows in its bytes', () => {
  const text = 'the words that nobody but Ben should read, and who wrote them'
  const { envelope, head } = message(ann, laptop.did, utf8(text))
  const sealed = Buffer.from(sealMessage(envelope, head, [laptop.target], systemRandom))
  for (const hidden of [didPublicKey(ann.did), ann.linkKey, utf8(text).subarray(0, 16), envelope.subarray(-64)]) assert.equal(sealed.indexOf(hidden), -1)
  assert.notEqual(sealed.indexOf(didPublicKey(laptop.did)), -1, 'the addressee does')
})

test('sealed message, any one byte changed, does not open', async () => {
  const { envelope, head } = message(ann, laptop.did, utf8('hello'))
  const sealed = sealMessage(envelope, head, [laptop.target, phone.target], systemRandom)
  const before = guardedSecrets()
  const refused = new Set(['SEALED_INVALID', 'WIRE_MALFORMED', 'KEY_INVALID', 'NOT_FOR_US', 'NEED_PREKEY'])
  const block = SEALED_HEADER_BYTES + 1
  const places = [...sealed.keys()].filter((at) => {
    // Of the encapsulations every 37th byte: each costs a decapsulation.
    const inBlock = (at - block) % 1208
    const inEnc = at >= block && at < block + 2 * 1208 && inBlock >= 40 && inBlock < 1160
    return !inEnc || inBlock % 37 === 0
  })
  for (const at of places) {
    const changed = Uint8Array.from(sealed)
    changed[at] = (changed[at] as number) ^ 1
    await assert.rejects(openMessage(changed, laptop.did, laptop.keys), (error: { code: string }) => refused.has(error.code), `byte ${at}`)
  }
  assert.equal(guardedSecrets(), before, 'no secret is left behind')
})

test('sealed message, a block taken out, put in or exchanged, does not open', async () => {
  const { envelope, head } = message(ann, laptop.did, utf8('hello'))
  const sealed = sealMessage(envelope, head, [laptop.target, phone.target], systemRandom)
  const at = SEALED_HEADER_BYTES + 1
  const first = sealed.subarray(at, at + 1208)
  const second = sealed.subarray(at + 1208, at + 2416)
  const [header, rest] = [sealed.subarray(0, SEALED_HEADER_BYTES), sealed.subarray(at + 2416)]
  for (const blocks of [[first], [second, first]]) {
    const changed = concat(header, Uint8Array.of(blocks.length), ...blocks, rest)
    await assert.rejects(openMessage(changed, laptop.did, laptop.keys), { code: 'SEALED_INVALID' })
  }
  await assert.rejects(openMessage(concat(header, Uint8Array.of(2), first, first, rest), laptop.did, laptop.keys), { code: 'WIRE_MALFORMED' })
  await assert.rejects(openMessage(concat(header, Uint8Array.of(0), rest), laptop.did, laptop.keys), { code: 'WIRE_MALFORMED' })
})

test('sealed message, with only one of its two secrets known, does not open', async () => {
  const { envelope, head } = message(ann, laptop.did, utf8('hello'))
  const sealed = decodeSealed(sealMessage(envelope, head, [laptop.target], systemRandom))
  const [block] = sealed.blocks
  assert.ok(block !== undefined)
  const seed = laptop.seed().use((bytes) => Uint8Array.from(bytes))
  const wide = createHash('shake256', { outputLength: 96 }).update(seed).digest()
  const kem = mlKem768OfSeed(Secret.take(Uint8Array.from(wide.subarray(0, 64))))
  const secretM = kem.decapsulate(block.enc.subarray(0, 1088)).use((bytes) => Uint8Array.from(bytes))
  const [ephemeral, own, secretX] = [block.enc.subarray(1088), new Uint8Array(32), new Uint8Array(32)]
  x25519PublicKey(own, wide.subarray(64))
  assert.ok(x25519(secretX, wide.subarray(64), ephemeral))
  const info = labeled('icn/sealed/v1', didPublicKey(laptop.did), block.device, block.kid)

  /** An attacker's way from two shared secrets to the text, written down a second time. */
  const opens = (m: Uint8Array, x: Uint8Array): boolean => {
    const shared = createHash('sha3-256')
      .update(m)
      .update(x)
      .update(ephemeral)
      .update(own)
      .update(Uint8Array.of(0x5c, 0x2e, 0x2f, 0x2f, 0x5e, 0x5c))
      .digest()
    const suite = concat(utf8('HPKE'), Uint8Array.of(0x64, 0x7a, 0, 1, 0, 3))
    const none = new Uint8Array(0)
    const extract = (salt: Uint8Array, label: string, ikm: Uint8Array): Uint8Array => hmacSha256(salt, utf8('HPKE-v1'), suite, utf8(label), ikm)
    const context = concat(Uint8Array.of(0), extract(none, 'psk_id_hash', none), extract(none, 'info_hash', info))
    const prk = extract(shared, 'secret', none)
    const expand = (label: string, length: number): Uint8Array =>
      hmacSha256(prk, Uint8Array.of(0, length), utf8('HPKE-v1'), suite, utf8(label), context, Uint8Array.of(1)).slice(0, length)
    const contentKey = openOnce(Secret.take(expand('key', 32)), sealed.encodedHeader, block.wrapped, expand('base_nonce', 12))
    if (contentKey === undefined) return false
    const padded = openOnce(Secret.take(contentKey), sha256(sealed.encodedHeader, sealed.encodedBlocks), sealed.ciphertext)
    return padded !== undefined && Buffer.from(padded).includes('hello')
  }
  assert.equal(opens(secretM, secretX), true, 'with both the way leads to the text')
  const otherKem = generateMlKem768()
  const guessesM = [new Uint8Array(32), sha256(block.enc), otherKem.decapsulate(block.enc.subarray(0, 1088)).use((bytes) => Uint8Array.from(bytes))]
  const otherX = new Uint8Array(32)
  x25519(otherX, systemRandom.bytes(32), ephemeral)
  for (const guess of guessesM) assert.equal(opens(guess, secretX), false, 'the classical secret alone')
  for (const guess of [new Uint8Array(32), ephemeral, otherX]) assert.equal(opens(secretM, guess), false, 'the post-quantum secret alone')
})

test('sealed message, sizes, show the bucket and nothing else', async () => {
  assert.deepEqual([bucketOf(1), bucketOf(256), bucketOf(257), bucketOf(MAX_BUCKET), bucketOf(MAX_BUCKET + 1)], [256, 256, 512, MAX_BUCKET, undefined])
  const lengths = new Map<number, Set<number>>()
  for (const size of [0, 20, 40, 50, 200, 250, 300, 5_000]) {
    const { envelope, head } = message(ann, laptop.did, new Uint8Array(size))
    const sealed = sealMessage(envelope, head, [laptop.target], systemRandom)
    const bucket = decodeSealed(sealed).bucket
    assert.equal(sealed.length, sealedSize(bucket, 1))
    assert.ok(bucket >= envelope.length && bucket < Math.max(512, 2 * envelope.length))
    lengths.set(bucket, (lengths.get(bucket) ?? new Set()).add(sealed.length))
  }
  for (const sizes of lengths.values()) assert.equal(sizes.size, 1)
})

test('sealed message, the largest envelope for the most machines, fits; one byte or one machine more does not', async () => {
  const { envelope, head } = message(ann, laptop.did, new Uint8Array(1_040_384))
  const targets = Array.from({ length: 16 }, (_, i) => machine(`machine ${i}`, benIdentity).target)
  const sealed = sealMessage(envelope, head, [...targets.slice(1), laptop.target], systemRandom)
  assert.equal(sealed.length, MAX_SEALED_BYTES)
  assert.equal((await openMessage(sealed, laptop.did, laptop.keys)).envelope.length, envelope.length)
  assert.throws(() => sealMessage(new Uint8Array(MAX_BUCKET + 1), head, [laptop.target], systemRandom), { code: 'MESSAGE_TOO_LARGE' })
  assert.throws(() => sealMessage(utf8('x'), head, [...targets, laptop.target], systemRandom), TypeError)
  assert.throws(() => sealMessage(utf8('x'), head, [], systemRandom), TypeError)
})

test('sealed message, padding that is not zeros or a larger bucket than needed, is refused', async () => {
  const { envelope, head } = message(ann, laptop.did, utf8('hello'))
  const open = (inner: Uint8Array): Promise<unknown> => openMessage(sealMessage(inner, head, [laptop.target], systemRandom), laptop.did, laptop.keys)
  await open(envelope)
  await assert.rejects(open(concat(envelope, Uint8Array.of(1))), { code: 'WIRE_MALFORMED' })
  await assert.rejects(open(concat(envelope, new Uint8Array(300))), { code: 'WIRE_MALFORMED' })
  await assert.rejects(open(new Uint8Array(256).fill(0xff)), { code: 'WIRE_MALFORMED' })
})
