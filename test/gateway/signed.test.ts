import assert from 'node:assert/strict'
import { createHash, createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { createLocalCallee, type LocalCallee } from '../../src/call/local.ts'
import { createRegistry } from '../../src/call/registry.ts'
import { systemClock } from '../../src/core/clock.ts'
import { isKithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { importOpenApi } from '../../src/gateway/openapi/import.ts'
import type { CredentialLease } from '../../src/vault/credentials/lease.ts'
import type { CredentialInfo, S3AccessKey } from '../../src/vault/credentials/types.ts'
import { byScopes, callerNamed } from './support.ts'

/** Imported services whose credential signs: the server here checks each request by the algorithm as AWS publishes it, from what arrived on the wire. */
const SECRET = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'
const OBJECTS = {
  openapi: '3.1.0',
  info: {},
  paths: {
    '/{bucket}/{key}': {
      parameters: ['bucket', 'key'].map((name) => ({ name, in: 'path', required: true, schema: { type: 'string' } })),
      get: {
        operationId: 'get',
        parameters: [
          { name: 'prefix', in: 'query', schema: { type: 'string' } },
          { name: 'list-type', in: 'query', schema: { type: 'integer' } },
          { name: 'X-Amz-Acl', in: 'header', schema: { type: 'string' } },
          { name: 'X-Amz-Date', in: 'header', schema: { type: 'string' } },
        ],
        responses: {},
      },
      put: { operationId: 'put', requestBody: { required: true, content: { 'application/json': { schema: {} } } }, responses: {} },
    },
    '/mirror': { get: { operationId: 'mirror', responses: {} } },
  },
}

const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()
const hex = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex')
/** RFC 3986, unreserved characters alone stay. */
const escaped = (text: string): string => encodeURIComponent(text).replaceAll(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)

/** What AWS computes of a request that arrived; `undefined` where the header is none. */
function expected(request: IncomingMessage, body: Buffer): string | undefined {
  const header =
    /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/(\d{8})\/([a-z0-9-]+)\/([a-z0-9-]+)\/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$/
  const [, date = '', region = '', service = '', signed = ''] = header.exec(request.headers.authorization ?? '') ?? []
  if (signed === '') return undefined
  const [path = '', query = ''] = (request.url ?? '').split('?')
  const parts = path.split('/').map((part) => (service === 's3' ? escaped(decodeURIComponent(part)) : escaped(part)))
  const pairs =
    query === ''
      ? []
      : query.split('&').map((pair) =>
          pair
            .split('=')
            .map((part) => escaped(decodeURIComponent(part)))
            .join('='),
        )
  const headers = signed.split(';').map((name) => `${name}:${String(request.headers[name]).trim()}\n`)
  const canonical = [request.method, parts.join('/'), pairs.sort().join('&'), headers.join(''), signed, hex(body)].join('\n')
  const scope = `${date}/${region}/${service}/aws4_request`
  const toSign = ['AWS4-HMAC-SHA256', String(request.headers['x-amz-date']), scope, hex(canonical)].join('\n')
  const key = hmac(hmac(hmac(hmac(`AWS4${SECRET}`, date), region), service), 'aws4_request')
  return hmac(key, toSign).toString('hex')
}

const seen: { headers: IncomingMessage['headers']; raw: readonly string[]; right: boolean }[] = []
const server = createServer((request, response) => void serve(request, response))
async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const body = Buffer.concat(chunks)
  const right = request.headers.authorization?.endsWith(`Signature=${expected(request, body)}`) === true
  seen.push({ headers: request.headers, raw: request.rawHeaders, right })
  const said = request.url === '/store/mirror' ? request.headers : { right }
  response.writeHead(right ? 200 : 403, { 'content-type': 'application/json' }).end(JSON.stringify(said))
}

const info: CredentialInfo = {
  ...{ service: 'store', type: 's3', source: 'vault', origins: [], revision: 1, createdMs: 1, changedMs: 1, expiresMs: undefined, renews: false },
}
let credential: S3AccessKey
let origins: readonly string[] = []
const lease = async (): Promise<CredentialLease> => ({
  ...{ info: { ...info, origins }, expiresMs: 0, ended: false, use: (read) => read(credential), release: () => undefined, [Symbol.dispose]: () => undefined },
})
const key = (more: Partial<S3AccessKey> = {}): S3AccessKey => ({
  ...{ type: 's3', accessKey: 'AKIDEXAMPLE', secretKey: Secret.take(Buffer.from(SECRET)), sessionToken: undefined },
  ...more,
})

let callee: LocalCallee
let close: () => void
const caller = callerNamed('reader', 'store')
const call = (name: string, input: unknown = {}): Promise<unknown> => callee.call({ caller, path: `store/${name}`, input, deadlineMs: 5_000 })
const last = (): (typeof seen)[number] => seen.at(-1) as (typeof seen)[number]

before(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/store`
  const registry = createRegistry()
  callee = createLocalCallee({ registry, authorize: byScopes, clock: systemClock, random: systemRandom, logger: silentLogger })
  const imported = importOpenApi({
    ...{ service: 'store', document: OBJECTS, url, clock: systemClock, access: { all: ['store'] } },
    credential: { service: 'store', from: () => ({ lease }) },
  })
  registry.registerAll(imported.operations)
  close = () => imported.close()
})
after(() => {
  callee.close()
  close()
  server.closeAllConnections()
  server.close()
})

test('an S3 key, signs each request as it is sent, with and without body, for s3 in us-east-1 unless it names another place', async () => {
  credential = key()
  const names = ['photos', 'a key/with (strange) signs!*~+%41 é']
  assert.deepEqual(await call('get', { bucket: names[0], key: names[1], prefix: 'a b/&=+', 'list-type': 2, 'X-Amz-Acl': 'private' }), { right: true })
  assert.match(last().headers.authorization ?? '', /\/us-east-1\/s3\/aws4_request, SignedHeaders=[^,]*x-amz-acl/)
  assert.equal(last().headers['x-amz-content-sha256'], hex(''))
  assert.deepEqual(await call('put', { bucket: 'photos', key: 'cat', body: { said: 'né' } }), { right: true })
  assert.equal(last().headers['x-amz-content-sha256'], hex(JSON.stringify({ said: 'né' })))
  credential = key({ scope: { region: 'eu-central-1', service: 'execute-api' } })
  assert.deepEqual(await call('get', { bucket: 'a b', key: '(c)' }), { right: true })
  assert.match(last().headers.authorization ?? '', /\/eu-central-1\/execute-api\/aws4_request/)
})

test('an S3 key, is sent nowhere, and its signature is right for no other key', async () => {
  credential = key()
  await call('get', { bucket: 'a', key: 'b' })
  assert.ok(!last().raw.join('\n').includes(SECRET))
  credential = key({ secretKey: Secret.take(Buffer.from('another')) })
  await assert.rejects(call('get', { bucket: 'a', key: 'b' }), (error) => isKithError(error, 'UPSTREAM_FAILED') && error.details.status === 403)
})

test('a time that the caller claims, is replaced by the node’s', async () => {
  credential = key()
  assert.deepEqual(await call('get', { bucket: 'a', key: 'b', 'X-Amz-Date': '20200101T000000Z' }), { right: true })
  assert.notEqual(last().headers['x-amz-date'], '20200101T000000Z')
  assert.equal(last().raw.filter((name) => name.toLowerCase() === 'x-amz-date').length, 1)
})

test('a session token, goes with the request under the signature, and does not come back', async () => {
  credential = key({ sessionToken: Secret.take(Buffer.from('token-of-this-session')) })
  assert.deepEqual(await call('get', { bucket: 'a', key: 'b' }), { right: true })
  assert.equal(last().headers['x-amz-security-token'], 'token-of-this-session')
  assert.match(last().headers.authorization ?? '', /SignedHeaders=[^,]*x-amz-security-token/)
  await assert.rejects(call('mirror'), (error) => isKithError(error, 'UPSTREAM_FAILED') && !JSON.stringify(error.details).includes('token-of'))
})

test('an S3 key for another address, signs nothing', async () => {
  credential = key()
  origins = ['https://store.example']
  const before = seen.length
  await assert.rejects(call('get', { bucket: 'a', key: 'b' }), (error) => isKithError(error, 'CREDENTIAL_ORIGIN'))
  assert.equal(seen.length, before)
  origins = []
})
