import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { duplexPair } from 'node:stream'
import { after, before, test } from 'node:test'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import type ssh2 from 'ssh2'
import { type AnyOperation, defineOperation } from '../../src/call/define.ts'
import { createEnvelopeClient } from '../../src/call/envelope-client.ts'
import { createEnvelopeSession } from '../../src/call/envelope-session.ts'
import { CallError, isCallError } from '../../src/call/errors.ts'
import { systemClock } from '../../src/core/clock.ts'
import { KithError } from '../../src/core/errors.ts'
import { callPair, localWorld, testCaller } from '../call/support.ts'
import { ask, openWorld, TOKEN, type World } from '../gateway/support.ts'
import { exec, login, testDoor, userKey } from '../ssh/support.ts'

/** The longest answer about an error that any door gives. */
const MOST = 64 * 1024

function circle(): unknown {
  const ring: { self?: unknown } = {}
  ring.self = ring
  return ring
}

function nested(depth: number): unknown {
  return depth === 0 ? 1 : [nested(depth - 1)]
}

const trap = Object.defineProperty({}, 'a', {
  enumerable: true,
  get() {
    throw new Error('not to be read')
  },
})

const BAD: Readonly<Record<string, unknown>> = {
  bigint: { amount: 1n },
  circle: circle(),
  bytes: new Uint8Array(20_000_000),
  long: 'x'.repeat(20_000_000),
  many: Array.from({ length: 1_000_000 }, (_, i) => i),
  nested: nested(100),
  prototype: JSON.parse('{"__proto__":{"a":1}}'),
  trap,
}

/** A bad error of the handler's own code, and one of the table of errors. */
function operations(): AnyOperation[] {
  const made: AnyOperation[] = [defineOperation({ name: 'good/one', kind: 'query', access: 'everyone', input: true, output: true, handler: () => 1 })]
  for (const [name, data] of Object.entries(BAD)) {
    const errors = { BAD: true, BUDGET_EXCEEDED: true }
    const common = { access: 'everyone', input: true, output: true, errors } as const
    made.push(
      defineOperation({
        ...common,
        name: `own/${name}`,
        kind: 'query',
        handler: async () => {
          throw new CallError('BAD', 'm'.repeat(1_000_000), { data })
        },
      }),
      defineOperation({
        ...common,
        name: `table/${name}`,
        kind: 'query',
        handler: () => {
          throw new KithError('BUDGET_EXCEEDED', 'a sentence', { details: { data: data as string }, next: 'n'.repeat(1_000_000) })
        },
      }),
      defineOperation({
        ...common,
        name: `stream/${name}`,
        kind: 'subscription',
        async *handler() {
          yield 1
          throw new CallError('BAD', 'a sentence', { data })
        },
      }),
    )
  }
  return made
}

const isBad = (error: unknown): boolean => isCallError(error, 'BAD') && error.data === undefined && error.message.length < 2_000
const isBudget = (error: unknown): boolean => error instanceof KithError && error.code === 'BUDGET_EXCEEDED' && Object.keys(error.details).length === 0

async function drained(items: AsyncIterable<unknown>): Promise<void> {
  for await (const _item of items);
}

let world: World
before(async () => {
  world = await openWorld(operations())
})
after(() => world.close())

test('an error of a handler, whose data cannot travel, is one answer over a link, and the next call is answered', async () => {
  const pair = await callPair(operations())
  for (const name of Object.keys(BAD)) {
    await pair.world.settle(assert.rejects(pair.client.call(pair.far.mesh.did, `/own/${name}`, {}), isBad, name))
    await pair.world.settle(assert.rejects(pair.client.call(pair.far.mesh.did, `/table/${name}`, {}), isBudget, name))
    await pair.world.settle(assert.rejects(drained(pair.client.stream(pair.far.mesh.did, `/stream/${name}`, {})), isBad, name))
  }
  assert.equal(await pair.world.settle(pair.client.call(pair.far.mesh.did, '/good/one', {})), 1)
  assert.deepEqual(pair.violations, [])
  await pair.close()
})

test('an error of a handler, whose data cannot travel, is one answer in the open form, and the session lives', async () => {
  const { callee } = localWorld(operations())
  const [here, there] = duplexPair()
  const session = createEnvelopeSession(there, { callee, caller: testCaller('a'), clock: systemClock })
  const client = createEnvelopeClient(here, { clock: systemClock })
  for (const name of Object.keys(BAD)) {
    await assert.rejects(client.call(`own/${name}`, {}), isBad, name)
    await assert.rejects(client.call(`table/${name}`, {}), isBudget, name)
    await assert.rejects(drained(client.stream(`stream/${name}`, {})), isBad, name)
  }
  assert.equal(await client.call('good/one', {}), 1)
  assert.equal(session.running, 0)
  session.close()
  client.close()
  callee.close()
})

