import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { PublicKey } from '../../src/core/bytes.ts'
import { equal } from '../../src/core/bytes.ts'
import { hashLabeled } from '../../src/core/crypto/labels.ts'
import { isKithError } from '../../src/core/errors.ts'
import {
  decodeEnvelope,
  ENVELOPE_ID_LABEL,
  type EnvelopeFields,
  MAX_ENVELOPE_BYTES,
  MAX_PAYLOAD_BYTES,
  signatureFault,
  signEnvelope,
} from '../../src/mesh/messages/envelope.ts'
import { framed } from '../../src/mesh/messages/live-frames.ts'
import { papersAnswer, papersRequest } from '../../src/mesh/messages/papers-protocol.ts'
import { conformance, conformanceOfCodec } from '../conformance.ts'
import { testDevice, testIdentity } from '../mesh/fixtures.ts'
import { codeOf, envelopeOf, fieldsOf, station } from './messages-support.ts'

const ann = await station('ann', { mldsa: true })
const ben = await station('ben')
const CLASSES = ['live', 'stored', 'record'] as const

const device = testDevice(testIdentity('conformance'), 'conformance')
conformance('icn/envelope/v1 body', (g) => {
  const common = {
    suite: 'ed25519',
    from: device.didKey,
    device: device.linkSigner.publicKey,
    timeMs: g.integer(2 ** 53),
    type: g.integer(65_536),
    payload: g.bytesUpTo(300),
  } as const
  const to = g.bytes(32)
  const fields: EnvelopeFields = g.pick<EnvelopeFields>([
    { ...common, class: 'live', to, session: g.bytes(16), seq: g.integer(2 ** 53) },
    { ...common, class: 'stored', to, msgId: g.bytes(16), expiresMs: g.integer(2 ** 53) },
    { ...common, class: 'record', topic: `topic:${g.integer(1_000_000)}`, epoch: g.integer(2 ** 53), seq: g.integer(2 ** 53) },
  ])
  return signEnvelope(fields, { ed25519: device.linkSigner, mldsa: undefined })
})

conformance('icn/envelope-id/v1', (g) => hashLabeled(ENVELOPE_ID_LABEL, g.bytesUpTo(300)))
conformance('icn/msg/1 frames', (g) => framed(g.list(4, () => g.bytesUpTo(300))))
conformanceOfCodec('icn/papers/1 request', papersRequest, (g) => ({
  _version: undefined,
  did: g.bytes(32),
  device: g.bytes(32),
  haveIndex: g.integer(2 ** 32),
}))
conformanceOfCodec('icn/papers/1 answer', papersAnswer, (g) => ({ _version: undefined, binding: g.bytesUpTo(300), chain: g.bytesUpTo(300) }))

for (const kind of CLASSES) {
  for (const suite of ['ed25519', 'hybrid'] as const) {
    test(`envelope, ${kind} ${suite}, reads back what was signed and verifies`, () => {
      const fields = fieldsOf(ann, ben, kind, { suite })
      const envelope = decodeEnvelope(signEnvelope(fields, { ed25519: ann.node.device.linkSigner, mldsa: ann.node.device.mldsaSigner }))
      assert.equal(envelope.class, kind)
      assert.equal(envelope.suite, suite)
      assert.ok(equal(envelope.from, fields.from))
      assert.ok(equal(envelope.device, fields.device))
      assert.equal(envelope.timeMs, fields.timeMs)
      assert.equal(envelope.type, fields.type)
      assert.ok(equal(envelope.payload, fields.payload))
      assert.equal(signatureFault(envelope, ann.device, ann.node.device.mldsaSigner?.publicKey), undefined)
    })

    test(`envelope, ${kind} ${suite}, no byte can be changed`, () => {
      const bytes = envelopeOf(ann, ben, kind, { suite })
      const mldsa = ann.node.device.mldsaSigner?.publicKey
      // ML-DSA signatures are long: every byte of the body and of the first signature, and some of the second.
      for (let at = 0; at < bytes.length; at += at < 300 ? 1 : 97) {
        const changed = Uint8Array.from(bytes)
        changed[at] = (changed[at] as number) ^ 0x01
        let refused: boolean
        try {
          const envelope = decodeEnvelope(changed)
          // Verified under the key it was made with: a changed device is not whose signature this is either.
          refused = signatureFault(envelope, ann.device, mldsa) !== undefined
        } catch (error) {
          assert.ok(isKithError(error, 'WIRE_MALFORMED') || isKithError(error, 'VERSION_UNSUPPORTED'))
          refused = true
        }
        assert.ok(refused, `byte ${at} was changed and nobody noticed`)
      }
    })
  }

  test(`envelope, ${kind}, every length but its own is refused`, async () => {
    const bytes = envelopeOf(ann, ben, kind)
    for (let length = 0; length < bytes.length; length++) {
      assert.throws(() => decodeEnvelope(bytes.subarray(0, length)), { code: 'WIRE_MALFORMED' })
    }
    const longer = new Uint8Array(bytes.length + 1)
    longer.set(bytes)
    assert.throws(() => decodeEnvelope(longer), { code: 'WIRE_MALFORMED' })
    assert.equal(await codeOf(() => decodeEnvelope(new Uint8Array(MAX_ENVELOPE_BYTES + 1))), 'WIRE_MALFORMED')
  })
}

