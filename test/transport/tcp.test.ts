import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { createSigner, randomSeed } from '../../src/core/crypto/ed25519.ts'
import { systemRandom } from '../../src/core/random.ts'
import { formatAddress, parseAddress, plainHost } from '../../src/transport/tcp/address.ts'
import { createTcpTransport } from '../../src/transport/tcp.ts'
import type { Channel, Source } from '../../src/transport/types.ts'
import { freePort } from '../support/ports.ts'
import { tcpSide } from './setups/tcp.ts'
import { hasCode, within } from './support.ts'

const REQUEST = Buffer.concat([Buffer.from([0x4b, 0x10, 0x01]), Buffer.alloc(52, 7)])
const soon = () => AbortSignal.timeout(10_000)

test('addresses, read and written', () => {
  assert.deepEqual(parseAddress('tcp://192.0.2.1:4433', 1), { host: '192.0.2.1', port: 4433 })
  assert.deepEqual(parseAddress('tcp://[2001:db8::1]:4433/', 1), { host: '2001:db8::1', port: 4433 })
  assert.deepEqual(parseAddress('tcp://node.example:0', 0), { host: 'node.example', port: 0 })
  assert.equal(formatAddress({ host: '::1', port: 1 }), 'tcp://[::1]:1')
  assert.equal(plainHost('::ffff:192.0.2.1'), '192.0.2.1')
  for (const bad of ['tcp://a:0', 'tcp://a', 'tcp://a:65536', 'tcp://[1.2.3.4]:1', 'tcp://a:1/x', 'tcp://u@a:1', 'tcp://a b:1', 'udp://a:1', 'tcp://:1']) {
    assert.throws(() => parseAddress(bad, 1), hasCode('ADDRESS_INVALID'), bad)
  }
})

test('a port where nobody listens, ADDRESS_UNREACHABLE with the system’s reason', async () => {
  const { transport, key } = tcpSide()
  await assert.rejects(transport.dial(`tcp://127.0.0.1:${await freePort()}`, { expect: tcpSide().key, signal: soon() }), (error: unknown) => {
    hasCode('ADDRESS_UNREACHABLE')(error)
    assert.equal((error as { details: { reason?: string } }).details.reason, 'ECONNREFUSED')
    return true
  })
  await assert.rejects(transport.dial('tcp://no-such-host.invalid:1', { expect: key, signal: soon() }), hasCode('ADDRESS_UNREACHABLE'))
})

test('a name with addresses of which one answers, dialled', async (t) => {
  const [a, b] = [tcpSide(), tcpSide()]
  const arrived = Promise.withResolvers<Channel>()
  const server = await b.transport.listen('tcp://127.0.0.1:0', arrived.resolve)
  t.after(() => server.close())
  const port = server.addresses[0]?.split(':').at(-1)
  const near = await a.transport.dial(`tcp://localhost:${port}`, { expect: b.key, signal: soon() })
  t.after(() => near.close())
  const far = await within('the channel', arrived.promise)
  t.after(() => far.close())
  assert.equal(far.postQuantum, true)
  assert.match(far.path.address, /^tcp:\/\/127\.0\.0\.1:\d+$/)
})

test('IPv6, listened on and dialled', async (t) => {
  const [a, b] = [tcpSide(), tcpSide()]
  const arrived = Promise.withResolvers<Channel>()
  const server = await b.transport.listen('tcp://[::1]:0', arrived.resolve).catch((error: unknown) => {
    hasCode('ADDRESS_INVALID')(error)
    return undefined
  })
  if (server === undefined) return t.skip('this machine has no IPv6')
  t.after(() => server.close())
  assert.match(server.addresses[0] as string, /^tcp:\/\/\[::1\]:\d+$/)
  const near = await a.transport.dial(server.addresses[0] as string, { expect: b.key, signal: soon() })
  t.after(() => near.close())
  const far = await within('the channel', arrived.promise)
  t.after(() => far.close())
})

test('an address of another machine, cannot be listened on', async () => {
  await assert.rejects(
    tcpSide().transport.listen('tcp://192.0.2.1:0', () => {}),
    hasCode('ADDRESS_INVALID'),
  )
})

test('locate, carries one question and one answer and no handshake', async (t) => {
  const [a, b] = [tcpSide(), tcpSide()]
  const asked: [string, Source][] = []
  const released: string[] = []
  const server = await b.transport.listen('tcp://127.0.0.1:0', () => assert.fail('a channel'), {
    admit: (source) => ({ release: () => released.push(source.host) }),
    onLocate: (request, source) => {
      asked.push([Buffer.from(request).toString('hex'), source])
      return Buffer.alloc(90_000, 5)
    },
  })
  t.after(() => server.close())
  const answer = await within('the answer', a.transport.locate?.(server.addresses[0] as string, REQUEST, { signal: soon() }) ?? Promise.reject())
  assert.equal(answer.length, 90_000)
  assert.equal(asked[0]?.[0], REQUEST.toString('hex'))
  assert.equal(asked[0]?.[1].host, '127.0.0.1')
  await until(() => released.length === 1)
})

