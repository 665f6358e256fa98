import assert from 'node:assert/strict'
import fc from 'fast-check'
import { base58Decode, base58Encode } from '../../../src/core/base58.ts'
import { utf8 } from '../../../src/core/bytes.ts'
import { bytes, bytesN, type Codec, constant, decode, encode, list, option, struct, text, u8, u16, u32, u64, uint53, varint } from '../../../src/core/codec.ts'
import { publicKeyOfSeed } from '../../../src/core/crypto/ed25519.ts'
import { ERROR_TABLE } from '../../../src/core/error-table.ts'
import { codeOfNumber, remoteError } from '../../../src/core/errors.ts'
import { Secret } from '../../../src/core/secret.ts'
import { formatDid, formatDidKey, isDid, parseDid } from '../../../src/identity/did.ts'
import { decodeRefuse, decodeVerdict, encodeRefuse, encodeVerdict } from '../../../src/mesh/hello-codec.ts'
import type { FuzzTarget } from '../mutate.ts'

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

const codec: FuzzTarget = {
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
}

const base58: FuzzTarget = {
  name: 'base58',
  seeds: [utf8('kith'), utf8(base58Encode(new Uint8Array(32).fill(9))), utf8(base58Encode(new Uint8Array(20)))],
  codes: [],
  run(input) {
    assert.deepEqual(base58Decode(base58Encode(input.subarray(0, 300)), 300), input.slice(0, 300))
    const spelled = Buffer.from(input).toString('latin1')
    const decoded = base58Decode(spelled, 400)
    if (decoded === undefined) return 'refused'
    assert.equal(base58Encode(decoded), spelled)
    return 'decoded'
  },
  iterations: 5_000,
  maxBytes: 600,
}

const did = formatDid(publicKeyOfSeed(Secret.take(new Uint8Array(32).fill(7))))
const dids: FuzzTarget = {
  name: 'did',
  seeds: [utf8(did), utf8(formatDidKey(did))],
  codes: ['DID_INVALID'],
  tokens: ['did:icn:z', 'did:key:z', 'did:', 'z6Mk', '1', ' ', '\n'].map(utf8),
  arbitrary: fc.string({ maxLength: 80, unit: 'grapheme' }).map((given) => utf8(`did:icn:z${given}`)),
  run(input) {
    const given = Buffer.from(input).toString('latin1')
    let parsed: string | undefined
    try {
      parsed = parseDid(given)
    } finally {
      assert.equal(isDid(given), parsed === given)
    }
    assert.equal(parseDid(parsed), parsed)
    if (given.startsWith('did:icn:')) assert.equal(parsed, given)
  },
}

/** Numbers from the wire: stream resets, GO_AWAY, VERDICT, REFUSE. */
const errorNumbers: FuzzTarget = {
  name: 'error-number',
  seeds: [Uint8Array.of(0, 0, 0, 0), Uint8Array.of(0, 0, 0x01, 0x3b), Uint8Array.of(0xff, 0xff, 0xff, 0xff), encodeVerdict(413, 'no'), encodeRefuse(400)],
  codes: ['WIRE_MALFORMED'],
  run(input) {
    const number = Buffer.concat([input, Buffer.alloc(4)]).readUInt32BE()
    const code = codeOfNumber(number)
    assert.ok(Object.hasOwn(ERROR_TABLE, code))
    assert.ok(code === 'REMOTE_ERROR' || ERROR_TABLE[code].number === number)
    const error = remoteError(number, Buffer.from(input).toString('utf8'))
    assert.equal(error.remote, true)
    assert.equal(typeof JSON.stringify(error), 'string')
    const refused = decodeRefuse(input)
    if (refused !== undefined) assert.deepEqual(encodeRefuse(refused), input)
    if (input[0] !== 0x4b || input[1] !== 0x08) return code
    const verdict = decodeVerdict(input)
    assert.deepEqual(encodeVerdict(verdict.code, verdict.detail), input)
    return `verdict ${codeOfNumber(verdict.code)}`
  },
}

export const coreTargets: readonly FuzzTarget[] = [codec, base58, dids, errorNumbers]
