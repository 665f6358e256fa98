import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { Signature } from '../../src/core/bytes.ts'
import { isKithError } from '../../src/core/errors.ts'
import {
  decodeHello,
  decodeProof,
  decodeRefuse,
  decodeVerdict,
  encodeHello,
  encodeProof,
  encodeRefuse,
  encodeVerdict,
  type HelloMessage,
  MAX_CHAIN_EXTENSION_BYTES,
  MAX_HELLO_BYTES,
  transportNumber,
} from '../../src/mesh/hello-codec.ts'
import { helloHash, proofMessage, sessionId } from '../../src/mesh/hello-proof.ts'
import { conformance, type Generator } from '../conformance.ts'

const helloOf = (g: Generator): HelloMessage => ({
  role: g.pick(['dialer', 'listener'] as const),
  protocolMin: g.integer(0x10000),
  protocolMax: g.integer(0x10000),
  capabilities: g.u64(),
  nonce: g.bytes(32),
  timeMs: g.integer(2 ** 53),
  boot: g.integer(2 ** 53),
  run: g.bytes(8),
  ownDid: g.bytes(32),
  expectedDid: g.option(() => g.bytes(32)),
  ownLink: g.bytes(32),
  peerLink: g.bytes(32),
  transport: g.integer(256),
  exchange: g.integer(256),
  binding: g.bytesUpTo(2000),
  extensions: new Map(g.list(4, () => [g.integer(0x10000), g.bytesUpTo(1000)] as const)),
})

const fixed: HelloMessage = {
  role: 'dialer',
  protocolMin: 1,
  protocolMax: 2,
  capabilities: 3n,
  nonce: new Uint8Array(32).fill(0x11),
  timeMs: 4,
  boot: 5,
  run: new Uint8Array(8).fill(0x22),
  ownDid: new Uint8Array(32).fill(0x33),
  expectedDid: undefined,
  ownLink: new Uint8Array(32).fill(0x44),
  peerLink: new Uint8Array(32).fill(0x55),
  transport: 2,
  exchange: 1,
  binding: Uint8Array.of(0xaa, 0xbb),
  extensions: new Map([
    [0x0002, Uint8Array.of(0xdd)],
    [0x0001, Uint8Array.of(0xcc, 0xcc)],
  ]),
}

const malformed = (error: unknown): boolean => isKithError(error, 'WIRE_MALFORMED')

