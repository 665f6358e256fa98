import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { ask, codeOf, defineOperation, openWorld, TOKEN, type World } from './support.ts'

let got: unknown
let calls = 0

const operations = [
  defineOperation({
    name: 'echo/any',
    kind: 'query',
    input: true,
    output: true,
    access: 'everyone',
    handler: (input) => {
      calls += 1
      got = input
      return null
    },
  }),
  defineOperation({ name: 'echo/back', kind: 'query', input: true, output: true, access: 'everyone', handler: (input) => input ?? null }),
]

let world: World
before(async () => {
  world = await openWorld(operations, { limits: { inFlightPerAddress: 8, inFlightPerCaller: 4 } })
})
after(() => world.close())

/** Bytes as they are, and everything that comes back until the connection ends. */
async function raw(...parts: readonly string[]): Promise<string> {
  const socket = connect(world.port, '127.0.0.1')
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => chunks.push(chunk))
  socket.on('error', () => undefined)
  for (const part of parts) socket.write(part)
  await once(socket, 'close')
  return Buffer.concat(chunks).toString()
}

const HEAD = `Host: localhost\r\nAuthorization: Bearer ${TOKEN}\r\n`

test('a body of 10 MB, within the limit, is taken; one byte more is refused before it is read', async () => {
  const body = `"${'x'.repeat(10_485_760 - 2)}"`
  assert.equal((await ask(world.port, '/v1/echo/any', { raw: body })).status, 200)
  assert.equal((got as string).length, 10_485_758)
  const more = await ask(world.port, '/v1/echo/any', { raw: `${body} ` }).catch(() => undefined)
  if (more !== undefined) assert.equal(more.status, 413)
  // Said without its length.
  const chunked = await raw(
    `POST /v1/echo/any HTTP/1.1\r\n${HEAD}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`,
    `a00001\r\n${'1'.repeat(0xa00001)}\r\n0\r\n\r\n`,
  )
  assert.match(chunked, /^HTTP\/1.1 413 /)
})

test('a body, announced larger than may be, is refused before it is sent', async () => {
  const answer = await raw(`POST /v1/echo/any HTTP/1.1\r\n${HEAD}Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n`)
  assert.match(answer, /^HTTP\/1.1 413 /)
  assert.doesNotMatch(answer, /100 Continue/)
})

test('a body, nested deeper than may be, is refused; brackets in strings count for nothing', async () => {
  const deep = (n: number): string => `${'['.repeat(n)}${']'.repeat(n)}`
  assert.equal((await ask(world.port, '/v1/echo/any', { raw: deep(64) })).status, 200)
  assert.equal(codeOf(await ask(world.port, '/v1/echo/any', { raw: deep(65) })), 'REQUEST_MALFORMED')
  assert.equal(codeOf(await ask(world.port, '/v1/echo/any', { raw: deep(1_000_000) })), 'REQUEST_MALFORMED')
  assert.equal((await ask(world.port, '/v1/echo/any', { body: { a: `\\"${'{'.repeat(1_000)}` } })).status, 200)
})

test('keys that JavaScript gives a meaning, however they are written, are refused', async () => {
  for (const body of ['{"__proto__":{"admin":true}}', '{"a":[{"\\u005f_proto__":1}]}', '{"__pr\\u006fto__":1}']) {
    assert.equal(codeOf(await ask(world.port, '/v1/echo/any', { raw: body })), 'REQUEST_MALFORMED', body)
  }
  assert.equal(({} as { admin?: boolean }).admin, undefined)
  const plain = await ask(world.port, '/v1/echo/any', { raw: '{"a":"__proto__","constructor":{"prototype":1}}' })
  assert.equal(plain.status, 200)
  assert.deepEqual(Object.keys(got as object), ['a', 'constructor'])
})

test('a key that comes twice, in a body, counts as the last one everywhere', async () => {
  assert.equal((await ask(world.port, '/v1/echo/back', { raw: '{"a":1,"a":2}' })).text, '{"a":2}')
})

test('bytes that are no UTF-8, or no JSON, are refused', async () => {
  for (const body of [Buffer.from([0x22, 0xff, 0x22]), '{', '{"a":1}}', 'NaN', "{'a':1}", '\ufeff{}', '1 2']) {
    assert.equal(codeOf(await ask(world.port, '/v1/echo/any', { raw: body })), 'REQUEST_MALFORMED', String(body))
  }
})

