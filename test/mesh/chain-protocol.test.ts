import assert from 'node:assert/strict'
import type { Duplex } from 'node:stream'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { manualClock } from '../../src/core/clock.ts'
import { seededRandom } from '../../src/core/random.ts'
import type { Did } from '../../src/identity/did.ts'
import type { ChainState } from '../../src/identity/types.ts'
import { fetchChain, serveChain } from '../../src/mesh/chain-protocol.ts'
import { NO_INDEX } from '../../src/mesh/locate-codec.ts'
import { createMemoryNetwork, createMemoryTransport } from '../../src/transport/memory.ts'
import { rotateIdentity, type TestNode, testNode } from './fixtures.ts'
import { asError, assertRefused } from './meeting.ts'

/** The two ends of one stream of a connection, on their own clock. */
async function streamPair(): Promise<[Duplex, Duplex]> {
  const [network, clock, random] = [createMemoryNetwork(), manualClock(), seededRandom('streams')]
  const [near, far] = [await testNode('near'), await testNode('far')]
  const { promise: accepted, resolve } = Promise.withResolvers<Duplex>()
  const listening = createMemoryTransport({ network, clock, random, signer: far.device.linkSigner })
  await listening.listen('memory://far', (channel) => {
    channel.multiplex().onStream = (stream) => resolve(stream.toDuplex())
  })
  const dialing = createMemoryTransport({ network, clock, random, signer: near.device.linkSigner })
  const channel = await dialing.dial('memory://far', { expect: far.linkKey, signal: new AbortController().signal })
  const stream = (await channel.multiplex().open()).toDuplex()
  stream.write(new Uint8Array(0))
  return [stream, await accepted]
}

async function exchange(
  asker: TestNode,
  did: Did,
  have: ChainState | undefined,
  chain: ChainState | undefined,
): Promise<{ state: ChainState | undefined; asked: Did[] }> {
  const [near, far] = await streamPair()
  const asked: Did[] = []
  const [state] = await Promise.all([
    fetchChain(near, { did, have, clock: asker.clock }),
    serveChain(far, {
      clock: asker.clock,
      chainOf: async (wanted) => {
        asked.push(wanted)
        return chain
      },
    }),
  ])
  return { state, asked }
}

/** What the server does with these bytes. */
async function served(node: TestNode, request: Uint8Array): Promise<unknown> {
  const [near, far] = await streamPair()
  near.on('error', () => {})
  near.end(request)
  near.resume()
  return await serveChain(far, { clock: node.clock, chainOf: async () => node.identity.chain }).catch((error: unknown) => error)
}

describe('icn/chain/1', () => {
  test('nothing known, the whole chain; the beginning known, the rest', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const before = bob.identity.chain
    for (let generation = 0; generation < 3; generation++) rotateIdentity(bob.identity)
    const whole = await exchange(ann, bob.device.did, undefined, bob.identity.chain)
    assert.equal(whole.state?.index, 3)
    assert.deepEqual(whole.asked, [bob.device.did])
    assert.equal((await exchange(ann, bob.device.did, before, bob.identity.chain)).state?.index, 3)
  })

  test('nothing to add or nothing to show, undefined either way', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    assert.equal((await exchange(ann, bob.device.did, bob.identity.chain, bob.identity.chain)).state, undefined)
    assert.equal((await exchange(ann, bob.device.did, undefined, undefined)).state, undefined)
    const longer = { ...bob.identity }
    rotateIdentity(longer)
    assert.equal((await exchange(ann, bob.device.did, longer.chain, bob.identity.chain)).state, undefined)
  })

  test('the chain of another identity, CHAIN_INVALID', async () => {
    const [ann, bob, eve] = [await testNode('ann'), await testNode('bob'), await testNode('eve')]
    assertRefused(await exchange(ann, bob.device.did, undefined, eve.identity.chain).then(unexpected, asError), 'CHAIN_INVALID')
  })

  test('an answer that is cut, too long or lies about its length, WIRE_MALFORMED', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const oversized = Buffer.concat([Uint8Array.of(1), Buffer.from('00400001', 'hex'), Buffer.alloc(4 * 1024 * 1024 + 1)])
    for (const answer of [
      oversized,
      new Uint8Array(0),
      Uint8Array.of(1, 0, 0, 0),
      Uint8Array.of(1, 0, 0, 0, 1),
      Uint8Array.of(2, 0, 0, 0, 0),
      Uint8Array.of(1, 0, 0, 0, 0, 9),
    ]) {
      const [near, far] = await streamPair()
      far.end(answer)
      far.resume()
      assertRefused(await fetchChain(near, { did: bob.device.did, clock: ann.clock }).then(unexpected, asError), 'WIRE_MALFORMED')
    }
  })

  test('a request of another length or layout, or for no key, refused', async () => {
    const bob = await testNode('bob')
    const request = Buffer.concat([Uint8Array.of(1), bob.device.didKey, Buffer.alloc(4)])
    assert.equal(await served(bob, request), undefined)
    assertRefused(asError(await served(bob, Buffer.concat([request, Uint8Array.of(0)]))), 'WIRE_MALFORMED')
    assertRefused(asError(await served(bob, request.subarray(1))), 'WIRE_MALFORMED')
    assertRefused(asError(await served(bob, Buffer.concat([Uint8Array.of(2), request.subarray(1)]))), 'WIRE_MALFORMED')
    assertRefused(asError(await served(bob, Buffer.concat([Uint8Array.of(1), Buffer.alloc(36)]))), 'KEY_INVALID')
  })

  test('a silent peer, TIMEOUT on either side; a caller that gives up, ABORTED', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const [near, far] = await streamPair()
    const fetching = fetchChain(near, { did: bob.device.did, clock: ann.clock }).then(unexpected, asError)
    await ann.clock.run(30_000)
    assertRefused(await fetching, 'TIMEOUT')
    const serving = serveChain(far, { clock: ann.clock, chainOf: async () => undefined })
    await serving.catch(asError)
    const [, idle] = await streamPair()
    const waiting = serveChain(idle, { clock: ann.clock, chainOf: async () => undefined }).then(unexpected, asError)
    await ann.clock.run(30_000)
    assertRefused(await waiting, 'TIMEOUT')
    const abort = new AbortController()
    const [other] = await streamPair()
    const aborted = fetchChain(other, { did: bob.device.did, clock: ann.clock, signal: abort.signal }).then(unexpected, asError)
    abort.abort()
    assertRefused(await aborted, 'ABORTED')
    assert.equal(ann.clock.pending, 0)
  })

  test('any bytes as a request end in an answer or a known refusal', async () => {
    const bob = await testNode('bob')
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), async (bytes) => {
        const outcome = await served(bob, bytes)
        if (outcome !== undefined) assert.ok(['WIRE_MALFORMED', 'KEY_INVALID'].includes(asError(outcome).code))
      }),
      { numRuns: 200 },
    )
    assert.equal(NO_INDEX, 2 ** 32 - 1)
  })
})

function unexpected(): never {
  throw new Error('it succeeded')
}
