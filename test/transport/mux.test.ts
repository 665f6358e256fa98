import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KithError } from '../../src/core/errors.ts'
import type { LinkStream } from '../../src/transport/types.ts'
import { ACK, credit, data, FIN, type Frame, frame, RST, STOP, SYN, scripted } from './script-pipe.ts'
import { hasCode } from './support.ts'

const brief = (frames: readonly Frame[]) => frames.map(({ type, flags, id, length }) => [type, flags, id, length])
const turn = () => new Promise(setImmediate)
const KIB = 1024

test('a header, twelve bytes in yamux’s order', () => {
  assert.equal(frame(1, 0x18, 0x01020304, 0xa0b0c0d0).toString('hex'), '000100180102030' + '4a0b0c0d0')
})

test('a stream with one write, opened by its first data frame and ended by a frame of its own', async () => {
  const { pipe, mux } = scripted('dialer')
  const stream = await mux.open()
  stream.write(Buffer.from('hello'))
  stream.end()
  assert.deepEqual(brief(pipe.take()), [
    [0, SYN, 1, 5],
    [1, FIN, 1, 0],
  ])
})

test('a stream on which nothing is written, announced at the end of the turn', async () => {
  const { pipe, mux } = scripted('listener')
  await mux.open()
  assert.deepEqual(pipe.take(), [])
  await turn()
  assert.deepEqual(brief(pipe.take()), [[1, SYN, 2, 0]])
})

test('streams that write in another order than they were opened, announced in order', async () => {
  const { pipe, mux } = scripted('dialer')
  await mux.open()
  const gone = await mux.open()
  const last = await mux.open()
  gone.reset(7)
  last.write(Buffer.from('x'))
  assert.deepEqual(brief(pipe.take()), [
    [1, SYN, 1, 0],
    [0, SYN, 5, 1],
  ])
  await turn()
  assert.deepEqual(pipe.take(), [])
})

test('the first frame of an accepted stream, carries ACK', () => {
  const { pipe, mux } = scripted('listener')
  mux.onStream = (stream) => stream.write(Buffer.from('hi'))
  pipe.feed(data(SYN, 1, 'x'))
  assert.deepEqual(brief(pipe.take()), [[0, ACK, 1, 2]])
})

test('a header cut at every place, read the same', () => {
  const bytes = Buffer.concat([data(SYN, 1, 'hello'), credit(FIN, 1, 0)])
  for (let cut = 1; cut < bytes.length; cut++) {
    const { pipe, mux } = scripted('listener')
    let text = ''
    mux.onStream = (stream) => {
      stream.onEnd = () => {
        text += '.'
      }
      stream.onData = (buffer, start, end) => {
        text += buffer.toString('latin1', start, end)
      }
    }
    pipe.feed(bytes.subarray(0, cut))
    pipe.feed(bytes.subarray(cut))
    assert.equal(text, 'hello.')
  }
})

test('the window of a peer, never exceeded: 256 KiB, then what it grants', async () => {
  const { pipe, mux } = scripted('dialer')
  const stream = await mux.open()
  let drained = 0
  stream.onDrain = () => drained++
  assert.equal(stream.write(Buffer.alloc(400 * KIB)), false)
  const sent = pipe.take().reduce((sum, { length }) => sum + length, 0)
  assert.equal(sent, 256 * KIB)
  pipe.feed(credit(ACK, 1, 100 * KIB))
  assert.equal(
    pipe.take().reduce((sum, { length }) => sum + length, 0),
    100 * KIB,
  )
  assert.equal(drained, 0)
  pipe.feed(credit(0, 1, 100 * KIB))
  assert.equal(
    pipe.take().reduce((sum, { length }) => sum + length, 0),
    44 * KIB,
  )
  assert.equal(drained, 1)
})

test('credit for a stream that consumes much, announces the rest of its window in the same frame', async () => {
  const { pipe, mux } = scripted('listener')
  mux.onStream = (stream) => {
    stream.onData = (_data, start, end) => stream.consume(end - start)
  }
  pipe.feed(data(SYN, 1, Buffer.alloc(10 * KIB)))
  await turn()
  assert.deepEqual(pipe.take(), [])
  pipe.feed(data(0, 1, Buffer.alloc(54 * KIB)))
  await turn()
  assert.deepEqual(brief(pipe.take()), [[1, ACK, 1, 64 * KIB + 1792 * KIB]])
  for (let index = 0; index < 15; index++) pipe.feed(data(0, 1, Buffer.alloc(64 * KIB)))
  await turn()
  assert.deepEqual(pipe.take(), [])
  pipe.feed(data(0, 1, Buffer.alloc(64 * KIB)))
  pipe.feed(data(0, 1, Buffer.alloc(64 * KIB)))
  await turn()
  assert.deepEqual(brief(pipe.take()), [[1, 0, 1, 1088 * KIB]])
})

