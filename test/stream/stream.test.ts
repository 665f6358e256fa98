import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Duplex, PassThrough } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import test from 'node:test'
import { utf8 } from '../../src/core/bytes.ts'
import { createSigner } from '../../src/core/crypto/ed25519.ts'
import { type ErrorCode, isKithError } from '../../src/core/errors.ts'
import { keySlabUse } from '../../src/core/key-slab.ts'
import { dial } from '../../src/stream/dial.ts'
import { frame } from '../../src/stream/frame.ts'
import { listen } from '../../src/stream/listen.ts'
import { requestLocate } from '../../src/stream/locate.ts'
import { byteByByte, duplexPair } from './duplex-pair.ts'
import { configs, connect, dialerSeed, keyOf, listenerSeed, ManualClock, seed, settle } from './fixtures.ts'

const code = (expected: ErrorCode) => (error: unknown) => isKithError(error, expected) || assert.fail(`expected ${expected}, got ${String(error)}`)
const text = (message: Uint8Array | undefined): string => Buffer.from(message ?? []).toString()

/** A locate request, as far as this room looks into it. */
const request = Buffer.concat([Buffer.from([0x4b, 0x10, 0x01]), Buffer.alloc(52, 9)])

let leasedBefore = 0
test.beforeEach(() => {
  leasedBefore = keySlabUse().leased
})
test.afterEach(() => assert.equal(keySlabUse().leased, leasedBefore, 'every session key is released'))

test('messages, both ways, arrive in order with their boundaries', async () => {
  const { dialer, listener } = await connect(duplexPair())
  assert.deepEqual(dialer.remoteKey, listener.localKey)
  assert.deepEqual(listener.remoteKey, dialer.localKey)
  assert.deepEqual(dialer.channelBinding, listener.channelBinding)
  await dialer.send(utf8('one'))
  await dialer.sendMany([utf8('two'), new Uint8Array(0), utf8('three')])
  await listener.send(utf8('back'))
  for (const expected of ['one', 'two', '', 'three']) assert.equal(text(await listener.receive()), expected)
  assert.equal(text(await dialer.receive()), 'back')
  await Promise.all([dialer.close(), listener.close()])
})

test('messages, a byte at a time, arrive', async () => {
  const { dialer, listener } = await connect(duplexPair({ a2b: byteByByte, b2a: byteByByte }))
  const long = Buffer.alloc(70_000, 7)
  await dialer.sendMany([utf8('short'), long])
  await listener.send(utf8('back'))
  assert.equal(text(await listener.receive()), 'short')
  assert.deepEqual(await listener.receive(), long)
  assert.equal(text(await dialer.receive()), 'back')
  await Promise.all([dialer.close(), listener.close()])
})

test('messages, of every size around the limits of buffers, arrive', async () => {
  const { dialer, listener } = await connect(duplexPair())
  const sizes = [0, 1, 111, 112, 4_095, 4_096, 16_366, 16_367, 16_368, 65_519, 65_520, 65_536, 262_000, 262_447, 262_448, 300_000, 1 << 20]
  for (const size of sizes) dialer.send(Buffer.alloc(size, size % 251))
  for (const size of sizes) assert.deepEqual(await listener.receive(), Buffer.alloc(size, size % 251), `${size} bytes`)
  await Promise.all([dialer.close(), listener.close()])
})

test('messages, a hundred thousand small ones, arrive in a bounded number of writes', async () => {
  const pair = duplexPair()
  const { dialer, listener } = await connect(pair)
  const count = 100_000
  const before = pair.written.a.length
  const sending = (async () => {
    for (let i = 0; i < count; i++) {
      const message = Buffer.alloc(20)
      message.writeUInt32BE(i)
      const sent = dialer.send(message)
      if (i % 100 === 99) await sent
    }
    dialer.end()
  })()
  let next = 0
  for await (const message of listener) assert.equal(Buffer.from(message).readUInt32BE(0), next++)
  await sending
  assert.equal(next, count)
  assert.ok(pair.written.a.length - before < count / 50, `${pair.written.a.length - before} writes`)
  await Promise.all([dialer.close(), listener.close()])
})

test('send, memory reused at once, sends what it held', async () => {
  const { dialer, listener } = await connect(duplexPair())
  const memory = Buffer.from('before')
  const sent = dialer.send(memory)
  memory.fill(0)
  await sent
  assert.equal(text(await listener.receive()), 'before')
  await Promise.all([dialer.close(), listener.close()])
})

