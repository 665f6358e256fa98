import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  bytes,
  bytesN,
  type Codec,
  constant,
  decode,
  encode,
  list,
  malformed,
  mapped,
  option,
  struct,
  text,
  u8,
  u16,
  u32,
  u64,
  uint53,
  varint,
  varintSize,
} from '../../src/core/codec.ts'
import { isKithError } from '../../src/core/errors.ts'
import { conformanceOfCodec } from '../conformance.ts'

const MALFORMED = { code: 'WIRE_MALFORMED' }

interface Sample {
  readonly tag: undefined
  readonly a: number
  readonly b: number
  readonly c: number
  readonly d: bigint
  readonly e: number
  readonly f: number
  readonly fixed: Uint8Array
  readonly free: Uint8Array
  readonly name: string
  readonly maybe: Uint8Array | undefined
  readonly items: readonly { readonly type: number; readonly value: Uint8Array }[]
}

const sample: Codec<Sample> = struct<Sample>({
  tag: constant(0x4b, 0x04),
  a: u8,
  b: u16,
  c: u32,
  d: u64,
  e: uint53,
  f: varint,
  fixed: bytesN(5),
  free: bytes(300),
  name: text(40),
  maybe: option(bytesN(3)),
  items: list(struct({ type: u16, value: bytes(20) }), 4),
})

const anyBytes = (constraints: fc.IntArrayConstraints): fc.Arbitrary<Uint8Array> => fc.uint8Array(constraints).map((a) => Uint8Array.from(a))
const anySample: fc.Arbitrary<Sample> = fc.record(
  {
    tag: fc.constant(undefined),
    a: fc.integer({ min: 0, max: 0xff }),
    b: fc.integer({ min: 0, max: 0xffff }),
    c: fc.integer({ min: 0, max: 0xffff_ffff }),
    d: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    e: fc.maxSafeNat(),
    f: fc.integer({ min: 0, max: 0xffff_ffff }),
    fixed: anyBytes({ minLength: 5, maxLength: 5 }),
    free: anyBytes({ maxLength: 300, size: 'max' }),
    name: fc.string({ unit: 'grapheme', maxLength: 8 }).filter((name) => Buffer.byteLength(name) <= 40),
    maybe: fc.option(anyBytes({ minLength: 3, maxLength: 3 }), { nil: undefined }),
    items: fc.array(fc.record({ type: fc.integer({ min: 0, max: 0xffff }), value: anyBytes({ maxLength: 20 }) }, { noNullPrototype: true }), { maxLength: 4 }),
  },
  { noNullPrototype: true },
)

/** What a decoder owes for any input at all: a refusal with the right code, or a value whose encoding is that input. */
function refusedOrCanonical<T>(codec: Codec<T>, input: Uint8Array): void {
  let value: T
  try {
    value = decode(codec, input)
  } catch (error) {
    assert.ok(isKithError(error, 'WIRE_MALFORMED'), String(error))
    return
  }
  assert.deepEqual(encode(codec, value), Uint8Array.from(input))
}

test('codec, any value, decodes to itself within the announced size', () => {
  fc.assert(
    fc.property(anySample, (value) => {
      const encoded = encode(sample, value)
      assert.ok(encoded.length >= sample.min && encoded.length <= sample.max)
      assert.deepEqual(decode(sample, encoded), value)
    }),
    { numRuns: 300 },
  )
})

test('codec, random bytes, are refused or canonical', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (input) => {
      refusedOrCanonical(sample, input)
      refusedOrCanonical(sample, Uint8Array.from([0x4b, 0x04, ...input]))
      refusedOrCanonical(list(varint, 100), input)
      refusedOrCanonical(list(option(text(9)), 50), input)
    }),
    { numRuns: 500 },
  )
})

test('codec, every truncation, extension and bit flip of an encoding, is refused or canonical', () => {
  fc.assert(
    fc.property(anySample, fc.nat(), (value, seed) => {
      const encoded = encode(sample, value)
      assert.throws(() => decode(sample, encoded.subarray(0, seed % encoded.length)), MALFORMED)
      assert.throws(() => decode(sample, Uint8Array.from([...encoded, 0])), MALFORMED)
      for (let i = 0; i < 24; i++) {
        const bit = (seed * 7919 + i * 104_729) % (encoded.length * 8)
        const flipped = Uint8Array.from(encoded)
        flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
        refusedOrCanonical(sample, flipped)
      }
    }),
    { numRuns: 150 },
  )
})

test('codec, constant tag of another value, is refused', () => {
  assert.throws(() => decode(constant(0x4b, 0x04), Uint8Array.of(0x4b, 0x05)), MALFORMED)
})

