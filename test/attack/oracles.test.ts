import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isKithError, KithError } from '../../src/core/errors.ts'
import { encodeChain } from '../../src/identity/chain-codec.ts'
import { HelloCache } from '../../src/mesh/hello-cache.ts'
import { NOW, testNode } from '../mesh/fixtures.ts'
import { meet } from '../mesh/meeting.ts'
import { createWorld } from '../mesh/mesh-support.ts'

/** Objects handed out from memory are the same every time; ones that are decoded anew are not. */
test('what is remembered of a device, is found by the key of its own channel only', async () => {
  const [ann, ben, eve] = await Promise.all(['ann', 'ben', 'eve'].map((name) => testNode(name)))
  assert.ok(ann !== undefined && ben !== undefined && eve !== undefined)
  const { dialer } = await meet(ben, ann)
  assert.ok(!(dialer instanceof KithError))
  assert.deepEqual(ann.cache.size, { bindings: 1, chains: 1 })
  const binding = ben.device.binding
  const chain = encodeChain(ben.identity.chain.entries)
  const found = (cache: HelloCache, key: typeof ben.linkKey): readonly boolean[] => {
    const [first, second] = [cache.decodeBinding(binding, key), cache.decodeBinding(binding, key)]
    const [shown, again] = [cache.chain(chain, key, ben.device.did, NOW), cache.chain(chain, key, ben.device.did, NOW)]
    return [first === second, shown === again]
  }
  assert.deepEqual(found(ann.cache, ben.linkKey), [true, true])
  assert.deepEqual(found(ann.cache, eve.linkKey), [false, false], 'a stranger with his binding and chain learns nothing by the time it takes')
  assert.deepEqual(found(new HelloCache(), ben.linkKey), [false, false])
})

test('strangers that contradict themselves, raise no alarm', { timeout: 60_000 }, async () => {
  const world = createWorld()
  const ann = await world.node('ann')
  for (const name of ['eve', 'mallory']) {
    const one = await world.node(name, { listen: null })
    const copy = await world.node(`${name}-copy`, { identity: one.identity, device: one.device, listen: null })
    await world.settle(one.mesh.dial(ann.mesh.did, { url: ann.url }))
    await assert.rejects(world.settle(copy.mesh.dial(ann.mesh.did, { url: ann.url })), (error) => isKithError(error, 'DEVICE_CLONED'))
  }
  assert.deepEqual(
    ann.events.filter(({ type }) => type === 'warning'),
    [],
  )
  await world.close()
})