test('send, a message too large, is refused before anything of the batch is sealed', async () => {
  const { dialer, listener } = await connect(duplexPair(), { dialing: { maxMessageBytes: 100 }, listening: { maxMessageBytes: 100 } })
  await assert.rejects(dialer.send(Buffer.alloc(101)), code('MESSAGE_TOO_LARGE'))
  await assert.rejects(dialer.sendMany([utf8('one'), Buffer.alloc(101)]), code('MESSAGE_TOO_LARGE'))
  await assert.rejects(dialer.send('text' as unknown as Uint8Array), TypeError)
  await dialer.send(Buffer.alloc(100, 1))
  assert.deepEqual(await listener.receive(), Buffer.alloc(100, 1))
  await Promise.all([dialer.close(), listener.close()])
})

test('receive, a frame larger than agreed, ends the stream', async () => {
  const { dialer, listener } = await connect(duplexPair(), { listening: { maxMessageBytes: 100 } })
  await dialer.send(Buffer.alloc(101))
  await assert.rejects(listener.receive(), code('FRAME_TOO_LARGE'))
  await assert.rejects(listener.send(utf8('x')), code('FRAME_TOO_LARGE'))
  await Promise.all([dialer.closed, listener.closed])
})

test('receive, a corrupted record, ends the stream for good', async () => {
  let corrupt = false
  const pair = duplexPair({
    a2b: (bytes) => {
      if (corrupt) bytes[bytes.length - 1] = (bytes[bytes.length - 1] as number) ^ 1
      return [bytes]
    },
  })
  const { dialer, listener } = await connect(pair)
  await dialer.send(utf8('good'))
  assert.equal(text(await listener.receive()), 'good')
  corrupt = true
  await dialer.send(utf8('bad'))
  await assert.rejects(listener.receive(), code('STREAM_CORRUPT'))
  await assert.rejects(listener.receive(), code('STREAM_CORRUPT'))
  assert.equal(pair.b.destroyed, true)
  await Promise.all([dialer.closed, listener.closed])
})

for (const [name, bytes] of [
  ['an overlong length', Buffer.from([0x80, 0x00])],
  ['a length beyond 32 bits', Buffer.from([0xff, 0xff, 0xff, 0xff, 0x1f])],
  ['a record without room for its tag', Buffer.from([0x0f, ...new Uint8Array(15)])],
  ['an empty frame', Buffer.from([0x00])],
] as const) {
  test(`receive, ${name}, ends the stream`, async () => {
    const pair = duplexPair()
    const { dialer, listener } = await connect(pair)
    pair.b.push(bytes)
    await assert.rejects(listener.receive(), code('STREAM_CORRUPT'))
    await Promise.all([dialer.closed, listener.closed])
  })
}

test('receive, an abort, rejects with the reason and loses nothing', async () => {
  const { dialer, listener } = await connect(duplexPair())
  const abort = new AbortController()
  const waiting = listener.receive({ signal: abort.signal })
  abort.abort(new Error('enough'))
  await assert.rejects(waiting, /enough/)
  await assert.rejects(listener.receive({ signal: abort.signal }), /enough/)
  await dialer.send(utf8('later'))
  assert.equal(text(await listener.receive()), 'later')
  await Promise.all([dialer.close(), listener.close()])
})