test('locate at a listener that does not answer, LOCATE_FAILED', async (t) => {
  const [a, b] = [tcpSide(), tcpSide()]
  const server = await b.transport.listen('tcp://127.0.0.1:0', () => {}, { onLocate: () => undefined })
  t.after(() => server.close())
  await assert.rejects(a.transport.locate?.(server.addresses[0] as string, REQUEST, { signal: soon() }) ?? Promise.resolve(), hasCode('LOCATE_FAILED'))
})

test('a source that is turned away, closed before a byte of it is read', async (t) => {
  const b = tcpSide()
  const server = await b.transport.listen('tcp://127.0.0.1:0', () => assert.fail('a channel'), { admit: () => undefined })
  t.after(() => server.close())
  const socket = socketTo(server.addresses[0] as string)
  socket.write(Buffer.alloc(1000))
  await within('the close', once(socket, 'close'))
})

test('a silent connection that must make room, closed when evicted and released once', async (t) => {
  const b = tcpSide()
  const evictions: (() => void)[] = []
  let released = 0
  const server = await b.transport.listen('tcp://127.0.0.1:0', () => {}, {
    admit: (_source, evict) => {
      evictions.push(evict)
      return { release: () => released++ }
    },
  })
  t.after(() => server.close())
  const socket = socketTo(server.addresses[0] as string)
  await until(() => evictions.length === 1)
  assert.equal(released, 0)
  evictions[0]?.()
  await within('the close', once(socket, 'close'))
  await until(() => released === 1)
})

test('a connection that became a channel, is not evicted any more', async (t) => {
  const [a, b] = [tcpSide(), tcpSide()]
  const evictions: (() => void)[] = []
  const arrived = Promise.withResolvers<Channel>()
  const server = await b.transport.listen('tcp://127.0.0.1:0', arrived.resolve, {
    admit: (_source, evict) => {
      evictions.push(evict)
      return { release: () => {} }
    },
  })
  t.after(() => server.close())
  const near = await a.transport.dial(server.addresses[0] as string, { expect: b.key, signal: soon() })
  t.after(() => near.close())
  const far = await within('the channel', arrived.promise)
  t.after(() => far.close())
  for (const evict of evictions) evict()
  near.send(Buffer.from('alive'))
  assert.equal(Buffer.from(await within('a message', far.receive())).toString(), 'alive')
})

test('a handshake under way when the listener closes, closed with it', async () => {
  const b = tcpSide()
  let begun = 0
  const server = await b.transport.listen('tcp://127.0.0.1:0', () => {}, {
    admit: () => {
      begun++
      return { release: () => {} }
    },
  })
  const socket = socketTo(server.addresses[0] as string)
  await until(() => begun === 1)
  await server.close()
  await within('the close', once(socket, 'close'))
})

test('a listener whose signal is aborted, takes no more', async () => {
  const b = tcpSide()
  const given = new AbortController()
  const server = await b.transport.listen('tcp://127.0.0.1:0', () => {}, { signal: given.signal })
  given.abort()
  const { transport } = tcpSide()
  await assert.rejects(transport.dial(server.addresses[0] as string, { expect: b.key, signal: soon() }), hasCode('ADDRESS_UNREACHABLE'))
  await assert.rejects(
    b.transport.listen('tcp://127.0.0.1:0', () => {}, { signal: AbortSignal.abort(new Error('enough')) }),
    { message: 'enough' },
  )
})

test('noise instead of a handshake, closes the connection and nothing else', async (t) => {
  const [a, b] = [tcpSide(), tcpSide()]
  const arrived = Promise.withResolvers<Channel>()
  const server = await b.transport.listen('tcp://127.0.0.1:0', arrived.resolve)
  t.after(() => server.close())
  for (const noise of [Buffer.from('GET / HTTP/1.1\r\n\r\n'), Buffer.alloc(5000, 0xff), Buffer.alloc(40), Buffer.from([32])]) {
    const socket = socketTo(server.addresses[0] as string)
    socket.end(noise)
    await within('the close', once(socket, 'close'))
  }
  const near = await a.transport.dial(server.addresses[0] as string, { expect: b.key, signal: soon() })
  near.close()
  ;(await within('the channel', arrived.promise)).close()
})

test('our own key, SELF_DIAL', async (t) => {
  const signer = createSigner('link', randomSeed(systemRandom))
  const transport = createTcpTransport({ signer, clock: systemClock, random: systemRandom })
  const server = await transport.listen('tcp://127.0.0.1:0', () => {})
  t.after(() => server.close())
  await assert.rejects(transport.dial(server.addresses[0] as string, { expect: signer.publicKey, signal: soon() }), hasCode('SELF_DIAL'))
})

function socketTo(address: string): Socket {
  const socket = connect(Number(address.split(':').at(-1)), '127.0.0.1')
  socket.on('error', () => {})
  socket.resume()
  return socket
}

async function until(condition: () => boolean): Promise<void> {
  await within(
    condition.toString(),
    (async () => {
      while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1))
    })(),
  )
}