test('a session of the open form, whose frames may be too short for any error, ends and throws at nobody', async () => {
  const { callee } = localWorld(operations())
  const [here, there] = duplexPair()
  const session = createEnvelopeSession(there, { callee, caller: testCaller('a'), clock: systemClock, limits: { frameBytes: 80, calls: 4 } })
  const body = Buffer.from(JSON.stringify({ type: 'call.requested', id: '1', payload: {} }))
  const head = Buffer.alloc(4)
  head.writeUInt32BE(body.length)
  here.write(Buffer.concat([head, body]))
  here.resume()
  const error = await session.closed
  assert.equal(error?.code, 'MESSAGE_TOO_LARGE')
  callee.close()
})

test('an error of a handler, whose data cannot travel, is one bounded answer over HTTP, as an event and as a tool', async () => {
  const client = new Client({ name: 'test', version: '1' })
  const transport = new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${world.port}/mcp`), {
    requestInit: { headers: { authorization: `Bearer ${TOKEN}` } },
  })
  await client.connect(transport as Transport)
  for (const name of Object.keys(BAD)) {
    const own = await ask(world.port, `/v1/own/${name}`, { body: {} })
    assert.deepEqual([own.status, (own.json as { error: { code: string; details: unknown } }).error.details, own.text.length < MOST], [422, {}, true], name)
    const table = await ask(world.port, `/v1/table/${name}`, { body: {} })
    assert.deepEqual([(table.json as { error: { code: string } }).error.code, table.text.length < MOST], ['BUDGET_EXCEEDED', true], name)
    const events = await ask(world.port, `/v1/stream/${name}`, { body: {}, headers: { accept: 'text/event-stream' } })
    assert.match(events.text, /event: error\ndata: \{"error":\{"code":"BAD"/, name)
    assert.ok(events.text.length < MOST, name)
    const tool = await client.callTool({ name: `own_${name}`, arguments: {} })
    const [content] = tool.content as { text: string }[]
    assert.ok(tool.isError === true && content !== undefined && content.text.length < MOST && content.text.includes('"BAD"'), name)
  }
  await client.close()
})

test('an error of a handler, whose data cannot travel, is one bounded answer by exec and on the control channel of SSH', async () => {
  const { callee } = localWorld(operations())
  const door = testDoor({ callee, control: (channel, caller) => void createEnvelopeSession(channel, { callee, caller, clock: systemClock }) })
  const key = userKey()
  door.identity.allow(key)
  const client = await login(door.dial(), { key })
  for (const name of Object.keys(BAD)) {
    const own = await exec(client, `call own/${name} {}`)
    const { error } = JSON.parse(own.err) as { error: { code: string; details: unknown } }
    assert.deepEqual([error.code, error.details, own.status === 1, own.err.length < MOST], ['CALL_ERROR', { code: 'BAD' }, true, true], name)
    const table = await exec(client, `call table/${name} {}`)
    assert.equal((JSON.parse(table.err) as { error: { code: string } }).error.code, 'BUDGET_EXCEEDED', name)
  }
  const channel = await new Promise<ssh2.ClientChannel>((resolve, reject) =>
    client.forwardOut('127.0.0.1', 0, 'alknet-control', 0, (error, opened) => (error === undefined ? resolve(opened) : reject(error))),
  )
  const calls = createEnvelopeClient(channel, { clock: systemClock })
  for (const name of Object.keys(BAD)) await assert.rejects(calls.call(`own/${name}`, {}), isBad, name)
  assert.equal(await calls.call('good/one', {}), 1)
  client.end()
  await once(client, 'close')
  door.door.close()
  callee.close()
})

test('the raw door, whose caller meets such an error, goes on with the connection', async () => {
  const { createRawDoor } = await import('../../src/gateway/raw-door.ts')
  const { encodeFrame } = await import('../../src/gateway/first-frame.ts')
  const door = createRawDoor({
    identities: world.identities,
    clock: systemClock,
    logger: { debug() {}, info() {}, warn() {}, error() {}, child: () => assert.fail('no child is asked for') },
    serve: (socket, caller) => createEnvelopeSession(socket, { callee: world.callee, caller, clock: systemClock }).closed,
  })
  const { port } = await door.listenTcp('127.0.0.1', 0)
  const socket = connect(port, '127.0.0.1')
  socket.write(encodeFrame('auth' as 'auth.ok', '0', TOKEN))
  await once(socket, 'data')
  const calls = createEnvelopeClient(socket, { clock: systemClock })
  for (const name of Object.keys(BAD)) await assert.rejects(calls.call(`own/${name}`, {}), isBad, name)
  assert.equal(await calls.call('good/one', {}), 1)
  calls.close()
  await door.close()
})