test('close, after sends, delivers everything and ends iteration on both sides', async () => {
  const { dialer, listener } = await connect(duplexPair())
  for (let i = 0; i < 10; i++) dialer.send(Buffer.alloc(10_000, i))
  const closing = dialer.close()
  const got: number[] = []
  for await (const message of listener) got.push(message[0] as number)
  assert.deepEqual(got, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  await listener.close()
  await closing
  assert.equal(await dialer.receive(), undefined)
  await assert.rejects(dialer.send(utf8('x')), code('CLOSED'))
  await dialer.close()
})

test('close, a silent other side, lets go after a second', async () => {
  const clock = new ManualClock()
  const pair = duplexPair()
  const { dialer, listener } = await connect(pair, { dialing: { clock }, listening: { clock } })
  const closing = dialer.close()
  assert.equal(clock.pending, 1)
  clock.advance(999)
  assert.equal(pair.a.destroyed, false)
  clock.advance(1)
  await closing
  assert.equal(pair.a.destroyed, true)
  assert.equal(clock.pending, 0)
  await listener.close()
})

test('end, half open, leaves the other direction running', async () => {
  const { dialer, listener } = await connect(duplexPair())
  dialer.send(utf8('last'))
  dialer.end()
  await assert.rejects(dialer.send(utf8('x')), code('CLOSED'))
  assert.equal(text(await listener.receive()), 'last')
  assert.equal(await listener.receive(), undefined)
  await listener.send(utf8('still here'))
  assert.equal(text(await dialer.receive()), 'still here')
  await Promise.all([dialer.close(), listener.close()])
})

test('end, on both sides before anything was received, loses nothing', async () => {
  const pair = duplexPair()
  const { dialer, listener } = await connect(pair)
  for (let i = 0; i < 10; i++) {
    dialer.send(Buffer.alloc(3_000, i))
    listener.send(Buffer.alloc(3_000, 100 + i))
  }
  dialer.end()
  listener.end()
  await settle()
  assert.equal(pair.a.destroyed && pair.b.destroyed, true)
  for (const [stream, first] of [
    [listener, 0],
    [dialer, 100],
  ] as const) {
    const got: number[] = []
    for await (const message of stream) got.push(message[0] as number)
    assert.deepEqual(
      got,
      Array.from({ length: 10 }, (_, i) => first + i),
    )
    await stream.closed
  }
})

test('receive, an end within a frame, is a lost connection', async () => {
  const pair = duplexPair({ a2b: (bytes) => [bytes.length > 5_000 ? bytes.subarray(0, 3_000) : bytes] })
  const { dialer, listener } = await connect(pair)
  dialer.send(Buffer.alloc(5_000))
  dialer.end()
  await assert.rejects(listener.receive(), code('LINK_LOST'))
  await Promise.all([dialer.close(), listener.closed])
})

test('receive, a destroyed connection, is a lost connection', async () => {
  const pair = duplexPair()
  const { dialer, listener } = await connect(pair)
  const waiting = listener.receive()
  pair.b.destroy(new Error('cable cut'))
  await assert.rejects(waiting, (error) => isKithError(error, 'LINK_LOST') && (error.cause as Error).message === 'cable cut')
  await Promise.all([dialer.closed, listener.closed])
})

test('back-pressure, nobody receives, holds the sender', async () => {
  const pair = duplexPair()
  const { dialer, listener } = await connect(pair)
  const message = Buffer.alloc(60_000)
  let sent = 0
  let pending: Promise<void> = Promise.resolve()
  let held = false
  for (; sent < 200 && !held; sent++) {
    pending = dialer.send(message)
    const first = await Promise.race([pending.then(() => 'sent'), settle().then(() => 'held')])
    held = first === 'held'
  }
  assert.ok(held, 'a promise of send waits')
  assert.ok(sent * message.length < 4 << 20, `${sent} messages left`)
  for (let i = 0; i < sent; i++) assert.equal((await listener.receive())?.length, message.length)
  await pending
  await Promise.all([dialer.close(), listener.close()])
})

test('asDuplex, bulk both ways with pipeline, arrives whole', async () => {
  const { dialer, listener } = await connect(duplexPair())
  const data = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7) & 255))
  await dialer.send(utf8('head'))
  assert.equal(text(await listener.receive()), 'head')
  const a = dialer.asDuplex()
  const b = listener.asDuplex()
  const echo = pipeline(b, new PassThrough(), b)
  a.end(data)
  const [back] = await Promise.all([buffer(a), echo])
  assert.ok(back.equals(data))
  await Promise.all([dialer.closed, listener.closed])
})

test('asDuplex, messages that arrived before, are not lost', async () => {
  const { dialer, listener } = await connect(duplexPair())
  await dialer.sendMany([utf8('one '), utf8('two '), utf8('three')])
  assert.equal(text(await listener.receive()), 'one ')
  const view = listener.asDuplex()
  assert.throws(() => listener.toPipe(), TypeError)
  await assert.rejects(listener.receive(), TypeError)
  await assert.rejects(listener.send(utf8('x')), TypeError)
  dialer.end()
  assert.equal((await buffer(view)).toString(), 'two three')
  view.end()
  await Promise.all([dialer.close(), listener.closed])
})

test('asDuplex, destroyed, ends the other side', async () => {
  const { dialer, listener } = await connect(duplexPair())
  const a = dialer.asDuplex()
  const b = listener.asDuplex()
  const failed = once(b, 'error')
  b.resume()
  a.destroy()
  assert.ok(code('LINK_LOST')((await failed)[0]))
  await Promise.all([dialer.closed, listener.closed])
})

