import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createLocalCallee, type LocalCallee } from '../../src/call/local.ts'
import { createRegistry } from '../../src/call/registry.ts'
import { systemClock } from '../../src/core/clock.ts'
import { isKithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { importMcp, type McpImport, type McpServer } from '../../src/gateway/mcp/import.ts'
import { byScopes, callerNamed, defineOperation, openWorld } from './support.ts'

const registry = createRegistry()
const callee: LocalCallee = createLocalCallee({ registry, authorize: byScopes, clock: systemClock, random: systemRandom, logger: silentLogger })
const caller = callerNamed('reader', 'tools')

function imported(server: McpServer, onChange = (): void => {}): McpImport {
  return importMcp({ service: 'tools', server, access: { all: ['tools'] }, version: '1', logger: silentLogger, onChange })
}

const tools = imported({ command: process.execPath, args: [join(import.meta.dirname, 'tool-server.mjs')], env: { ONLY_THIS: '1' } })
const call = (name: string, input: unknown = {}, deadlineMs = 20_000): Promise<unknown> => callee.call({ caller, path: `tools/${name}`, input, deadlineMs })

before(async () => {
  registry.registerAll(await tools.open(AbortSignal.timeout(20_000)))
})
after(async () => {
  callee.close()
  await tools.close()
})

test('a server of tools, as a command, gives the operations that can be taken', () => {
  const names = registry
    .all()
    .map(({ name }) => name)
    .filter((name) => name.startsWith('tools/'))
  assert.deepEqual(
    names,
    ['add', 'cancelled', 'environment', 'fail', 'large', 'lie', 'say', 'wait'].map((name) => `tools/${name}`),
  )
  // What the server says of itself makes nothing a query.
  assert.equal(registry.get('tools/add')?.kind, 'mutation')
  assert.equal(registry.get('tools/add')?.summary, 'Adds two numbers')
})

test('a tool, called, gives what it gives; an argument that does not fit is not sent', async () => {
  assert.deepEqual(await call('add', { a: 1, b: 2 }), { sum: 3 })
  assert.deepEqual(await call('say'), { content: [{ type: 'text', text: 'hello' }] })
  await assert.rejects(call('add', { a: '1', b: 2 }), { code: 'CALL_INPUT' })
})

test('a result that breaks the schema, is too large or an error, is an error', async () => {
  await assert.rejects(call('lie'), { code: 'CALL_FAILED' })
  await assert.rejects(call('large'), { code: 'UPSTREAM_FAILED' })
  await assert.rejects(call('fail'), (error: unknown) => isKithError(error, 'UPSTREAM_FAILED') && error.details.said === 'no such file')
})

test('a deadline, that passes, cancels the tool', async () => {
  await assert.rejects(call('wait', {}, 50), { code: 'CALL_TIMEOUT' })
  assert.deepEqual(await call('cancelled'), { content: [{ type: 'text', text: '1' }] })
})

test('the environment of the command, is what the owner wrote and the names every program needs', async () => {
  const { content } = (await call('environment')) as { content: { text: string }[] }
  const names = content[0]?.text.split(' ') ?? []
  assert.ok(names.includes('ONLY_THIS'))
  assert.ok(
    names.every((name) => ['ONLY_THIS', 'HOME', 'LOGNAME', 'PATH', 'SHELL', 'TERM', 'USER'].includes(name)),
    names.join(' '),
  )
})

test('a tool, without the scope that the owner asks for, is unknown', async () => {
  await assert.rejects(callee.call({ caller: callerNamed('other'), path: 'tools/say', input: {} }), { code: 'CALL_UNKNOWN' })
})

test('an import that retires, lets the calls that run end, and then its connection', async () => {
  const started = Promise.withResolvers<void>()
  const held = Promise.withResolvers<object>()
  const world = await openWorld([
    defineOperation({
      ...{ name: 'notes/hold', kind: 'query', input: { type: 'object' }, output: { type: 'object' }, access: { all: ['read'] } },
      handler: () => {
        started.resolve()
        return held.promise
      },
    }),
  ])
  const far = imported({ url: `http://127.0.0.1:${world.port}/mcp`, headers: async () => ({ authorization: 'Bearer alk_reader' }) })
  const near = createLocalCallee({
    ...{ registry: createRegistry(await far.open(AbortSignal.timeout(20_000))), authorize: byScopes },
    ...{ clock: systemClock, random: systemRandom, logger: silentLogger },
  })
  const running = near.call({ caller, path: 'tools/notes_hold', input: {} })
  await started.promise
  let over = false
  const retired = far.retire().then(() => {
    over = true
  })
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(over, false)
  held.resolve({ whole: true })
  assert.deepEqual(await running, { whole: true })
  await retired
  await assert.rejects(near.call({ caller, path: 'tools/notes_hold', input: {} }), (error) => isKithError(error, 'UPSTREAM_UNREACHABLE'))
  near.close()
  await world.close()
})

test('tools of another node, by their address and with a key, are called as that key', async () => {
  const world = await openWorld([
    defineOperation({
      name: 'notes/read',
      kind: 'query',
      input: { type: 'object' },
      output: { type: 'object' },
      access: { all: ['read'] },
      handler: (_input, { caller: as }) => ({ as: as.id }),
    }),
    defineOperation({
      name: 'notes/write',
      kind: 'mutation',
      input: { type: 'object' },
      output: { type: 'object' },
      access: { all: ['write'] },
      handler: () => ({}),
    }),
  ])
  let asked = 0
  const far = imported({
    url: `http://127.0.0.1:${world.port}/mcp`,
    headers: async () => {
      asked += 1
      return { authorization: 'Bearer alk_reader' }
    },
  })
  const operations = await far.open(AbortSignal.timeout(20_000))
  const near = createLocalCallee({ registry: createRegistry(operations), authorize: byScopes, clock: systemClock, random: systemRandom, logger: silentLogger })
  assert.ok(operations.some(({ name }) => name === 'tools/notes_read'))
  assert.ok(!operations.some(({ name }) => name === 'tools/notes_write'))
  assert.deepEqual(await near.call({ caller, path: 'tools/notes_read', input: {}, deadlineMs: 10_000 }), { as: 'key:reader' })
  assert.ok(asked > 2)
  near.close()
  await far.close()
  await world.close()
})

test('a server that answers without end, redirects or is not there, is unreachable', async () => {
  const server = createServer((request, response) => {
    if (request.url === '/moved') return void response.writeHead(307, { location: '/endless' }).end()
    response.writeHead(200, { 'content-type': 'application/json' })
    const more = (): void => {
      while (!response.destroyed && response.write('x'.repeat(65_536)));
    }
    response.on('drain', more)
    more()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const opened = (path: string): Promise<unknown> => imported({ url: `http://127.0.0.1:${port}${path}` }).open(AbortSignal.timeout(20_000))
  await assert.rejects(opened('/endless'), { code: 'UPSTREAM_FAILED' })
  await assert.rejects(opened('/moved'), { code: 'UPSTREAM_UNREACHABLE' })
  server.closeAllConnections()
  server.close()
  await assert.rejects(imported({ command: join(import.meta.dirname, 'none'), args: [], env: {} }).open(AbortSignal.timeout(20_000)), {
    code: 'UPSTREAM_UNREACHABLE',
  })
})
