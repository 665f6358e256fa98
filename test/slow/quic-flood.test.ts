import assert from 'node:assert/strict'
import { test } from 'node:test'
import { flood, halfOpenHandshakes } from '../transport/quic-initial.ts'
import { side } from '../transport/quic-support.ts'

/** About 45 kB for each handshake that is under way, 6,000 of them at most, and the queue of the library. */
const MOST_BYTES = 450e6

test('quic: 5,000 half-open handshakes keep memory bounded, good peers are served during and after', async (t) => {
  const a = side()
  const b = side()
  const server = await b.transport.listen('quic://127.0.0.1:0', () => {})
  t.after(() => server.close())
  const address = server.addresses[0] as string
  const make = await halfOpenHandshakes(a.transport, b.key)
  const datagrams = Array.from({ length: 5_000 }, make)
  const before = process.memoryUsage().rss
  for (let part = 0; part < 5; part++) {
    const answers = await flood(t, address, datagrams.slice(part * 1_000, (part + 1) * 1_000))
    const channel = await a.transport.dial(address, { expect: b.key, signal: AbortSignal.timeout(10_000) })
    channel.close()
    assert.ok(answers() > 0)
  }
  assert.ok(process.memoryUsage().rss - before < MOST_BYTES)
})
