import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { type AnyOperation, defineOperation } from '../../src/call/define.ts'
import { createHead } from '../../src/call/head.ts'
import { callsOverLinks } from '../../src/call/head-calls.ts'
import { type CallClient, type CallListener, createCallClient, serveCalls } from '../../src/call/link.ts'
import { createLocalCallee } from '../../src/call/local.ts'
import { createRegistry } from '../../src/call/registry.ts'
import { jsonSchema } from '../../src/call/schema.ts'
import type { Callee } from '../../src/call/types.ts'
import { offeredOperations } from '../../src/call/worker.ts'
import { toHex } from '../../src/core/bytes.ts'
import { manualClock } from '../../src/core/manual-clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { seededRandom } from '../../src/core/random.ts'
import type { Did } from '../../src/identity/did.ts'
import type { Connection } from '../../src/transport/types.ts'
import { type RecordLink, recordLink } from './record-link.ts'
import { testCaller } from './support.ts'

const anything = jsonSchema<unknown>(true)
const common = { access: 'everyone', input: anything, output: anything } as const
const operations: readonly AnyOperation[] = [
  defineOperation({ ...common, name: 'echo/say', kind: 'query', handler: (input) => input ?? null }),
  defineOperation({ ...common, name: 'echo/later', kind: 'query', handler: async (input) => await Promise.resolve(input) }),
  defineOperation({
    ...common,
    name: 'feed/count',
    kind: 'subscription',
    handler: async function* (count) {
      for (let i = 0; i < (count as number); i++) yield 'x'.repeat(1_000)
    },
  }),
]

const clock = manualClock()
const parts = { clock, random: seededRandom('records'), logger: silentLogger, authorize: () => 'allowed' as const }
const ONE_EACH = [
  { writes: 1, records: 1 },
  { writes: 1, records: 1 },
]

function localCallee(t: TestContext, own: readonly AnyOperation[], root?: () => Callee): Callee {
  const callee = createLocalCallee({ ...parts, registry: createRegistry(own), ...(root === undefined ? {} : { root }) })
  t.after(() => callee.close())
  return callee
}

/** Serves on one connection, whoever is at the other end. */
function serveOn(connection: Connection, callee: Callee): void {
  const listener: Pick<CallListener, 'handleLean'> & { policy: unknown } = {
    handleLean(_protocol, handler) {
      const context = { peer: 'did:icn:zpeer' as Did, linkKey: connection.remoteKey, signal: new AbortController().signal }
      connection.onStream = (stream) => handler(stream, context as unknown as Parameters<typeof handler>[1])
      return () => undefined
    },
    policy: { constraints: () => ({ outstandingRequests: 100 }) },
  }
  serveCalls(listener as CallListener, callee, { callerOf: ({ peer }) => testCaller(peer) })
}

function clientOn(t: TestContext, connection: Connection): CallClient {
  const client = createCallClient({ openLean: () => connection.open(), onEvent: () => () => undefined }, { clock })
  t.after(() => client.close())
  return client
}

function counted({ nearWire, farWire }: RecordLink): readonly { readonly writes: number; readonly records: number }[] {
  return [nearWire.take(), farWire.take()]
}

/** Client and callee, with the stream of calls open and nothing counted yet. */
async function linked(t: TestContext): Promise<{ link: RecordLink; client: CallClient }> {
  const link = recordLink(clock)
  t.after(() => link.nearWire.destroy())
  serveOn(link.far, localCallee(t, operations))
  const client = clientOn(t, link.near)
  await client.call('far', '/echo/say', 'first')
  counted(link)
  return { link, client }
}

describe('what calls cost on a link', () => {
  it('a lone call, one record and one write each way', async (t) => {
    const { link, client } = await linked(t)
    assert.equal(await client.call('far', '/echo/say', 'hello'), 'hello')
    assert.deepEqual(counted(link), ONE_EACH)
  })

  it('a lone call whose handler answers by a promise, one record and one write each way', async (t) => {
    const { link, client } = await linked(t)
    assert.equal(await client.call('far', '/echo/later', 'hello'), 'hello')
    assert.deepEqual(counted(link), ONE_EACH)
  })

  it('lone calls beyond the windows of the stream, credit goes along and costs no record', async (t) => {
    const { link, client } = await linked(t)
    const calls = 200
    const input = 'x'.repeat(4_000)
    for (let i = 0; i < calls; i++) await client.call('far', '/echo/say', input)
    const [near, far] = counted(link)
    assert.deepEqual(near, { writes: calls, records: calls })
    assert.deepEqual(far, { writes: calls, records: calls })
  })

  it('calls of one turn, one record and one write each way for all of them', async (t) => {
    const { link, client } = await linked(t)
    await Promise.all(Array.from({ length: 50 }, (_, i) => client.call('far', '/echo/say', i)))
    assert.deepEqual(counted(link), ONE_EACH)
  })

  it('a call given up before its answer, the cancellation is one record', async (t) => {
    const { link, client } = await linked(t)
    const stop = new AbortController()
    const call = client.call('far', '/echo/say', 'hello', { signal: stop.signal })
    stop.abort()
    await assert.rejects(call, { code: 'ABORTED' })
    await client.call('far', '/echo/say', 'next')
    // Request and cancellation left together with the next request, or right before it; never one by one.
    const [near] = counted(link)
    assert.ok(near !== undefined && near.writes <= 2, `${near?.writes} writes`)
  })

  it('a stream of items that is read as it comes, many items for each record and credit for many of them at once', async (t) => {
    const { link, client } = await linked(t)
    const count = 2_000
    let seen = 0
    for await (const _item of client.stream('far', '/feed/count', count)) seen++
    assert.equal(seen, count)
    const [near, far] = counted(link)
    assert.ok(near !== undefined && far !== undefined)
    assert.ok(far.writes <= count / 20, `${far.writes} writes of items`)
    assert.ok(near.writes <= far.writes + 1, `${near.writes} writes of the reader, ${far.writes} of items`)
  })

  it('a call through a head, one record and one write each way on both links', async (t) => {
    const [outer, inner] = [recordLink(clock), recordLink(clock)]
    for (const { nearWire } of [outer, inner]) t.after(() => nearWire.destroy())
    serveOn(inner.far, localCallee(t, operations))
    const calls = callsOverLinks(clientOn(t, inner.near))
    const local = localCallee(t, [], (): Callee => head)
    const head = createHead({ ...parts, local, hasLocal: () => false, client: calls, mayOffer: () => true })
    t.after(() => head.close())
    head.attach({ alias: 'desk', operations: offeredOperations(operations) }, calls, { peer: 'did:icn:zdesk' as Did, linkKey: toHex(inner.near.remoteKey) })
    serveOn(outer.far, head)
    const client = clientOn(t, outer.near)
    await client.call('head', '/desk/echo/say', 'first')
    for (const link of [outer, inner]) counted(link)
    assert.equal(await client.call('head', '/desk/echo/say', 'hello'), 'hello')
    assert.deepEqual([...counted(outer), ...counted(inner)], [...ONE_EACH, ...ONE_EACH])
  })
})
