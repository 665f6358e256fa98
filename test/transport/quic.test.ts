import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KithError } from '../../src/core/errors.ts'
import { quicAvailability } from '../../src/transport/quic/index.ts'
import type { Channel, LinkStream } from '../../src/transport/types.ts'
import { channels, connections, nextStream, type Pair, readAll, relay, side, until } from './quic-support.ts'

const code = (expected: string) => (error: unknown) => error instanceof KithError && error.code === expected

test('quic: a channel carries messages both ways, in order and whole', async (t) => {
  const { dialer, listener } = await channels(t)
  const large = Buffer.alloc(64 * 1024, 7)
  dialer.send(Buffer.from('one'))
  dialer.send(large)
  dialer.send(Buffer.alloc(0))
  assert.equal(Buffer.from(await listener.receive()).toString(), 'one')
  assert.deepEqual(Buffer.from(await listener.receive()), large)
  assert.equal((await listener.receive()).length, 0)
  listener.send(Buffer.from('two'))
  assert.equal(Buffer.from(await dialer.receive()).toString(), 'two')
  assert.deepEqual(dialer.channelBinding, { kind: 'quic' })
  assert.equal(dialer.postQuantum, false)
  assert.throws(() => dialer.send(Buffer.alloc(64 * 1024 + 1)), code('MESSAGE_TOO_LARGE'))
})

test('quic: a message sent right before close arrives', async (t) => {
  const { dialer, listener } = await channels(t)
  dialer.send(Buffer.from('hello'))
  await listener.receive()
  listener.send(Buffer.alloc(60_000, 1))
  listener.send(Buffer.from('refused'))
  listener.close()
  assert.equal((await dialer.receive()).length, 60_000)
  assert.equal(Buffer.from(await dialer.receive()).toString(), 'refused')
  await assert.rejects(dialer.receive(), code('LINK_LOST'))
})

test('quic: another key than expected is refused before a stream is opened', async (t) => {
  const a = side()
  const b = side()
  const c = side()
  let handed = 0
  const server = await b.transport.listen('quic://127.0.0.1:0', (channel) => {
    handed++
    channel.receive().then(
      () => assert.fail('a byte was written'),
      () => {},
    )
  })
  t.after(() => server.close())
  await assert.rejects(a.transport.dial(server.addresses[0] as string, { expect: c.key, signal: AbortSignal.timeout(5_000) }), code('WRONG_KEY'))
  assert.ok(handed <= 1)
})

test('quic: streams both ways, half-close, bulk', async (t) => {
  const { dialer, listener } = await connections(t)
  const arrived = nextStream(listener)
  const stream = await dialer.open()
  const duplex = stream.toDuplex()
  const payload = Buffer.alloc(3_000_000, 5)
  duplex.end(payload)
  const back = await arrived
  assert.equal(back.inbound, true)
  assert.equal(back.id, stream.id)
  assert.deepEqual(await readAll(back), payload)
  back.toDuplex().end('thanks')
  const parts: Buffer[] = []
  for await (const part of duplex) parts.push(part as Buffer)
  assert.equal(Buffer.concat(parts).toString(), 'thanks')
  const inbound = nextStream(dialer)
  const other = await listener.open()
  other.write(Buffer.from('x'))
  assert.notEqual(other.id, stream.id)
  assert.equal((await inbound).id, other.id)
})

const events = (stream: LinkStream): { readonly error: Promise<[KithError, string]>; readonly closed: Promise<void> } => {
  const error = Promise.withResolvers<[KithError, string]>()
  const closed = Promise.withResolvers<void>()
  stream.onError = (reason, direction) => error.resolve([reason, direction])
  stream.onClose = () => closed.resolve()
  stream.onData = (_data, start, end) => stream.consume(end - start)
  return { error: error.promise, closed: closed.promise }
}

async function streams(pair: Pair): Promise<[LinkStream, LinkStream]> {
  const arrived = nextStream(pair.listener)
  const stream = await pair.dialer.open()
  stream.write(Buffer.from('open'))
  return [stream, await arrived]
}

