import assert from 'node:assert/strict'
import { it } from 'node:test'
import { defineOperation } from '../../src/call/define.ts'
import { createCallClient, serveCalls } from '../../src/call/link.ts'
import { jsonSchema } from '../../src/call/schema.ts'
import { acquaint, createWorld } from '../mesh/mesh-support.ts'
import { deferred, localWorld, testCaller } from './support.ts'

const anything = jsonSchema<unknown>(true)

it('a link that moves to a better path: calls under way end where they began, new ones go the new way', async (t) => {
  const world = createWorld()
  t.after(() => world.close())
  const near = await world.node('near', { schemes: ['tcp'] })
  const far = await world.node('far', { schemes: ['tcp'] })
  await world.settle(far.mesh.listen('tcp://far'))
  await acquaint(near, far)
  const gate = deferred()
  const { callee } = localWorld([
    defineOperation({
      name: 'slow/gate',
      kind: 'query',
      access: 'everyone',
      input: anything,
      output: anything,
      handler: () => gate.promise.then(() => 'done'),
    }),
    defineOperation({ name: 'echo/say', kind: 'query', access: 'everyone', input: anything, output: anything, handler: (input) => input }),
  ])
  const server = serveCalls(far.mesh, callee, { callerOf: ({ peer }) => testCaller(peer) })
  const client = createCallClient(near.mesh, { clock: world.clock })
  t.after(() => {
    client.close()
    server.close()
  })
  await world.settle(near.mesh.dial('far', { url: 'tcp://far' }))
  const slow = client.call('far', '/slow/gate')
  await world.until(() => server.running === 1)
  await world.settle(near.mesh.dial('far', { url: 'memory://far' }))
  await world.until(() => near.events.some(({ type }) => type === 'moved'))
  assert.equal(await world.settle(client.call('far', '/echo/say', 'new')), 'new')
  gate.resolve()
  assert.equal(await world.settle(slow), 'done')
  assert.equal(near.mesh.links()[0]?.path?.scheme, 'memory')
})