test('dispose, leaving the scope, closes', async () => {
  const { dialer, listener } = await connect(duplexPair())
  {
    await using scoped = dialer
    await scoped.send(utf8('x'))
    listener.close()
  }
  await assert.rejects(dialer.send(utf8('y')), code('CLOSED'))
})

// Handshake over a duplex.

test('dial, to oneself, is refused before anything is written', async () => {
  const pair = duplexPair()
  await assert.rejects(dial(pair.a, { ...configs().dialing, peer: keyOf(dialerSeed) }), code('SELF_DIAL'))
  assert.equal(pair.a.destroyed, true)
  assert.deepEqual(pair.written.a, [])
})

test('listen, for oneself, is refused', async () => {
  const pair = duplexPair()
  const listening = listen(pair.b, configs().listening)
  pair.a.write(frame(keyOf(listenerSeed)))
  await assert.rejects(listening, code('SELF_DIAL'))
})

test('listen, a key that is not admitted, is rejected without a word and without crypto', async () => {
  const pair = duplexPair()
  const listening = listen(pair.b, { ...configs().listening, admit: () => false })
  // Not even a point: the bouncer is asked before anything is computed.
  pair.a.write(frame(new Uint8Array(32).fill(0xff)))
  await assert.rejects(listening, (error) => isKithError(error, 'PEER_REJECTED') && error.details.key === 'ff'.repeat(32))
  assert.deepEqual(pair.written.b, [])
  assert.equal(pair.b.destroyed, true)
})

test('listen, a bouncer that takes its time, holds what comes behind', async () => {
  const pair = duplexPair()
  const verdict: PromiseWithResolvers<boolean> = Promise.withResolvers()
  const { listening, dialing } = configs()
  const both = [dial(pair.a, dialing), listen(pair.b, { ...listening, admit: () => verdict.promise })] as const
  await new Promise(setImmediate)
  assert.deepEqual(pair.written.b, [])
  verdict.resolve(true)
  const [dialer, listener] = await Promise.all(both)
  await Promise.all([dialer.close(), listener.close()])
})

test('listen, a bouncer that throws, rejects', async () => {
  for (const admit of [
    () => Promise.reject(new Error('no')),
    () => {
      throw new Error('no')
    },
  ]) {
    const pair = duplexPair()
    const listening = listen(pair.b, { ...configs().listening, admit })
    pair.a.write(frame(keyOf(dialerSeed)))
    await assert.rejects(listening, (error) => isKithError(error, 'PEER_REJECTED') && error.cause instanceof Error)
  }
})

test('dial, the wrong listener, fails without detail', async () => {
  const pair = duplexPair()
  const { dialing, listening } = configs()
  const both = [dial(pair.a, { ...dialing, peer: keyOf(0x44) }), listen(pair.b, listening)] as const
  await Promise.all([assert.rejects(both[0], code('HANDSHAKE_FAILED')), assert.rejects(both[1], code('HANDSHAKE_FAILED'))])
})

test('dial, clocks too far apart, is a timestamp failure at the listener', async () => {
  const pair = duplexPair()
  const { dialing, listening } = configs()
  const both = [dial(pair.a, { ...dialing, clock: new ManualClock(1_000_000) }), listen(pair.b, { ...listening, clock: new ManualClock(2_000_000) })] as const
  await Promise.all([assert.rejects(both[0], code('HANDSHAKE_FAILED')), assert.rejects(both[1], code('HANDSHAKE_TIMESTAMP'))])
})

test('handshake, a silent other side, times out at the deadline and not before', async () => {
  for (const side of ['dial', 'listen'] as const) {
    const clock = new ManualClock()
    const pair = duplexPair()
    const { dialing, listening } = configs()
    let settled = false
    const trying = side === 'dial' ? dial(pair.a, { ...dialing, clock }) : listen(pair.a, { ...listening, clock })
    trying
      .catch(() => undefined)
      .finally(() => {
        settled = true
      })
    clock.advance(4_999)
    await new Promise(setImmediate)
    assert.equal(settled, false)
    clock.advance(1)
    await assert.rejects(trying, code('HANDSHAKE_TIMEOUT'))
    assert.equal(clock.pending, 0)
    assert.equal(pair.a.destroyed, true)
  }
})

test('handshake, an aborted signal, rejects with its reason at any step', async () => {
  for (const side of ['dial', 'listen'] as const) {
    for (const early of [true, false]) {
      const abort = new AbortController()
      const pair = duplexPair()
      const { dialing, listening } = configs()
      if (early) abort.abort(new Error('enough'))
      const trying = side === 'dial' ? dial(pair.a, { ...dialing, signal: abort.signal }) : listen(pair.a, { ...listening, signal: abort.signal })
      abort.abort(new Error('enough'))
      await assert.rejects(trying, /enough/)
      assert.equal(pair.a.destroyed, true)
    }
  }
})