test('windows of a link in sum, bounded: the first bulk streams get theirs, later ones stay small', async () => {
  const { pipe, mux } = scripted('listener', { linkWindowBytes: 2024 * KIB, keepAliveMs: 0 })
  mux.onStream = (stream) => {
    stream.onData = (_data, start, end) => stream.consume(end - start)
  }
  for (const id of [1, 3, 5]) pipe.feed(data(SYN, id, Buffer.alloc(64 * KIB)))
  await turn()
  assert.deepEqual(brief(pipe.take()), [
    [1, ACK, 1, (64 + 1792) * KIB],
    [1, ACK, 3, (64 + 232) * KIB],
  ])
  pipe.feed(credit(FIN, 1, 0))
  pipe.feed(data(0, 5, Buffer.alloc(64 * KIB)))
  await turn()
  assert.deepEqual(brief(pipe.take()), [[1, ACK, 5, 128 * KIB]])
})

test('whether a stream may have its full window, asked when it turns out to receive much', async () => {
  let trusted = false
  const { pipe, mux } = scripted('listener', { mayGrow: () => trusted, keepAliveMs: 0 })
  mux.onStream = (stream) => {
    stream.onData = (_data, start, end) => stream.consume(end - start)
  }
  for (let index = 0; index < 2; index++) pipe.feed(data(index === 0 ? SYN : 0, 1, Buffer.alloc(64 * KIB)))
  await turn()
  assert.deepEqual(brief(pipe.take()), [[1, ACK, 1, 128 * KIB]])
  trusted = true
  pipe.feed(data(SYN, 3, Buffer.alloc(64 * KIB)))
  await turn()
  assert.deepEqual(brief(pipe.take()), [[1, ACK, 3, 64 * KIB + 1792 * KIB]])
})

test('more consumed than was handed out, the caller’s mistake', () => {
  const { pipe, mux } = scripted('listener')
  const streams: LinkStream[] = []
  mux.onStream = (stream) => {
    streams.push(stream)
    stream.onData = () => {}
  }
  pipe.feed(data(SYN, 1, 'four'))
  const [stream] = streams as [LinkStream]
  stream.consume(3)
  assert.throws(() => stream.consume(2), TypeError)
  assert.throws(() => stream.consume(Number.NaN), TypeError)
  assert.throws(() => stream.reset(-1), TypeError)
})

test('blocked streams, visited in turn with a frame of 16 KiB each, and a new write joins the end', async () => {
  const { pipe, mux } = scripted('dialer')
  const [a, b, c] = [await mux.open(), await mux.open(), await mux.open()]
  pipe.blocked = true
  a.write(Buffer.alloc(40 * KIB))
  b.write(Buffer.alloc(20 * KIB))
  c.write(Buffer.from('small'))
  assert.deepEqual(pipe.take(), [])
  pipe.unblock()
  assert.deepEqual(brief(pipe.take()), [
    [0, SYN, 1, 16 * KIB - 12],
    [0, SYN, 3, 16 * KIB - 12],
    [0, SYN, 5, 5],
    [0, 0, 1, 16 * KIB - 12],
    [0, 0, 3, 4 * KIB + 12],
    [0, 0, 1, 8 * KIB + 24],
  ])
})

test('a reset, carries its number in the length and ends the stream', async () => {
  const { pipe, mux } = scripted('dialer')
  const stream = await mux.open()
  let closed = 0
  stream.onClose = () => closed++
  stream.write(Buffer.from('x'))
  stream.reset(0x01020304)
  stream.reset(5)
  stream.write(Buffer.from('late'))
  assert.deepEqual(brief(pipe.take()), [
    [0, SYN, 1, 1],
    [1, RST, 1, 0x01020304],
  ])
  assert.deepEqual([closed, mux.streamCount], [1, 0])
})

test('data behind our reset, thrown away up to the window that was left', async () => {
  const { pipe, mux } = scripted('dialer')
  const stream = await mux.open()
  stream.write(Buffer.from('x'))
  stream.reset(0)
  pipe.feed(data(ACK, 1, Buffer.alloc(200 * KIB)), data(0, 1, Buffer.alloc(56 * KIB)))
  pipe.take()
  pipe.feed(data(0, 1, Buffer.alloc(1 * KIB)))
  assert.deepEqual(brief(pipe.take()), [[3, FIN, 0, new KithError('MUX_PROTOCOL').number]])
})

