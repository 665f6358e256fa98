import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { type Duplex, duplexPair } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { systemRandom } from '../../src/core/random.ts'
import { keyedUpgrade } from '../../src/transport/wss/accept.ts'
import { keyedPath } from '../../src/transport/wss/address.ts'
import { within } from '../transport/support.ts'

/** Somebody who was given the token, and writes frames as no library would. */

const WINDOW = 262_144

interface Opened {
  readonly wire: Duplex
  readonly stream: Duplex
}

/** The far end of a WebSocket and the bytes it carries here. */
async function opened(t: TestContext): Promise<Opened> {
  const token = systemRandom.bytes(24)
  const [wire, theirs] = duplexPair()
  const stream = new Promise<Duplex>((resolve) => {
    const accept = keyedUpgrade(keyedPath(token, 'link'), systemClock, resolve)
    const key = createHash('md5').update(token).digest('base64')
    const headers = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': key }
    const request = { method: 'GET', target: keyedPath(token, 'link'), headers }
    assert.ok(accept(request, theirs, Buffer.alloc(0), { scheme: 'wss', host: '192.0.2.1', port: 1 }))
  })
  wire.on('error', () => {})
  const answer = once(wire, 'data')
  const open = { wire, stream: await stream }
  assert.match(String((await within('the answer', answer))[0]), /^HTTP\/1\.1 101 /)
  open.stream.on('error', () => {})
  t.after(() => open.stream.destroy())
  t.after(() => wire.destroy())
  return open
}

/** With or without an error. */
function ended(stream: Duplex): Promise<void> {
  return new Promise((resolve) => stream.once('close', resolve))
}

/** RFC 6455, 5.2; masked with zeroes. */
function frame(first: number, payload: Buffer, announced: number = payload.length): Buffer {
  const head = announced < 126 ? [first, 0x80 | announced] : [first, 0xff, 0, 0, 0, 0, ...[24, 16, 8, 0].map((bits) => (announced >>> bits) & 0xff)]
  return Buffer.concat([Buffer.from(head), Buffer.alloc(4), payload])
}

/** Writes until everything is taken, nothing is taken any more, or the far end is gone. How much was. */
async function pour({ wire, stream }: Opened, piece: Buffer, times: number): Promise<number> {
  for (let count = 0; count < times; count++) {
    if (stream.destroyed) return count
    if (wire.write(piece) && count % 100 !== 0) continue
    let drained = !wire.writableNeedDrain
    wire.once('drain', () => {
      drained = true
    })
    for (let turn = 0; turn < 50 && (turn === 0 || !drained); turn++) await new Promise(setImmediate)
    if (!drained) return count
  }
  return times
}

test('messages of one byte that nobody reads, kept joined, and no more of them than a window', async (t) => {
  const door = await opened(t)
  const { stream } = door
  const one = frame(0x82, Buffer.of(7))
  const taken = await pour(door, Buffer.concat(Array.from({ length: 100 }, () => one)), 5_000)
  assert.ok(taken * 100 >= WINDOW / 2 && taken * 100 < 2 * WINDOW, `${taken * 100} messages taken`)
  let [pieces, bytes] = [0, 0]
  stream.on('data', (chunk: Buffer) => {
    // What comes behind it is read as it comes.
    if (bytes < WINDOW) pieces++
    bytes += chunk.length
  })
  while (bytes < (taken - 1) * 100) await within('the bytes', once(stream, 'data'))
  assert.ok(pieces < 200, `${bytes} bytes in ${pieces} pieces`)
})

test('a message of a mebibyte that arrives a byte at a time, ends the connection long before it is whole', async (t) => {
  const { wire, stream } = await opened(t)
  const closed = ended(stream)
  wire.write(frame(0x82, Buffer.alloc(0), 1_048_576))
  let sent = 0
  for (; sent < 20_000 && !stream.destroyed; sent++) {
    wire.write(Buffer.of(1))
    await new Promise(setImmediate)
  }
  assert.ok(sent < 10_000, `${sent} pieces kept`)
  await within('the end', closed)
})

test('a message in thousands of fragments, and one that never ends, end the connection', async (t) => {
  for (const size of [0, 1]) {
    const door = await opened(t)
    const closed = ended(door.stream)
    door.wire.write(frame(0x02, Buffer.alloc(size)))
    assert.ok((await pour(door, frame(0x00, Buffer.alloc(size)), 20_000)) < 5_000)
    await within('the end', closed)
  }
})

test('pings without end whose answers nobody reads, end the connection', async (t) => {
  const door = await opened(t)
  door.wire.pause()
  const closed = ended(door.stream)
  assert.ok((await pour(door, frame(0x89, Buffer.alloc(125)), 100_000)) < 10_000)
  await within('the end', closed)
})

test('frames that are none, end the connection and give the reader nothing', async (t) => {
  const cases: readonly (readonly [string, Buffer])[] = [
    ['not masked', Buffer.of(0x82, 1, 7)],
    ['text', frame(0x81, Buffer.from('x'))],
    ['a long ping', Buffer.concat([Buffer.of(0x89, 0xfe, 0, 126), Buffer.alloc(130)])],
    ['a ping in fragments', frame(0x09, Buffer.alloc(1))],
    ['a length beyond what counts', Buffer.concat([Buffer.of(0x82, 0xff, 0x80), Buffer.alloc(11)])],
    ['a length beyond what is taken', frame(0x82, Buffer.alloc(0), 1_048_577)],
    ['a continuation of nothing', frame(0x80, Buffer.of(7))],
    ['reserved bits', frame(0xc2, Buffer.of(7))],
    ['an unknown kind', frame(0x83, Buffer.of(7))],
    ['an end of one byte', frame(0x88, Buffer.of(3))],
    ['an end with a code that is none', frame(0x88, Buffer.of(0, 1))],
  ]
  for (const [what, bytes] of cases) {
    const { wire, stream } = await opened(t)
    let got = 0
    stream.on('data', (chunk: Buffer) => {
      got += chunk.length
    })
    const closed = ended(stream)
    wire.write(bytes)
    await within(what, closed)
    assert.equal(got, 0, what)
  }
})