test('envelope, hybrid, cannot be stripped to its Ed25519 half', () => {
  // The original's signature did not cover its kind: an intermediary could take the post-quantum half off.
  const bytes = envelopeOf(ann, ben, 'record', { suite: 'hybrid' })
  const stripped = Uint8Array.from(bytes.subarray(0, bytes.length - 3309))
  stripped[2] = 0
  assert.equal(signatureFault(decodeEnvelope(stripped), ann.device, undefined), 'ed25519')
})

test('envelope, hybrid without the ML-DSA key of its device, does not verify', () => {
  const bytes = envelopeOf(ann, ben, 'record', { suite: 'hybrid' })
  assert.equal(signatureFault(decodeEnvelope(bytes), ann.device, undefined), 'mldsa')
})

test('envelope, other kind of destination than its class has, is malformed', () => {
  for (const kind of CLASSES) {
    const bytes = Uint8Array.from(envelopeOf(ann, ben, kind))
    bytes[67] = kind === 'record' ? 0 : 1
    assert.throws(() => decodeEnvelope(bytes), { code: 'WIRE_MALFORMED' })
    bytes[67] = 2
    assert.throws(() => decodeEnvelope(bytes), { code: 'WIRE_MALFORMED' })
  }
})

test('envelope, unknown version, is told apart from malformed bytes', () => {
  const bytes = Uint8Array.from(envelopeOf(ann, ben, 'live'))
  bytes[0] = 2
  assert.throws(() => decodeEnvelope(bytes), { code: 'VERSION_UNSUPPORTED' })
})

for (const [index, name] of [
  [1, 'class'],
  [2, 'suite'],
] as const) {
  test(`envelope, unknown ${name}, is malformed`, () => {
    for (const value of [9, 255]) {
      const bytes = Uint8Array.from(envelopeOf(ann, ben, 'live'))
      bytes[index] = value
      assert.throws(() => decodeEnvelope(bytes), { code: 'WIRE_MALFORMED' })
    }
  })
}

test('envelope, integers beyond 2^53, are malformed', () => {
  // live: session at 101, seq at 117, time at 125.
  for (const at of [117, 125]) {
    for (const high of [0x0020_0000, 0xffff_ffff]) {
      const bytes = Uint8Array.from(envelopeOf(ann, ben, 'live'))
      new DataView(bytes.buffer).setUint32(at, high)
      assert.throws(() => decodeEnvelope(bytes), { code: 'WIRE_MALFORMED' })
    }
  }
})

test('envelope, largest values, read back', () => {
  const fields = fieldsOf(ann, ben, 'record', { epoch: Number.MAX_SAFE_INTEGER, seq: Number.MAX_SAFE_INTEGER, topic: 'x'.repeat(200), type: 0xffff })
  const envelope = decodeEnvelope(signEnvelope(fields, { ed25519: ann.node.device.linkSigner, mldsa: undefined }))
  assert.equal(envelope.epoch, Number.MAX_SAFE_INTEGER)
  assert.equal(envelope.seq, Number.MAX_SAFE_INTEGER)
  assert.equal(envelope.topic, 'x'.repeat(200))
})

