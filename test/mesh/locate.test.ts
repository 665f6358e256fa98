import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { equal, type Signature } from '../../src/core/bytes.ts'
import { isKithError, KithError } from '../../src/core/errors.ts'
import { seededRandom } from '../../src/core/random.ts'
import { createLocateAnswerer, type Located, type LocateOptions, locate } from '../../src/mesh/locate.ts'
import {
  decodeLocateAnswer,
  decodeLocateRequest,
  encodeLocateAnswerBody,
  encodeLocateRequest,
  LOCATE_REQUEST_BYTES,
  locateAnswerMessage,
  locateTag,
  MAX_LOCATE_TAIL_BYTES,
  NO_INDEX,
} from '../../src/mesh/locate-codec.ts'
import type { Source, Transport } from '../../src/transport/types.ts'
import { conformance } from '../conformance.ts'
import { certify, NOW, rotateIdentity, type TestNode, testIdentity, testNode } from './fixtures.ts'
import { asError, assertRefused, flip } from './meeting.ts'

const source: Source = { scheme: 'tcp', host: '192.0.2.1', port: 1 }

type Asked = Pick<Transport, 'scheme' | 'locate'> & { readonly requests: Uint8Array[] }

/** An address where this node answers; `edit` is what happens on the way back. */
function addressOf(node: TestNode, edit: (answer: Uint8Array) => Uint8Array = (answer) => answer): Asked {
  const answer = createLocateAnswerer({ device: node.device, clock: node.clock })
  const requests: Uint8Array[] = []
  return {
    scheme: 'tcp',
    requests,
    locate: async (_address, request) => {
      requests.push(request)
      const answered = answer(request, source)
      if (answered === undefined) throw new KithError('LOCATE_FAILED')
      return edit(answered)
    },
  }
}

function ask(from: TestNode, transport: Asked, node: TestNode, options: Partial<LocateOptions> = {}): Promise<Located> {
  return locate(transport, 'tcp://192.0.2.9:4433', { did: node.device.did, clock: from.clock, random: seededRandom('locate'), ...options })
}

