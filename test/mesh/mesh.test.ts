import assert from 'node:assert/strict'
import { test } from 'node:test'
import { acquaint, askEcho, createWorld, serveEcho } from './mesh-support.ts'

test('two nodes that know each other, link and talk', async () => {
  const world = createWorld()
  const [ann, ben] = [await world.node('ann'), await world.node('ben')]
  await acquaint(ann, ben)
  serveEcho(ben)
  assert.equal(await askEcho(world, ann, ben, 'hello'), 'ben:hello')
  await world.until(() => ann.mesh.links().every(({ state }) => state === 'connected') && ben.mesh.links().every(({ state }) => state === 'connected'))
  const [rtt] = await world.settle(ann.mesh.ping('ben'))
  assert.ok(rtt !== undefined && rtt >= 0)
  await world.close()
})
