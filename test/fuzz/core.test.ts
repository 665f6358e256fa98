import assert from 'node:assert/strict'
import { utf8 } from '../../src/core/bytes.ts'
import { bytes, bytesN, type Codec, constant, decode, encode, list, option, struct, text, u8, u16, u32, u64, uint53, varint } from '../../src/core/codec.ts'
import { publicKeyOfSeed } from '../../src/core/crypto/ed25519.ts'
import { Secret } from '../../src/core/secret.ts'
import { formatDid, formatDidKey, parseDid } from '../../src/identity/did.ts'
import { encodeRequest, takeRequest } from '../../src/tunnel/wire.ts'
import { fuzz } from './mutate.ts'

interface Everything {
  _tag?: undefined
  a: number
  b: number
  c: number
  d: bigint
  e: number
  f: number
  g: Uint8Array
  h: Uint8Array
  i: string
  j: Uint8Array | undefined
  k: readonly number[]
}
const everything: Codec<Everything> = struct<Everything>({
  _tag: constant(0x4b, 0x01),
  a: u8,
  b: u16,
  c: u32,
  d: u64,
  e: uint53,
  f: varint,
  g: bytes(64),
  h: bytesN(4),
  i: text(32),
  j: option(bytes(8)),
  k: list(u16, 12),
})

fuzz({
  name: 'codec',
  seeds: [
    encode(everything, { a: 1, b: 2, c: 3, d: 4n, e: 5, f: 300, g: new Uint8Array(20), h: new Uint8Array(4), i: 'text', j: new Uint8Array(3), k: [1, 2, 3] }),
    encode(everything, { a: 0, b: 0, c: 0, d: 0n, e: 0, f: 0, g: new Uint8Array(0), h: new Uint8Array(4), i: '', j: undefined, k: [] }),
  ],
  codes: ['WIRE_MALFORMED'],
  run(input) {
    // One encoding per value: whatever is accepted encodes to the same bytes.
    assert.deepEqual(encode(everything, decode(everything, input)), input)
  },
})

const did = formatDid(publicKeyOfSeed(Secret.take(new Uint8Array(32).fill(7))))
fuzz({
  name: 'did',
  seeds: [utf8(did), utf8(formatDidKey(did))],
  codes: ['DID_INVALID'],
  run(input) {
    const given = Buffer.from(input).toString('latin1')
    const parsed = parseDid(given)
    assert.equal(parseDid(parsed), parsed)
    if (given.startsWith('did:icn:')) assert.equal(parsed, given)
  },
})

fuzz({
  name: 'forward-request',
  seeds: [
    encodeRequest({ kind: 'connect', host: 'localhost', port: 5432 }),
    encodeRequest({ kind: 'check', host: '::1', port: 1 }),
    encodeRequest({ kind: 'connect', host: `${'a'.repeat(63)}.${'b'.repeat(63)}.example`, port: 65535 }),
  ],
  codes: ['WIRE_MALFORMED'],
  run(input) {
    const taken = takeRequest(input)
    if (taken === undefined) return
    assert.deepEqual(encodeRequest(taken.request), input.slice(0, taken.rest))
  },
})