for (const [name, bytes, expected] of [
  ['a key frame one byte too long', Buffer.from([33]), 'FRAME_TOO_LARGE'],
  ['a huge frame, by its length alone', Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f]), 'FRAME_TOO_LARGE'],
  ['a key frame one byte too short', frame(new Uint8Array(31)), 'HANDSHAKE_FAILED'],
  ['an overlong length', Buffer.from([0xa0, 0x00]), 'STREAM_CORRUPT'],
  ['a Syn one byte too long', Buffer.concat([frame(keyOf(dialerSeed)), Buffer.from([105])]), 'FRAME_TOO_LARGE'],
  ['a Syn one byte too short', Buffer.concat([frame(keyOf(dialerSeed)), frame(new Uint8Array(103))]), 'HANDSHAKE_FAILED'],
] as const) {
  test(`listen, ${name}, is refused`, async () => {
    const pair = duplexPair()
    const listening = listen(pair.b, configs().listening)
    pair.a.write(bytes)
    await assert.rejects(listening, code(expected))
    assert.deepEqual(pair.written.b, [])
  })
}

test('dial, a SynAck one byte too long, is refused by its length', async () => {
  const pair = duplexPair()
  const dialing = dial(pair.a, configs().dialing)
  pair.b.write(Buffer.from([0x89, 0x01]))
  await assert.rejects(dialing, code('FRAME_TOO_LARGE'))
})

test('handshake, an end or a loss at any step, fails', async () => {
  const pair = duplexPair()
  const dialing = dial(pair.a, configs().dialing)
  pair.b.end()
  await assert.rejects(dialing, code('HANDSHAKE_FAILED'))
  const other = duplexPair()
  const listening = listen(other.b, configs().listening)
  other.b.destroy(new Error('cut'))
  await assert.rejects(listening, (error) => isKithError(error, 'HANDSHAKE_FAILED') && (error.cause as Error).message === 'cut')
})

test('handshake, over a duplex that has ended, fails at once', async () => {
  const pair = duplexPair()
  pair.a.destroy()
  await assert.rejects(dial(pair.a, configs().dialing), code('HANDSHAKE_FAILED'))
  await assert.rejects(listen(pair.a, configs().listening), code('HANDSHAKE_FAILED'))
  await assert.rejects(requestLocate(pair.a, request), code('LOCATE_FAILED'))
})

test('handshake, a configuration out of range, is a TypeError and the duplex is destroyed', async () => {
  const bad: object[] = [
    { maxMessageBytes: 0 },
    { maxMessageBytes: 2 ** 32 },
    { maxMessageBytes: 1.5 },
    { handshakeTimeoutMs: 0 },
    { synchronyMs: -1 },
    { maxHandshakeAgeMs: Number.NaN },
    { peer: new Uint8Array(31) },
    {
      key: seed(1)
        .clone()
        .use(() => createSigner('identity', seed(1))),
    },
    { key: {} },
    { namespace: 5 },
  ]
  for (const change of bad) {
    const pair = duplexPair()
    await assert.rejects(dial(pair.a, { ...configs().dialing, ...change }), TypeError, JSON.stringify(change))
    assert.equal(pair.a.destroyed, true)
  }
  const pair = duplexPair()
  await assert.rejects(dial(pair.a, { ...configs().dialing, peer: new Uint8Array(32) }), code('KEY_INVALID'))
  await assert.rejects(dial(new Duplex({ objectMode: true }), configs().dialing), TypeError)
})

test('handshake, a seed or a signer, works and stays the caller’s', async () => {
  const key = seed(dialerSeed)
  const signer = createSigner('link', seed(listenerSeed))
  for (let i = 0; i < 2; i++) {
    const { dialer, listener } = await connect(duplexPair(), { dialing: { key }, listening: { key: signer } })
    await Promise.all([dialer.close(), listener.close()])
  }
  assert.equal(key.wiped, false)
})