describe('hello codec', () => {
  conformance('icn/hello/v1 HELLO', (g) => encodeHello(helloOf(g)))
  conformance('icn/hello/v1 PROOF', (g) => {
    const hybrid = g.bool()
    return encodeProof({
      role: g.pick(['dialer', 'listener'] as const),
      suite: hybrid ? 1 : 0,
      signature: g.bytes(64) as Signature,
      mldsa: hybrid ? g.bytes(3309) : undefined,
    })
  })
  conformance('icn/hello/v1 VERDICT', (g) => encodeVerdict(g.integer(0x10000), g.text(200)))
  conformance('icn/hello/v1 hash', (g) => {
    const bytes = g.bytes(32)
    const binding = g.pick([{ kind: 'stream', bytes }, { kind: 'tls-exporter', bytes }, { kind: 'quic' }, { kind: 'memory', bytes }] as const)
    const hash = helloHash(binding, g.bytesUpTo(300), g.bytesUpTo(300))
    return Buffer.concat([hash, sessionId(hash), proofMessage('listener', hash, new Uint8Array(0)), proofMessage('dialer', hash, g.bytes(67))])
  })

  test('a HELLO has the bytes of the layout', () => {
    const head = ['4b0401', '0001', '0002', '0000000000000003', '11'.repeat(32), '0000000000000004', '0000000000000005', '22'.repeat(8)].join('')
    const keys = ['33'.repeat(32), '00', '44'.repeat(32), '55'.repeat(32), '02', '01'].join('')
    assert.equal(Buffer.from(encodeHello(fixed)).toString('hex'), `${head}${keys}02aabb0002000102cccc000201dd`)
    const named = encodeHello({ ...fixed, role: 'listener', expectedDid: new Uint8Array(32).fill(0x66) })
    assert.equal(Buffer.from(named.subarray(0, 3)).toString('hex'), '4b0501')
    assert.equal(named.length, encodeHello(fixed).length + 32)
  })

  test('a HELLO decodes to what was encoded, and every other spelling is refused', () => {
    const bytes = encodeHello(fixed)
    assert.deepEqual(decodeHello(bytes), { ...fixed, extensions: new Map([...fixed.extensions].sort(([a], [b]) => a - b)) })
    const cases: [string, Uint8Array][] = [
      ['a byte left over', Buffer.concat([bytes, Uint8Array.of(0)])],
      ['a byte missing', bytes.subarray(0, bytes.length - 1)],
      ['extensions out of order', Buffer.concat([bytes.subarray(0, bytes.length - 9), Buffer.from('000201dd000102cccc', 'hex')])],
      ['an extension twice', Buffer.concat([bytes.subarray(0, bytes.length - 9), Buffer.from('000101dd000102cccc', 'hex')])],
      ['an unknown layout', Buffer.concat([bytes.subarray(0, 2), Uint8Array.of(2), bytes.subarray(3)])],
      ['another message', Buffer.concat([Uint8Array.of(0x4b, 0x06), bytes.subarray(2)])],
    ]
    for (const [what, wrong] of cases) assert.throws(() => decodeHello(wrong), malformed, what)
  })

  test('seventeen extensions, a value beyond 16 KiB or a HELLO beyond its limit, refused on both ends', () => {
    const many = new Map(Array.from({ length: 17 }, (_, type) => [type, new Uint8Array(0)] as const))
    assert.throws(() => encodeHello({ ...fixed, extensions: many }), TypeError)
    assert.throws(() => encodeHello({ ...fixed, extensions: new Map([[1, new Uint8Array(MAX_CHAIN_EXTENSION_BYTES + 1)]]) }), TypeError)
    const large = new Map([1, 2].map((type) => [type, new Uint8Array(MAX_CHAIN_EXTENSION_BYTES)] as const))
    assert.throws(() => encodeHello({ ...fixed, extensions: large }), TypeError)
    assert.throws(() => decodeHello(new Uint8Array(MAX_HELLO_BYTES + 1)), malformed)
    const none = encodeHello({ ...fixed, extensions: new Map() })
    const some = (count: number): Uint8Array =>
      Buffer.concat([none.subarray(0, -2), Uint8Array.of(0, count), ...Array.from({ length: count }, (_, type) => Uint8Array.of(0, type, 0))])
    assert.equal(decodeHello(some(16)).extensions.size, 16)
    assert.throws(() => decodeHello(some(17)), malformed)
  })

  test('a PROOF has exactly the length of its suite', () => {
    const proof = encodeProof({ role: 'listener', suite: 0, signature: new Uint8Array(64) as Signature, mldsa: undefined })
    assert.equal(proof.length, 67)
    assert.equal(decodeProof(proof).role, 'listener')
    for (const wrong of [proof.subarray(0, 66), Buffer.concat([proof, Uint8Array.of(0)])]) assert.throws(() => decodeProof(wrong), malformed)
    for (const suite of [1, 2, 255]) assert.throws(() => decodeProof(Uint8Array.from(proof, (byte, at) => (at === 2 ? suite : byte))), malformed)
  })

  test('a VERDICT carries at most 200 bytes of text, cut at a whole character', () => {
    assert.deepEqual(decodeVerdict(encodeVerdict(0)), { code: 0, detail: '' })
    const { detail } = decodeVerdict(encodeVerdict(413, `${'a'.repeat(198)}😀`))
    assert.equal(detail, 'a'.repeat(198))
    assert.throws(() => decodeVerdict(Uint8Array.of(0x4b, 0x08, 0, 0, 1, 0xff)), malformed, 'not UTF-8')
    assert.throws(() => decodeVerdict(Uint8Array.of(0x4b, 0x09, 0, 0, 0)), malformed)
  })

  test('a REFUSE is four bytes', () => {
    assert.deepEqual(encodeRefuse(0x0194), Uint8Array.of(0x4b, 0x09, 0x01, 0x94))
    assert.equal(decodeRefuse(encodeRefuse(404)), 404)
    for (const other of [Uint8Array.of(0x4b, 0x09, 1), Uint8Array.of(0x4b, 0x09, 1, 2, 3), Uint8Array.of(0x4b, 0x08, 0, 0)])
      assert.equal(decodeRefuse(other), undefined)
  })

  test('a transport without a number is a mistake of ours', () => {
    assert.throws(() => transportNumber('pigeon'), TypeError)
  })

  test('decoders meet any bytes with a value or WIRE_MALFORMED, and a value encodes to the same bytes', () => {
    const seeds = [
      encodeHello(fixed),
      encodeVerdict(413, 'no'),
      encodeProof({ role: 'dialer', suite: 0, signature: new Uint8Array(64) as Signature, mldsa: undefined }),
    ]
    const mutated = fc
      .tuple(fc.constantFrom(...seeds), fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 4 }), fc.nat(400))
      .map(([seed, edits, length]) => {
        const bytes = Uint8Array.from(seed)
        for (const [at, value] of edits) if (at < bytes.length) bytes[at] = value
        return length < bytes.length && length % 3 === 0 ? bytes.subarray(0, length) : bytes
      })
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 400 }), mutated), (bytes) => {
        for (const again of [
          () => encodeHello(decodeHello(bytes)),
          () => encodeProof(decodeProof(bytes)),
          () => {
            const { code, detail } = decodeVerdict(bytes)
            return encodeVerdict(code, detail)
          },
        ]) {
          try {
            assert.deepEqual(Buffer.from(again()), Buffer.from(bytes))
          } catch (error) {
            if (!malformed(error)) throw error
          }
        }
      }),
      { numRuns: 3000 },
    )
  })
})
