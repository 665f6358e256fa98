import assert from 'node:assert/strict'
import test from 'node:test'
import { type PublicKey, type Signature, utf8 } from '../../src/core/bytes.ts'
import { createSigner } from '../../src/core/crypto/ed25519.ts'
import type { ErrorCode } from '../../src/core/errors.ts'
import { keySlabUse } from '../../src/core/key-slab.ts'
import { systemRandom } from '../../src/core/random.ts'
import type { Signer } from '../../src/core/signer.ts'
import { abandon, dialEnd, dialStart, type HandshakeInput, listenEnd, listenStart } from '../../src/stream/handshake.ts'
import { Transcript } from '../../src/stream/transcript.ts'
import { dialerSeed, listenerSeed, lowOrderPoints, seed } from './fixtures.ts'

const dialer = createSigner('link', seed(dialerSeed))
const listener = createSigner('link', seed(listenerSeed))
const stranger = createSigner('link', seed(0x33))
const now = 1_700_000_000_000
const common = { namespace: utf8('test'), random: systemRandom, now, earliest: now - 10_000, latest: now + 5_000 }
const d: HandshakeInput = { ...common, signer: dialer, peer: listener.publicKey }
const l: HandshakeInput = { ...common, signer: listener, peer: dialer.publicKey }

const code = (expected: ErrorCode) => ({ name: 'KithError', code: expected })

/** Runs a whole handshake and releases its keys; throws what a step throws. */
function run(change: {
  d?: Partial<HandshakeInput>
  l?: Partial<HandshakeInput>
  syn?: (b: Uint8Array) => void
  synAck?: (b: Uint8Array) => void
  ack?: (b: Uint8Array) => void
}): void {
  const dialing = dialStart({ ...d, ...change.d })
  try {
    change.syn?.(dialing.syn)
    const listening = listenStart({ ...l, ...change.l }, dialing.syn)
    try {
      change.synAck?.(listening.synAck)
      const { ack, established } = dialEnd(dialing, listening.synAck)
      change.ack?.(ack)
      try {
        const other = listenEnd(listening, ack)
        assert.deepEqual(other.sendKey.bytes, established.receiveKey.bytes)
        assert.deepEqual(other.receiveKey.bytes, established.sendKey.bytes)
        assert.notDeepEqual(other.receiveKey.bytes, other.sendKey.bytes)
        for (const lease of [other.sendKey, other.receiveKey, other.summary]) lease.release()
      } finally {
        for (const lease of [established.sendKey, established.receiveKey, established.summary]) lease.release()
      }
    } finally {
      abandon(listening)
    }
  } finally {
    abandon(dialing)
  }
}

const flip = (at: number) => (bytes: Uint8Array) => {
  bytes[at] = (bytes[at] as number) ^ 0x01
}

test('handshake, honest sides, agree', () => run({}))
test('handshake, upstream verification, agrees', () => run({ d: { zip215: true }, l: { zip215: true } }))

test('handshake, a static key of small order, passes upstream verification and not ours', () => {
  // The identity: with R the identity and S zero, every message verifies under ZIP 215.
  const identity = Uint8Array.of(1, ...new Uint8Array(31))
  const hostile: Signer = {
    role: 'link',
    publicKey: identity as PublicKey,
    sign: () => Uint8Array.of(...identity, ...new Uint8Array(32)) as Signature,
    close: () => undefined,
  }
  run({ d: { signer: hostile }, l: { peer: identity, zip215: true } })
  assert.throws(() => run({ d: { signer: hostile }, l: { peer: identity } }), code('HANDSHAKE_FAILED'))
})

test('handshake, any byte of Syn flipped, fails', () => {
  // The first five bytes move the time by more than the window.
  for (let at = 0; at < 104; at++) assert.throws(() => run({ syn: flip(at) }), code(at < 6 ? 'HANDSHAKE_TIMESTAMP' : 'HANDSHAKE_FAILED'), `byte ${at}`)
})

