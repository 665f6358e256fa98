/** Whatever a link refuses is counted under its code, so that whoever is on call sees a flood without reading the log. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { createMetrics } from '../../src/core/observe/metrics.ts'
import { FLAG_SYN, TYPE_PING } from '../../src/transport/mux/frames.ts'
import { within } from '../transport/support.ts'
import { attacker, endedWith, frameOf, linkTo, type Node, socketTo, startNode } from './support.ts'

async function counting(t: TestContext): Promise<{ node: Node; counted: (metric: string, code: string) => Promise<number> }> {
  const metrics = createMetrics()
  const node = await startNode(t, 'node', { metrics })
  const read = (metric: string, code: string): number => Number(new RegExp(`^${metric}\\{code="${code}"\\} (\\d+)$`, 'm').exec(metrics.render())?.[1] ?? 0)
  /** The count, once there is one. */
  const counted = async (metric: string, code: string): Promise<number> =>
    await within(
      `${metric} of ${code}`,
      (async () => {
        while (read(metric, code) === 0) await new Promise((resolve) => setImmediate(resolve))
        return read(metric, code)
      })(),
    )
  return { node, counted }
}

test('a frame that no handshake has, is counted by its code', async (t) => {
  const { node, counted } = await counting(t)
  const { socket, closed } = await socketTo(t, node)
  socket.write(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x0f))
  await within('the close', closed)
  assert.equal(await counted('kith_handshakes_failed_total', 'FRAME_TOO_LARGE'), 1)
})

test('a stranger beyond the limit, is counted by its code', async (t) => {
  const { node, counted } = await counting(t)
  for (let i = 0; i < 8; i++) await linkTo(t, node, await attacker(`stranger ${i}`))
  await assert.rejects(linkTo(t, node, await attacker('one too many')))
  assert.equal(await counted('kith_handshakes_failed_total', 'BUDGET_EXCEEDED'), 1)
})

test('streams that are refused, are counted by the code the peer was told', async (t) => {
  const { node, counted } = await counting(t)
  const { mux } = await linkTo(t, node, await attacker('asker'))
  for (const [header, code] of [
    ['\x0bacme/none/1', 'PROTOCOL_UNKNOWN'],
    ['\x00', 'WIRE_MALFORMED'],
    ['\x0cicn/papers/1\x07', 'WIRE_MALFORMED'],
  ] as const) {
    const stream = await mux.open()
    stream.onData = () => {}
    const refused = new Promise<string>((resolve) => {
      stream.onError = (error) => resolve(error.code)
    })
    stream.write(Buffer.from(header, 'latin1'))
    stream.end()
    assert.equal(await within('a refusal', refused), code)
  }
  assert.equal(await counted('kith_streams_refused_total', 'PROTOCOL_UNKNOWN'), 1)
  assert.equal(await counted('kith_streams_refused_total', 'WIRE_MALFORMED'), 2)
})

test('a connection that is ended for a flood, is counted by its code; one that the peer ends, under remote', async (t) => {
  const { node, counted } = await counting(t)
  const first = await linkTo(t, node, await attacker('pinger'))
  const ended = endedWith(first.mux)
  for (let i = 0; i < 2_000; i++) frameOf(first.mux, TYPE_PING, FLAG_SYN, 0, i)
  assert.equal(await ended, 'MUX_LIMIT')
  assert.equal(await counted('kith_connections_ended_total', 'MUX_LIMIT'), 1)
  const second = await linkTo(t, node, await attacker('leaver'))
  await second.mux.close(310, 'my own words')
  assert.equal(await counted('kith_connections_ended_total', 'remote'), 1)
})
