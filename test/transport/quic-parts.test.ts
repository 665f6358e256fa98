import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { base58Encode } from '../../src/core/base58.ts'
import { concat } from '../../src/core/bytes.ts'
import { publicKeyOfSeed } from '../../src/core/crypto/ed25519.ts'
import { KithError } from '../../src/core/errors.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { fromDial, fromNative, NATIVE_ERRORS, nativeErrorCode } from '../../src/transport/quic/errors.ts'
import { CONTROL_BYTES, type Control, decodeControl, encodeControl, FrameReader, frame, REASON_BYTES, trimReason } from '../../src/transport/quic/frames.ts'
import { parseRemote, withPrivateKeyProto } from '../../src/transport/quic/keys.ts'
import { loadNative, platformPackage } from '../../src/transport/quic/native.ts'

const code = (expected: string) => (error: unknown) => error instanceof KithError && error.code === expected
const PEER_ID = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20)
const key = publicKeyOfSeed(Secret.random(32, systemRandom))
const multiaddr = (id: Uint8Array, host = '/ip4/192.0.2.1/udp/4433'): string => `${host}/quic-v1/p2p/${base58Encode(id)}`

test('quic keys: the peer id of an Ed25519 key is taken apart exactly', () => {
  const remote = parseRemote(multiaddr(concat(PEER_ID, key)))
  assert.deepEqual({ ...remote, key: Buffer.from(remote.key) }, { host: '192.0.2.1', port: 4433, key: Buffer.from(key) })
  assert.equal(parseRemote(multiaddr(concat(PEER_ID, key), '/ip6/2001:db8::1/udp/1')).host, '2001:db8::1')
  assert.equal(parseRemote(multiaddr(concat(PEER_ID, key), '/ip6/::ffff:192.0.2.1/udp/1')).host, '192.0.2.1')
})

test('quic keys: any other peer id, and any other shape of the address, is refused', () => {
  const whole = concat(PEER_ID, key)
  const bad: Uint8Array[] = [whole.subarray(0, 37), concat(whole, Uint8Array.of(0)), concat(Uint8Array.of(0), whole)]
  for (let at = 0; at < PEER_ID.length; at++) bad.push(whole.with(at, (whole[at] as number) ^ 1))
  // RSA: a SHA-256 multihash. secp256k1: type 2 and 33 bytes.
  bad.push(concat(Uint8Array.of(0x12, 0x20), key), concat(Uint8Array.of(0x00, 0x25, 0x08, 0x02, 0x12, 0x21, 2), key))
  for (const id of bad) assert.throws(() => parseRemote(multiaddr(id)), code('HANDSHAKE_FAILED'))
  const good = base58Encode(whole)
  for (const text of [
    '',
    `/ip4/1.2.3.4/tcp/1/quic-v1/p2p/${good}`,
    `/ip4/1.2.3.4/udp/0/quic-v1/p2p/${good}`,
    `/ip4/1.2.3.4/udp/1/quic/p2p/${good}`,
    `/ip4/1.2.3.4/udp/1/quic-v1/p2p/${good}/p2p/${good}`,
    `/ip4/1.2.3.4/udp/1/quic-v1/p2p/${good}0`,
  ]) {
    assert.throws(() => parseRemote(text), code('HANDSHAKE_FAILED'))
  }
  assert.throws(() => parseRemote(multiaddr(concat(PEER_ID, new Uint8Array(32)))), code('KEY_INVALID'))
})

test('quic keys: the key in the library’s form is wiped after use', () => {
  const seed = Secret.random(32, systemRandom)
  let kept: Uint8Array | undefined
  withPrivateKeyProto(seed, (proto) => {
    kept = proto
    assert.equal(proto.length, 68)
    assert.deepEqual([...proto.subarray(0, 4)], [8, 1, 0x12, 0x40])
    assert.deepEqual(Buffer.from(proto.subarray(36)), Buffer.from(publicKeyOfSeed(seed)))
  })
  assert.ok(kept?.every((byte) => byte === 0))
})

test('quic errors: every text of the library has its code, unknown ones mean a lost link', () => {
  const expected: Record<string, string> = {
    'stream reset by peer: error 0': 'STREAM_RESET',
    'sending stopped by peer: error 0': 'STREAM_RESET',
    'closed stream': 'CLOSED',
    'closed by peer: 0': 'LINK_LOST',
    'connection lost': 'LINK_LOST',
    'timed out': 'LINK_LOST',
    'server closed': 'CLOSED',
    'endpoint stopping': 'CLOSED',
    closed: 'CLOSED',
    'invalid IP address syntax': 'ADDRESS_INVALID',
    'Address already in use (os error 98)': 'ADDRESS_IN_USE',
    'Cannot assign requested address (os error 99)': 'ADDRESS_INVALID',
    'something new': 'LINK_LOST',
  }
  for (const [text, wanted] of Object.entries(expected)) assert.equal(nativeErrorCode(new Error(text)), wanted, text)
  for (const [text, wanted] of NATIVE_ERRORS) assert.equal(nativeErrorCode(new Error(text)), wanted, text)
  assert.equal(nativeErrorCode('no error'), 'LINK_LOST')
  assert.equal(fromDial(new Error('timed out'), 'quic://h:1').code, 'ADDRESS_UNREACHABLE')
  assert.equal(fromDial(new Error('closed by peer: 0'), 'quic://h:1').code, 'HANDSHAKE_FAILED')
})

