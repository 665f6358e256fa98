import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { toHex } from '../../src/core/bytes.ts'
import { seededRandom } from '../../src/core/random.ts'
import { createAdmission } from '../../src/mesh/admission.ts'
import { greet } from '../../src/mesh/hello.ts'
import type { AuthenticatedLink, GreetContext } from '../../src/mesh/hello-types.ts'
import { createLocateAnswerer, locate } from '../../src/mesh/locate.ts'
import { createMemoryNetwork, createMemoryTransport } from '../../src/transport/memory.ts'
import type { Listener, Transport } from '../../src/transport/types.ts'
import { type TestNode, testNode } from './fixtures.ts'
import { asError, assertRefused, assertTold, type Outcome } from './meeting.ts'

interface World {
  readonly scheme: string
  readonly listenAt: string
  transport(node: TestNode): Transport
}

function memoryWorld(): World {
  const network = createMemoryNetwork()
  return {
    scheme: 'memory',
    listenAt: 'memory://bob',
    transport: (node) => createMemoryTransport({ network, signer: node.device.linkSigner, random: seededRandom(toHex(node.linkKey)), clock: node.clock }),
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

for (const makeWorld of [memoryWorld]) {
  const { scheme } = makeWorld()
  describe(`hello over ${scheme}`, () => {
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
