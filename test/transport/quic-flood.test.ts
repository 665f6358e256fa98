import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { flood, halfOpenHandshakes } from './quic-initial.ts'
import { side } from './quic-support.ts'

test('quic: 400 half-open handshakes, more than are taken at once, and a good peer is served', async (t) => {
  const a = side()
  const b = side({ idleMs: 1_500, maxHandshakes: 200 })
  const server = await b.transport.listen('quic://127.0.0.1:0', () => {})
  t.after(() => server.close())
  const address = server.addresses[0] as string
  const make = await halfOpenHandshakes(a.transport, b.key)
  const answers = await flood(t, address, Array.from({ length: 400 }, make))
  const channel = await a.transport.dial(address, { expect: b.key, signal: AbortSignal.timeout(10_000) })
  channel.close()
  assert.ok(answers() > 0, 'the handshakes were answered')
})

test('quic: garbage at the port changes nothing', async (t) => {
  const a = side()
  const b = side()
  const served: unknown[] = []
  const server = await b.transport.listen('quic://127.0.0.1:0', (channel) => served.push(channel))
  t.after(() => server.close())
  const address = server.addresses[0] as string
  const make = await halfOpenHandshakes(a.transport, b.key)
  const damaged = Array.from({ length: 200 }, () => {
    const datagram = make()
    datagram[randomBytes(2).readUInt16BE() % datagram.length] = randomBytes(1)[0] as number
    return datagram
  })
  const noise = Array.from({ length: 200 }, (_, length) => randomBytes(1 + length * 6))
  await flood(t, address, [...damaged, ...noise])
  const channel = await a.transport.dial(address, { expect: b.key, signal: AbortSignal.timeout(10_000) })
  channel.close()
  assert.equal(served.length, 1)
})