test('quic errors: what a peer wrote does not reach the message', () => {
  const error = fromNative(new Error('closed by peer: \u001b[31mpwned'))
  assert.ok(!error.message.includes('pwned'))
  assert.ok(!JSON.stringify(error).includes('pwned'))
})

test('quic library: its package follows platform, processor and C library; its absence has a reason', () => {
  assert.equal(platformPackage('linux', 'x64', 'musl'), '@chainsafe/libp2p-quic-linux-x64-musl')
  assert.equal(platformPackage('win32', 'x64', 'gnu'), '@chainsafe/libp2p-quic-win32-x64-msvc')
  assert.equal(platformPackage('darwin', 'arm64', 'gnu'), '@chainsafe/libp2p-quic-darwin-arm64')
  assert.equal(platformPackage('freebsd', 'x64', 'gnu'), undefined)
  const missing = loadNative(() => {
    throw Object.assign(new Error('Cannot find module'), { code: 'MODULE_NOT_FOUND' })
  })
  assert.ok(!missing.ok && missing.reason.endsWith('is not installed'))
  const broken = loadNative(() => {
    throw new Error('wrong ELF class')
  })
  assert.ok(!broken.ok && broken.reason.endsWith('does not load'))
  const other = loadNative(() => ({ Client: class {} }))
  assert.ok(!other.ok && other.reason.endsWith('lacks a class that is needed'))
})

const control: fc.Arbitrary<Control> = fc.oneof(
  fc.record({
    type: fc.constantFrom<'reset' | 'stop'>('reset', 'stop'),
    opener: fc.nat(255),
    index: fc.nat(0xffff_ffff),
    code: fc.nat(0xffff_ffff),
  }),
  fc.record({ type: fc.constant<'close'>('close'), code: fc.nat(0xffff_ffff), sent: fc.maxSafeNat(), reason: fc.string().map(trimReason) }),
  fc.record({ type: fc.constantFrom<'closed' | 'drain'>('closed', 'drain') }),
  fc.record({ type: fc.constantFrom<'ping' | 'pong'>('ping', 'pong'), nonce: fc.uint8Array({ minLength: 8, maxLength: 8 }) }),
)

test('quic control: every message comes back from its bytes and keeps to the limit', () => {
  fc.assert(
    fc.property(control, (generated) => {
      const message = { ...generated }
      const bytes = encodeControl(message)
      assert.ok(bytes.length <= CONTROL_BYTES)
      assert.deepEqual(decodeControl(bytes), message)
    }),
  )
})

test('quic control: other bytes are refused or, of an unknown type, skipped', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      try {
        const message = decodeControl(bytes)
        if (message === undefined) assert.ok((bytes[0] ?? 0) === 0 || (bytes[0] as number) > 7)
        else assert.deepEqual(Buffer.from(encodeControl(message)), Buffer.from(bytes))
      } catch (error) {
        assert.ok(code('WIRE_MALFORMED')(error))
      }
    }),
    { numRuns: 1_000 },
  )
})

test('quic frames: however the bytes are cut, the same payloads come out', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 })), fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }), (payloads, cuts) => {
      const wire = concat(...payloads.map(frame))
      const reader = new FrameReader()
      const got: Uint8Array[] = []
      for (let at = 0, i = 0; at < wire.length; i++) {
        const end = at + (cuts[i % cuts.length] as number)
        reader.push(wire.subarray(at, end), (payload) => got.push(payload))
        at = end
      }
      assert.deepEqual(got, payloads)
    }),
  )
})

test('quic frames: a length beyond the limit or not canonical is refused before the payload', () => {
  const reader = new FrameReader()
  assert.throws(() => reader.push(Uint8Array.of(0x81, 0x80, 0x04), () => assert.fail()), code('FRAME_TOO_LARGE'))
  assert.throws(() => new FrameReader().push(Uint8Array.of(0x80, 0x00), () => assert.fail()), code('WIRE_MALFORMED'))
  assert.throws(() => new FrameReader().push(Uint8Array.of(0xff, 0xff, 0xff, 0x01), () => assert.fail()), code('WIRE_MALFORMED'))
  const small = new FrameReader()
  small.limit = CONTROL_BYTES
  assert.throws(() => small.push(Uint8Array.of(0x81, 0x02), () => assert.fail()), code('FRAME_TOO_LARGE'))
})

test('quic control: a long reason is cut between characters', () => {
  const cut = trimReason('\u{1f333}'.repeat(100))
  assert.equal(Buffer.byteLength(cut), REASON_BYTES)
  assert.ok(cut.isWellFormed())
})
