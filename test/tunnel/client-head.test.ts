import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { isKithError } from '../../src/core/errors.ts'
import { manualClock } from '../../src/core/manual-clock.ts'
import { ClientHead } from '../../src/tunnel/socks/client-head.ts'
import { takeGreeting } from '../../src/tunnel/socks/wire.ts'

async function pair(t: TestContext): Promise<{ client: Socket; accepted: Socket }> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const arriving = once(server, 'connection')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [accepted] = (await arriving) as [Socket]
  t.after(() => {
    client.destroy()
    accepted.destroy()
    server.close()
  })
  return { client, accepted }
}

test('a client that says its first message byte by byte without end, has ten seconds for all of it', async (t) => {
  const clock = manualClock()
  const { client, accepted } = await pair(t)
  const head = new ClientHead(accepted, clock, 10_000)
  const message = head.next(takeGreeting, 513)
  client.write(Uint8Array.of(5))
  clock.advance(9_000)
  client.write(Uint8Array.of(9))
  clock.advance(1_000)
  await assert.rejects(message, (error) => isKithError(error, 'TIMEOUT'))
  head.release()
  assert.equal(clock.pending, 0)
})

test('a client that hangs up before its first message is whole, ends the waiting', async (t) => {
  const clock = manualClock()
  const { client, accepted } = await pair(t)
  const head = new ClientHead(accepted, clock, 10_000)
  client.end(Uint8Array.of(5, 3, 0))
  await assert.rejects(head.next(takeGreeting, 513), (error) => isKithError(error, 'CLOSED'))
  head.release()
  assert.equal(clock.pending, 0)
})

test('what stands behind the last message is given back, once', async (t) => {
  const { client, accepted } = await pair(t)
  const head = new ClientHead(accepted, manualClock(), 10_000)
  client.write(Buffer.concat([Uint8Array.of(5, 1, 0), Buffer.from('behind')]))
  assert.deepEqual(await head.next(takeGreeting, 513), [0])
  assert.equal(String(head.release()), 'behind')
  assert.equal(head.release().length, 0)
})
