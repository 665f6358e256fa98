import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { CallError } from '../../src/call/errors.ts'
import { ask, codeOf, defineOperation, openWorld, type World } from './support.ts'

const text = { type: 'object', properties: { text: { type: 'string', maxLength: 1_000 } }, required: ['text'], additionalProperties: false }
const ran: string[] = []
let held: AbortSignal | undefined
let seen: { traceId: string; deadlineMs: number | null; parentId: string | undefined } | undefined

const operations = [
  defineOperation({
    name: 'echo/say',
    kind: 'query',
    input: text,
    output: true,
    access: 'everyone',
    handler: (input, { traceId, deadlineMs, parentId }) => {
      seen = { traceId, deadlineMs, parentId }
      return input
    },
  }),
  defineOperation({
    name: 'echo/typed',
    kind: 'query',
    input: {
      type: 'object',
      properties: {
        count: { type: 'integer' },
        ratio: { type: 'number' },
        on: { type: 'boolean' },
        code: { type: 'string' },
        tags: { type: 'array', items: { type: 'string' } },
        sizes: { type: 'array', items: { $ref: '#/$defs/size' } },
        maybe: { anyOf: [{ type: 'integer' }, { type: 'null' }] },
        where: { type: 'object', properties: { x: { type: 'number' } } },
      },
      $defs: { size: { type: 'integer', minimum: 1 } },
      additionalProperties: false,
    },
    output: true,
    access: 'everyone',
    handler: (input) => input,
  }),
  defineOperation({ name: 'echo/any', kind: 'query', input: true, output: true, access: 'everyone', handler: (input) => ({ input: input ?? null }) }),
  defineOperation({
    name: 'notes/write',
    kind: 'mutation',
    input: text,
    output: true,
    access: { all: ['write'] },
    handler: ({ text: note }: { text: string }) => {
      ran.push(note)
      return ran.length
    },
  } as never),
  defineOperation({ name: 'notes/listed', kind: 'mutation', input: true, output: true, access: { all: ['write'] }, visibility: 'listed', handler: () => null }),
  defineOperation({
    name: 'notes/fail',
    kind: 'mutation',
    input: true,
    output: true,
    access: 'everyone',
    errors: { TOO_MANY: { type: 'object', properties: { limit: { type: 'integer' } } } },
    handler: (input) => {
      if (input === 'declared') throw new CallError('TOO_MANY', 'That is too many.', { data: { limit: 3 } })
      throw new Error('the password is hunter2')
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
  defineOperation({ name: 'many/sum', kind: 'mutation', input: true, output: true, clientStream: true, access: 'everyone', handler: () => 0 }),
]

let world: World
before(async () => {
  world = await openWorld(operations)
})
after(() => world.close())

test('a POST, with an input that fits, is answered with what the operation gives', async () => {
  const answer = await ask(world.port, '/v1/echo/say', { body: { text: 'hi' } })
  assert.equal(answer.status, 200)
  assert.deepEqual(answer.json, { text: 'hi' })
  assert.equal(answer.headers['content-type'], 'application/json')
  assert.equal(answer.headers['x-content-type-options'], 'nosniff')
  assert.equal(answer.headers['cache-control'], 'no-store')
  assert.equal(answer.headers['access-control-allow-origin'], undefined)
})

test('a GET, of a query, has its parameters read as the schema says', async () => {
  const query = 'count=3&ratio=-1.5e2&on=true&code=007&tags=a&tags=b%20c&sizes=1&sizes=2&maybe=null&where=%7B%22x%22%3A1%7D'
  const answer = await ask(world.port, `/v1/echo/typed?${query}`)
  assert.deepEqual(answer.json, {
    count: 3,
    ratio: -150,
    on: true,
    code: '007',
    tags: ['a', 'b c'],
    sizes: [1, 2],
    maybe: null,
    where: { x: 1 },
  })
})

test('a GET, with parameters that cannot be what the schema wants, is refused', async () => {
  for (const query of ['count=x', 'count=1&count=2', 'on=yes', 'unknown=1', 'count=99999999999999999999', 'where={', 'code=%zz', '__proto__=1', 'count=0x10']) {
    const answer = await ask(world.port, `/v1/echo/typed?${query}`)
    assert.equal(answer.status, 400, query)
    assert.equal(codeOf(answer), 'REQUEST_MALFORMED', query)
  }
  const answer = await ask(world.port, '/v1/echo/typed?sizes=0')
  assert.equal(codeOf(answer), 'CALL_INPUT')
})

test('a GET, of an input that is no object, takes it whole', async () => {
  assert.deepEqual((await ask(world.port, '/v1/echo/any?input=%5B1%2C2%5D')).json, { input: [1, 2] })
  assert.equal((await ask(world.port, '/v1/echo/any?input=1&input=2')).status, 400)
})

test('a GET, of a mutation, is refused and changes nothing', async () => {
  const answer = await ask(world.port, '/v1/notes/write?text=a', { token: 'alk_writer' })
  assert.equal(answer.status, 405)
  assert.equal(answer.headers.allow, 'POST')
  assert.deepEqual(ran, [])
})

test('a hidden operation, asked for by any method, is answered exactly as one that does not exist', async () => {
  for (const asking of [
    { body: { text: 'a' } },
    {},
    { headers: { accept: 'text/event-stream' } },
    { body: 1, headers: { accept: 'text/event-stream' } },
    { method: 'DELETE' },
  ]) {
    const hidden = await ask(world.port, '/v1/notes/write', asking)
    const missing = await ask(world.port, '/v1/notes/wrote', asking)
    const shape = ({ status, text: body, headers }: typeof hidden): unknown => [status, body, Object.keys(headers).sort()]
    assert.deepEqual(shape(hidden), shape(missing))
  }
  assert.equal(codeOf(await ask(world.port, '/v1/notes/write', { body: { text: 'a' } })), 'CALL_UNKNOWN')
  assert.equal((await ask(world.port, '/v1/notes/listed', { body: {} })).status, 403)
  assert.deepEqual(ran, [])
})

test('a request without a known token, for anything, is answered 401 before its body is read', async () => {
  for (const token of [null, 'alk_other', 'x'.repeat(5_000)]) {
    for (const path of ['/v1/echo/say', '/v1/none/none', '/v1/schema', '/mcp', '/']) {
      const answer = await ask(world.port, path, { token, raw: '{{{' })
      assert.equal(answer.status, 401)
      assert.equal(codeOf(answer), 'GATEWAY_UNAUTHORIZED')
      assert.equal(answer.headers['www-authenticate'], 'Bearer realm="kith"')
    }
  }
})

test('a token, in the address instead of the header, is none', async () => {
  const answer = await ask(world.port, '/v1/echo/any?token=alk_reader', { token: null })
  assert.equal(answer.status, 401)
})

test('a request, under a name that somebody else answers for or from a web page, is refused', async () => {
  for (const host of ['evil.example', 'evil.example:80', '127.0.0.1.evil.example', '10.0.0.1', 'localhost.evil', '[::2]', 'a@127.0.0.1']) {
    const answer = await ask(world.port, '/v1/echo/any', { headers: { host } })
    assert.equal(answer.status, 403, host)
    assert.equal(codeOf(answer), 'GATEWAY_REFUSED')
  }
  for (const origin of ['https://evil.example', 'null', 'http://127.0.0.1']) {
    assert.equal((await ask(world.port, '/v1/echo/any', { headers: { origin } })).status, 403)
  }
  for (const host of ['localhost', 'LOCALHOST:1', '127.8.8.8:9', '[::1]:80'])
    assert.equal((await ask(world.port, '/v1/echo/any', { headers: { host } })).status, 200)
})

test('a body, sent in the form that a page sends without asking, is not taken', async () => {
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/json; charset=utf-16']) {
    const answer = await ask(world.port, '/v1/echo/say', { body: { text: 'a' }, headers: { 'content-type': type } })
    assert.equal(answer.status, 400, type)
  }
  assert.equal((await ask(world.port, '/v1/echo/say', { body: { text: 'a' }, headers: { 'content-type': 'application/json; charset=utf-8' } })).status, 200)
})

test('an operation that fails, by its own rules or by accident, says only what is meant for callers', async () => {
  const declared = await ask(world.port, '/v1/notes/fail', { body: 'declared' })
  assert.equal(declared.status, 422)
  assert.deepEqual(declared.json, { error: { code: 'TOO_MANY', message: 'That is too many.', details: { limit: 3 } } })
  const accident = await ask(world.port, '/v1/notes/fail', { body: 'other' })
  assert.equal(accident.status, 500)
  assert.equal(codeOf(accident), 'CALL_FAILED')
  assert.doesNotMatch(accident.text, /hunter2/)
})

test('an input that does not fit, is refused with the place and never reaches the handler', async () => {
  const answer = await ask(world.port, '/v1/notes/write', { body: { text: 3 }, token: 'alk_writer' })
  assert.equal(answer.status, 400)
  assert.equal(codeOf(answer), 'CALL_INPUT')
  assert.deepEqual(ran, [])
})

test('a deadline, in its header, ends the call with 504 and a time to try again', async () => {
  const answer = await ask(world.port, '/v1/slow/wait', { body: {}, headers: { 'kith-deadline-ms': '20' } })
  assert.equal(answer.status, 504)
  assert.equal(codeOf(answer), 'CALL_TIMEOUT')
  assert.equal(answer.headers['retry-after'], '1')
  for (const bad of ['0', '-1', '1.5', 'soon', '99999999']) {
    assert.equal((await ask(world.port, '/v1/slow/wait', { body: {}, headers: { 'kith-deadline-ms': bad } })).status, 400)
  }
})

test('a client that goes away, in the middle of a call, aborts the handler', async () => {
  held = undefined
  const socket = connect(world.port, '127.0.0.1')
  socket.write('POST /v1/slow/wait HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer alk_reader\r\nContent-Length: 0\r\n\r\n')
  while (held === undefined) await new Promise((resolve) => setImmediate(resolve))
  const aborted = once(held as AbortSignal, 'abort')
  socket.destroy()
  await aborted
})

test('a trace, given by the client, goes with the call and comes back; one that is malformed is replaced', async () => {
  const traceId = '0af7651916cd43dd8448eb211c80319c'
  const answer = await ask(world.port, '/v1/echo/say', { body: { text: 'a' }, headers: { traceparent: `00-${traceId}-b7ad6b7169203331-01` } })
  assert.equal(seen?.traceId, traceId)
  assert.equal(seen?.parentId, 'b7ad6b7169203331')
  assert.match(String(answer.headers.traceparent), new RegExp(`^00-${traceId}-[0-9a-f]{16}-01$`))
  assert.match(String(answer.headers['request-id']), /^[0-9a-f]{16}$/)
  for (const bad of [`00-${'0'.repeat(32)}-b7ad6b7169203331-01`, 'ff-x', `00-${traceId}-b7ad6b7169203331-01-extra`]) {
    const other = await ask(world.port, '/v1/echo/say', { body: { text: 'a' }, headers: { traceparent: bad } })
    assert.doesNotMatch(String(other.headers.traceparent), new RegExp(traceId))
  }
})

test('an operation that takes a stream of inputs, over HTTP, is refused in words', async () => {
  const answer = await ask(world.port, '/v1/many/sum', { body: [1] })
  assert.equal(answer.status, 501)
  assert.equal(codeOf(answer), 'UNSUPPORTED')
})

test('a caller, whose key is taken back during a call, is answered 401 and the call ends', async () => {
  const revoking = new AbortController()
  world.callers.alk_leaving = { ...(world.callers.alk_reader as World['callers'][string]), id: 'key:leaving', revoked: revoking.signal }
  held = undefined
  const answer = ask(world.port, '/v1/slow/wait', { body: {}, token: 'alk_leaving' })
  while (held === undefined) await new Promise((resolve) => setImmediate(resolve))
  revoking.abort()
  assert.equal((await answer).status, 401)
})

test('a path, that is not of the form of an operation, is unknown', async () => {
  for (const path of [
    '/',
    '/v1',
    '/v1/echo',
    '/v1/echo/say/',
    '/v1/echo//say',
    '/v1/../v1/echo/any',
    '/v1/echo/%61ny',
    '/V1/echo/any',
    '/v1/@/echo/any',
    '/v1/echo/any/x',
  ]) {
    assert.equal(codeOf(await ask(world.port, path)), 'CALL_UNKNOWN', path)
  }
})
