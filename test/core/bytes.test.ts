import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { base58Decode, base58Encode } from '../../src/core/base58.ts'
import { compare, concat, equal, equalSecret, fromHex, parseUtf8, plain, toHex, utf8 } from '../../src/core/bytes.ts'
import { Lru } from '../../src/core/lru.ts'

const anyBytes = fc.uint8Array({ maxLength: 60 }).map((a) => Uint8Array.from(a))

test('base58, any bytes, decode to themselves and refuse a smaller limit', () => {
  fc.assert(
    fc.property(anyBytes, (bytes) => {
      const text = base58Encode(bytes)
      assert.deepEqual(base58Decode(text, 60), bytes)
      if (bytes.length > 0) assert.equal(base58Decode(text, bytes.length - 1), undefined)
    }),
  )
})

test('base58, any text, is refused or the one form of its bytes', () => {
  const letters = [...'123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0OIl+ é']
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...letters), { maxLength: 40 }), (chosen) => {
      const text = chosen.join('')
      const bytes = base58Decode(text, 40)
      if (/[0OIl+ é]/.test(text)) assert.equal(bytes, undefined)
      else assert.equal(base58Encode(bytes ?? assert.fail()), text)
    }),
  )
})

test('base58, published pairs, agree', () => {
  assert.equal(base58Encode(utf8('Hello World!')), '2NEpo7TZRRrLZSi2U')
  assert.equal(base58Encode(fromHex('0000287fb4cd')), '11233QC4')
  assert.equal(base58Encode(new Uint8Array()), '')
  assert.equal(base58Decode('1'.repeat(1000), 10), undefined)
})

test('bytes, compared, order bytewise and then by length', () => {
  const order = ['', '00', '0000', '01', '0100', 'ff'].map(fromHex)
  for (const [i, a] of order.entries()) {
    for (const [j, b] of order.entries()) {
      assert.equal(compare(a, b), Math.sign(i - j))
      assert.equal(equal(a, b), i === j)
      assert.equal(equalSecret(a, b), i === j)
    }
  }
})

test('hexadecimal, anything else, is a mistake of the caller', () => {
  assert.equal(toHex(fromHex('00ffAB')), '00ffab')
  for (const text of ['0', 'zz', '0x00', ' 00', '00 ']) assert.throws(() => fromHex(text), TypeError)
})

test('UTF-8, malformed, is undefined, and a byte order mark is kept', () => {
  assert.equal(parseUtf8(utf8('grüße')), 'grüße')
  assert.equal(parseUtf8(fromHex('efbbbf41')), '\ufeffA')
  for (const hex of ['ff', 'c080', 'eda080', 'f4908080', 'e282']) assert.equal(parseUtf8(fromHex(hex)), undefined)
})

test('concat and plain, of views, give the right bytes', () => {
  const view = Buffer.from('xabcx').subarray(1, 4)
  assert.deepEqual(concat(view, utf8('d'), new Uint8Array()), utf8('abcd'))
  assert.deepEqual(plain(view), utf8('abc'))
  assert.equal(plain(view).buffer, view.buffer)
})

test('bounded map, full, forgets what was used longest ago', () => {
  const map = new Lru<string, number>(2)
  map.set('a', 1)
  map.set('b', 2)
  assert.equal(map.get('a'), 1)
  map.set('c', 3)
  assert.equal(map.get('b'), undefined)
  assert.equal(map.get('a'), 1)
  map.set('a', 4)
  assert.equal(map.get('a'), 4)
  assert.equal(map.get('c'), 3)
  assert.equal(map.size, 2)
  assert.throws(() => new Lru(0), TypeError)
})
