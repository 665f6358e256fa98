import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { createLocalCallee } from '../../src/call/local.ts'
import { createRegistry } from '../../src/call/registry.ts'
import type { OperationAccess } from '../../src/call/types.ts'
import { systemClock } from '../../src/core/clock.ts'
import { isKithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { importOpenApi, type OpenApiImport } from '../../src/gateway/openapi/import.ts'
import { planImport } from '../../src/gateway/openapi/import-plan.ts'
import { Upstream } from '../../src/gateway/openapi/upstream.ts'
import type { CredentialLease } from '../../src/vault/credentials/lease.ts'
import type { Credential, CredentialInfo } from '../../src/vault/credentials/types.ts'
import { byScopes, callerNamed } from './support.ts'

const PETS = {
  openapi: '3.0.3',
  info: { title: 'pets', version: '1' },
  servers: [{ url: 'https://{where}.evil.example', variables: { where: { default: 'x' } } }],
  paths: {
    '/pets/{id}': {
      parameters: [{ name: 'id', in: 'path', required: true, schema: { type: 'string' } }],
      get: {
        operationId: 'getPet',
        summary: 'One pet',
        parameters: [
          { name: 'fields', in: 'query', schema: { type: 'array', items: { type: 'string' } } },
          { name: 'X-Lang', in: 'header', schema: { type: 'string' } },
          { name: 'Authorization', in: 'header', schema: { type: 'string' } },
        ],
        responses: { 200: { description: '', content: { 'application/json': { schema: { $ref: '#/components/schemas/Pet' } } } } },
      },
    },
    '/pets': {
      post: {
        requestBody: { required: true, content: { 'application/json': { schema: { $ref: '#/components/schemas/Pet' } } } },
        responses: { 201: { description: '', content: { 'application/json': { schema: { $ref: '#/components/schemas/Pet' } } } } },
      },
    },
    '/echo': { get: { operationId: 'echo', responses: { 200: { description: '', content: { 'application/json': {} } } } } },
    '/moved': { get: { operationId: 'moved', responses: {} } },
    '/large': { get: { operationId: 'large', responses: {} } },
    '/silent': { get: { operationId: 'silent', responses: {} } },
    '/busy': { get: { operationId: 'busy', responses: {} } },
    '/upload': { post: { operationId: 'upload', requestBody: { required: true, content: { 'multipart/form-data': { schema: {} } } }, responses: {} } },
    '/cookie': { get: { operationId: 'cookie', parameters: [{ name: 'c', in: 'cookie', required: true, schema: {} }], responses: {} } },
  },
  components: {
    schemas: {
      Pet: {
        type: 'object',
        required: ['name'],
        properties: {
          name: { type: 'string' },
          age: { type: 'integer', minimum: 0, exclusiveMinimum: true, nullable: true },
          mother: { $ref: '#/components/schemas/Pet' },
        },
        additionalProperties: false,
      },
    },
  },
}

const asked: { method: string; url: string; headers: IncomingMessage['headers']; body: string }[] = []
const server = createServer((request, response) => void serve(request, response))
let url: string
let imported: OpenApiImport
let elsewhere = 0
const other = createServer((_request, response) => {
  elsewhere += 1
  response.end('{}')
})

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  let body = ''
  for await (const chunk of request) body += String(chunk)
  const path = request.url ?? ''
  asked.push({ method: request.method ?? '', url: path, headers: request.headers, body })
  const json = (status: number, value: unknown): unknown => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
  if (path === '/api/moved') return void response.writeHead(302, { location: `http://127.0.0.1:${(other.address() as AddressInfo).port}/` }).end()
  if (path === '/api/large') {
    response.writeHead(200, { 'content-type': 'application/json' })
    const more = (): void => {
      while (!response.destroyed && response.write('x'.repeat(65_536)));
    }
    response.on('drain', more)
    return more()
  }
  if (path === '/api/silent') return
  if (path === '/api/busy') return void json(503, { reason: 'later' })
  if (path === '/api/echo') return void json(200, request.headers)
  if (path.startsWith('/api/pets/wrong')) return void json(200, { nom: 'x' })
  if (path.startsWith('/api/pets/none')) return void json(404, { reason: 'no pet' })
  json(
    request.method === 'POST' ? 201 : 200,
    request.method === 'POST' ? JSON.parse(body) : { name: decodeURIComponent(path.split('?')[0]?.split('/').at(-1) ?? '') },
  )
}