test('a stop, carries its number, is answered with FIN and leaves the other direction', async () => {
  const { pipe, mux } = scripted('listener')
  const streams: LinkStream[] = []
  mux.onStream = (stream) => {
    streams.push(stream)
    stream.onData = () => {}
  }
  pipe.feed(data(SYN, 1, 'x'))
  const [stream] = streams as [LinkStream]
  stream.stop(9)
  assert.deepEqual(brief(pipe.take()), [[1, ACK | STOP, 1, 9]])
  const errors: unknown[] = []
  stream.onError = (error, direction) => errors.push([error.code, error.remote, direction])
  pipe.feed(credit(STOP, 1, new KithError('FILE_DENIED').number))
  assert.deepEqual(errors, [['FILE_DENIED', true, 'write']])
  assert.deepEqual(brief(pipe.take()), [[1, FIN, 1, 0]])
  assert.equal(mux.streamCount, 1)
  pipe.feed(credit(FIN, 1, 0))
  assert.equal(mux.streamCount, 0)
})

test('many resets at once, sent no faster than peers accept', async () => {
  const { pipe, mux, clock } = scripted('listener', { maxInboundStreams: 1000, keepAliveMs: 0 })
  mux.onStream = (stream) => stream.reset(3)
  for (let id = 1; id < 600; id += 2) pipe.feed(data(SYN, id, 'x'))
  assert.equal(pipe.take().length, 100)
  assert.equal(mux.streamCount, 200)
  clock.advance(1000)
  assert.ok(Math.abs(pipe.take().length - 150) <= 2)
  clock.advance(1000)
  assert.equal(mux.streamCount, 0)
})

test('a silent peer, asked after the interval and given up after another', async () => {
  const { pipe, mux, clock } = scripted('dialer', { keepAliveMs: 15_000 })
  clock.advance(15_000)
  assert.deepEqual(pipe.take(), [])
  clock.advance(15_000)
  assert.deepEqual(brief(pipe.take()), [[2, SYN, 0, 1]])
  pipe.feed(frame(2, ACK, 0, 1))
  clock.advance(30_000)
  assert.deepEqual(brief(pipe.take()), [[2, SYN, 0, 2]])
  clock.advance(15_000)
  assert.equal((await mux.closed).error?.code, 'LINK_LOST')
})

test('a ping that nobody answers, ends with TIMEOUT', async () => {
  const { mux, clock } = scripted('dialer')
  const ping = mux.ping()
  await turn()
  clock.advance(15_000)
  await assert.rejects(ping, hasCode('TIMEOUT'))
})

test('a close that the peer does not answer, over after a second', async () => {
  const { pipe, mux, clock } = scripted('dialer')
  const closing = mux.close(7)
  assert.deepEqual(brief(pipe.take()), [[3, FIN, 0, 7]])
  assert.equal(pipe.ended, undefined)
  clock.advance(1000)
  await closing
  assert.equal((pipe.ended as KithError | null | undefined)?.code, 'LINK_CLOSED')
})

test('a callback that throws, ends the connection with INTERNAL and not the process', async () => {
  const { pipe, mux } = scripted('listener')
  mux.onStream = () => {
    throw new Error('oops')
  }
  pipe.feed(data(SYN, 1, 'x'))
  assert.deepEqual(brief(pipe.take()).at(-1), [3, FIN, 0, new KithError('INTERNAL').number])
  pipe.destroyed(null)
  assert.equal((await mux.closed).error?.code, 'INTERNAL')
})

test('a stream reset inside its own data callback, receives nothing more of the same bytes', () => {
  const { pipe, mux } = scripted('listener')
  const heard: string[] = []
  mux.onStream = (stream) => {
    stream.onClose = () => heard.push('closed')
    stream.onData = (buffer, start, end) => {
      heard.push(buffer.toString('latin1', start, end))
      stream.reset(1)
    }
  }
  pipe.feed(data(SYN, 1, 'one'), data(0, 1, 'two'), credit(FIN, 1, 0))
  assert.deepEqual(heard, ['one', 'closed'])
})

test('a connection closed inside a data callback, reads nothing more of the same bytes', () => {
  const { pipe, mux } = scripted('listener')
  const heard: string[] = []
  mux.onStream = (stream) => {
    stream.onData = (buffer, start, end) => {
      heard.push(buffer.toString('latin1', start, end))
      void mux.close()
    }
  }
  pipe.feed(data(SYN, 1, 'one'), data(SYN, 3, 'two'))
  assert.deepEqual(heard, ['one'])
  pipe.destroyed(null)
})

test('options out of range, the caller’s mistake', () => {
  for (const options of [
    { windowBytes: 1000 },
    { windowBytes: 2 ** 25 },
    { maxInboundStreams: -1 },
    { maxOutboundStreams: 1.5 },
    { keepAliveMs: Number.NaN },
  ]) {
    assert.throws(() => scripted('dialer', options), TypeError)
  }
})
