import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { toHex } from '../../src/core/bytes.ts'
import { isKithError } from '../../src/core/errors.ts'
import { type ControlMessage, ControlReader, decodeControl, encodeControl } from '../../src/mesh/link-control.ts'

const message: fc.Arbitrary<ControlMessage> = fc.oneof(
  fc.record({ type: fc.constantFrom('select' as const, 'prefer' as const), id: fc.uint8Array({ minLength: 8, maxLength: 8 }) }),
  fc.record({ type: fc.constant('retire' as const), opened: fc.nat() }),
  fc.constant<ControlMessage>({ type: 'empty' }),
  fc.record({
    type: fc.constant('addresses' as const),
    urls: fc.array(
      fc.webUrl({ size: 'small' }).filter((url) => url.length <= 200),
      { maxLength: 8 },
    ),
  }),
)

test('control messages, have the layout of the module', () => {
  assert.equal(toHex(encodeControl({ type: 'select', id: new Uint8Array(8).fill(7) })), '09010707070707070707')
  assert.equal(toHex(encodeControl({ type: 'prefer', id: new Uint8Array(8).fill(8) })), '09020808080808080808')
  assert.equal(toHex(encodeControl({ type: 'retire', opened: 258 })), '050300000102')
  assert.equal(toHex(encodeControl({ type: 'empty' })), '0104')
  assert.equal(toHex(encodeControl({ type: 'addresses', urls: ['ab'] })), '050501026162')
})

test('control property: any messages cut anywhere, come out as they went in', () => {
  fc.assert(
    fc.property(fc.array(message, { maxLength: 10 }), fc.array(fc.nat(3_000), { maxLength: 10 }), (messages, cuts) => {
      const bytes = Buffer.concat(messages.map(encodeControl))
      const edges = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
      const reader = new ControlReader()
      const out: ControlMessage[] = []
      for (let i = 1; i < edges.length; i++) reader.push(bytes.subarray(edges[i - 1], edges[i]), (one) => out.push(one))
      assert.deepEqual(
        out.map((one) => ({ ...one })),
        messages.map((one) => ({ ...one })),
      )
    }),
  )
})

test('control messages of a later version, are skipped', () => {
  const out: ControlMessage[] = []
  new ControlReader().push(Buffer.from('02ff010104', 'hex'), (one) => out.push(one))
  assert.deepEqual(out, [{ type: 'empty' }])
})

test('control property: random bytes, give messages or WIRE_MALFORMED', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        new ControlReader().push(bytes, (one) =>
          assert.deepEqual({ ...decodeControl(encodeControl(one).subarray(encodeControl(one).length > 128 ? 2 : 1)) }, { ...one }),
        )
      } catch (error) {
        assert.ok(isKithError(error, 'WIRE_MALFORMED'), String(error))
      }
    }),
    { numRuns: 500 },
  )
})

test('control messages without end, are cut off', () => {
  const reader = new ControlReader()
  const many = Buffer.concat(Array.from({ length: 1_001 }, () => encodeControl({ type: 'prefer', id: new Uint8Array(8) })))
  assert.throws(
    () => reader.push(many, () => undefined),
    (error) => isKithError(error, 'BUDGET_EXCEEDED'),
  )
})

test('a control message longer than allowed, is refused before it is collected', () => {
  assert.throws(
    () => new ControlReader().push(Buffer.of(0xff, 0x7f), () => undefined),
    (error) => isKithError(error, 'WIRE_MALFORMED'),
  )
  assert.throws(
    () => new ControlReader().push(Buffer.of(0), () => undefined),
    (error) => isKithError(error, 'WIRE_MALFORMED'),
  )
  assert.throws(
    () => new ControlReader().push(Buffer.of(0x80, 0x00), () => undefined),
    (error) => isKithError(error, 'WIRE_MALFORMED'),
  )
})
