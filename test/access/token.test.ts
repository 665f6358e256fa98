import assert from 'node:assert/strict'
import { test } from 'node:test'
import { apiKeyHash, generateApiKey, isApiKey } from '../../src/access/api-key.ts'
import { ReplayCache } from '../../src/access/replay-cache.ts'
import { parseToken, signToken, signTokenFor, TOKEN_LENGTH, tokenHolds, tokenKeyId } from '../../src/access/token.ts'
import { toHex } from '../../src/core/bytes.ts'
import { manualClock } from '../../src/core/clock.ts'
import { createSigner } from '../../src/core/crypto/ed25519.ts'
import { isKithError } from '../../src/core/errors.ts'
import { seededRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { keyFrom, NOW, NOW_S } from './support.ts'

const ANN = keyFrom(1)
const RANDOM = seededRandom('tokens')

test('token of the reference identity, is the known one', () => {
  const seed = Buffer.from('603aa5c626317fda4afd87b902e5c9de76c33f40834005245e1c5a675e92d700', 'hex')
  const signer = createSigner('service', Secret.take(seed))
  const text = signToken(signer, 1_750_000_000)
  assert.equal(
    text,
    'WuZWX2X_cKcwqvnY3lX7FhJUAP9nCLlZqUJyMqbYJjAAAAAAaE7hgFfQ-qxSaw0JwwOJREJ9_c4cY-oODiiyHFkYmCdWGHv7gwqiusZq6lnreTskRfkhRPHjlIK61xrmzdvOEbpQQQ4',
  )
  assert.equal(text.length, TOKEN_LENGTH)
  const token = parseToken(text)
  assert.ok(token)
  assert.equal(tokenHolds(token, signer.publicKey, 1_750_000_000_000), true)
})

test('token within five minutes on either side, counts, and not a second beyond', () => {
  const holds = (away: number): boolean => {
    const token = parseToken(signToken(ANN, NOW_S + away))
    assert.ok(token)
    return tokenHolds(token, ANN.publicKey, NOW)
  }
  assert.deepEqual([-301, -300, 0, 300, 301].map(holds), [false, true, true, true, false])
  const far = parseToken(signToken(ANN, Number.MAX_SAFE_INTEGER))
  assert.ok(far)
  assert.equal(tokenHolds(far, ANN.publicKey, NOW), false)
})

test('token with any character changed, is no token of that key', () => {
  const text = signToken(ANN, NOW_S)
  for (let at = 0; at < text.length; at++) {
    const changed = `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`
    const token = parseToken(changed)
    const same = token !== undefined && tokenHolds(token, ANN.publicKey, NOW) && toHex(token.keyId) === toHex(tokenKeyId(ANN.publicKey))
    assert.equal(same, false, `character ${at}`)
  }
})

test('texts that are no tokens, are undefined', () => {
  const text = signToken(ANN, NOW_S)
  const second = signTokenFor(ANN, 'gateway', NOW_S, RANDOM)
  for (const bad of [
    '',
    'x',
    text.slice(1),
    `${text}=`,
    `${text}A`,
    text.replaceAll('-', '+').replaceAll('_', '/').padEnd(140, '='),
    ` ${text.slice(1)}`,
    second.slice(4),
    `kt2.${text}`,
    `kt2.`,
    'A'.repeat(100_000),
    `KT2.${second.slice(4)}`,
  ]) {
    const token = parseToken(bad)
    assert.ok(token === undefined || !tokenHolds(token, ANN.publicKey, NOW), bad.slice(0, 60))
  }
  // The last of the 139 characters has two spare bits: another spelling of the same bytes is refused.
  const spare = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'].filter((char) => parseToken(text.slice(0, -1) + char) !== undefined)
  assert.equal(spare.length, 16, 'only characters with the spare bits zero')
})

test('token for an audience, says it, differs each time and is of its label', () => {
  const [one, two] = [signTokenFor(ANN, 'did:icn:zGate', NOW_S, RANDOM), signTokenFor(ANN, 'did:icn:zGate', NOW_S, RANDOM)]
  assert.notEqual(one, two)
  const token = parseToken(one)
  assert.equal(token?.audience, 'did:icn:zGate')
  assert.equal(tokenHolds(token, ANN.publicKey, NOW), true)
  assert.equal(tokenHolds(token, keyFrom(2).publicKey, NOW), false)
  const renamed = Buffer.from(one.slice(4), 'base64url')
  renamed.write('did:icn:zEvil', 58)
  const other = parseToken(`kt2.${renamed.toString('base64url')}`)
  assert.equal(other?.audience, 'did:icn:zEvil')
  assert.equal(tokenHolds(other, ANN.publicKey, NOW), false)
  for (const audience of ['', 'x'.repeat(201)]) assert.throws(() => signTokenFor(ANN, audience, NOW_S, RANDOM), TypeError)
})

test('a signature used before, is not the first, also behind a restart', async () => {
  const clock = manualClock(NOW)
  const store = createMemoryStore()
  const cache = await ReplayCache.open(clock, store)
  const signature = new Uint8Array(64).fill(3)
  assert.equal(await cache.first(signature, NOW + 10), true)
  assert.equal(await cache.first(signature, NOW + 10), false)
  const again = await ReplayCache.open(clock, store)
  assert.equal(await again.first(signature, NOW + 10), false)
  clock.advance(10)
  assert.equal(await again.first(new Uint8Array(64), NOW + 20), true)
  assert.equal(again.size, 1, 'what would not count any more is forgotten')
  assert.equal((await ReplayCache.open(clock, store)).size, 1)
})

test('two uses at once, are one first use', async () => {
  const cache = await ReplayCache.open(manualClock(NOW), createMemoryStore())
  const signature = new Uint8Array(64).fill(4)
  assert.deepEqual((await Promise.all([cache.first(signature, NOW + 9), cache.first(signature, NOW + 9)])).sort(), [false, true])
})

test('a cache that is full, refuses new tokens and forgets none', async () => {
  const clock = manualClock(NOW)
  const cache = await ReplayCache.open(clock, createMemoryStore())
  const signature = Buffer.alloc(64)
  const nth = (n: number): Uint8Array => {
    signature.writeUInt32BE(n)
    return signature
  }
  for (let n = 0; n < 100_000; n++) await cache.first(nth(n), NOW + 1)
  await assert.rejects(cache.first(nth(100_000), NOW + 1), (error) => isKithError(error, 'TOKEN_BUSY'))
  assert.equal(await cache.first(nth(0), NOW + 1), false)
  clock.advance(1)
  assert.equal(await cache.first(nth(100_000), NOW + 2), true)
})

test('API keys, are random, of one form, and known by their hash', () => {
  const [one, two] = [generateApiKey(RANDOM), generateApiKey(RANDOM)]
  assert.notEqual(one, two)
  assert.match(one, /^alk_[A-Za-z0-9_-]{43}$/)
  assert.equal(isApiKey(one), true)
  assert.equal(apiKeyHash('alk_testsecret123'), '61210fdb492c840f1838774b822c184083c4093c7cb93e6c2c33732ff3b8903c')
  for (const bad of ['', 'alk_', 'alk_short', 'ALK_testsecret123', 'alk_test secret', `alk_${'x'.repeat(201)}`])
    assert.equal(isApiKey(bad), false, bad.slice(0, 30))
})
