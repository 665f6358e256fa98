import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { ask, defineOperation, openWorld, TOKEN, type World } from '../gateway/support.ts'

let world: World
let calls = 0
before(async () => {
  world = await openWorld([
    defineOperation({
      name: 'echo/any',
      kind: 'query',
      input: true,
      output: true,
      access: 'everyone',
      handler: () => {
        calls += 1
        return null
      },
    }),
  ])
})
after(() => world.close())

/** Sends a byte a second for as long as somebody listens; gives what came back. */
async function drip(head: string): Promise<string> {
  const socket = connect(world.port, '127.0.0.1')
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => chunks.push(chunk))
  socket.on('error', () => undefined)
  socket.write(head)
  const dripping = setInterval(() => socket.write('1'), 1_000)
  await once(socket, 'close')
  clearInterval(dripping)
  return Buffer.concat(chunks).toString()
}

test('a sender that is slow, with its head or its body, is ended at its time and keeps nobody waiting', { timeout: 55_000 }, async () => {
  const slow = [
    drip(`POST /v1/echo/any HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n`),
    drip('POST /v1/echo/any HTTP/1.1\r\nHost: localhost\r\nX: '),
    drip(`POST /v1/echo/any HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n`),
  ]
  assert.equal((await ask(world.port, '/v1/echo/any', { body: 1 })).status, 200)
  const [body, head, nobody] = await Promise.all(slow)
  // A body under way is cut; a head is told why; nobody's body is not read to its end.
  assert.doesNotMatch(body ?? '', / 200 /)
  assert.match(head ?? '', /^HTTP\/1.1 408 [\s\S]*"REQUEST_MALFORMED"/)
  assert.match(nobody ?? '', /^HTTP\/1.1 401 /)
  assert.equal(calls, 1)
  assert.equal(world.gateway.inFlight, 0)
})
