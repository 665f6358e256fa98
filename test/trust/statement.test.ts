import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { encode } from '../../src/core/codec.ts'
import { isKithError } from '../../src/core/errors.ts'
import { didPublicKey } from '../../src/identity/did.ts'
import { endorsementCodec, observationCodec, referenceCodec } from '../../src/trust/edge-evidence.ts'
import { decodeStatement, encodeStatement, GRAPHS, MAX_LIFE_MS, MAX_SEQUENCE_LEAD, sortLabels, statementCodec } from '../../src/trust/statement.ts'
import type { TrustStatement } from '../../src/trust/types.ts'
import { conformance, conformanceOfCodec, type Generator } from '../conformance.ts'
import { did, NOW, statement } from './support.ts'

const subject = did('subject')
const DIDS = ['ann', 'ben', 'cem'].map((name) => did(name))

function generated(g: Generator): TrustStatement {
  const createdMs = 1 + g.integer(2 ** 44)
  return {
    subject: g.pick(DIDS),
    graph: g.pick(GRAPHS),
    scope: g.option(() => `s${g.text(100).replaceAll(' ', '_')}`),
    weight: g.integer(10_001),
    createdMs,
    expiresMs: createdMs + 1 + g.integer(MAX_LIFE_MS),
    sequence: 1 + g.integer(createdMs),
    labels: sortLabels(g.list(10, () => `l${g.text(100)}`)),
    evidence: g.list(4, () => ({ kind: g.integer(256), body: g.bytesUpTo(4_096) })),
  }
}

conformanceOfCodec('icn/trust statement', statementCodec, generated)
conformance('icn/trust statement, encoded', (g) => encodeStatement(generated(g)))
const signed = (g: Generator) => ({
  signer: g.pick(DIDS),
  device: didPublicKey(g.pick(DIDS)),
  timeMs: g.integer(2 ** 44),
  ed25519: g.bytes(64),
  mldsa: g.option(() => g.bytes(3_309)),
})
conformanceOfCodec('icn/trust-endorsement/v1', endorsementCodec, signed)
conformanceOfCodec('icn/trust-observation/v1', observationCodec, (g) => ({ ...signed(g), metric: g.integer(256), value: g.integer(2 ** 32) }))
conformanceOfCodec('icn/trust reference', referenceCodec, (g) => ({ what: g.integer(256), hash: g.bytes(32) }))

test('statement, valid values at their limits, come back as they were', () => {
  const whole = statement(subject, 10_000, {
    scope: 'x'.repeat(128),
    labels: sortLabels(Array.from({ length: 10 }, (_, at) => `${at}${'é'.repeat(63)}`)),
    evidence: Array.from({ length: 20 }, (_, kind) => ({ kind, body: new Uint8Array(kind < 4 ? 4_096 : 0) })),
    sequence: NOW + MAX_SEQUENCE_LEAD,
  })
  assert.deepEqual(decodeStatement(encodeStatement(whole)), whole)
})

/** Bytes of a statement that `encodeStatement` would not make. */
function forged(parts: Partial<TrustStatement>): Uint8Array {
  return encode(statementCodec, { ...statement(subject, 5_000), ...parts })
}

const bad: Record<string, Partial<TrustStatement>> = {
  'a weight above 10000': { weight: 10_001 },
  'number 0, which once passed every check': { sequence: 0 },
  'a number far ahead of its date': { sequence: NOW + MAX_SEQUENCE_LEAD + 1 },
  'the highest number, so that none can follow': { sequence: Number.MAX_SAFE_INTEGER },
  'an expiry before its making': { expiresMs: NOW - 1 },
  'an expiry at its making': { expiresMs: NOW },
  'a life of more than a year': { expiresMs: NOW + MAX_LIFE_MS + 1 },
  'an empty scope': { scope: '' },
  'a scope with a space': { scope: 'a b' },
  'a scope beyond ASCII': { scope: 'bäckerei' },
  'an empty label': { labels: [''] },
  'labels out of order': { labels: ['b', 'a'] },
  'a label twice': { labels: ['a', 'a'] },
  'a label with a line break': { labels: ['a\nb'] },
  'a label that turns the text round': { labels: ['a\u202eb'] },
  'evidence of too many bytes together': { evidence: Array.from({ length: 5 }, () => ({ kind: 1, body: new Uint8Array(4_096) })) },
}
for (const [what, parts] of Object.entries(bad)) {
  test(`statement, ${what}, is refused on both sides`, () => {
    assert.throws(() => decodeStatement(forged(parts)), { code: 'WIRE_MALFORMED' })
    assert.throws(() => encodeStatement({ ...statement(subject, 5_000), ...parts }), TypeError)
  })
}

