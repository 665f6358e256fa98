import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { duplexPair } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { systemClock } from '../../src/core/clock.ts'
import { publicKeyOfSeed, randomSeed } from '../../src/core/crypto/ed25519.ts'
import { manualClock } from '../../src/core/manual-clock.ts'
import { systemRandom } from '../../src/core/random.ts'
import { httpResponder } from '../../src/site/acme/responders.ts'
import { FrontGuard, type FrontPlace } from '../../src/transport/front/guard.ts'
import { FrontPool } from '../../src/transport/front/pool.ts'
import { createTlsTransport } from '../../src/transport/tls.ts'
import { within } from '../transport/support.ts'
import { handClock, listenTls } from '../transport/tls-support.ts'
import { until } from '../tunnel/pair.ts'

/** Many who come to the port that links and the site share, and then say nothing. */

test('a front door that a few networks have filled, makes room for others after a second, the most crowded first', () => {
  const clock = manualClock()
  const guard = new FrontGuard(clock, { connections: 8, perSource: 4 })
  const gone: string[] = []
  const admit = (host: string): FrontPlace | undefined => guard.admit(host, () => void gone.push(host))
  const mine = admit('198.51.100.1')
  mine?.serve()
  for (let count = 0; count < 3; count++) assert.ok(admit(`203.0.113.${count}`) !== undefined)
  for (let count = 0; count < 4; count++) assert.ok(admit(`2001:db8:7:${count}::1`) !== undefined)
  assert.equal(admit('192.0.2.1'), undefined, 'all of them came this moment')
  clock.advance(1_000)
  assert.ok(admit('192.0.2.1') !== undefined)
  assert.ok(admit('192.0.2.9') !== undefined)
  assert.ok(admit('192.0.2.17') !== undefined)
  assert.deepEqual(gone, ['2001:db8:7:0::1', '203.0.113.0', '2001:db8:7:1::1'])
  assert.equal(guard.held, 8)
  mine?.release()
  assert.equal(guard.held, 7)
})

test('a source that has every place it may have, gets one for the oldest that has not said what it wants, not for one that is served', () => {
  const clock = manualClock()
  const guard = new FrontGuard(clock, { perSource: 2 })
  const gone: string[] = []
  const first = guard.admit('192.0.2.1', () => void gone.push('first'))
  first?.serve()
  guard.admit('192.0.2.1', () => void gone.push('second'))
  clock.advance(1_000)
  const third = guard.admit('192.0.2.1', () => void gone.push('third'))
  assert.deepEqual([third !== undefined, gone], [true, ['second']])
  third?.serve()
  clock.advance(1_000)
  assert.equal(
    guard.admit('192.0.2.1', () => {}),
    undefined,
  )
  assert.deepEqual(gone, ['second'])
})

/** Only Linux has all of 127.0.0.0/8 without being told. */
const skip = (most: number): string | false => (most > 20 && process.platform !== 'linux' ? 'one loopback address only' : false)

for (const [where, host, most] of [
  ['several addresses', (count: number) => `127.0.${count % 5}.2`, 60],
  ['its own address', () => '127.0.0.1', 20],
] as const) {
  test(`handshakes that stop half-way, as many as the door holds, from ${where}: a peer still gets in, and they end`, {
    timeout: 30_000,
    skip: skip(most),
  }, async (t) => {
    const clock = handClock(Date.now())
    const seed = randomSeed(systemRandom)
    const fronts = new FrontPool({ clock, limits: { connections: 60, perSource: 20 } })
    const door = createTlsTransport({ seed, clock, random: systemRandom, fronts })
    const server = await door.listen('tls://127.0.0.1:0', (channel) => t.after(() => channel.close()))
    t.after(() => server.close())
    const address = server.addresses[0] as string
    const port = Number(address.split(':').at(-1))
    const { front, release } = await fronts.at({ host: '127.0.0.1', port })
    t.after(() => release())
    const sockets = await Promise.all(Array.from({ length: 100 }, (_, count) => halfOpen(t, port, host(count))))
    let gone = 0
    for (const { closed } of sockets) void closed.then(() => gone++)
    await until(() => gone === sockets.length - most && front.connections === most)
    clock.advance(1_000)
    const near = createTlsTransport({ seed: randomSeed(systemRandom), clock: systemClock, random: systemRandom })
    const channel = await near.dial(address, { expect: publicKeyOfSeed(seed), signal: AbortSignal.timeout(10_000) })
    channel.close()
    clock.advance(10_000)
    await within('the ends', Promise.all(sockets.map(({ closed }) => closed)))
    assert.equal(front.connections, 0)
  })
}

/** The first byte of a handshake or a request, and no more. */
async function halfOpen(t: TestContext, port: number, localAddress: string, first = '\x16'): Promise<{ readonly closed: Promise<void> }> {
  const socket: Socket = connect({ port, host: '127.0.0.1', localAddress })
  t.after(() => socket.destroy())
  socket.on('error', () => {})
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  await Promise.race([once(socket, 'connect').catch(() => {}), closed])
  socket.write(first)
  socket.resume()
  return { closed }
}

test('a client that never ends its handshake, HANDSHAKE_TIMEOUT after ten seconds and no channel', { timeout: 30_000 }, async (t) => {
  const clock = handClock(Date.now())
  const seed = randomSeed(systemRandom)
  const door = await listenTls(t, { transport: createTlsTransport({ seed, clock, random: systemRandom }), key: publicKeyOfSeed(seed) })
  const failed = door.failed()
  const socket = connect({ port: door.port, host: '127.0.0.1' })
  t.after(() => socket.destroy())
  socket.on('error', () => {})
  const [hello, theirs] = duplexPair()
  const client = connectTls({ socket: hello, ALPNProtocols: ['icn/1'], rejectUnauthorized: false })
  client.on('error', () => {})
  t.after(() => client.destroy())
  const [first] = (await once(theirs, 'data')) as [Buffer]
  socket.write(first)
  // The other side has said all it has to say.
  await within('the answer', once(socket, 'data'))
  const closed = new Promise((resolve) => socket.resume().once('close', resolve))
  clock.advance(9_999)
  assert.equal(door.failures.length, 0)
  clock.advance(1)
  assert.equal((await failed).code, 'HANDSHAKE_TIMEOUT')
  await within('the end', closed)
  assert.equal(door.channels.length, 0)
})

test('the port of a challenge full of silent connections, the authority is still answered', { timeout: 30_000 }, async (t) => {
  const responder = httpResponder({ host: '127.0.0.1', port: 0 })
  const end = await responder.offer({ identifier: { type: 'dns', value: 'a.example.org' }, token: 'one', authorization: 'one.thumb' })
  t.after(() => end())
  const port = responder.port as number
  await Promise.all(Array.from({ length: 100 }, () => halfOpen(t, port, '127.0.0.1', 'G')))
  const answer = await within('the answer', fetch(`http://127.0.0.1:${port}/.well-known/acme-challenge/one`))
  assert.equal(await answer.text(), 'one.thumb')
})
