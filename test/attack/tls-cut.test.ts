import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { publicKeyOfSeed, randomSeed } from '../../src/core/crypto/ed25519.ts'
import { KithError } from '../../src/core/errors.ts'
import { systemRandom } from '../../src/core/random.ts'
import { FrontPool } from '../../src/transport/front/pool.ts'
import { createTlsTransport } from '../../src/transport/tls.ts'
import type { Channel } from '../../src/transport/types.ts'
import { tlsSide } from '../transport/setups/tls.ts'
import { hasCode, within } from '../transport/support.ts'
import { listenTls } from '../transport/tls-support.ts'
import { until } from '../tunnel/pair.ts'

/** Somebody on the way who ends connections of `tls://` as if an end had been sent, and where he likes. */

interface Middle {
  readonly port: number
  /** Bytes of the dialer that are let through before the end; nothing is read behind them. */
  most: number
  /** What has come from the dialer on the last connection. */
  passed: number
  /** An end in both directions, without the one that TLS has. */
  cut(): void
}

async function middle(t: TestContext, port: number): Promise<Middle> {
  const open = new Set<Socket>()
  const self: Middle = {
    port: 0,
    most: Number.POSITIVE_INFINITY,
    passed: 0,
    cut() {
      for (const socket of open) socket.unpipe().end()
    },
  }
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    self.passed = 0
    for (const socket of [near, far]) {
      open.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => open.delete(socket))
    }
    near.on('data', (bytes: Buffer) => {
      const passing = bytes.subarray(0, Math.max(0, self.most - self.passed))
      self.passed += passing.length
      if (passing.length > 0 && !far.writableEnded) far.write(passing)
      if (self.passed >= self.most) self.cut()
    })
    far.pipe(near)
    near.on('end', () => far.end())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    for (const socket of open) socket.destroy()
  })
  return Object.assign(self, { port: (server.address() as AddressInfo).port })
}

test('a handshake cut anywhere, ends at both ends with a code and leaves nothing behind', { timeout: 30_000 }, async (t) => {
  const a = tlsSide()
  const seed = randomSeed(systemRandom)
  const fronts = new FrontPool({ clock: systemClock })
  const b = { transport: createTlsTransport({ seed, clock: systemClock, random: systemRandom, fronts }), key: publicKeyOfSeed(seed) }
  const door = await listenTls(t, b)
  const { front, release } = await fronts.at({ host: '127.0.0.1', port: door.port })
  t.after(() => release())
  const relay = await middle(t, door.port)
  const dial = (): Promise<Channel> => a.transport.dial(`tls://127.0.0.1:${relay.port}`, { expect: b.key, signal: AbortSignal.timeout(10_000) })
  const whole = await dial()
  while (door.channels.length === 0) await new Promise(setImmediate)
  const length = relay.passed
  whole.close()
  assert.ok(length > 300, `${length}`)
  for (const share of [0, 0.003, 0.01, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.97, 0.999]) {
    relay.most = Math.ceil(share * length)
    const near = await dial().catch((error: unknown) => {
      hasCode('HANDSHAKE_FAILED')(error)
    })
    // The dialer is through with its last bytes; whether they arrive it finds out by reading.
    if (near !== undefined) await assert.rejects(within('the end', near.receive()), hasCode('LINK_LOST'))
    near?.close()
  }
  await until(() => front.connections === 0 && door.failures.length > 2)
  assert.ok(door.failures.every((error) => error instanceof KithError && error.code === 'HANDSHAKE_FAILED'))
  assert.equal(door.channels.length, 1)
})

test('a link whose connection ends without the end of TLS, is lost and no stream of it seems complete', { timeout: 30_000 }, async (t) => {
  const [a, b] = [tlsSide(), tlsSide()]
  const door = await listenTls(t, b)
  const relay = await middle(t, door.port)
  const near = await a.transport.dial(`tls://127.0.0.1:${relay.port}`, { expect: b.key, signal: AbortSignal.timeout(10_000) })
  near.send(Buffer.from('1'))
  while (door.channels.length === 0) await new Promise(setImmediate)
  const far = door.channels[0] as Channel
  await far.receive()
  far.send(Buffer.from('2'))
  await near.receive()
  near.send(Buffer.from('3'))
  await far.receive()
  const [left, right] = [near.multiplex(), far.multiplex()]
  const outcome = new Promise<string>((resolve) => {
    right.onStream = (stream) => {
      stream.onData = (_bytes, start, end) => {
        stream.consume(end - start)
        relay.cut()
      }
      stream.onEnd = () => resolve('a whole stream')
      stream.onError = (error) => resolve(error.code)
    }
  })
  const stream = await left.open()
  stream.onError = () => {}
  stream.write(Buffer.from('half of what was to be'))
  assert.equal(await within('the outcome', outcome), 'LINK_LOST')
  assert.deepEqual([(await left.closed).error?.code, (await right.closed).error?.code], ['LINK_LOST', 'LINK_LOST'])
})