test('handshake, any byte of SynAck flipped, fails', () => {
  for (let at = 0; at < 136; at++) assert.throws(() => run({ synAck: flip(at) }), code(at < 6 ? 'HANDSHAKE_TIMESTAMP' : 'HANDSHAKE_FAILED'), `byte ${at}`)
})

test('handshake, any byte of Ack flipped, fails', () => {
  for (let at = 0; at < 32; at++) assert.throws(() => run({ ack: flip(at) }), code('HANDSHAKE_FAILED'), `byte ${at}`)
})

test('handshake, another namespace, fails', () => {
  assert.throws(() => run({ l: { namespace: utf8('tess') } }), code('HANDSHAKE_FAILED'))
})

test('handshake, dialer claims another key, fails', () => {
  assert.throws(() => run({ l: { peer: stranger.publicKey } }), code('HANDSHAKE_FAILED'))
})

test('handshake, dialer means another listener, fails', () => {
  assert.throws(() => run({ d: { peer: stranger.publicKey } }), code('HANDSHAKE_FAILED'))
})

test('handshake, times at the edges of the window, are accepted within it only', () => {
  run({ d: { now: now - 10_000, earliest: now - 20_000, latest: now + 15_000 } })
  run({ d: { now: now + 4_999 } })
  assert.throws(() => run({ d: { now: now - 10_001 } }), code('HANDSHAKE_TIMESTAMP'))
  assert.throws(() => run({ d: { now: now + 5_000 } }), code('HANDSHAKE_TIMESTAMP'))
  assert.throws(() => run({ l: { now: now + 5_000 } }), code('HANDSHAKE_TIMESTAMP'))
  assert.throws(() => run({ l: { now: now - 10_001 } }), code('HANDSHAKE_TIMESTAMP'))
})

test('handshake, self, is refused on both sides', () => {
  assert.throws(() => dialStart({ ...d, peer: dialer.publicKey }), code('SELF_DIAL'))
  assert.throws(() => listenStart({ ...l, peer: listener.publicKey }, new Uint8Array(104)), code('SELF_DIAL'))
})

test('handshake, a low-order ephemeral key under a good signature, fails', () => {
  for (const point of lowOrderPoints) assert.throws(() => listenStart(l, forgedSyn(point)), code('HANDSHAKE_FAILED'))
})

/** The Syn of a hostile dialer with a valid static key: signed over a point of its choice. */
function forgedSyn(point: Uint8Array): Uint8Array {
  const dialing = dialStart(d)
  const syn = Uint8Array.from(dialing.syn)
  abandon(dialing)
  syn.set(point, 8)
  const summary = Transcript.create(utf8('test'))
    .fork('_COMMONWARE_CRYPTOGRAPHY_HANDSHAKE')
    .commit(syn.subarray(0, 8))
    .commit(listener.publicKey)
    .commit(syn.subarray(8, 40))
    .summarize()
  syn.set(dialer.sign(Uint8Array.of(0, ...summary)), 40)
  return syn
}

test('handshake, a state used twice, is a TypeError', () => {
  const dialing = dialStart(d)
  const listening = listenStart(l, dialing.syn)
  const { ack, established } = dialEnd(dialing, listening.synAck)
  assert.throws(() => dialEnd(dialing, listening.synAck), TypeError)
  const other = listenEnd(listening, ack)
  assert.throws(() => listenEnd(listening, ack), TypeError)
  for (const e of [established, other]) for (const lease of [e.sendKey, e.receiveKey, e.summary]) lease.release()
})

test('handshake, a message cut short, fails', () => {
  const dialing = dialStart(d)
  assert.throws(() => listenStart(l, dialing.syn.subarray(0, 103)), code('HANDSHAKE_FAILED'))
  const listening = listenStart(l, dialing.syn)
  assert.throws(() => dialEnd(dialing, listening.synAck.subarray(0, 135)), code('HANDSHAKE_FAILED'))
  assert.throws(() => listenEnd(listening, new Uint8Array(31)), code('HANDSHAKE_FAILED'))
})

test('handshake, whatever happened, leaves no key behind', () => assert.equal(keySlabUse().leased, 0))