test('quic: a stop ends only the writing half of the peer, with its code', async (t) => {
  const pair = await connections(t)
  const [ours, theirs] = await streams(pair)
  const our = events(ours)
  const their = events(theirs)
  theirs.stop(new KithError('FILE_QUOTA').number)
  const [reason, direction] = await our.error
  assert.equal(direction, 'write')
  assert.equal(reason.code, 'FILE_QUOTA')
  const read = new Promise<string>((resolve) => {
    ours.onData = (data, start, end) => resolve(data.toString('utf8', start, end))
  })
  theirs.write(Buffer.from('still here'))
  assert.equal(await read, 'still here')
  theirs.end()
  await Promise.all([our.closed, their.closed])
})

test('quic: a stream that is reset before its first byte is not handed out, or ends with the code', async (t) => {
  const pair = await connections(t)
  const told: (number | undefined)[] = []
  const settled = Promise.withResolvers<void>()
  pair.listener.onStream = (stream) => {
    stream.onError = (error) => told.push(error.details.number as number)
    stream.onData = (data, start, end) => {
      stream.consume(end - start)
      if (data.toString('utf8', start, end) === 'second') settled.resolve()
    }
  }
  const stream = await pair.dialer.open()
  stream.reset(5)
  const second = await pair.dialer.open()
  second.write(Buffer.from('second'))
  await settled.promise
  await pair.dialer.ping()
  assert.ok(told.length === 0 || told[0] === 5)
})

test('quic: the hundred-and-first stream waits until others have closed, an abort frees its caller at once', async (t) => {
  const pair = await connections(t)
  pair.listener.onStream = (stream) => {
    stream.onData = (_data, start, end) => stream.consume(end - start)
    stream.onEnd = () => stream.end()
  }
  const open: LinkStream[] = []
  for (let i = 0; i < 100; i++) {
    const stream = await pair.dialer.open()
    stream.onData = () => {}
    stream.write(Buffer.from('x'))
    open.push(stream)
  }
  const abort = new AbortController()
  const aborted = pair.dialer.open({ signal: abort.signal })
  const waiting = pair.dialer.open()
  abort.abort(new KithError('ABORTED'))
  await assert.rejects(aborted, code('ABORTED'))
  for (const stream of open.splice(0, 13)) stream.end()
  const stream = await waiting
  stream.reset(1)
})

test('quic: close tells its code, after what was written has arrived', async (t) => {
  const pair = await connections(t)
  const [ours, theirs] = await streams(pair)
  let received = 0
  theirs.onData = (_data, start, end) => {
    received += end - start
    theirs.consume(end - start)
  }
  ours.write(Buffer.alloc(500_000))
  ours.end()
  await pair.dialer.close(new KithError('GOING_AWAY').number, 'maintenance')
  const [here, there] = await Promise.all([pair.dialer.closed, pair.listener.closed])
  assert.equal(received, 500_004)
  assert.equal(here.remote, false)
  assert.equal(here.error?.code, 'GOING_AWAY')
  assert.equal(there.remote, true)
  assert.equal(there.error?.code, 'GOING_AWAY')
  await assert.rejects(pair.listener.open(), code('LINK_CLOSED'))
})

test('quic: a clean close has no error, and open streams end with LINK_CLOSED', async (t) => {
  const pair = await connections(t)
  const [ours, theirs] = await streams(pair)
  const our = events(ours)
  const their = events(theirs)
  await pair.listener.close()
  assert.deepEqual(await pair.listener.closed, { error: null, remote: false })
  assert.deepEqual(await pair.dialer.closed, { error: null, remote: true })
  assert.equal((await our.error)[0].code, 'LINK_CLOSED')
  assert.equal((await their.error)[0].code, 'LINK_CLOSED')
  await assert.rejects(pair.dialer.open(), code('LINK_CLOSED'))
  await assert.rejects(pair.dialer.ping(), code('LINK_CLOSED'))
})