test('envelope, overlong varint, is malformed', () => {
  const bytes = envelopeOf(ann, ben, 'record', { payload: new Uint8Array(0) })
  // The payload length 0 stands right before the signature.
  const at = bytes.length - 65
  const longer = new Uint8Array(bytes.length + 1)
  longer.set(bytes.subarray(0, at))
  longer.set([0x80, 0x00], at)
  longer.set(bytes.subarray(at + 1), at + 2)
  assert.throws(() => decodeEnvelope(longer), { code: 'WIRE_MALFORMED', details: { reason: 'overlong varint' } })
})

for (const topic of ['', 'x'.repeat(201), 'a b', 'ü', 'a\n']) {
  test(`envelope, topic ${JSON.stringify(topic.slice(0, 8))}, cannot be signed`, () => {
    assert.throws(() => envelopeOf(ann, ben, 'record', { topic }), TypeError)
  })
}

test('envelope, values that do not fit, are the caller’s mistake', async () => {
  assert.throws(() => envelopeOf(ann, ben, 'live', { seq: -1 }), TypeError)
  assert.throws(() => envelopeOf(ann, ben, 'live', { seq: 2 ** 53 }), TypeError)
  assert.throws(() => envelopeOf(ann, ben, 'live', { type: 65_536 }), TypeError)
  assert.throws(() => envelopeOf(ann, ben, 'live', { session: new Uint8Array(15) }), TypeError)
  assert.equal(await codeOf(() => envelopeOf(ann, ben, 'live', { payload: new Uint8Array(MAX_PAYLOAD_BYTES + 1) })), 'MESSAGE_TOO_LARGE')
  assert.equal(await codeOf(() => envelopeOf(ben, ann, 'record', { suite: 'hybrid' })), 'UNSUPPORTED')
})

test('envelope, largest payload, fits', () => {
  const envelope = decodeEnvelope(envelopeOf(ann, ben, 'live', { payload: new Uint8Array(MAX_PAYLOAD_BYTES), suite: 'hybrid' }))
  assert.equal(envelope.payload.length, MAX_PAYLOAD_BYTES)
  assert.equal(signatureFault(envelope, ann.device, ann.node.device.mldsaSigner?.publicKey), undefined)
})

test('envelope, small-order and non-canonical keys and signatures, never verify', () => {
  // The identity point, a point of order 8, and an encoding beyond p: a signature of zeros over anything verifies under the laxest rules.
  const bad = [
    '0100000000000000000000000000000000000000000000000000000000000000',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    `ee${'ff'.repeat(30)}7f`,
  ]
  for (const hex of bad) {
    const key = Uint8Array.from(Buffer.from(hex, 'hex')) as PublicKey
    const bytes = Uint8Array.from(envelopeOf(ann, ben, 'live'))
    bytes.set(key, 35)
    bytes.fill(0, bytes.length - 64)
    bytes.set(key, bytes.length - 64)
    assert.equal(signatureFault(decodeEnvelope(bytes), key, undefined), 'ed25519')
  }
  const bytes = Uint8Array.from(envelopeOf(ann, ben, 'live'))
  // S + L: the same equation, another spelling.
  const order = (1n << 252n) + 27742317777372353535851937790883648493n
  const at = bytes.length - 32
  let s = 0n
  for (let i = 31; i >= 0; i--) s = (s << 8n) | BigInt(bytes[at + i] as number)
  s += order
  for (let i = 0; i < 32; i++) bytes[at + i] = Number((s >> BigInt(8 * i)) & 0xffn)
  assert.equal(signatureFault(decodeEnvelope(bytes), ann.device, undefined), 'ed25519')
})

test('envelope, any bytes, decode or are malformed, never anything else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      try {
        const envelope = decodeEnvelope(bytes)
        assert.equal(envelope.bytes.length, bytes.length)
      } catch (error) {
        assert.ok(isKithError(error, 'WIRE_MALFORMED') || isKithError(error, 'VERSION_UNSUPPORTED'))
      }
    }),
    { numRuns: 500 },
  )
})
