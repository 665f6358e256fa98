import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { WebSocket } from 'ws'
import type { CallContext } from '../../src/call/define.ts'
import { manualClock } from '../../src/core/clock.ts'
import { callerNamed, defineOperation, openWorld, TOKEN, type World } from './support.ts'

const clock = manualClock()
let ended: (() => void) | undefined
let given = 0
const operations = [
  defineOperation({ name: 'who/am', kind: 'query', input: true, output: true, access: 'everyone', handler: (_input, { caller }) => caller.id }),
  defineOperation({ name: 'owner/only', kind: 'query', input: true, output: true, handler: () => 'secret' }),
  defineOperation({
    name: 'count/up',
    kind: 'subscription',
    input: true,
    output: true,
    access: 'everyone',
    async *handler(_input: unknown, { signal }: CallContext) {
      signal.addEventListener('abort', () => ended?.())
      for (;;) {
        given++
        yield 'x'.repeat(10_000)
      }
    },
  } as never),
]
let world: World

before(async () => {
  const controller = new AbortController()
  world = await openWorld(operations, { clock })
  world.callers.alk_revoked = { ...callerNamed('revoked'), revoked: controller.signal }
  revoke = () => controller.abort()
})
after(() => world.close())
let revoke = (): void => undefined

interface Event {
  readonly type: string
  readonly id: string
  readonly payload: Record<string, unknown>
}

async function open(token: string = TOKEN): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${world.port}/v1/socket`, { headers: { authorization: `Bearer ${token}` } })
  socket.on('error', () => undefined)
  await once(socket, 'open')
  return socket
}

const ask = (socket: WebSocket, id: string, operationId: string): void =>
  socket.send(JSON.stringify({ type: 'call.requested', id, payload: { operationId, input: null } }))

function events(socket: WebSocket, count: number): Promise<Event[]> {
  const found: Event[] = []
  return new Promise((resolve) => {
    const onMessage = (data: unknown): void => {
      found.push(JSON.parse(String(data)) as Event)
      if (found.length < count) return
      socket.off('message', onMessage)
      resolve(found)
    }
    socket.on('message', onMessage)
  })
}

/** What a handshake is answered, as it stands on the wire. */
async function shake(headers: Readonly<Record<string, string | undefined>>, path = '/v1/socket', method = 'GET'): Promise<string> {
  const socket = connect(world.port, '127.0.0.1')
  const all = {
    host: `127.0.0.1:${world.port}`,
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
    authorization: `Bearer ${TOKEN}`,
    ...headers,
  }
  const lines = Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}`]))
  socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`)
  const [chunk] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  return chunk.toString()
}

test('calls by WebSocket, with the key in the handshake, are answered as that key', async () => {
  const socket = await open()
  const answers = events(socket, 2)
  ask(socket, '1', '/who/am')
  const [answer, completed] = await answers
  assert.deepEqual(answer, { type: 'call.responded', id: '1', payload: { output: 'key:reader' } })
  assert.deepEqual(completed, { type: 'call.completed', id: '1', payload: {} })
  socket.close(1000)
  const [code] = await once(socket, 'close')
  assert.equal(code, 1000)
})

test('a caller by WebSocket, without the right, is answered as if there were no such operation', async () => {
  const socket = await open()
  const answers = events(socket, 2)
  ask(socket, '1', '/owner/only')
  ask(socket, '2', '/owner/none')
  const [hidden, missing] = await answers
  assert.equal(hidden?.type, 'call.error')
  assert.deepEqual({ ...hidden, id: '' }, { ...missing, id: '' })
  socket.terminate()
})

test('a handshake, without a key that is known, of a page, under a foreign name, or of no WebSocket, is refused in the one shape', async () => {
  const cases: readonly [status: number, code: string, headers: Readonly<Record<string, string | undefined>>, method?: string][] = [
    [401, 'GATEWAY_UNAUTHORIZED', { authorization: undefined }],
    [401, 'GATEWAY_UNAUTHORIZED', { authorization: 'Bearer alk_other' }],
    [403, 'GATEWAY_REFUSED', { origin: 'http://127.0.0.1' }],
    [403, 'GATEWAY_REFUSED', { host: 'evil.example' }],
    [400, 'REQUEST_MALFORMED', { 'sec-websocket-version': '8' }],
    [400, 'REQUEST_MALFORMED', { 'sec-websocket-key': 'short' }],
    [405, 'METHOD_REFUSED', {}, 'DELETE'],
  ]
  for (const [status, code, headers, method] of cases) {
    const answer = await shake(headers, '/v1/socket', method)
    assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `))
    assert.equal((JSON.parse(answer.split('\r\n\r\n')[1] ?? '') as { error: { code: string } }).error.code, code)
  }
})

