import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { createAdmission } from '../../src/mesh/admission.ts'
import type { Channel, Listener } from '../../src/transport/types.ts'
import { tcpSide } from '../transport/setups/tcp.ts'
import { echo, readAll, within } from '../transport/support.ts'

const FLOOD = 5_000

function socketTo(listener: Listener): Socket {
  const socket = connect(Number((listener.addresses[0] as string).split(':').at(-1)), '127.0.0.1')
  socket.on('error', () => {})
  socket.resume()
  return socket
}

for (const budget of ['without a budget', 'within the budget of admission'] as const) {
  test(`5,000 half-open connections ${budget}, good peers are served meanwhile and memory stays bounded`, { timeout: 120_000 }, async (t) => {
    const [a, b] = [tcpSide(), tcpSide()]
    const admission = createAdmission({ clock: systemClock })
    const channels: Channel[] = []
    const server = await b.transport.listen(
      'tcp://127.0.0.1:0',
      (channel) => channels.push(channel),
      budget === 'without a budget' ? {} : { admit: (source, evict) => admission.handshake(source, evict) },
    )
    t.after(() => server.close())
    const before = process.memoryUsage().rss
    const sockets: Socket[] = []
    t.after(() => {
      for (const socket of sockets) socket.destroy()
    })
    let served = 0
    for (let index = 0; index < FLOOD; index++) {
      const socket = socketTo(server)
      socket.on('connect', () => socket.write(Buffer.alloc(1, 32)))
      sockets.push(socket)
      if (index % 1000 !== 999) continue
      await within('the flood', Promise.race([once(socket, 'connect'), once(socket, 'close')]))
      const dial = async (): Promise<Channel> => await a.transport.dial(server.addresses[0] as string, { expect: b.key, signal: AbortSignal.timeout(10_000) })
      let channel: Channel | undefined
      for (let attempt = 0; channel === undefined && attempt < 20; attempt++) {
        channel = await dial().catch(() => new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 200)))
      }
      assert.ok(channel !== undefined, 'a good peer gets in')
      channel.close()
      served++
    }
    assert.equal(served, 5)
    const grown = process.memoryUsage().rss - before
    assert.ok(grown < 256 * 2 ** 20, `memory grew by ${grown}`)
    for (const channel of channels) channel.close()
  })
}

test('a peer that sends one byte a second, closed at the deadline of the handshake', { timeout: 60_000 }, async (t) => {
  const b = tcpSide()
  const server = await b.transport.listen('tcp://127.0.0.1:0', () => assert.fail('a channel'))
  t.after(() => server.close())
  const socket = socketTo(server)
  const started = performance.now()
  const timer = setInterval(() => socket.write(Buffer.alloc(1, 32)), 1000)
  t.after(() => clearInterval(timer))
  await within('the close', once(socket, 'close'), 20_000)
  assert.ok(performance.now() - started < 15_000)
})

test('a peer that floods a link with pings and never reads, closed while another link goes on', { timeout: 60_000 }, async (t) => {
  const [a, b, c] = [tcpSide(), tcpSide(), tcpSide()]
  const arrived: Channel[] = []
  const server = await b.transport.listen('tcp://127.0.0.1:0', (channel) => arrived.push(channel))
  t.after(() => server.close())
  const link = async (from: typeof a) => {
    const near = await from.transport.dial(server.addresses[0] as string, { expect: b.key, signal: AbortSignal.timeout(10_000) })
    const far = await within(
      'the channel',
      (async () => {
        while (arrived.length === 0) await new Promise((resolve) => setTimeout(resolve, 1))
        return arrived.shift() as Channel
      })(),
    )
    near.send(Buffer.from('1'))
    await far.receive()
    far.send(Buffer.from('2'))
    await near.receive()
    near.send(Buffer.from('3'))
    await far.receive()
    return { near: near.multiplex(), far: far.multiplex() }
  }
  const good = await link(a)
  const bad = await link(c)
  good.far.onStream = echo
  let pings = 0
  const storm = (async () => {
    for (; pings < 100_000; pings++) {
      // Past the pacing of our own end, as a hostile one would write.
      ;(bad.near as unknown as { sendPing(flags: number, opaque: number): void }).sendPing(1, pings)
      if (pings % 100 === 0) await new Promise(setImmediate)
    }
  })()
  const stream = await good.near.open()
  const answer = readAll(stream)
  stream.write(Buffer.alloc(100_000))
  stream.end()
  assert.equal((await answer).length, 100_000)
  assert.equal((await within('the end of the flood', bad.far.closed)).error?.code, 'MUX_LIMIT')
  assert.equal((await within('the news', bad.near.closed)).error?.code, 'MUX_LIMIT')
  await storm
  await good.near.close()
})