describe('locate', () => {
  conformance('icn/locate/v1 request and tag', (g) => {
    const nonce = g.bytes(16)
    return encodeLocateRequest({ nonce, tag: locateTag(g.bytes(32), nonce), haveIndex: g.integer(2 ** 32) })
  })
  conformance('icn/locate-answer/v1 signed bytes', (g) => {
    const body = encodeLocateAnswerBody({ binding: g.bytesUpTo(1000), tail: g.bytesUpTo(1000), timeMs: g.integer(2 ** 53) })
    return locateAnswerMessage({ nonce: g.bytes(16), tag: g.bytes(32) }, body)
  })

  test('a request is 55 bytes and begins with its tag', () => {
    const request = encodeLocateRequest({ nonce: new Uint8Array(16), tag: new Uint8Array(32), haveIndex: NO_INDEX })
    assert.equal(request.length, LOCATE_REQUEST_BYTES)
    assert.deepEqual([...request.subarray(0, 3)], [0x4b, 0x10, 0x01])
  })

  test('an unknown machine behind a DID is found, with chain, binding and the difference of clocks', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    bob.clock.advance(3_600_000)
    const found = await ask(ann, addressOf(bob), bob)
    assert.ok(equal(found.linkKey, bob.linkKey))
    assert.equal(found.did, bob.device.did)
    assert.equal(found.chain.index, 0)
    assert.equal(found.binding.serial, 1)
    assert.equal(found.clockOffsetMs, 3_600_000)
  })

  test('a chain that is known up to an index, only the tail travels', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const before = bob.identity.chain
    rotateIdentity(bob.identity)
    bob.device.chain = bob.identity.chain
    bob.device.binding = certify(bob.identity, 'bob', { serial: 2 })
    const transport = addressOf(bob)
    assert.equal((await ask(ann, transport, bob, { chain: before })).chain.index, 1)
    assert.equal(decodeLocateRequest(transport.requests[0] as Uint8Array).haveIndex, 0)
    assert.equal((await ask(ann, addressOf(bob), bob, { chain: bob.identity.chain })).chain.index, 1)
  })

  test('a chain longer than one answer, fetched in rounds', async () => {
    const identity = testIdentity('bob', { mldsa: true })
    const ann = await testNode('ann')
    for (let generation = 1; generation <= 9; generation++) rotateIdentity(identity, { now: NOW - 3_600_000 + generation })
    const bob = await testNode('bob', { identity, notBefore: NOW - 60_000 })
    const transport = addressOf(bob)
    const found = await ask(ann, transport, bob)
    assert.equal(found.chain.index, 9)
    assert.ok(transport.requests.length >= 2)
    const [first] = transport.requests
    const answer = createLocateAnswerer({ device: bob.device, clock: bob.clock })(first as Uint8Array, source) as Uint8Array
    assert.ok(decodeLocateAnswer(answer).tail.length <= MAX_LOCATE_TAIL_BYTES)
  })

  test('asked for another DID, silence', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const answer = createLocateAnswerer({ device: bob.device, clock: bob.clock })
    const nonce = new Uint8Array(16)
    assert.equal(answer(encodeLocateRequest({ nonce, tag: locateTag(ann.device.didKey, nonce), haveIndex: 0 }), source), undefined)
    assert.equal(answer(new Uint8Array(55), source), undefined)
    assert.equal(answer(new Uint8Array(0), source), undefined)
  })

  test('more than ten questions a second from one source, silence; other sources are answered', async () => {
    const bob = await testNode('bob')
    const answer = createLocateAnswerer({ device: bob.device, clock: bob.clock })
    const nonce = new Uint8Array(16)
    const request = encodeLocateRequest({ nonce, tag: locateTag(bob.device.didKey, nonce), haveIndex: 0 })
    const answers = Array.from({ length: 12 }, () => answer(request, source) !== undefined)
    assert.deepEqual(answers.filter(Boolean).length, 10)
    assert.notEqual(answer(request, { ...source, host: '192.0.2.2' }), undefined)
    assert.equal(answer(request, { ...source, host: '::ffff:192.0.2.1' }), undefined, 'the same host in another spelling')
    bob.clock.advance(1000)
    assert.notEqual(answer(request, source), undefined)
  })

  test('an answer for another question, by another key, or changed anywhere, LOCATE_FAILED', async () => {
    const [ann, bob, eve] = [await testNode('ann'), await testNode('bob'), await testNode('eve')]
    const recorded: Uint8Array[] = []
    await ask(
      ann,
      addressOf(bob, (answer) => {
        recorded.push(answer)
        return answer
      }),
      bob,
    )
    assertRefused(
      await ask(
        ann,
        addressOf(bob, () => recorded[0] as Uint8Array),
        bob,
        { random: seededRandom('other') },
      ).then(unexpected, asError),
      'LOCATE_FAILED',
    )
    const forged = (answer: Uint8Array): Uint8Array => {
      const { body } = decodeLocateAnswer(answer)
      const asked = { nonce: seededRandom('locate').bytes(16), tag: new Uint8Array(32) }
      return Buffer.concat([body, eve.device.linkSigner.sign(locateAnswerMessage(asked, body)) as Signature])
    }
    assertRefused(await ask(ann, addressOf(bob, forged), bob).then(unexpected, asError), 'LOCATE_FAILED')
    const { length } = recorded[0] as Uint8Array
    for (let at = 0; at < length; at++) {
      const outcome = await ask(
        ann,
        addressOf(bob, (answer) => flip(answer, at)),
        bob,
      ).then(unexpected, asError)
      assert.ok(['LOCATE_FAILED', 'BINDING_INVALID', 'CHAIN_INVALID'].includes(outcome.code), `byte ${at}: ${outcome.code}`)
    }
  })

  test('a machine of another identity that answers with its own genuine binding, LOCATE_FAILED', async () => {
    const [ann, bob, eve] = [await testNode('ann'), await testNode('bob'), await testNode('eve')]
    // Eve knows the DID and signs with her own device.
    const posing = { ...eve, device: { ...eve.device, didKey: bob.device.didKey } }
    for (const chain of [undefined, bob.identity.chain])
      assertRefused(await ask(ann, addressOf(posing), bob, { chain }).then(unexpected, asError), 'LOCATE_FAILED')
  })

  test('a binding that has run out, BINDING_EXPIRED; an older chain than known, what is known decides', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob', { notBefore: NOW - 86_400_000, notAfter: NOW - 1 })]
    assertRefused(await ask(ann, addressOf(bob), bob).then(unexpected, asError), 'BINDING_EXPIRED')
    const eve = await testNode('eve')
    const stale = { ...eve.identity }
    rotateIdentity(eve.identity, { reason: 'compromised' })
    assertRefused(await ask(ann, addressOf({ ...eve, identity: stale }), eve, { chain: eve.identity.chain }).then(unexpected, asError), 'BINDING_INVALID')
  })

  test('a transport that cannot ask, UNSUPPORTED; a caller that gives up, ABORTED; no answer, TIMEOUT', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    assertRefused(
      await locate({ scheme: 'quic' }, 'quic://192.0.2.9:1', { did: bob.device.did, clock: ann.clock, random: seededRandom(1) }).then(unexpected, asError),
      'UNSUPPORTED',
    )
    const silent: Asked = {
      scheme: 'tcp',
      requests: [],
      locate: (_address, _request, { signal }) =>
        new Promise((_, reject) => (signal.aborted ? reject(signal.reason) : signal.addEventListener('abort', () => reject(signal.reason), { once: true }))),
    }
    const abort = new AbortController()
    const aborted = ask(ann, silent, bob, { signal: abort.signal }).then(unexpected, asError)
    abort.abort()
    assertRefused(await aborted, 'ABORTED')
    const late = ask(ann, silent, bob).then(unexpected, asError)
    await ann.clock.run(10_000)
    assertRefused(await late, 'TIMEOUT')
    assert.equal(ann.clock.pending, 0)
  })

  test('decoders meet any bytes with a value or WIRE_MALFORMED', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom([0x4b, 0x10, 1], [0x4b, 0x11, 1], []), (bytes, head) => {
        const frame = Uint8Array.from([...head, ...bytes])
        for (const read of [decodeLocateRequest, decodeLocateAnswer]) {
          try {
            read(frame)
          } catch (error) {
            if (!isKithError(error, 'WIRE_MALFORMED')) throw error
          }
        }
      }),
      { numRuns: 2000 },
    )
  })
})

function unexpected(): never {
  throw new Error('it was located')
}