test('varint, at each boundary, has its size and no second form', () => {
  for (const [value, hex] of [
    [0, '00'],
    [0x7f, '7f'],
    [0x80, '8001'],
    [0x3fff, 'ff7f'],
    [0x4000, '808001'],
    [0x1f_ffff, 'ffff7f'],
    [0x20_0000, '80808001'],
    [0xfff_ffff, 'ffffff7f'],
    [0x1000_0000, '8080808001'],
    [0xffff_ffff, 'ffffffff0f'],
  ] as const) {
    assert.equal(Buffer.from(encode(varint, value)).toString('hex'), hex)
    assert.equal(decode(varint, Buffer.from(hex, 'hex')), value)
    assert.equal(varintSize(value), hex.length / 2)
  }
  for (const hex of ['8000', '808000', 'ff00', 'ffffffff10', 'ffffffff8f', '80808080808001', '80', '', '8080808000']) {
    assert.throws(() => decode(varint, Buffer.from(hex, 'hex')), MALFORMED, hex)
  }
})

test('codec, claimed length beyond the limit or the input, is refused before anything is allocated', () => {
  assert.throws(() => decode(bytes(10), Buffer.from(`0b${'00'.repeat(10)}`, 'hex')), MALFORMED)
  assert.throws(() => decode(bytes(0xffff_ffff), Buffer.from('ffffffff0f00', 'hex')), MALFORMED)
  assert.throws(() => decode(list(bytesN(32), 0xffff_ffff), Buffer.from('ffffffff0f00', 'hex')), MALFORMED)
  assert.throws(() => decode(list(u8, 3), Buffer.from('0401020304', 'hex')), MALFORMED)
})

test('codec, option flag other than 0 or 1, is refused', () => {
  assert.equal(decode(option(u8), Uint8Array.of(0)), undefined)
  assert.equal(decode(option(u8), Uint8Array.of(1, 5)), 5)
  assert.throws(() => decode(option(u8), Uint8Array.of(2, 5)), MALFORMED)
})

test('codec, text that is not UTF-8 or carries a byte order mark, is refused or kept whole', () => {
  for (const hex of ['01ff', '02c080', '03eda080', '04f4908080']) assert.throws(() => decode(text(10), Buffer.from(hex, 'hex')), MALFORMED)
  refusedOrCanonical(text(10), Buffer.from('03efbbbf', 'hex'))
  refusedOrCanonical(text(10), Buffer.from('04efbbbf41', 'hex'))
})

test('codec, integer beyond what a safe integer holds, is refused', () => {
  assert.equal(decode(uint53, Buffer.from('001fffffffffffff', 'hex')), Number.MAX_SAFE_INTEGER)
  assert.throws(() => decode(uint53, Buffer.from('0020000000000000', 'hex')), MALFORMED)
})

test('codec, value that does not fit its schema, is a mistake of the caller', () => {
  assert.throws(() => encode(u8, 256), TypeError)
  assert.throws(() => encode(u16, -1), TypeError)
  assert.throws(() => encode(u32, 1.5), TypeError)
  assert.throws(() => encode(u64, -1n), TypeError)
  assert.throws(() => encode(uint53, 2 ** 53), TypeError)
  assert.throws(() => encode(varint, 2 ** 32), TypeError)
  assert.throws(() => encode(bytesN(2), new Uint8Array(3)), TypeError)
  assert.throws(() => encode(bytes(2), new Uint8Array(3)), TypeError)
  assert.throws(() => encode(text(2), 'äö'), TypeError)
  assert.throws(() => encode(text(9), '\ud800'), TypeError)
  assert.throws(() => encode(list(u8, 1), [1, 2]), TypeError)
})

test('codec, decoded field, is a copy even when the input is a Buffer', () => {
  const input = Buffer.from('03010203', 'hex')
  const value = decode(bytes(3), input)
  input.fill(9)
  assert.deepEqual(value, Uint8Array.of(1, 2, 3))
})

test('codec, mapped, refuses through its parser', () => {
  const even = mapped(
    u8,
    (value) => {
      if (value % 2 !== 0) throw malformed('odd')
      return { half: value / 2 }
    },
    ({ half }) => half * 2,
  )
  assert.deepEqual(decode(even, Uint8Array.of(4)), { half: 2 })
  assert.deepEqual(encode(even, { half: 3 }), Uint8Array.of(6))
  assert.throws(() => decode(even, Uint8Array.of(5)), MALFORMED)
})

conformanceOfCodec('core codec, one field of each kind', sample, (g) => ({
  tag: undefined,
  a: g.integer(0x100),
  b: g.integer(0x1_0000),
  c: g.integer(0x1_0000_0000),
  d: g.u64(),
  e: g.integer(Number.MAX_SAFE_INTEGER),
  f: g.integer(0x1_0000_0000),
  fixed: g.bytes(5),
  free: g.bytesUpTo(300),
  name: g.text(40),
  maybe: g.option(() => g.bytes(3)),
  items: g.list(4, () => ({ type: g.integer(0x1_0000), value: g.bytesUpTo(20) })),
}))
