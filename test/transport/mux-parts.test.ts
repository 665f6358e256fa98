import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { systemClock } from '../../src/core/clock.ts'
import { manualClock } from '../../src/core/manual-clock.ts'
import { MemoryHub } from '../../src/transport/memory/network.ts'
import { WirePipe } from '../../src/transport/memory/pipe.ts'
import { type ConnectionInfo, multiplex } from '../../src/transport/mux/connection.ts'
import { Fifo } from '../../src/transport/mux/fifo.ts'
import { FrameReader } from '../../src/transport/mux/frame-reader.ts'
import { TokenBucket } from '../../src/transport/mux/limits.ts'
import { SendQueue } from '../../src/transport/mux/send-queue.ts'
import { MuxStream } from '../../src/transport/mux/stream.ts'
import { StreamTable } from '../../src/transport/mux/stream-table.ts'
import type { Connection, LinkStream } from '../../src/transport/types.ts'
import { framesIn, scripted } from './script-pipe.ts'
import { within } from './support.ts'

test('a send queue, gives back what was put in, in order, whatever the sizes', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.nat(300), fc.nat(200_000)), { maxLength: 12 }), fc.integer({ min: 1, max: 70_000 }), (sizes, most) => {
      const queue = new SendQueue()
      let next = 0
      let expected = 0
      const check = (bytes: Buffer): void => {
        for (const at of [0, bytes.length - 1]) assert.equal(bytes[at], (expected + at) % 251)
        expected += bytes.length
      }
      for (const size of sizes) {
        const bytes = Buffer.from(Uint8Array.from({ length: size + 5 }, (_, at) => (next + at - 3 + 251) % 251))
        queue.push(bytes, 3, 3 + size)
        next += size
        if (queue.length === 0) continue
        const length = Math.min(most, queue.headLength)
        check(Buffer.from(queue.head.subarray(queue.headStart, queue.headStart + length)))
        queue.shift(length)
      }
      while (queue.length > 0) {
        const length = Math.min(most, queue.headLength)
        check(Buffer.from(queue.head.subarray(queue.headStart, queue.headStart + length)))
        queue.shift(length)
      }
      assert.equal(expected, next)
    }),
    { numRuns: 60 },
  )
})

test('a stream table, holds what a Map would hold', () => {
  const { mux } = scripted('dialer')
  const connection = mux as MuxStream['connection']
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(400)), { maxLength: 800 }), (steps) => {
      const table = new StreamTable()
      const model = new Map<number, MuxStream>()
      for (const [add, id] of steps) {
        const known = model.get(id)
        assert.equal(table.get(id), known)
        if (add && known === undefined) {
          const stream = new MuxStream(connection, id, true)
          table.add(stream)
          model.set(id, stream)
        } else if (!add && known !== undefined) {
          table.delete(known)
          model.delete(id)
        }
        assert.equal(table.size, model.size)
      }
      assert.deepEqual(
        table.drain().map(({ id }) => id),
        [...model.keys()].sort((a, b) => a - b),
      )
      assert.equal(table.size, 0)
    }),
    { numRuns: 50 },
  )
})

test('a first-in first-out queue, keeps order over many turns', () => {
  const queue = new Fifo<number>()
  let put = 0
  let taken = 0
  for (let round = 0; round < 300; round++) {
    for (let index = 0; index < 20; index++) queue.push(put++)
    for (let index = 0; index < 18; index++) assert.equal(queue.shift(), taken++)
  }
  assert.equal(queue.size, put - taken)
  assert.equal(queue.peek(), taken)
  while (queue.size > 0) assert.equal(queue.shift(), taken++)
  assert.equal(queue.shift(), undefined)
})