test('man in the middle, any byte of the handshake flipped, fails on at least one side and nothing corrupt is received', { timeout: 60_000 }, async () => {
  const sizes = { a: 33 + 105, b: 138, ack: 33 }
  const cases = [...range('a', 0, sizes.a), ...range('b', 0, sizes.b), ...range('a', sizes.a, sizes.a + sizes.ack)]
  for (const { side, at } of cases) {
    const clock = new ManualClock()
    const flip = flipper(at)
    const pair = duplexPair(side === 'a' ? { a2b: flip } : { b2a: flip })
    const { dialing, listening } = configs()
    const trying = [
      dial(pair.a, { ...dialing, clock }).then(async (stream) => {
        await stream.send(utf8('from dialer'))
        return stream
      }),
      listen(pair.b, { ...listening, clock }),
    ]
    const settled = Promise.allSettled(trying)
    // A flipped length may leave one side waiting for bytes that never come: its deadline ends that.
    await settle(6)
    clock.advance(5_000)
    const [dialer, listener] = await settled
    assert.equal(listener?.status, 'rejected', `byte ${at} of ${side}`)
    if (dialer?.status === 'fulfilled') {
      const closing = dialer.value.close()
      clock.advance(1_000)
      await closing
    }
  }
})

function* range(side: 'a' | 'b', from: number, to: number): Generator<{ side: 'a' | 'b'; at: number }> {
  for (let at = from; at < to; at++) yield { side, at }
}

function flipper(at: number): (bytes: Buffer) => Buffer[] {
  let seen = 0
  return (bytes) => {
    if (at >= seen && at < seen + bytes.length) bytes[at - seen] = (bytes[at - seen] as number) ^ 0x01
    seen += bytes.length
    return [bytes]
  }
}

// Locate.

test('locate, a request, gets its one answer and listen ends', async () => {
  const pair = duplexPair()
  const asked: Uint8Array[] = []
  const answer = Buffer.alloc(98_304, 3)
  const listening = listen(pair.b, {
    ...configs().listening,
    onLocate: (bytes) => {
      asked.push(bytes)
      return answer
    },
  })
  const [got] = await Promise.all([
    requestLocate(pair.a, request),
    assert.rejects(listening, (error) => isKithError(error, 'CLOSED') && error.details.locate === true && error.details.answered === true),
  ])
  assert.deepEqual(Buffer.from(got), answer)
  assert.deepEqual(
    asked.map((bytes) => Buffer.from(bytes)),
    [request],
  )
  assert.equal(pair.a.destroyed, true)
})

test('locate, nobody of that name, closes without a word', async () => {
  const pair = duplexPair()
  const listening = listen(pair.b, { ...configs().listening, onLocate: () => undefined })
  await Promise.all([
    assert.rejects(requestLocate(pair.a, request), code('LOCATE_FAILED')),
    assert.rejects(listening, (error) => isKithError(error, 'CLOSED') && error.details.answered === false),
  ])
  assert.deepEqual(pair.written.b, [])
})

test('locate, a listener that does not serve it, refuses the frame', async () => {
  const pair = duplexPair()
  const listening = listen(pair.b, configs().listening)
  await Promise.all([assert.rejects(requestLocate(pair.a, request), code('LOCATE_FAILED')), assert.rejects(listening, code('FRAME_TOO_LARGE'))])
})

test('locate, a listener that serves it, still takes handshakes and refuses other frames', async () => {
  const { dialer, listener } = await connect(duplexPair(), { listening: { onLocate: () => undefined } })
  await Promise.all([dialer.close(), listener.close()])
  for (const bytes of [Buffer.alloc(55), Buffer.alloc(40)]) {
    const pair = duplexPair()
    const listening = listen(pair.b, { ...configs().listening, onLocate: () => Buffer.from('never') })
    pair.a.write(frame(bytes))
    await assert.rejects(listening, code('FRAME_TOO_LARGE'))
  }
})

test('locate, silence, an answer too large or an abort, fails', async () => {
  const clock = new ManualClock()
  const silent = requestLocate(duplexPair().a, request, { clock, timeoutMs: 700 })
  clock.advance(700)
  await assert.rejects(silent, code('TIMEOUT'))
  assert.equal(clock.pending, 0)
  const pair = duplexPair()
  const large = requestLocate(pair.a, request)
  pair.b.write(Buffer.from([0x81, 0x80, 0x06]))
  await assert.rejects(large, code('FRAME_TOO_LARGE'))
  const abort = new AbortController()
  const aborted = requestLocate(duplexPair().a, request, { signal: abort.signal })
  abort.abort(new Error('enough'))
  await assert.rejects(aborted, /enough/)
  await assert.rejects(requestLocate(duplexPair().a, Buffer.alloc(55)), TypeError)
})
