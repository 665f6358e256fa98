import assert from 'node:assert/strict'
import { base58Encode } from '../../../src/core/base58.ts'
import { concat, utf8 } from '../../../src/core/bytes.ts'
import { createSigner, randomSeed } from '../../../src/core/crypto/ed25519.ts'
import { isKithError } from '../../../src/core/errors.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { acceptableAddresses, splitAddress } from '../../../src/mesh/addresses.ts'
import { type Control, decodeControl, encodeControl, FrameReader, frame } from '../../../src/transport/quic/frames.ts'
import { parseRemote } from '../../../src/transport/quic/keys.ts'
import type { FuzzTarget } from '../mutate.ts'

const CONTROLS: readonly Control[] = [
  { type: 'reset', opener: 1, index: 7, code: 413 },
  { type: 'stop', opener: 0, index: 2 ** 32 - 1, code: 0 },
  { type: 'close', code: 318, sent: 2 ** 40, reason: 'bye' },
  { type: 'closed' },
  { type: 'drain' },
  { type: 'ping', nonce: new Uint8Array(8) },
  { type: 'pong', nonce: new Uint8Array(8).fill(9) },
]

const control: FuzzTarget = {
  name: 'quic-control',
  seeds: CONTROLS.map(encodeControl),
  codes: ['WIRE_MALFORMED'],
  run(input) {
    const message = decodeControl(input)
    if (message === undefined) return 'skipped'
    assert.deepEqual(encodeControl(message), input)
    return message.type
  },
}

/** In whatever pieces bytes arrive, payloads and refusal are the same. */
const frames: FuzzTarget = {
  name: 'quic-frames',
  seeds: [
    concat(...CONTROLS.map((message) => frame(encodeControl(message)))),
    concat(frame(new Uint8Array(0)), frame(new Uint8Array(200)), frame(new Uint8Array(0))),
  ],
  codes: ['WIRE_MALFORMED', 'FRAME_TOO_LARGE'],
  run(input) {
    const read = (step: number): { payloads: Uint8Array[]; error: unknown } => {
      const reader = new FrameReader()
      reader.limit = 256
      const payloads: Uint8Array[] = []
      try {
        for (let at = 0; at < input.length; at += step) reader.push(input.subarray(at, at + step), (payload) => payloads.push(payload))
        return { payloads, error: undefined }
      } catch (error) {
        return { payloads, error }
      }
    }
    const [whole, bytewise] = [read(Math.max(1, input.length)), read(1)]
    assert.deepEqual(bytewise.payloads, whole.payloads)
    assert.equal(isKithError(bytewise.error), isKithError(whole.error))
    if (whole.error !== undefined) throw whole.error
    return String(Math.min(4, whole.payloads.length))
  },
  iterations: 10_000,
}

const key = createSigner('link', randomSeed(systemRandom)).publicKey
const id = base58Encode(concat(Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20), key))

/** What the library says of the other end: a key of the one form, or nothing. */
const remote: FuzzTarget = {
  name: 'quic-remote',
  seeds: [`/ip4/192.0.2.1/udp/4433/quic-v1/p2p/${id}`, `/ip6/2001:db8::1/udp/1/quic-v1/p2p/${id}`].map((text) => utf8(text)),
  codes: ['HANDSHAKE_FAILED', 'KEY_INVALID'],
  tokens: ['/', '/p2p/', '/ip4/', '/ip6/', '/quic-v1', '::ffff:', '0', '65536', '1', 'Qm'].map((text) => utf8(text)),
  run(input) {
    const parsed = parseRemote(Buffer.from(input).toString('utf8'))
    assert.equal(parsed.key.length, 32)
    assert.ok(parsed.port >= 1 && parsed.port <= 65_535)
  },
}

/** Addresses that a peer tells of itself. */
const told: FuzzTarget = {
  name: 'told-addresses',
  seeds: ['tcp://192.0.2.1:4433\nquic://[2001:db8::1]:1', 'tcp://localhost:1\ntcp://127.0.0.1:2\ntcp://169.254.1.1:3'].map((text) => utf8(text)),
  codes: [],
  tokens: [
    'tcp://',
    'quic://',
    '[',
    ']',
    '127.0.0.1',
    '::1',
    '::ffff:127.0.0.1',
    '0.0.0.0',
    '127.1',
    '0x7f000001',
    '2130706433',
    'localhost',
    '@',
    '%',
    '#',
    '?',
    '/',
    ':',
    '\n',
  ].map((text) => utf8(text)),
  run(input) {
    const urls = Buffer.from(input).toString('utf8').split('\n')
    const taken = acceptableAddresses(urls, 'tcp://203.0.113.9:1')
    for (const url of taken) {
      const parts = splitAddress(url)
      assert.ok(parts !== undefined)
      // Somebody elsewhere never makes us dial ourselves, whatever spelling a resolver would take.
      assert.doesNotMatch(parts.host, /^(127\.|0\.|0x|localhost|::1$|::$|[0-9]+$)/i)
    }
    return `${Math.min(3, taken.length)} of ${Math.min(3, urls.length)}`
  },
}

export const quicTargets: readonly FuzzTarget[] = [control, frames, remote, told]