const tooLarge: Record<string, Partial<TrustStatement>> = {
  'eleven labels': { labels: Array.from({ length: 11 }, (_, at) => String.fromCharCode(97 + at)) },
  'a label of 129 bytes': { labels: ['a'.repeat(129)] },
  'a scope of 129 bytes': { scope: 'a'.repeat(129) },
  'twenty-one pieces of evidence': { evidence: Array.from({ length: 21 }, () => ({ kind: 1, body: new Uint8Array(1) })) },
  'evidence of 4097 bytes': { evidence: [{ kind: 1, body: new Uint8Array(4_097) }] },
  'a weight that is no number': { weight: Number.NaN },
  'a weight below 0': { weight: -1 },
  'half a basis point': { weight: 0.5 },
  'an infinite weight': { weight: Number.POSITIVE_INFINITY },
  'a date that is no number': { createdMs: Number.NaN },
  'a number beyond 2^53': { sequence: 2 ** 53 },
}
for (const [what, parts] of Object.entries(tooLarge)) {
  test(`statement, ${what}, is not made`, () => {
    assert.throws(() => encodeStatement({ ...statement(subject, 5_000), ...parts }), TypeError)
  })
}

test('statement bytes, cut, lengthened, of another version or graph, or about a key that is none, are refused', () => {
  const good = encodeStatement(statement(subject, 5_000, { scope: 'coop', labels: ['a'], evidence: [{ kind: 3, body: new Uint8Array(33) }] }))
  for (let length = 0; length < good.length; length++) assert.throws(() => decodeStatement(good.subarray(0, length)), { code: 'WIRE_MALFORMED' })
  assert.throws(() => decodeStatement(Buffer.concat([good, Uint8Array.of(0)])), { code: 'WIRE_MALFORMED' })
  const changed = (at: number, value: number): Uint8Array => Buffer.from(good).fill(value, at, at + 1)
  assert.throws(() => decodeStatement(changed(0, 2)), { code: 'WIRE_MALFORMED' })
  assert.throws(() => decodeStatement(changed(33, 3)), { code: 'WIRE_MALFORMED' })
  for (const key of [new Uint8Array(32), Uint8Array.of(1, ...new Uint8Array(31)), new Uint8Array(32).fill(0xff)]) {
    assert.throws(() => decodeStatement(Buffer.concat([good.subarray(0, 1), key, good.subarray(33)])), { code: 'WIRE_MALFORMED' })
  }
})

test('statement bytes, a number of 2^64 - 1, are refused', () => {
  const good = Buffer.from(encodeStatement(statement(subject, 5_000)))
  const at = 1 + 32 + 1 + 1 + 2 + 8 + 8
  assert.equal(good.readBigUInt64BE(at), BigInt(NOW))
  good.writeBigUInt64BE(0xffff_ffff_ffff_ffffn, at)
  assert.throws(() => decodeStatement(good), { code: 'WIRE_MALFORMED' })
})

test('statement bytes, fields moved across a border, are other bytes', () => {
  const seen = new Set(
    [
      { labels: ['ab'] },
      { labels: ['a', 'b'] },
      { labels: ['a'], evidence: [{ kind: 98, body: new Uint8Array() }] },
      { scope: 'ab' },
      { evidence: [{ kind: 1, body: Uint8Array.of(97, 98) }] },
    ].map((parts) => Buffer.from(encodeStatement(statement(subject, 5_000, parts))).toString('hex')),
  )
  assert.equal(seen.size, 5)
})

test('statement, any bytes, are refused as malformed or have one encoding', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        assert.deepEqual(Buffer.from(encodeStatement(decodeStatement(bytes))), Buffer.from(bytes))
      } catch (error) {
        assert.ok(isKithError(error, 'WIRE_MALFORMED'))
      }
    }),
  )
})
