import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { defineOperation } from '../../src/call/define.ts'
import { createLocalCallee, type LocalCallee } from '../../src/call/local.ts'
import { createRegistry, type Registry } from '../../src/call/registry.ts'
import { systemClock } from '../../src/core/clock.ts'
import { isKithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { openConfig } from '../../src/daemon/config/holder.ts'
import { Imports } from '../../src/daemon/gateway/imports.ts'

/** Operations of other services, taken in, changed and taken out by a reload of the configuration. */
const waiting: ServerResponse[] = []
const server = createServer((request, response) => {
  if (request.url === '/slow') return void waiting.push(response)
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(request.url))
})
let folder: string
let url: string
let registry: Registry
let callee: LocalCallee
let imports: Imports
let reload: () => Promise<{ readonly applied: readonly string[] }>

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kith-imports-'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
after(async () => {
  server.closeAllConnections()
  server.close()
  await rm(folder, { recursive: true, force: true })
})

beforeEach(() => {
  registry = createRegistry()
  callee = createLocalCallee({ registry, authorize: () => 'allowed', clock: systemClock, random: systemRandom, logger: silentLogger })
  imports = new Imports({
    ...{ offer: (operations) => registry.registerAll(operations), taken: (name) => registry.get(name) !== undefined },
    ...{ credentials: () => assert.fail('no credential is named'), clock: systemClock, logger: silentLogger },
  })
})
afterEach(async () => {
  await imports.close()
  callee.close()
})

const describe = async (name: string, ...paths: readonly string[]): Promise<void> =>
  await writeFile(
    join(folder, `${name}.json`),
    JSON.stringify({ openapi: '3.1.0', info: {}, paths: Object.fromEntries(paths.map((path) => [`/${path}`, { get: { operationId: path, responses: {} } }])) }),
  )
const row = (name: string, more = ''): string => `[openapi.${name}]\nfile = ${JSON.stringify(join(folder, `${name}.json`))}\nurl = "${url}"\n${more}`
const configure = async (...rows: readonly string[]): Promise<void> => await writeFile(join(folder, 'config.toml'), rows.join('\n'))
const names = (): string =>
  registry
    .all()
    .filter(({ name }) => !name.startsWith('services/'))
    .map(({ name }) => name)
    .join(' ')
const call = (path: string): Promise<unknown> =>
  callee.call({ caller: { id: 'local', via: 'local', scopes: new Set(), resources: new Map() }, path, input: {} })

/** As the node starts with what stands in the file. */
async function start(): Promise<void> {
  const config = await openConfig({ home: folder, env: {} })
  await imports.start(config.current)
  config.onReload((next) => imports.prepare(next))
  reload = () => config.reload()
}

test('services that were added, changed and removed, are taken in together by a reload; what did not change is not touched', async () => {
  await Promise.all([describe('kept', 'one'), describe('changed', 'one'), describe('gone', 'one')])
  await configure(row('kept'), row('changed'), row('gone'))
  await start()
  const kept = registry.get('kept/one')
  assert.equal(names(), 'changed/one gone/one kept/one')
  await Promise.all([describe('changed', 'one', 'two'), describe('added', 'one')])
  await configure(row('kept'), row('changed'), row('added', 'access = "everyone"'))
  assert.deepEqual((await reload()).applied, ['openapi'])
  assert.equal(names(), 'added/one changed/one changed/two kept/one')
  assert.equal(registry.get('kept/one'), kept)
  assert.equal(await call('changed/two'), '/two')
  assert.deepEqual(imports.troubles, [])
})

test('a file that changed, is read again although no setting did; access that was withdrawn counts at once', async () => {
  await describe('pets', 'one')
  await configure(row('pets', 'access = "everyone"'))
  await start()
  await describe('pets', 'two')
  assert.deepEqual((await reload()).applied, [])
  assert.equal(names(), 'pets/two')
  assert.equal(registry.get('pets/two')?.access, 'everyone')
  await configure(row('pets'))
  await reload()
  assert.equal(registry.get('pets/two')?.access, undefined)
})

test('a call that runs, when its service is changed or removed, ends as it would have', async () => {
  await Promise.all([describe('a', 'slow'), describe('b', 'slow')])
  await configure(row('a'), row('b'))
  await start()
  const calls = [call('a/slow'), call('b/slow')]
  while (waiting.length < 2) await once(server, 'request')
  await describe('a', 'one')
  await configure(row('a'))
  await reload()
  assert.equal(names(), 'a/one')
  await assert.rejects(call('b/slow'), (error) => isKithError(error, 'CALL_UNKNOWN'))
  for (const response of waiting.splice(0)) response.writeHead(200, { 'content-type': 'application/json' }).end('"late"')
  assert.deepEqual(await Promise.all(calls), ['late', 'late'])
})

test('the end of the node, ends calls of services that a reload removed too', async () => {
  await describe('a', 'slow')
  await configure(row('a'))
  await start()
  const running = call('a/slow')
  while (waiting.length < 1) await once(server, 'request')
  await configure('')
  await reload()
  await imports.close()
  await assert.rejects(running, (error) => isKithError(error, 'UPSTREAM_UNREACHABLE'))
  waiting.splice(0)
})

test('one service that cannot be had, at a reload, leaves everything as it was; at the start it is a trouble and keeps no later reload from working', async () => {
  await Promise.all([describe('good', 'one'), describe('other', 'one')])
  await configure(row('good'))
  await start()
  await configure(row('good', 'access = "everyone"'), row('other'), row('missing'))
  await assert.rejects(reload(), (error) => isKithError(error, 'OPENAPI_INVALID') && error.message.startsWith('[openapi.missing]: '))
  assert.equal(names(), 'good/one')
  assert.equal(registry.get('good/one')?.access, undefined)

  await imports.close()
  await start()
  const troubles = (): string[] => imports.troubles.map(({ code, message }) => `${code} ${message.split(':')[0]}`)
  assert.deepEqual(troubles(), ['OPENAPI_INVALID [openapi.missing]'])
  await configure(row('other'), row('missing'))
  await reload()
  assert.deepEqual([names(), troubles()], ['other/one', ['OPENAPI_INVALID [openapi.missing]']])
  await describe('missing', 'found')
  await reload()
  assert.deepEqual([names(), troubles()], ['missing/found other/one', []])
  await rm(join(folder, 'missing.json'))
})

test('a name that another operation has, refuses the reload', async () => {
  registry.register(defineOperation({ name: 'pets/one', kind: 'query', input: {}, output: {}, handler: () => null }) as never)
  await describe('pets', 'one')
  await configure('')
  await start()
  await configure(row('pets'))
  await assert.rejects(reload(), (error) => isKithError(error, 'CALL_CONFLICT'))
  assert.equal(names(), 'pets/one')
})
