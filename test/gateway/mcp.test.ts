import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import { ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js'
import { z } from 'zod'
import { ask, codeOf, defineOperation, openWorld, type World } from './support.ts'

let held: AbortSignal | undefined
let wrote = 0

const operations = [
  defineOperation({
    name: 'echo/say',
    kind: 'query',
    summary: 'Says it again',
    input: z.object({ text: z.string() }),
    output: z.object({ text: z.string() }),
    access: 'everyone',
    handler: ({ text }) => ({ text }),
  }),
  defineOperation({
    name: 'math/double',
    kind: 'query',
    input: { type: 'integer' },
    output: { type: 'integer' },
    access: 'everyone',
    handler: (n) => (n as number) * 2,
  }),
  defineOperation({ name: 'big/text', kind: 'query', input: true, output: { type: 'string' }, access: 'everyone', handler: () => 'x'.repeat(300_000) }),
  defineOperation({
    name: 'notes/write',
    kind: 'mutation',
    input: true,
    output: true,
    access: { all: ['write'] },
    handler: () => {
      wrote += 1
      return wrote
    },
  }),
  defineOperation({
    name: 'slow/wait',
    kind: 'mutation',
    input: true,
    output: true,
    access: 'everyone',
    handler: async (_input, { signal }) => {
      held = signal
      await once(signal, 'abort')
      return null
    },
  }),
  defineOperation({
    name: 'feed/count',
    kind: 'subscription',
    input: true,
    output: true,
    access: 'everyone',
    async *handler() {
      yield 1
    },
  }),
]

let world: World
before(async () => {
  world = await openWorld(operations)
})
after(() => world.close())

async function connected(token: string): Promise<Client> {
  const client = new Client({ name: 'test', version: '1' })
  const transport = new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${world.port}/mcp`), {
    requestInit: { headers: { authorization: `Bearer ${token}` } },
  })
  await client.connect(transport as Transport)
  return client
}

test('a client of the official library, with a key, sees what it may call and calls it', async () => {
  const client = await connected('alk_reader')
  const { tools } = await client.listTools()
  assert.deepEqual(
    tools.map(({ name }) => name),
    ['big_text', 'echo_say', 'math_double', 'services_list', 'services_schema', 'slow_wait'].filter((name) => tools.some((tool) => tool.name === name)),
  )
  const say = tools.find(({ name }) => name === 'echo_say')
  assert.equal(say?.description, 'Says it again')
  assert.deepEqual(say?.inputSchema.required, ['text'])
  assert.deepEqual((await client.callTool({ name: 'echo_say', arguments: { text: 'hi' } })).structuredContent, { text: 'hi' })
  assert.deepEqual((await client.callTool({ name: 'math_double', arguments: { input: 21 } })).structuredContent, { output: 42 })
  await client.close()
})

test('a tool, chosen beyond the authority of the key, is answered as one that does not exist', async () => {
  const client = await connected('alk_reader')
  const texts: unknown[] = []
  for (const name of ['notes_write', 'notes_wrote', 'notes/write', 'feed_count', '__proto__']) {
    const result = await client.callTool({ name, arguments: { caller: 'local', scopes: ['write'] } })
    assert.equal(result.isError, true)
    texts.push((result.content as { text: string }[])[0]?.text)
  }
  assert.equal(new Set(texts).size, 1)
  assert.match(String(texts[0]), /CALL_UNKNOWN/)
  assert.equal(wrote, 0)
  await client.close()
})

test('a session, continued with another key, is not found; with a weaker key of nobody, unauthorized', async () => {
  const begun = await ask(world.port, '/mcp', {
    token: 'alk_writer',
    headers: { accept: 'application/json, text/event-stream' },
    body: { jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'a', version: '1' } } },
  })
  assert.equal(begun.status, 200)
  assert.equal(begun.headers['x-content-type-options'], 'nosniff')
  const session = String(begun.headers['mcp-session-id'])
  const call = {
    body: { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'notes_write', arguments: {} } },
    headers: { accept: 'application/json, text/event-stream', 'mcp-session-id': session },
  }
  assert.equal((await ask(world.port, '/mcp', { ...call, token: 'alk_reader' })).status, 404)
  assert.equal(codeOf(await ask(world.port, '/mcp', { ...call, token: null })), 'GATEWAY_UNAUTHORIZED')
  assert.equal(wrote, 0)
  assert.match((await ask(world.port, '/mcp', { ...call, token: 'alk_writer' })).text, /"structuredContent":\{"output":1\}/)
})

test('a caller, whose scope is taken away during a session, has it no more at the next call', async () => {
  const client = await connected('alk_writer')
  const writer = world.callers.alk_writer as World['callers'][string]
  world.callers.alk_writer = { ...writer, scopes: new Set(['read']) }
  const before = wrote
  assert.equal((await client.callTool({ name: 'notes_write', arguments: {} })).isError, true)
  assert.equal(wrote, before)
  world.callers.alk_writer = writer
  await client.close()
})

test('a call, cancelled by the client, is aborted in the handler', async () => {
  const client = await connected('alk_reader')
  const cancelling = new AbortController()
  held = undefined
  const calling = client.callTool({ name: 'slow_wait', arguments: {} }, undefined, { signal: cancelling.signal })
  while (held === undefined) await new Promise((resolve) => setImmediate(resolve))
  const aborted = once(held as AbortSignal, 'abort')
  cancelling.abort()
  await Promise.all([assert.rejects(calling), aborted])
  await client.close()
})

test('a result, larger than may be, is an error of the tool', async () => {
  const client = await connected('alk_reader')
  const result = await client.callTool({ name: 'big_text', arguments: {} })
  assert.equal(result.isError, true)
  assert.match((result.content as { text: string }[])[0]?.text ?? '', /MESSAGE_TOO_LARGE/)
  await client.close()
})

test('arguments, that do not fit or have keys with a meaning of their own, reach no handler', async () => {
  const client = await connected('alk_reader')
  const misfit = await client.callTool({ name: 'echo_say', arguments: { text: 1 } })
  assert.match((misfit.content as { text: string }[])[0]?.text ?? '', /CALL_INPUT/)
  await client.close()
})

test('a client that listens, when the operations change, is told', async () => {
  const client = await connected('alk_reader')
  const told = new Promise<void>((resolve) => client.setNotificationHandler(ToolListChangedNotificationSchema, () => resolve()))
  // The stream that carries news is opened behind the first answer.
  await client.listTools()
  let remove: (() => void) | undefined
  const change = setInterval(() => {
    remove?.()
    remove = world.registry.register(defineOperation({ name: 'new/one', kind: 'query', input: true, output: true, access: 'everyone', handler: () => null }))
  }, 50)
  await told
  clearInterval(change)
  remove?.()
  await client.close()
})
