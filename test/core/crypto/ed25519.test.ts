import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { ed25519 } from '@noble/curves/ed25519.js'
import { concat, fromHex, toHex, utf8 } from '../../../src/core/bytes.ts'
import { createSigner, isPublicKey, parsePublicKey, publicKeyOfSeed, randomSeed, verify, verifyZip215 } from '../../../src/core/crypto/ed25519.ts'
import { labeled } from '../../../src/core/crypto/labels.ts'
import { equationHolds } from '../../../src/core/crypto/zip215.ts'
import { seededRandom, systemRandom } from '../../../src/core/random.ts'
import { Secret } from '../../../src/core/secret.ts'
import type { KeyRole } from '../../../src/core/signer.ts'
import { craft, type EdgeCase, edgeCases, SMALL_ORDER_ENCODINGS } from './edge-cases.ts'

const zip215Oracle = (key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean => {
  try {
    return ed25519.verify(signature, message, key, { zip215: true })
  } catch {
    return false
  }
}

// RFC 8032, 7.1, tests 1 to 3: seed, public key, message, signature.
const RFC_8032 = [
  [
    '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    '',
    'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  ],
  [
    '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    '72',
    '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  ],
  [
    'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
    'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
    'af82',
    '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
  ],
] as const

test('ed25519, the vectors of RFC 8032, give these keys and verify', () => {
  for (const [seed, key, message, signature] of RFC_8032) {
    assert.equal(toHex(publicKeyOfSeed(Secret.take(fromHex(seed)))), key)
    assert.equal(verify(fromHex(key), fromHex(message), fromHex(signature)), true)
    assert.equal(verifyZip215(fromHex(key), fromHex(message), fromHex(signature)), true)
  }
})

test('signer, over a labeled message, agrees with an independent implementation', () => {
  const seed = systemRandom.bytes(32)
  const signer = createSigner('identity', Secret.take(Uint8Array.from(seed)))
  const message = labeled('icn/test-purpose/v1', systemRandom.bytes(100))
  const signature = signer.sign(message)
  assert.deepEqual(signature, ed25519.sign(message, seed))
  assert.deepEqual(Uint8Array.from(signer.publicKey), ed25519.getPublicKey(seed))
  assert.equal(verify(signer.publicKey, message, signature), true)
})

test('signer, made, owns the seed; closed, refuses', () => {
  const seed = randomSeed(systemRandom)
  const signer = createSigner('link', seed)
  assert.equal(seed.wiped, true)
  signer.close()
  signer.close()
  assert.throws(() => signer.sign(new Uint8Array(33)), { code: 'SECRET_WIPED' })
  assert.throws(() => createSigner('link', seed), { code: 'SECRET_WIPED' })
  assert.throws(() => createSigner('link', Secret.alloc(64)), TypeError)
})

const bytes = (length: number, ...start: number[]): Uint8Array => Uint8Array.from([...start, ...new Uint8Array(length - start.length)])
const tls = concat(new Uint8Array(64).fill(0x20), utf8('TLS 1.3, server CertificateVerify\0'), new Uint8Array(48))
const label8 = concat(Uint8Array.of(8), utf8('icn/ab/1'))
const label31 = concat(Uint8Array.of(31), utf8('icn/abcdefghijklmnopqrstuvwx/v1'))

const PREFIXES: readonly (readonly [string, Uint8Array, readonly KeyRole[]])[] = [
  ['label of 8 bytes', concat(label8, bytes(3)), ['identity', 'link']],
  ['label of 31 bytes', concat(label31, bytes(3)), ['identity', 'link']],
  ['label alone', label8, ['identity', 'link']],
  ['label of 7 bytes', concat(Uint8Array.of(7), utf8('icn/a/1'), bytes(9)), []],
  ['label of 32 bytes', concat(Uint8Array.of(32), utf8('icn/abcdefghijklmnopqrstuvwxy/v1')), []],
  ['label cut short', label8.subarray(0, 8), []],
  ['label with a space', concat(Uint8Array.of(8), utf8('icn/a /1')), []],
  ['label with a control', concat(Uint8Array.of(8), utf8('icn/a\n/1')), []],
  ['label beyond ASCII', concat(Uint8Array.of(8), utf8('icn/é/1')), []],
  ['encrypted stream', bytes(33), ['link']],
  ['encrypted stream, too short', bytes(32), []],
  ['encrypted stream, too long', bytes(34), []],
  ['TLS CertificateVerify', tls, ['link']],
  ['TLS with 63 spaces', tls.subarray(1), []],
  ['TLS 1.2 context', concat(new Uint8Array(64).fill(0x20), utf8('TLS 1.2, x')), []],
  ['TLS prefix alone', tls.subarray(0, 73), []],
  ['X.509, short form', concat(Uint8Array.of(0x30, 3), bytes(3)), ['link']],
  ['X.509, long form', concat(Uint8Array.of(0x30, 0x81, 0x80), bytes(128)), ['link']],
  ['X.509, two bytes of length', concat(Uint8Array.of(0x30, 0x82, 0x01, 0x00), bytes(256)), ['link']],
  ['X.509, bytes left over', concat(Uint8Array.of(0x30, 3), bytes(4)), []],
  ['X.509, cut short', concat(Uint8Array.of(0x30, 3), bytes(2)), []],
  ['X.509, indefinite length', concat(Uint8Array.of(0x30, 0x80), bytes(2)), []],
  ['X.509, overlong length', concat(Uint8Array.of(0x30, 0x81, 3), bytes(3)), []],
  ['X.509, leading zero in the length', concat(Uint8Array.of(0x30, 0x82, 0, 0x80), bytes(128)), []],
  ['X.509, nothing but the tag', Uint8Array.of(0x30), []],
  ['QUIC certificate', concat(utf8('libp2p-tls-handshake:'), bytes(44)), ['link']],
  ['QUIC certificate, no colon', concat(utf8('libp2p-tls-handshake'), bytes(44)), []],
  ['QUIC certificate prefix alone', utf8('libp2p-tls-handshake:'), []],
  ['recovery text', utf8('ICN_RECOVERY_ATTESTATION:did:icn:z'), ['identity']],
  ['recovery text of another name', utf8('ICN_RECOVERY_ATTESTATIO:did:icn:z'), []],
  ['SSH user authentication', concat(Uint8Array.of(0, 0, 0, 32), bytes(100)), []],
  ['40-byte token', bytes(40, 0x6b), []],
  ['commonware namespace of 28 bytes', concat(Uint8Array.of(28), utf8('my-app-namespace_STREAM_abcd'), bytes(32)), ['identity', 'link']],
  ['empty message', new Uint8Array(), []],
  ['one zero', new Uint8Array(1), []],
]

test('signer, each message format, signs only those of its role', () => {
  const signers = { identity: createSigner('identity', randomSeed(systemRandom)), link: createSigner('link', randomSeed(systemRandom)) }
  for (const [name, message, roles] of PREFIXES) {
    for (const role of ['identity', 'link'] as const) {
      if (roles.includes(role)) assert.equal(verify(signers[role].publicKey, message, signers[role].sign(message)), true, `${name}, ${role}`)
      else assert.throws(() => signers[role].sign(message), { code: 'SIGNER_REFUSED' }, `${name}, ${role}`)
    }
  }
})

test('signer, every first byte over a plain message, refuses all but the labels and the exact formats', () => {
  const link = createSigner('link', randomSeed(systemRandom))
  const signed: number[] = []
  for (let first = 0; first < 256; first++) {
    try {
      link.sign(concat(Uint8Array.of(first), new Uint8Array(63).fill(0x61)))
      signed.push(first)
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'SIGNER_REFUSED')
    }
  }
  assert.deepEqual(
    signed,
    Array.from({ length: 24 }, (_, i) => 8 + i),
  )
})

test('refusal, of a message that may be secret, shows its first byte and length only', () => {
  const signer = createSigner('link', randomSeed(systemRandom))
  assert.throws(
    () => signer.sign(utf8('hunter2 is my password')),
    (error: Error) => !JSON.stringify(error).includes('hunter2') && JSON.stringify(error).includes('"length":22'),
  )
})

test('public key, torsion, small order, non-canonical or of another length, is refused', () => {
  const signer = createSigner('link', randomSeed(systemRandom))
  assert.equal(isPublicKey(signer.publicKey), true)
  assert.deepEqual(parsePublicKey(signer.publicKey), signer.publicKey)
  for (const encoding of SMALL_ORDER_ENCODINGS) {
    assert.equal(isPublicKey(fromHex(encoding)), false, encoding)
    assert.throws(() => parsePublicKey(fromHex(encoding)), { code: 'KEY_INVALID' })
  }
  const mixed = craft(new Uint8Array(1), { a: 77n, r: 1n, keyTorsion: 1, commitmentTorsion: 0 })
  assert.equal(isPublicKey(mixed.key), false)
  assert.equal(isPublicKey(craft(new Uint8Array(1), { a: 77n, r: 1n, keyTorsion: 0, commitmentTorsion: 0 }).key), true)
  for (const length of [0, 31, 33]) assert.throws(() => parsePublicKey(new Uint8Array(length)), { code: 'KEY_INVALID' })
})

test('public key, parsed, is a copy that later changes do not reach', () => {
  const source = Buffer.from(createSigner('link', randomSeed(systemRandom)).publicKey)
  const key = parsePublicKey(source)
  const before = toHex(key)
  source.fill(0)
  assert.equal(toHex(key), before)
  assert.equal(isPublicKey(source), false)
})

test('verification, wrong lengths, is false', () => {
  const signer = createSigner('link', randomSeed(systemRandom))
  const message = new Uint8Array(33)
  const signature = signer.sign(message)
  for (const check of [verify, verifyZip215]) {
    assert.equal(check(signer.publicKey, message, signature), true)
    assert.equal(check(signer.publicKey, message, signature.subarray(1)), false)
    assert.equal(check(signer.publicKey, message, concat(signature, Uint8Array.of(0))), false)
    assert.equal(check(signer.publicKey.subarray(1), message, signature), false)
    assert.equal(check(concat(signer.publicKey, Uint8Array.of(0)), message, signature), false)
  }
})

const VECTORS = new URL('../../vectors/ed25519-rule.json', import.meta.url)
interface RuleVector extends EdgeCase {
  /** The one rule of everything native. */
  readonly verify: boolean
  readonly zip215: boolean
}

test('edge cases, judged by both rules, come out as recorded', () => {
  const judged: RuleVector[] = edgeCases().map((one) => {
    const inputs = [fromHex(one.key), fromHex(one.message), fromHex(one.signature)] as const
    return { ...one, verify: verify(...inputs), zip215: verifyZip215(...inputs) }
  })
  if (process.env.KITH_CONFORMANCE === 'update' && !existsSync(VECTORS)) writeFileSync(VECTORS, `${JSON.stringify(judged, null, 1)}\n`)
  assert.deepEqual(judged, JSON.parse(readFileSync(VECTORS, 'utf8')))
  assert.deepEqual(
    judged.filter((one) => one.verify).map((one) => one.name),
    ['plain signature'],
  )
  for (const one of judged) assert.equal(one.zip215, zip215Oracle(fromHex(one.key), fromHex(one.message), fromHex(one.signature)), one.name)
})

test('ZIP-215, all 14 x 14 small-order encodings, accepts every one as an independent implementation does', () => {
  const message = utf8('Zcash')
  let accepted = 0
  for (const key of SMALL_ORDER_ENCODINGS) {
    for (const commitment of SMALL_ORDER_ENCODINGS) {
      const signature = concat(fromHex(commitment), new Uint8Array(32))
      assert.equal(verify(fromHex(key), message, signature), false)
      assert.equal(verifyZip215(fromHex(key), message, signature), zip215Oracle(fromHex(key), message, signature), `${key} ${commitment}`)
      accepted += verifyZip215(fromHex(key), message, signature) ? 1 : 0
    }
  }
  assert.equal(accepted, 196)
})

test('ZIP-215, mixed-order and mutated signatures, decides as an independent implementation does', () => {
  const random = seededRandom('zip215 mixed')
  let accepted = 0
  for (let i = 0; i < 300; i++) {
    const message = random.bytes(1 + (i % 40))
    const pick = (): number => Math.floor(random.unit() * 8)
    const scalar = (): bigint => BigInt(`0x${toHex(random.bytes(31))}`)
    const { key, signature } = craft(message, { a: scalar(), r: scalar(), keyTorsion: pick(), commitmentTorsion: i % 3 === 0 ? 0 : pick() })
    if (i % 5 === 4) {
      const target = i % 2 === 0 ? signature : key
      const at = Math.floor(random.unit() * target.length)
      target[at] = (target[at] as number) ^ (1 << Math.floor(random.unit() * 8))
    }
    const expected = zip215Oracle(key, message, signature)
    assert.equal(verifyZip215(key, message, signature), expected, `case ${i}`)
    assert.equal(equationHolds(key, message, signature), expected, `case ${i}, equation alone`)
    if (verify(key, message, signature)) assert.equal(expected, true, `case ${i}: the strict rule accepts no more`)
    accepted += expected ? 1 : 0
  }
  assert.ok(accepted >= 220 && accepted < 300, String(accepted))
})
