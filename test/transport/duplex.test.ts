import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Agent, createServer, request } from 'node:http'
import type { Duplex } from 'node:stream'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { test } from 'node:test'
import { KithError } from '../../src/core/errors.ts'
import { manualClock } from '../../src/core/manual-clock.ts'
import { createDuplex } from '../../src/transport/duplex.ts'
import type { LinkStream } from '../../src/transport/types.ts'
import { setup } from './setups/memory.ts'
import { connections, failure, hasCode, streamPair, within } from './support.ts'

test('http over a link: a hundred requests through an agent, bodies whole, connections kept', async (t) => {
  const { a, b } = await connections(t, setup)
  const server = createServer(async (incoming, response) => {
    const body = await buffer(incoming)
    response.end(Buffer.concat([Buffer.from(`${incoming.url} `), body]))
  })
  b.onStream = (stream) => void server.emit('connection', stream.toDuplex())
  let opened = 0
  const agent = new Agent({ keepAlive: true, maxSockets: 4 })
  agent.createConnection = (_options: unknown, done?: (error: Error | null, stream: Duplex) => void): Duplex | undefined => {
    opened++
    a.open().then(
      (stream) => done?.(null, stream.toDuplex()),
      (error) => done?.(error, Readable.from([]) as unknown as Duplex),
    )
    return undefined
  }
  t.after(() => agent.destroy())
  const ask = async (index: number): Promise<void> => {
    const sent = randomBytes(index * 300)
    const outgoing = request({ agent, host: 'peer', path: `/${index}`, method: 'POST' })
    outgoing.end(sent)
    const [answer] = (await once(outgoing, 'response')) as [Readable]
    assert.deepEqual(await buffer(answer), Buffer.concat([Buffer.from(`/${index} `), sent]))
  }
  let asked = 0
  const worker = async (): Promise<void> => {
    while (asked < 100) await ask(asked++)
  }
  await within('all answers', Promise.all([worker(), worker(), worker(), worker()]))
  assert.equal(opened, 4)
})

test('a Duplex that was ended and read to its end, closes by itself and leaves no stream', async (t) => {
  const { a, b } = await connections(t, setup)
  const [near, far] = await streamPair(a, b)
  const [mine, other] = [near.toDuplex(), far.toDuplex()]
  const closes = Promise.all([once(mine, 'close'), once(other, 'close')])
  mine.end('question')
  assert.equal((await buffer(Readable.from(other.iterator({ destroyOnReturn: false })))).toString(), 'question')
  other.end('answer')
  assert.equal((await buffer(Readable.from(mine.iterator({ destroyOnReturn: false })))).toString(), 'answer')
  await within('both closes', closes)
  await a.ping()
  assert.deepEqual([a.streamCount, b.streamCount], [0, 0])
})

test('a Duplex destroyed after its end, stops reading and lets what was written arrive', async (t) => {
  const { a, b } = await connections(t, setup)
  const [near, far] = await streamPair(a, b)
  const mine = near.toDuplex()
  const failed = failure(far)
  const received: Buffer[] = []
  const ended = new Promise<void>((resolve) => {
    far.onEnd = resolve
  })
  far.onData = (data, start, end) => {
    received.push(Buffer.from(data.subarray(start, end)))
    far.consume(end - start)
  }
  mine.end(Buffer.alloc(200_000, 1))
  await once(mine, 'finish')
  mine.destroy()
  await within('the end', ended)
  assert.equal(Buffer.concat(received).length, 200_000)
  assert.equal((await failed).direction, 'write')
})

test('a write after the peer’s stop, fails with its code; reading had gone on', async (t) => {
  const { a, b } = await connections(t, setup)
  const [near, far] = await streamPair(a, b)
  const mine = near.toDuplex()
  far.stop(new KithError('FILE_QUOTA').number)
  far.write(Buffer.from('still'))
  const [chunk] = await within('data', once(mine, 'data'))
  assert.equal(String(chunk), 'still')
  const failed = once(mine, 'error')
  mine.write('more')
  hasCode('FILE_QUOTA')((await within('the error', failed))[0])
})

test('a pipeline whose source fails, resets the stream', async (t) => {
  const { a, b } = await connections(t, setup)
  const [near, far] = await streamPair(a, b)
  const failed = failure(far)
  far.onData = () => {}
  const source = Readable.from(
    (async function* () {
      yield Buffer.alloc(10)
      throw new Error('disk gone')
    })(),
  )
  await assert.rejects(pipeline(source, near.toDuplex()), { message: 'disk gone' })
  assert.equal((await failed).error.code, 'STREAM_RESET')
})

test('a Duplex nobody listens to, destroyed by the peer, does not end the process', async (t) => {
  const { a, b } = await connections(t, setup)
  const [near, far] = await streamPair(a, b)
  const mine = near.toDuplex()
  const closed = new Promise((resolve) => mine.on('close', resolve))
  far.reset(1)
  await within('the close', closed)
  assert.equal(mine.destroyed, true)
})

test('the same stream asked twice, gives the same Duplex', async (t) => {
  const { a } = await connections(t, setup)
  const stream = await a.open()
  assert.equal(stream.toDuplex(), stream.toDuplex())
})

test('a chunk of 10 MiB, written in pieces and never queued as a whole', async (t) => {
  const { a, b } = await connections(t, setup)
  const [near, far] = await streamPair(a, b)
  let length = 0
  const ended = new Promise<void>((resolve) => {
    far.onEnd = resolve
  })
  far.onData = (_data, start, end) => {
    length += end - start
    far.consume(end - start)
  }
  const mine = near.toDuplex()
  mine.end(Buffer.alloc(10 * 1024 * 1024))
  await within('the end', ended)
  assert.equal(length, 10 * 1024 * 1024)
})

test('setTimeout, emits timeout after that long without traffic', () => {
  const clock = manualClock()
  const duplex = createDuplex(quietStream(), clock) as Duplex & { setTimeout(ms: number, listener?: () => void): void }
  let timeouts = 0
  duplex.setTimeout(1000, () => timeouts++)
  clock.advance(900)
  duplex.write('traffic')
  clock.advance(900)
  assert.equal(timeouts, 0)
  clock.advance(100)
  assert.equal(timeouts, 1)
  duplex.setTimeout(0)
  assert.equal(clock.pending, 0)
  duplex.destroy()
})

/** Takes everything and does nothing. */
function quietStream(): LinkStream {
  return { write: () => true, end() {}, reset() {}, stop() {}, consume() {} } as unknown as LinkStream
}