test('a frame reader, gives the same frames however the bytes are cut', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(100), { maxLength: 20 }), fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (lengths, cuts) => {
      const bytes = Buffer.concat(
        lengths.map((length, index) => {
          const header = Buffer.alloc(12)
          header.writeUInt32BE(index + 1, 4)
          header.writeUInt32BE(length, 8)
          return Buffer.concat([header, Buffer.alloc(length, index)])
        }),
      )
      const parts: Buffer[] = []
      const reader = new FrameReader({
        header(buffer, at) {
          parts.push(Buffer.from(buffer.subarray(at, at + 12)))
          return buffer.readUInt32BE(at + 8)
        },
        payload(data, start, end) {
          parts.push(Buffer.from(data.subarray(start, end)))
        },
      })
      let at = 0
      for (let index = 0; at < bytes.length; index++) {
        const end = Math.min(bytes.length, at + (cuts[index % cuts.length] as number))
        reader.push(bytes, at, end)
        at = end
      }
      assert.deepEqual(framesIn(Buffer.concat(parts)), framesIn(bytes))
    }),
    { numRuns: 100 },
  )
})

test('a token bucket, gives a burst and then its rate', () => {
  const clock = manualClock()
  const bucket = new TokenBucket(clock, 10, 5)
  const taken = (): number => {
    let count = 0
    while (bucket.take()) count++
    return count
  }
  assert.equal(taken(), 10)
  clock.advance(1000)
  assert.equal(taken(), 5)
  clock.advance(100_000)
  assert.equal(taken(), 10)
})

interface Plan {
  readonly fromDialer: boolean
  readonly writes: readonly number[]
  readonly slow: boolean
}

const plans = fc.array(
  fc.record({ fromDialer: fc.boolean(), writes: fc.array(fc.oneof(fc.nat(2_000), fc.nat(120_000)), { maxLength: 8 }), slow: fc.boolean() }),
  { minLength: 1, maxLength: 20 },
)

test('any streams of any writes both ways at once, all arrive whole and in order', { timeout: 60_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(plans, async (streams) => {
      const [a, b] = muxPair()
      const arrived: Promise<boolean>[] = []
      for (const connection of [a, b]) connection.onStream = (stream) => arrived.push(verified(stream))
      await within('everything', Promise.all(streams.map((plan) => play(plan.fromDialer ? a : b, plan))))
      await within(
        'all checks',
        settled(() => arrived.length === streams.length),
      )
      assert.ok((await within('all ends', Promise.all(arrived))).every(Boolean))
      assert.equal(a.streamCount + b.streamCount, 0)
      await within('the close', a.close())
    }),
    { numRuns: 25 },
  )
})

function muxPair(): [Connection, Connection] {
  const [near, far] = new MemoryHub({}).wire('near', 'far', systemClock)
  const key = scripted('dialer').mux.localKey
  const info = (role: 'dialer' | 'listener'): ConnectionInfo => ({
    role,
    localKey: key,
    remoteKey: key,
    path: { scheme: 'memory', address: 'memory://pair', direct: true },
    postQuantum: false,
  })
  return [multiplex(new WirePipe(near), info('dialer'), systemClock), multiplex(new WirePipe(far), info('listener'), systemClock)]
}

/** Writes bytes that count up, and waits for the other side's answer: how many it got. */
async function play(connection: Connection, plan: Plan): Promise<void> {
  const stream = await connection.open()
  let answer = ''
  const ended = new Promise<void>((resolve, reject) => {
    stream.onError = reject
    stream.onClose = resolve
    stream.onData = (data, start, end) => {
      answer += data.toString('latin1', start, end)
      stream.consume(end - start)
    }
  })
  let at = 0
  for (const size of plan.writes) {
    const bytes = Buffer.from(Uint8Array.from({ length: size }, (_, index) => (at + index) % 253))
    at += size
    if (!stream.write(bytes)) await new Promise<void>((resolve) => (stream.onDrain = resolve))
    bytes.fill(0xff)
    if (plan.slow) await new Promise(setImmediate)
  }
  stream.end()
  await ended
  assert.equal(Number(answer), at)
}

/** Counts and checks what arrives; answers with the number of bytes. */
function verified(stream: LinkStream): Promise<boolean> {
  return new Promise((resolve, reject) => {
    let at = 0
    let right = true
    stream.onError = reject
    stream.onEnd = () => {
      stream.write(Buffer.from(String(at)))
      stream.end()
    }
    stream.onClose = () => resolve(right)
    stream.onData = (data, start, end) => {
      for (let index = start; index < end; index++) right &&= data[index] === at++ % 253
      stream.consume(end - start)
    }
  })
}

async function settled(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate)
}
