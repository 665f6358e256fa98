import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { AEAD_ChaCha20Poly1305, KDF_HKDF_SHA256, KEM_MLKEM768_X25519 } from '@panva/hpke-noble'
import { CipherSuite } from 'hpke'
import { fromHex, utf8 } from '../../../src/core/bytes.ts'
import { HPKE_ENC_BYTES, HPKE_OVERHEAD_BYTES, hpkeOpen, hpkeSeal } from '../../../src/core/crypto/hpke.ts'
import { xwingPublicKey } from '../../../src/core/crypto/xwing.ts'
import { guardedSecrets } from '../../../src/core/guarded-memory.ts'
import { seededRandom, systemRandom } from '../../../src/core/random.ts'
import { Secret } from '../../../src/core/secret.ts'

const oracle = new CipherSuite(KEM_MLKEM768_X25519, KDF_HKDF_SHA256, AEAD_ChaCha20Poly1305)
const VECTORS = JSON.parse(readFileSync(new URL('../../vectors/xwing-draft-10.json', import.meta.url), 'utf8')) as { seed: string; pk: string }[]
const bytesOf = (secret: Secret): Uint8Array => secret.use((bytes) => Uint8Array.from(bytes))
const secretOf = (bytes: Uint8Array): Secret => Secret.take(Uint8Array.from(bytes))

/** Keys of the draft, so that both libraries also agree on how a seed becomes a key pair. */
const SEEDS = VECTORS.map(({ seed }) => fromHex(seed))

test('HPKE, suite of the oracle, is X-Wing with HKDF-SHA256 and ChaCha20-Poly1305', () => {
  assert.deepEqual([oracle.KEM.id, oracle.KDF.id, oracle.AEAD.id], [0x647a, 1, 3])
})

test('HPKE, sealed here, an independent library opens it', async () => {
  const random = seededRandom('hpke to oracle')
  for (const [round, seed] of SEEDS.entries()) {
    const privateKey = await oracle.DeserializePrivateKey(seed, false)
    const plaintext = random.bytes(1 + round * 500)
    const [info, aad] = [random.bytes(round * 40), random.bytes(round * 63)]
    const { enc, ciphertext } = hpkeSeal(fromHex(VECTORS[round]?.pk as string), { info, aad }, secretOf(plaintext), random)
    assert.equal(enc.length, HPKE_ENC_BYTES)
    assert.equal(ciphertext.length, plaintext.length + HPKE_OVERHEAD_BYTES)
    const publicKey = await oracle.DeserializePublicKey(xwingPublicKey(secretOf(seed)))
    assert.deepEqual(Uint8Array.from(await oracle.Open({ privateKey, publicKey }, enc, ciphertext, { info, aad })), plaintext)
  }
})

test('HPKE, sealed by an independent library, opens here', async () => {
  const random = seededRandom('hpke from oracle')
  for (const [round, seed] of SEEDS.entries()) {
    const secret = secretOf(seed)
    const plaintext = random.bytes(1 + round * 500)
    const [info, aad] = [random.bytes(round * 40), random.bytes(round * 63)]
    const publicKey = await oracle.DeserializePublicKey(xwingPublicKey(secret))
    const sealed = await oracle.Seal(publicKey, plaintext, { info, aad })
    const opened = hpkeOpen(secret, { info, aad }, { enc: sealed.encapsulatedSecret, ciphertext: sealed.ciphertext })
    assert.ok(opened !== undefined)
    assert.deepEqual(bytesOf(opened), plaintext)
  }
})

test('HPKE, another key, info, aad or any byte changed, does not open', () => {
  const seed = Secret.random(32, systemRandom)
  const context = { info: utf8('info'), aad: utf8('aad') }
  const before = guardedSecrets()
  const plaintext = Secret.random(32, systemRandom)
  const sealed = hpkeSeal(xwingPublicKey(seed), context, plaintext, systemRandom)
  plaintext.wipe()
  assert.equal(guardedSecrets(), before, 'sealing leaves no secret behind')
  const opened = hpkeOpen(seed, context, sealed)
  assert.ok(opened !== undefined)
  opened.wipe()

  assert.equal(hpkeOpen(Secret.random(32, systemRandom), context, sealed), undefined)
  assert.equal(hpkeOpen(seed, { ...context, info: utf8('other') }, sealed), undefined)
  assert.equal(hpkeOpen(seed, { ...context, aad: utf8('other') }, sealed), undefined)
  for (const at of [0, 1087, 1088, 1119]) {
    const enc = Uint8Array.from(sealed.enc)
    enc[at] = (enc[at] as number) ^ 1
    assert.equal(hpkeOpen(seed, context, { ...sealed, enc }), undefined, `enc ${at}`)
  }
  for (let at = 0; at < sealed.ciphertext.length; at++) {
    const ciphertext = Uint8Array.from(sealed.ciphertext)
    ciphertext[at] = (ciphertext[at] as number) ^ 1
    assert.equal(hpkeOpen(seed, context, { ...sealed, ciphertext }), undefined, `ciphertext ${at}`)
  }
})

test('HPKE, sizes and points that no honest side makes, are refused', () => {
  const seed = Secret.random(32, systemRandom)
  const context = { info: new Uint8Array(0), aad: new Uint8Array(0) }
  const publicKey = xwingPublicKey(seed)
  const plaintext = Secret.random(32, systemRandom)
  const { enc, ciphertext } = hpkeSeal(publicKey, context, plaintext, systemRandom)
  assert.equal(hpkeOpen(seed, context, { enc: enc.subarray(1), ciphertext }), undefined)
  assert.equal(hpkeOpen(seed, context, { enc, ciphertext: ciphertext.subarray(0, 16) }), undefined)
  assert.equal(hpkeOpen(seed, context, { enc: Uint8Array.from(enc).fill(0, 1088), ciphertext }), undefined, 'a small-order point')
  assert.throws(() => hpkeSeal(publicKey.subarray(1), context, plaintext, systemRandom), { code: 'KEY_INVALID' })
  assert.throws(() => hpkeSeal(Uint8Array.from(publicKey).fill(0, 1184), context, plaintext, systemRandom), { code: 'KEY_INVALID' })
})