const info: CredentialInfo = {
  service: 'pets',
  type: 'bearer',
  source: 'vault',
  origins: [],
  revision: 1,
  createdMs: 1,
  changedMs: 1,
  expiresMs: undefined,
  renews: false,
}
let released = 0
function release(): void {
  released += 1
}

async function lease(): Promise<CredentialLease> {
  const credential: Credential = { type: 'bearer', token: Secret.take(Buffer.from('secret-of-pets')) }
  return { info, expiresMs: 0, ended: false, use: (read) => read(credential), release, [Symbol.dispose]: () => undefined }
}

const registry = createRegistry()
const callee = createLocalCallee({ registry, authorize: byScopes, clock: systemClock, random: systemRandom, logger: silentLogger })
const caller = callerNamed('reader', 'pets')
const access: OperationAccess = { all: ['pets'] }
const call = (name: string, input: unknown = {}): Promise<unknown> => callee.call({ caller, path: `pets/${name}`, input, deadlineMs: 5_000 })

before(async () => {
  for (const one of [server, other]) {
    one.listen(0, '127.0.0.1')
    await once(one, 'listening')
  }
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/api`
  imported = importOpenApi({ service: 'pets', document: PETS, url, clock: systemClock, access, credential: { service: 'pets', from: () => ({ lease }) } })
  registry.registerAll(imported.operations)
})
after(() => {
  callee.close()
  imported.close()
  for (const one of [server, other]) {
    one.closeAllConnections()
    one.close()
  }
})

test('a file, read, gives the operations that can be carried out and names the others', () => {
  assert.deepEqual(imported.operations.map(({ name }) => name).sort(), [
    'pets/busy',
    'pets/echo',
    'pets/getPet',
    'pets/large',
    'pets/moved',
    'pets/post_pets',
    'pets/silent',
  ])
  assert.deepEqual(imported.skipped.map(({ operation }) => operation).sort(), ['GET /cookie', 'POST /upload'])
  assert.equal(imported.operations.find(({ name }) => name === 'pets/getPet')?.kind, 'query')
})

test('an imported operation, called, is one request with the credential, to the address that the owner named', async () => {
  asked.length = 0
  assert.deepEqual(await call('getPet', { id: 'a/b ?', fields: ['x', 'y&z'], 'X-Lang': 'de' }), { name: 'a/b ?' })
  assert.equal(asked[0]?.url, '/api/pets/a%2Fb%20%3F?fields=x&fields=y%26z')
  assert.equal(asked[0]?.headers.authorization, 'Bearer secret-of-pets')
  assert.equal(asked[0]?.headers['x-lang'], 'de')
  assert.deepEqual(await call('post_pets', { body: { name: 'rex', age: null } }), { name: 'rex', age: null })
  assert.equal(asked[1]?.method, 'POST')
  assert.equal(asked[1]?.body, '{"name":"rex","age":null}')
  assert.equal(released, 2)
})

test('an input that does not fit, or means another place, is no request', async () => {
  asked.length = 0
  for (const input of [{}, { id: 1 }, { id: 'a', extra: 1 }, { id: 'a', Authorization: 'Bearer mine' }])
    await assert.rejects(call('getPet', input), { code: 'CALL_INPUT' })
  for (const id of ['', '.', '..']) await assert.rejects(call('getPet', { id }), { code: 'REQUEST_MALFORMED' })
  await assert.rejects(call('getPet', { id: 'a', 'X-Lang': 'x\r\nHost: evil' }), { code: 'REQUEST_MALFORMED' })
  await assert.rejects(call('getPet', { id: 'x'.repeat(9_000) }), { code: 'REQUEST_MALFORMED' })
  await assert.rejects(call('post_pets', { body: { name: 'rex', age: 0 } }), { code: 'CALL_INPUT' })
  assert.equal(asked.length, 0)
})

test('an answer that does not fit, or says no, is an error and never the answer', async () => {
  await assert.rejects(call('getPet', { id: 'wrong' }), { code: 'CALL_FAILED' })
  await assert.rejects(call('getPet', { id: 'none' }), (error: unknown) => {
    assert.ok(isKithError(error, 'UPSTREAM_FAILED'))
    assert.deepEqual(error.details, { status: 404, answer: { reason: 'no pet' } })
    return true
  })
  await assert.rejects(call('busy'), { code: 'UPSTREAM_UNREACHABLE' })
  await assert.rejects(call('large'), { code: 'UPSTREAM_FAILED' })
})

test('a service that moved, is not followed', async () => {
  await assert.rejects(call('moved'), { code: 'UPSTREAM_FAILED' })
  assert.equal(elsewhere, 0)
})

test('a service that tells what it was sent, does not tell the caller', async () => {
  await assert.rejects(call('echo'), (error: unknown) => isKithError(error, 'UPSTREAM_FAILED') && !JSON.stringify(error).includes('secret-of-pets'))
})

test('a service that is silent, is given up at the deadline', async () => {
  await assert.rejects(callee.call({ caller, path: 'pets/silent', input: {}, deadlineMs: 30 }), { code: 'CALL_TIMEOUT' })
})

test('an imported operation, without the scope that the owner asks for, is unknown', async () => {
  await assert.rejects(callee.call({ caller: callerNamed('other'), path: 'pets/echo', input: {} }), { code: 'CALL_UNKNOWN' })
})

test('a name that stands for this machine or this cable, is not connected to', async () => {
  for (const address of ['127.0.0.1', '169.254.169.254', '0.0.0.0', '::1', '::ffff:127.0.0.1', 'fe80::1', '64:ff9b::7f00:1']) {
    const upstream = new Upstream('https://service.example', (_host, done) =>
      done(null, [
        { address: '203.0.113.1', family: 4 },
        { address, family: address.includes(':') ? 6 : 4 },
      ]),
    )
    await assert.rejects(
      upstream.ask({ method: 'GET', path: '/', headers: {}, body: undefined, signal: AbortSignal.timeout(5_000) }),
      { code: 'UPSTREAM_UNREACHABLE' },
      address,
    )
    upstream.close()
  }
})

test('an address of a service, not encrypted or with more than a place in it, is refused', () => {
  for (const bad of [
    'http://service.example',
    'https://user:pw@service.example',
    'https://service.example/?a=1',
    'ftp://service.example',
    'file:///etc/passwd',
    'nothing',
  ])
    assert.throws(() => new Upstream(bad), TypeError, bad)
})

test('a file that is none, or is made to be expensive, is refused or cut', () => {
  for (const bad of [null, [], {}, { openapi: '2.0', paths: {} }, { openapi: '3.1.0' }, { swagger: '2.0' }])
    assert.throws(() => planImport(bad, 'x'), { code: 'OPENAPI_INVALID' })
  const schemas: Record<string, unknown> = {}
  for (let i = 0; i < 60; i++) schemas[`S${i}`] = { allOf: Array.from({ length: 10 }, () => ({ $ref: `#/components/schemas/S${i + 1}` })) }
  schemas.S60 = { type: 'string' }
  let deep: unknown = {}
  for (let i = 0; i < 5_000; i++) deep = { items: deep }
  const get = (schema: unknown): unknown => ({ get: { responses: { 200: { content: { 'application/json': { schema } } } } } })
  const document = {
    openapi: '3.1.0',
    paths: {
      '/bomb': get({ $ref: '#/components/schemas/S0' }),
      '/deep': get(deep),
      '/far': get({ $ref: 'https://evil.example/schema.json' }),
      '/file': get({ $ref: '../../../etc/passwd' }),
      '/pattern': get({ type: 'string', pattern: `(${'a+'.repeat(1_000)})+$` }),
      '/__proto__': get({ $ref: '#/components/schemas/__proto__' }),
      '/../up': get({}),
      '/fine': get({ type: 'string' }),
    },
    components: { schemas },
  }
  const result = importOpenApi({ service: 'bomb', document, url, clock: systemClock })
  assert.deepEqual(
    result.operations.map(({ name }) => name),
    ['bomb/get_fine'],
  )
  assert.equal(result.skipped.length, 7)
  result.close()
  const many = { openapi: '3.1.0', paths: Object.fromEntries(Array.from({ length: 501 }, (_, i) => [`/p${i}`, get({})])) }
  assert.throws(() => planImport(many, 'x'), { code: 'OPENAPI_INVALID' })
})
