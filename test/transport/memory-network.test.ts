import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSigner, randomSeed } from '../../src/core/crypto/ed25519.ts'
import { type ManualClock, manualClock } from '../../src/core/manual-clock.ts'
import { systemRandom } from '../../src/core/random.ts'
import { createMemoryNetwork, createMemoryTransport, type MemoryNetwork } from '../../src/transport/memory.ts'
import type { Channel, Connection } from '../../src/transport/types.ts'
import { hasCode, within } from './support.ts'

interface World {
  readonly network: MemoryNetwork
  readonly clock: ManualClock
  readonly near: Channel
  readonly far: Channel
}

const side = (network: MemoryNetwork, clock: ManualClock, name: string) => {
  const signer = createSigner('link', randomSeed(systemRandom))
  return { key: signer.publicKey, transport: createMemoryTransport({ network, signer, random: systemRandom, clock, name }) }
}

/** A channel between `near` and `far`, 20 ms apart, in virtual time. */
async function world(): Promise<World> {
  const network = createMemoryNetwork({ latencyMs: 20 })
  const clock = manualClock()
  const [a, b] = [side(network, clock, 'near'), side(network, clock, 'far')]
  const arrived = Promise.withResolvers<Channel>()
  await b.transport.listen('memory://far', arrived.resolve)
  const started = clock.monotonic()
  const dial = a.transport.dial('memory://far', { expect: b.key, signal: new AbortController().signal })
  await clock.run(40)
  const near = await within('the dial', dial)
  assert.equal(clock.monotonic() - started, 40)
  return { network, clock, near, far: await arrived.promise }
}

async function linked(options: { keepAliveMs?: number } = {}): Promise<World & { a: Connection; b: Connection }> {
  const scene = await world()
  return { ...scene, a: scene.near.multiplex(options), b: scene.far.multiplex(options) }
}

test('a message, arrives after the latency of the clock and not before', async () => {
  const { near, far, clock } = await world()
  let heard = ''
  near.send(Buffer.from('hello'))
  void far.receive().then((message) => {
    heard = Buffer.from(message).toString()
  })
  await clock.run(19)
  assert.equal(heard, '')
  await clock.run(2)
  assert.equal(heard, 'hello')
})

test('latency that changes, never reorders what was sent', async () => {
  const { network, near, far, clock } = await world()
  near.send(Buffer.from('slow'))
  network.latencyMs = () => 1
  near.send(Buffer.from('fast'))
  const both = (async () => [await far.receive(), await far.receive()].map((message) => Buffer.from(message).toString()))()
  await clock.run(30)
  assert.deepEqual(await within('both', both), ['slow', 'fast'])
})

test('a ping, measures the virtual round trip', async () => {
  const { a, clock } = await linked()
  const ping = a.ping()
  await clock.run(60)
  assert.equal(await within('the ping', ping), 40)
})

test('a network that is cut, holds bytes until mended and finds nobody for dials', async () => {
  const { network, near, far, clock } = await world()
  network.cut('far', 'near')
  near.send(Buffer.from('patience'))
  let heard = false
  const message = far.receive().then((bytes) => {
    heard = true
    return bytes
  })
  await clock.run(1000)
  assert.equal(heard, false)
  const dial = side(network, clock, 'near').transport.dial('memory://far', { expect: near.remoteKey, signal: new AbortController().signal })
  const refused = assert.rejects(dial, hasCode('ADDRESS_UNREACHABLE'))
  await clock.run(40)
  await within('the refusal', refused)
  network.mend('near', 'far')
  await clock.run(1)
  assert.equal(Buffer.from(await within('the message', message)).toString(), 'patience')
})

test('a link over a cut network, lost after two intervals of silence', async () => {
  const { network, a, b, clock } = await linked({ keepAliveMs: 15_000 })
  await clock.run(60_000)
  network.cut('near', 'far')
  await clock.run(60_000)
  const infos = await within('the loss', Promise.all([a.closed, b.closed]))
  assert.deepEqual(
    infos.map(({ error }) => error?.code),
    ['LINK_LOST', 'LINK_LOST'],
  )
})

test('a network that is severed, loses links at once and takes new ones', async () => {
  const { network, a, b } = await linked()
  network.sever('near', 'far')
  const infos = await within('the loss', Promise.all([a.closed, b.closed]))
  assert.deepEqual(
    infos.map(({ error, remote }) => [error?.code, remote]),
    [
      ['LINK_LOST', false],
      ['LINK_LOST', false],
    ],
  )
})

test('a dial under way, given up at once when aborted', async () => {
  const network = createMemoryNetwork({ latencyMs: 20 })
  const clock = manualClock()
  const b = side(network, clock, 'far')
  await b.transport.listen('memory://far', () => assert.fail('a channel'))
  const given = new AbortController()
  const dial = side(network, clock, 'near').transport.dial('memory://far', { expect: b.key, signal: given.signal })
  const refused = assert.rejects(dial, { message: 'enough' })
  given.abort(new Error('enough'))
  await within('the refusal', refused)
  assert.equal(clock.pending, 0)
})

test('locate, asks the listener and nobody else', async () => {
  const network = createMemoryNetwork()
  const clock = manualClock()
  const [a, b] = [side(network, clock, 'near'), side(network, clock, 'far')]
  const server = await b.transport.listen('memory://far', () => {}, {
    onLocate: (request, source) => (source.host === 'near' ? Buffer.concat([request, Buffer.from('!')]) : undefined),
  })
  const { signal } = new AbortController()
  assert.equal(Buffer.from((await a.transport.locate?.('memory://far', Buffer.from('who'), { signal })) ?? []).toString(), 'who!')
  const stranger = side(network, clock, 'elsewhere').transport
  await assert.rejects(stranger.locate?.('memory://far', Buffer.from('who'), { signal }) ?? Promise.resolve(), hasCode('LOCATE_FAILED'))
  await server.close()
  await assert.rejects(a.transport.locate?.('memory://far', Buffer.from('who'), { signal }) ?? Promise.resolve(), hasCode('ADDRESS_UNREACHABLE'))
})