test('what a caller writes, wherever it is, never becomes a header of the answer', async () => {
  const evil = 'x%0d%0aSet-Cookie:%20a=b'
  for (const path of [`/v1/echo/${evil}`, `/v1/@${evil}/echo/any`, `/v1/echo/back?input=%22${evil}%22`]) {
    const answer = await ask(world.port, path)
    assert.equal(answer.headers['set-cookie'], undefined)
  }
  const split = await raw(
    `GET /v1/echo/any HTTP/1.1\r\n${HEAD}traceparent: 00-${'a'.repeat(32)}-${'b'.repeat(16)}-01\rSet-Cookie: a=b\r\nConnection: close\r\n\r\n`,
  )
  assert.match(split, /^HTTP\/1.1 400 /)
  assert.doesNotMatch(split, /Set-Cookie/i)
})

test('a request that can be read in two ways, is read in none', async () => {
  for (const head of [
    'Content-Length: 1\r\nTransfer-Encoding: chunked\r\n',
    'Content-Length: 1\r\nContent-Length: 2\r\n',
    'Content-Length: +1\r\n',
    'Transfer-Encoding: gzip, chunked, identity\r\n',
    'Transfer-Encoding : chunked\r\n',
  ]) {
    calls = 0
    const answer = await raw(
      `POST /v1/echo/any HTTP/1.1\r\n${HEAD}Content-Type: application/json\r\n${head}\r\n1`,
      '\r\n0\r\n\r\nGET /v1/echo/any HTTP/1.1\r\n\r\n',
    )
    assert.match(answer, /^HTTP\/1.1 400 /, head)
    assert.equal(calls, 0, head)
    assert.match(answer, /"REQUEST_MALFORMED"/)
  }
})

test('headers, more or longer than may be, are refused', async () => {
  const long = await raw(`GET /v1/echo/any HTTP/1.1\r\n${HEAD}X: ${'a'.repeat(20_000)}\r\n\r\n`)
  assert.match(long, /^HTTP\/1.1 431 /)
  assert.match(long, /"REQUEST_MALFORMED"/)
  const many = await raw(`GET /v1/echo/any HTTP/1.1\r\n${'A: b\r\n'.repeat(200)}${HEAD}Connection: close\r\n\r\n`)
  assert.match(many, /^HTTP\/1.1 (403|431) /)
})

test('what is no HTTP, or has no host, is answered in the one shape', async () => {
  for (const bytes of ['SSH-2.0-x\r\n', '\x16\x03\x01\x02\x00\x01\x00', 'GET / HTTP/9.9\r\n\r\n'])
    assert.match(await raw(bytes), /^HTTP\/1.1 400 [\s\S]*"REQUEST_MALFORMED"/)
  assert.match(await raw(`GET /v1/echo/any HTTP/1.1\r\nAuthorization: Bearer ${TOKEN}\r\nConnection: close\r\n\r\n`), /^HTTP\/1.1 403 [\s\S]*"GATEWAY_REFUSED"/)
  const two = await raw(`GET /v1/echo/any HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nAuthorization: Bearer ${TOKEN}\r\nConnection: close\r\n\r\n`)
  assert.match(two, /^HTTP\/1.1 (200|400|403) /)
})

test('requests sent one behind the other, more than may be, are all answered in their order and never run beyond the limit', async () => {
  calls = 0
  const one = `GET /v1/echo/any HTTP/1.1\r\n${HEAD}\r\n`
  const answer = await raw(one.repeat(500), `GET /v1/echo/any HTTP/1.1\r\n${HEAD}Connection: close\r\n\r\n`)
  const statuses = answer.match(/HTTP\/1\.1 \d+/g) ?? []
  assert.equal(statuses.length, 501)
  assert.ok(statuses.every((status) => status.endsWith(' 200') || status.endsWith(' 429')))
  assert.equal(statuses.filter((status) => status.endsWith(' 200')).length, calls)
  assert.equal(world.gateway.inFlight, 0)
})

test('a token, in two headers, is that of the first or none', async () => {
  const answer = await raw(
    `GET /v1/echo/any HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer alk_none\r\nAuthorization: Bearer ${TOKEN}\r\nConnection: close\r\n\r\n`,
  )
  assert.match(answer, /^HTTP\/1.1 401 /)
})