test('a request for another protocol, or at another path, is answered as if it had not asked', async () => {
  assert.match(await shake({ upgrade: 'h2c' }, '/v1/who/am'), /^HTTP\/1\.1 200 [\s\S]*"key:reader"$/)
  assert.match(await shake({}, '/v1/who/am'), /^HTTP\/1\.1 200 /)
  assert.match(await shake({ upgrade: undefined, connection: undefined }), /^HTTP\/1\.1 404 /)
})

test('a WebSocket, that sends bytes, no JSON or too much, is ended and disturbs no other', async () => {
  const other = await open()
  for (const message of [Buffer.from('{}'), 'no json', '[]', '', '{"type":"call.requested"}', 'x'.repeat(5 * 1024 * 1024)]) {
    const socket = await open()
    socket.send(message, () => undefined)
    await once(socket, 'close')
  }
  const answers = events(other, 1)
  ask(other, '1', '/who/am')
  assert.equal((await answers)[0]?.type, 'call.responded')
  other.terminate()
})

test('a reader by WebSocket, that reads nothing, holds the handler back, and ends it by leaving', async () => {
  const socket = await open()
  const gone = new Promise<void>((resolve) => {
    ended = resolve
  })
  given = 0
  ask(socket, '1', '/count/up')
  socket.pause()
  let before = -1
  // Until no more is asked of the handler.
  while ((given !== before || given === 0) && given < 3_000) {
    before = given
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  assert.ok(given < 3_000, `${given} items were made for nobody`)
  socket.terminate()
  await gone
})

test('a key, when it is taken back, ends its WebSockets', async () => {
  const socket = await open('alk_revoked')
  const closed = once(socket, 'close')
  revoke()
  await closed
})

test('WebSockets of one caller, more than may be, are refused, and there is room again when one ends', async () => {
  const sockets = await Promise.all(Array.from({ length: 16 }, () => open()))
  assert.match(await shake({}), /^HTTP\/1\.1 429 /)
  const [first] = sockets
  first?.close()
  await once(first as WebSocket, 'close')
  while (!(await shake({})).startsWith('HTTP/1.1 101 ')) await new Promise((resolve) => setImmediate(resolve))
  for (const socket of sockets) socket.terminate()
})

test('a WebSocket, whose client does not answer, is ended at the second ping', async () => {
  const socket = connect(world.port, '127.0.0.1')
  socket.write(
    `GET /v1/socket HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nauthorization: Bearer alk_writer\r\n\r\n`,
  )
  await once(socket, 'data')
  clock.advance(30_000)
  clock.advance(30_000)
  await once(socket.resume(), 'close')
})

test('a gateway, that closes, ends its WebSockets', async () => {
  const closing = await openWorld(operations)
  const socket = new WebSocket(`ws://127.0.0.1:${closing.port}/v1/socket`, { headers: { authorization: `Bearer ${TOKEN}` } })
  socket.on('error', () => undefined)
  await once(socket, 'open')
  const closed = once(socket, 'close')
  await closing.close()
  await closed
})
