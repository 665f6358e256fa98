import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Event } from '../../src/call/define.ts'
import { createHead } from '../../src/call/head.ts'
import { callsOverLinks } from '../../src/call/head-calls.ts'
import { type CallClient, createCallClient, serveCalls } from '../../src/call/link.ts'
import { createLocalCallee } from '../../src/call/local.ts'
import { FORM_JSON, Undecoded } from '../../src/call/payload.ts'
import { createRegistry } from '../../src/call/registry.ts'
import type { Callee, StreamItem } from '../../src/call/types.ts'
import { offeredOperations } from '../../src/call/worker.ts'
import { toHex } from '../../src/core/bytes.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { seededRandom } from '../../src/core/random.ts'
import { acquaint, createWorld, type World } from '../mesh/mesh-support.ts'
import { ask, codeOf, hub, OWNER, operation, subscription } from './head-support.ts'
import { byAccess, testCaller } from './support.ts'

const OPERATIONS = [
  operation('echo/say', (input) => input),
  operation('echo/nothing', () => undefined),
  subscription('echo/items', async function* (input) {
    for (const [at, item] of (input as unknown[]).entries()) yield new Event(item, `event-${at}`)
  }),
]

interface Chain {
  readonly world: World
  /** As they came to the head. */
  readonly inputs: readonly unknown[]
  readonly client: CallClient
  close(): Promise<void>
}

/** A caller, a head and a worker, with links between them. */
async function chain(): Promise<Chain> {
  const world = createWorld()
  const [near, middle, far] = await Promise.all([world.node('near'), world.node('middle'), world.node('far')])
  await acquaint(near, middle)
  await acquaint(middle, far)
  const common = { clock: world.clock, logger: silentLogger, authorize: byAccess }
  const worker = createLocalCallee({ ...common, registry: createRegistry(OPERATIONS), random: seededRandom('far') })
  const local = createLocalCallee({ ...common, registry: createRegistry(), random: seededRandom('middle') })
  const onward = createCallClient(middle.mesh, { clock: world.clock })
  const head = createHead({ ...common, local, hasLocal: () => false, client: callsOverLinks(onward), mayOffer: () => true })
  const linkKey = toHex(far.device.linkSigner.publicKey)
  head.attach({ alias: 'worker', operations: offeredOperations(OPERATIONS) }, callsOverLinks(onward), { peer: far.mesh.did, linkKey })
  const inputs: unknown[] = []
  const seen: Callee = {
    list: (caller) => head.list(caller),
    describe: (path, caller) => head.describe(path, caller),
    onChange: (listener) => head.onChange(listener),
    carries: (path) => head.carries?.(path) === true,
    call: (request) => {
      inputs.push(request.input)
      return head.call(request)
    },
    stream: (request) => head.stream(request),
  }
  const callerOf = ({ peer }: { readonly peer: string }) => testCaller(peer)
  const servers = [serveCalls(middle.mesh, seen, { callerOf }), serveCalls(far.mesh, worker, { callerOf })]
  const client = createCallClient(near.mesh, { clock: world.clock })
  await world.settle(Promise.all([near.mesh.dial('middle'), middle.mesh.dial('far')]))
  return {
    world,
    inputs,
    client,
    close: async () => {
      client.close()
      onward.close()
      head.close()
      for (const server of servers) server.close()
      for (const callee of [local, worker]) callee.close()
      await world.close()
    },
  }
}

test('payloads through a head on links, every form and length, come as they were sent and are not read there', async () => {
  const { world, inputs, client, close } = await chain()
  try {
    const bytes = Uint8Array.from({ length: 300 }, (_, i) => i & 0xff)
    for (const value of [
      0,
      null,
      '',
      'a\u00e9\u4e00',
      { a: [1, { b: true }] },
      bytes,
      'x'.repeat(50_000),
      'y'.repeat(300_000),
      new Uint8Array(200_000).fill(7),
    ]) {
      assert.deepEqual(await world.settle(client.call('middle', '/worker/echo/say', value)), value)
    }
    assert.ok(inputs.length > 0 && inputs.every((input) => input instanceof Undecoded))
    const mixed = { bytes, text: 'z' }
    assert.deepEqual(await world.settle(client.call('middle', '/worker/echo/say', mixed, { encoding: 'cbor' })), mixed)
    assert.equal(await world.settle(client.call('middle', '/worker/echo/nothing', 1)), undefined)
    assert.equal(await world.settle(client.call('middle', '/echo/say')), undefined)
  } finally {
    await close()
  }
})

test('a stream through a head on links, short and long items, comes in order with its events', async () => {
  const { world, client, close } = await chain()
  try {
    const sent = ['a', { b: 1 }, null, 'x'.repeat(100_000), 'last']
    const read = async (): Promise<StreamItem[]> => {
      const items: StreamItem[] = []
      for await (const item of client.stream('middle', '/echo/items', sent)) items.push(item)
      return items
    }
    assert.deepEqual(
      await world.settle(read()),
      sent.map((value, at) => ({ value, id: `event-${at}` })),
    )
  } finally {
    await close()
  }
})

test('an input nobody read, its worker takes values only, is read for it, and refused when it cannot be', async () => {
  const { head, add } = hub([operation('own/here', (input) => input)])
  assert.equal(head.carries?.('/fs/read'), false)
  const one = add('one', [operation('fs/read', (input) => input)])
  assert.deepEqual(
    ['fs/read', '/fs/read', '/one/fs/read', '/own/here', '/no path at all', ''].map((path) => head.carries?.(path)),
    [true, true, true, false, false, false],
  )
  const undecoded = (text: string): Undecoded => new Undecoded(FORM_JSON, Buffer.from(text), 0, text.length)
  assert.deepEqual(await ask(head, '/one/fs/read', OWNER, { input: undecoded('{"a":1}') }), { a: 1 })
  for (const text of ['{"a":', '{"__proto__":{}}', `${'['.repeat(70)}${']'.repeat(70)}`]) {
    assert.equal(await codeOf(ask(head, '/one/fs/read', OWNER, { input: undecoded(text) })), 'CALL_INPUT')
    const items = head.stream({ caller: OWNER, path: '/one/fs/read', input: undecoded(text) })
    assert.equal(await codeOf(items.next()), 'CALL_INPUT')
  }
  assert.equal(one.seen.length, 1)
  assert.equal(head.workers()[0]?.running, 0)
})
