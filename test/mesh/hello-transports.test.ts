import assert from 'node:assert/strict'
import { duplexPair } from 'node:stream'
import { describe, test } from 'node:test'
import { toHex } from '../../src/core/bytes.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { seededRandom, systemRandom } from '../../src/core/random.ts'
import { createAdmission } from '../../src/mesh/admission.ts'
import { greet } from '../../src/mesh/hello.ts'
import type { AuthenticatedLink, GreetContext } from '../../src/mesh/hello-types.ts'
import { createLocateAnswerer, locate } from '../../src/mesh/locate.ts'
import { createMemoryNetwork, createMemoryTransport } from '../../src/transport/memory.ts'
import { createQuicTransport, quicAvailability } from '../../src/transport/quic/index.ts'
import { acceptStack, dialStack } from '../../src/transport/stack.ts'
import { createTcpTransport } from '../../src/transport/tcp.ts'
import type { Listener, Transport } from '../../src/transport/types.ts'
import { type TestNode, testNode } from './fixtures.ts'
import { asError, assertRefused, assertTold, type Outcome } from './meeting.ts'

interface World {
  readonly name: string
  readonly listenAt: string
  transport(node: TestNode): Transport
}

function memoryWorld(secure: boolean): World {
  const network = createMemoryNetwork()
  return {
    name: secure ? 'memory with the encrypted stream' : 'memory',
    listenAt: 'memory://bob',
    transport: (node) =>
      createMemoryTransport({ network, signer: node.device.linkSigner, random: seededRandom(toHex(node.linkKey)), clock: node.clock, secure }),
  }
}

function tcpWorld(): World {
  return {
    name: 'tcp',
    listenAt: 'tcp://127.0.0.1:0',
    transport: (node) => createTcpTransport({ signer: node.device.linkSigner, random: systemRandom, clock: systemClock }),
  }
}

function quicWorld(): World {
  return {
    name: 'quic',
    listenAt: 'quic://127.0.0.1:0',
    transport: (node) => createQuicTransport({ seed: node.linkSeed(), random: systemRandom, clock: systemClock, logger: silentLogger }),
  }
}

const never = new AbortController().signal

/** A listener that greets whoever comes, with the budget of real ones. */
async function serve(world: World, node: TestNode, changes: Partial<GreetContext> = {}): Promise<{ listener: Listener; greeted: Promise<Outcome> }> {
  const admission = createAdmission({ clock: node.clock })
  const { promise: greeted, resolve } = Promise.withResolvers<Outcome>()
  const listener = await world.transport(node).listen(
    world.listenAt,
    (channel) => {
      const lease = admission.greeting(channel)
      greet(channel, node.context(changes))
        .catch(asError)
        .then(resolve)
        .finally(() => lease?.release())
    },
    {
      admit: (source, evict) => admission.handshake(source, evict),
      onLocate: createLocateAnswerer({ device: node.device, clock: node.clock }),
    },
  )
  return { listener, greeted }
}

/** An echo over the connection that the greeting left behind. */
async function echo(near: AuthenticatedLink, far: AuthenticatedLink): Promise<string> {
  const [dialed, accepted] = [near.channel.multiplex(), far.channel.multiplex()]
  accepted.onStream = (stream) => {
    const duplex = stream.toDuplex()
    duplex.pipe(duplex)
  }
  const stream = (await dialed.open()).toDuplex()
  stream.end('over the link')
  let text = ''
  for await (const chunk of stream) text += String(chunk)
  await dialed.close()
  await accepted.closed
  return text
}

const worlds = [() => memoryWorld(false), () => memoryWorld(true), tcpWorld, ...(quicAvailability().ok ? [quicWorld] : [])]
for (const makeWorld of worlds) {
  const { name } = makeWorld()
  describe(`hello over ${name}`, () => {
    test('two nodes come to one link that carries streams', async () => {
      const world = makeWorld()
      const [ann, bob] = [await testNode('ann', { mldsa: true }), await testNode('bob', { mldsa: true })]
      const { listener, greeted } = await serve(world, bob)
      const channel = await world.transport(ann).dial(listener.addresses[0] as string, { expect: bob.linkKey, signal: never })
      const near = await greet(channel, ann.context(), { expect: bob.device.did })
      const far = (await greeted) as AuthenticatedLink
      assert.equal(far.did, ann.device.did)
      assert.equal(toHex(near.helloHash), toHex(far.helloHash))
      assert.equal(near.postQuantum.exchange, channel.postQuantum)
      assert.equal(await echo(near, far), 'over the link')
      await listener.close()
    })

    test('a refusal reaches the dialer before the channel ends', async () => {
      const world = makeWorld()
      const [ann, bob] = [await testNode('ann'), await testNode('bob')]
      const { listener, greeted } = await serve(world, bob, { accept: () => ({ code: 'BANNED' }) })
      const channel = await world.transport(ann).dial(listener.addresses[0] as string, { expect: bob.linkKey, signal: never })
      assertTold(await greet(channel, ann.context()).catch(asError), 'BANNED')
      assertRefused(await greeted, 'BANNED')
      await listener.close()
    })

    // QUIC answers nobody before its own handshake.
    if (makeWorld === quicWorld) return

    test('a machine whose link key is unknown is located first, then dialled and greeted', async () => {
      const world = makeWorld()
      const [ann, bob] = [await testNode('ann'), await testNode('bob')]
      const { listener, greeted } = await serve(world, bob)
      const transport = world.transport(ann)
      const [address] = listener.addresses as [string]
      const found = await locate(transport, address, { did: bob.device.did, clock: ann.clock, random: seededRandom('locate') })
      const channel = await transport.dial(address, { expect: found.linkKey, signal: never })
      const near = await greet(channel, ann.context(), { expect: bob.device.did })
      assert.equal(near.did, bob.device.did)
      await greeted
      near.channel.close()
      await listener.close()
    })

    test('somebody who asks for another identity there gets no answer', async () => {
      const world = makeWorld()
      const [ann, bob, eve] = [await testNode('ann'), await testNode('bob'), await testNode('eve')]
      const { listener } = await serve(world, bob)
      const asked = locate(world.transport(ann), listener.addresses[0] as string, { did: eve.device.did, clock: ann.clock, random: seededRandom('locate') })
      assertRefused(await asked.then(() => assert.fail('located'), asError), 'LOCATE_FAILED')
      await listener.close()
    })
  })
}

test('clocks an hour apart: the encrypted stream refuses before any greeting, HANDSHAKE_TIMESTAMP where it is noticed', async () => {
  const [ann, bob] = [await testNode('ann'), await testNode('bob')]
  bob.clock.advance(3_600_000)
  const [near, far] = duplexPair()
  const path = { scheme: 'tcp', address: 'tcp://192.0.2.1:1', direct: true }
  const dialed = dialStack(near, bob.linkKey, never, { signer: ann.device.linkSigner, clock: ann.clock, random: seededRandom('ann'), path })
  const accepted = acceptStack(far, { signer: bob.device.linkSigner, clock: bob.clock, random: seededRandom('bob'), path })
  const [dialer, listener] = await Promise.all([dialed, accepted].map((side) => side.then(() => assert.fail('connected'), asError)))
  assert.equal(listener?.code, 'HANDSHAKE_TIMESTAMP')
  assert.equal(dialer?.code, 'HANDSHAKE_FAILED')
})