test('quic: ping answers, drain refuses new streams on both sides and lets the others run', async (t) => {
  const pair = await connections(t)
  const [ours, theirs] = await streams(pair)
  events(theirs)
  assert.ok((await pair.dialer.ping()) >= 0)
  assert.ok((await pair.listener.ping()) >= 0)
  pair.dialer.drain()
  await assert.rejects(pair.dialer.open(), code('GOING_AWAY'))
  await pair.dialer.ping()
  await assert.rejects(pair.listener.open(), code('GOING_AWAY'))
  const read = new Promise<string>((resolve) => {
    ours.onData = (data, start, end) => resolve(data.toString('utf8', start, end))
  })
  theirs.write(Buffer.from('on'))
  assert.equal(await read, 'on')
})

test('quic: a peer that vanishes without a word is noticed, everything that waits ends with LINK_LOST', async (t) => {
  const wire = await relay(t)
  const pair = await connections(t, { idleMs: 600 }, wire)
  const [ours] = await streams(pair)
  const our = events(ours)
  for (let i = 1; i < 100; i++) await pair.dialer.open()
  const opening = pair.dialer.open()
  const ping = pair.dialer.ping()
  wire.cut()
  await assert.rejects(opening, code('LINK_LOST'))
  await assert.rejects(ping, code('LINK_LOST'))
  assert.equal((await our.error)[0].code, 'LINK_LOST')
  assert.equal((await pair.dialer.closed).error?.code, 'LINK_LOST')
  assert.equal((await pair.listener.closed).error?.code, 'LINK_LOST')
  await assert.rejects(pair.dialer.open(), code('LINK_LOST'))
})

test('quic: a greeting ends with LINK_LOST when the connection is lost', async (t) => {
  const wire = await relay(t)
  const { dialer, listener } = await channels(t, { idleMs: 600 }, wire)
  wire.cut()
  await assert.rejects(dialer.receive(), code('LINK_LOST'))
  await assert.rejects(listener.receive(), code('LINK_LOST'))
  assert.throws(() => dialer.send(Buffer.alloc(1)), code('LINK_LOST'))
})

test('quic: addresses that are malformed, taken, silent or our own have their codes', async (t) => {
  const a = side({ dialTimeoutMs: 300 })
  const b = side()
  const signal = AbortSignal.timeout(10_000)
  for (const address of [
    'quic://127.0.0.1',
    'tcp://127.0.0.1:1',
    'quic://127.0.0.1:0',
    'quic://127.0.0.1:65536',
    'quic://[127.0.0.1]:1',
    'quic://a b:1',
    'quic://u@h:1',
  ]) {
    await assert.rejects(a.transport.dial(address, { expect: b.key, signal }), code('ADDRESS_INVALID'))
  }
  const server = await a.transport.listen('quic://127.0.0.1:0', () => {})
  t.after(() => server.close())
  await assert.rejects(
    b.transport.listen(server.addresses[0] as string, () => {}),
    code('ADDRESS_IN_USE'),
  )
  await assert.rejects(
    b.transport.listen('quic://203.0.113.1:0', () => {}),
    code('ADDRESS_INVALID'),
  )
  await assert.rejects(a.transport.dial(server.addresses[0] as string, { expect: a.key, signal }), code('SELF_DIAL'))
  const silent = await relay(t)
  silent.cut()
  await assert.rejects(a.transport.dial(silent.to('quic://127.0.0.1:9'), { expect: b.key, signal }), code('ADDRESS_UNREACHABLE'))
})

test('quic: a machine that says nothing listens ends the dial long before its time is over', async (t) => {
  const wire = await relay(t)
  const address = wire.to('quic://127.0.0.1:9')
  wire.close()
  const a = side({ dialTimeoutMs: 3_600_000 })
  await assert.rejects(a.transport.dial(address, { expect: side().key, signal: AbortSignal.timeout(20_000) }), code('ADDRESS_UNREACHABLE'))
})

test('quic: a closed listener frees its port when its last connection has ended, for another transport too', async (t) => {
  const pair = await channels(t)
  const address = pair.server.addresses[0] as string
  await pair.server.close()
  pair.listener.close()
  pair.dialer.close()
  const next = await side().transport.listen(address, () => {})
  assert.deepEqual(next.addresses, [address])
  await next.close()
})

test('quic: an abort frees the dialer at once, before and during the handshake', async (t) => {
  const a = side()
  const b = side()
  const silent = await relay(t)
  silent.cut()
  const address = silent.to('quic://127.0.0.1:9')
  const before = AbortSignal.abort(new KithError('ABORTED'))
  await assert.rejects(a.transport.dial(address, { expect: b.key, signal: before }), code('ABORTED'))
  const abort = new AbortController()
  const dialling = a.transport.dial(address, { expect: b.key, signal: abort.signal })
  setImmediate(() => abort.abort(new KithError('ABORTED')))
  await assert.rejects(dialling, code('ABORTED'))
})

test('quic: a source that is not admitted is closed at once, an admitted one is released when its greeting ends', async (t) => {
  const a = side()
  const b = side()
  const sources: string[] = []
  let released = 0
  const evictions: (() => void)[] = []
  const greeted: Channel[] = []
  const server = await b.transport.listen('quic://127.0.0.1:0', (channel) => greeted.push(channel), {
    admit: (source, evict) => {
      sources.push(`${source.scheme} ${source.host}`)
      evictions.push(evict)
      return sources.length === 1 ? undefined : { release: () => released++ }
    },
  })
  t.after(() => server.close())
  const dial = () => a.transport.dial(server.addresses[0] as string, { expect: b.key, signal: AbortSignal.timeout(10_000) })
  // The listener's end of the connection may overtake the end of the dialer's handshake.
  const refused = await dial().then(
    (channel) => channel.receive().catch((error: unknown) => error),
    (error: unknown) => error,
  )
  assert.ok(refused instanceof KithError && (refused.code === 'LINK_LOST' || refused.code === 'HANDSHAKE_FAILED'))
  assert.deepEqual(sources, ['quic 127.0.0.1'])
  const evicted = await dial()
  const ended = evicted.receive()
  await until(() => evictions.length === 2)
  evictions[1]?.()
  await assert.rejects(ended, code('LINK_LOST'))
  assert.equal(released, 1)
  const served = await dial()
  served.send(Buffer.from('hello'))
  await until(() => greeted.length === 2)
  await greeted[1]?.receive()
  assert.equal(released, 1)
  const connection = greeted[1]?.multiplex()
  assert.equal(released, 2)
  await connection?.close()
})

test('quic: without the library every call says why it is not available', async () => {
  const { transport, key } = side({ availability: { ok: false, reason: 'the package x is not installed' } })
  const signal = AbortSignal.timeout(10_000)
  await assert.rejects(
    transport.listen('quic://127.0.0.1:0', () => {}),
    code('SCHEME_UNAVAILABLE'),
  )
  await assert.rejects(transport.dial('quic://127.0.0.1:1', { expect: key, signal }), code('SCHEME_UNAVAILABLE'))
  assert.deepEqual(quicAvailability(), { ok: true, reason: null })
})

test('quic: many resets at once keep the connection, and whoever got a stream is told', async (t) => {
  const pair = await connections(t)
  const told: KithError[] = []
  let handed = 0
  pair.listener.onStream = (stream) => {
    handed++
    stream.onError = (error) => told.push(error)
    stream.onData = (_data, start, end) => stream.consume(end - start)
  }
  for (let i = 0; i < 300; i++) {
    const stream = await pair.dialer.open()
    stream.write(Buffer.from('x'))
    await new Promise(setImmediate)
    stream.reset(i < 150 ? 1_000 : 2_000)
  }
  await pair.dialer.ping()
  await until(() => told.length === handed)
  for (const error of told) assert.ok(error.code === 'REMOTE_ERROR' || error.code === 'STREAM_RESET')
  assert.equal(pair.listener.streamCount, 0)
})
