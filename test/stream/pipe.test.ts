import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { KithError } from '../../src/core/errors.ts'
import { keySlabUse } from '../../src/core/key-slab.ts'
import type { BytePipe } from '../../src/core/pipe.ts'
import { byteByByte, duplexPair, type PairOptions } from './duplex-pair.ts'
import { connect } from './fixtures.ts'

let leasedBefore = 0
test.beforeEach(() => {
  leasedBefore = keySlabUse().leased
})
test.afterEach(() => assert.equal(keySlabUse().leased, leasedBefore, 'every session key is released'))

/** Collects what a pipe delivers. */
class Sink {
  readonly pieces: Buffer[] = []
  length = 0
  readonly closed: Promise<KithError | null>
  closes = 0
  #wanted: { length: number; resolve: () => void } | undefined

  constructor(pipe: BytePipe) {
    pipe.onData = (data, start, end) => {
      this.pieces.push(Buffer.from(data.subarray(start, end)))
      this.length += end - start
      if (this.#wanted !== undefined && this.length >= this.#wanted.length) this.#wanted.resolve()
    }
    this.closed = new Promise((resolve) => {
      pipe.onClose = (error) => {
        this.closes++
        resolve(error)
      }
    })
  }

  get bytes(): Buffer {
    return Buffer.concat(this.pieces)
  }

  reach(length: number): Promise<void> {
    if (this.length >= length) return Promise.resolve()
    return new Promise((resolve) => {
      this.#wanted = { length, resolve }
    })
  }
}

async function pipes(options: PairOptions = {}, maxMessageBytes = 65_536) {
  const pair = duplexPair(options)
  const limits = { maxMessageBytes }
  const { dialer, listener } = await connect(pair, { dialing: limits, listening: limits })
  const a = dialer.toPipe()
  const b = listener.toPipe()
  return { a, b, pair, fromA: new Sink(b), fromB: new Sink(a), dialer, listener }
}

async function finish(a: BytePipe, sinks: Sink[]): Promise<void> {
  a.close()
  for (const sink of sinks) assert.equal(await sink.closed, null)
  for (const sink of sinks) assert.equal(sink.closes, 1)
}

const pattern = (length: number, seed = 1): Buffer => Buffer.from(Array.from({ length }, (_, i) => (i * 31 + seed * 17) & 255))

function writeHeader(pipe: BytePipe, header: Uint8Array): void {
  const at = pipe.reserve(header.length)
  pipe.staging.set(header, at)
}

test('pipe, headers, small and large payloads in one turn, arrive as one run of bytes', async () => {
  const { a, b, fromA, fromB } = await pipes()
  b.start()
  a.start()
  const expected: Buffer[] = []
  for (const size of [0, 1, 100, 16_383, 16_384, 65_520, 65_536, 65_537, 200_000, 600_000]) {
    const header = Buffer.alloc(12, size & 255)
    const payload = pattern(size, size)
    writeHeader(a, header)
    a.write(payload, 0, size)
    expected.push(header, Buffer.from(payload))
    // Copied or sealed before it returns.
    payload.fill(0)
  }
  const whole = Buffer.concat(expected)
  await fromA.reach(whole.length)
  assert.ok(fromA.bytes.equals(whole))
  await finish(a, [fromA, fromB])
})

test('pipe, any writes on both sides, arrive as written', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          header: fc.integer({ min: 0, max: 64 }),
          size: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 140_000 })),
          flush: fc.boolean(),
        }),
        { maxLength: 25 },
      ),
      fc.constantFrom(1_000, 65_536, 100_000),
      fc.boolean(),
      async (writes, maxMessageBytes, bytewise) => {
        const small = writes.map(({ header, size, flush }) => ({ header, size: bytewise ? size % 500 : size, flush }))
        const { a, b, fromA, fromB } = await pipes(bytewise ? { a2b: byteByByte } : {}, maxMessageBytes)
        const expected: Buffer[] = []
        for (const { header, size, flush } of small) {
          if (header > 0) writeHeader(a, pattern(header, header))
          const payload = pattern(size + 10, size)
          a.write(payload, 5, 5 + size)
          expected.push(pattern(header, header), payload.subarray(5, 5 + size))
          if (flush) a.flush()
        }
        b.start()
        a.start()
        b.write(pattern(3_000), 0, 3_000)
        const whole = Buffer.concat(expected)
        await Promise.all([fromA.reach(whole.length), fromB.reach(3_000)])
        assert.ok(fromA.bytes.equals(whole))
        assert.ok(fromB.bytes.equals(pattern(3_000)))
        await finish(b, [fromA, fromB])
      },
    ),
    { numRuns: 60 },
  )
})

test('pipe, 64 KiB behind a header, is two records and one write', async () => {
  const { a, b, pair, fromA, fromB } = await pipes()
  b.start()
  a.start()
  const before = pair.written.a.length
  writeHeader(a, Buffer.alloc(12, 1))
  a.write(pattern(65_536), 0, 65_536)
  await fromA.reach(12 + 65_536)
  assert.deepEqual(
    pair.written.a.slice(before).map((chunk) => chunk.length),
    [1 + 12 + 16 + 3 + 65_536 + 16],
  )
  await finish(a, [fromA, fromB])
})

test('pipe, ten thousand small writes of one turn, leave as few records', async () => {
  const { a, b, pair, fromA, fromB } = await pipes()
  b.start()
  a.start()
  const before = pair.written.a.length
  for (let i = 0; i < 10_000; i++) a.write(Buffer.alloc(20, i & 255), 0, 20)
  await fromA.reach(200_000)
  assert.equal(pair.written.a.length - before, 1)
  await finish(a, [fromA, fromB])
})

test('pipe, onFlush, lets bytes ride along before they are sealed', async () => {
  const { a, b, pair, fromA, fromB } = await pipes()
  b.start()
  a.start()
  let flushes = 0
  a.onFlush = () => {
    if (flushes++ === 0) writeHeader(a, Buffer.from('update'))
  }
  const before = pair.written.a.length
  a.write(Buffer.from('data '), 0, 5)
  await fromA.reach(11)
  assert.equal(fromA.bytes.toString(), 'data update')
  assert.equal(pair.written.a.length - before, 1)
  await finish(a, [fromA, fromB])
})

test('pipe, nothing is delivered before start and nothing is lost', async () => {
  const { a, b, fromA, fromB } = await pipes()
  a.write(pattern(300_000), 0, 300_000)
  for (let i = 0; i < 5; i++) await new Promise(setImmediate)
  assert.equal(fromA.length, 0)
  b.start()
  b.start()
  a.start()
  await fromA.reach(300_000)
  assert.ok(fromA.bytes.equals(pattern(300_000)))
  await finish(a, [fromA, fromB])
})

test('pipe, messages received before the switch, come first', async () => {
  const pair = duplexPair()
  const { dialer, listener } = await connect(pair)
  dialer.sendMany([Buffer.from('one'), Buffer.from('two'), Buffer.from('three')])
  assert.equal(Buffer.from((await listener.receive()) ?? []).toString(), 'one')
  const a = dialer.toPipe()
  a.write(Buffer.from('four'), 0, 4)
  const b = listener.toPipe()
  const fromA = new Sink(b)
  const fromB = new Sink(a)
  await new Promise(setImmediate)
  b.start()
  a.start()
  await fromA.reach(12)
  assert.equal(fromA.bytes.toString(), 'twothreefour')
  await finish(a, [fromA, fromB])
})

test('pipe, the other side does not read, blocks and drains', async () => {
  const { a, b, fromA, fromB } = await pipes()
  a.start()
  const chunk = pattern(65_536)
  let sent = 0
  let drains = 0
  a.onDrain = () => {
    drains++
  }
  const turn = () => new Promise(setImmediate)
  for (let idle = 0; idle < 20; ) {
    if (a.blocked) idle++
    else {
      a.write(chunk, 0, chunk.length)
      sent++
      idle = 0
    }
    if (a.blocked) await turn()
    assert.ok(sent < 200, 'it blocks')
  }
  assert.ok(a.blocked)
  const drainsBefore = drains
  // Control frames may be written anyway, and arrive.
  writeHeader(a, Buffer.from('control'))
  b.start()
  await fromA.reach(sent * chunk.length + 7)
  assert.equal(a.blocked, false)
  assert.ok(drains > drainsBefore)
  await finish(a, [fromA, fromB])
})

test('pipe, a fast socket, gives the loop its turn after each MiB', async () => {
  const { a, b, fromA, fromB } = await pipes({ highWaterMark: 1 << 30 })
  b.start()
  a.start()
  const chunk = pattern(65_536)
  const total = 128
  let sent = 0
  let turns = 0
  let pumping = true
  const countTurns = (): void => {
    turns++
    if (pumping) setImmediate(countTurns)
  }
  setImmediate(countTurns)
  const pump = (): void => {
    while (!a.blocked && sent < total) {
      a.write(chunk, 0, chunk.length)
      sent++
    }
  }
  a.onDrain = pump
  pump()
  await fromA.reach(total * chunk.length)
  pumping = false
  assert.ok(turns >= (total * chunk.length) / (1 << 20) - 1, `${turns} turns`)
  await finish(a, [fromA, fromB])
})

test('pipe, closed, ships what is staged and drops what comes later', async () => {
  const { a, b, fromA, fromB } = await pipes()
  b.start()
  a.start()
  a.write(Buffer.from('last'), 0, 4)
  a.close()
  writeHeader(a, Buffer.alloc(64))
  a.write(pattern(100_000), 0, 100_000)
  a.flush()
  a.close()
  assert.equal(await fromA.closed, null)
  assert.equal(await fromB.closed, null)
  assert.equal(fromA.bytes.toString(), 'last')
  assert.equal(a.staging.length >= 64, true)
})

test('pipe, destroyed, tells its reason here and a lost link there', async () => {
  const { a, b, fromA, fromB } = await pipes()
  b.start()
  a.start()
  a.write(Buffer.from('dropped'), 0, 7)
  a.destroy(new KithError('MUX_PROTOCOL'))
  a.destroy(new KithError('MUX_LIMIT'))
  assert.equal((await fromB.closed)?.code, 'MUX_PROTOCOL')
  assert.equal((await fromA.closed)?.code, 'LINK_LOST')
  assert.equal(fromA.length, 0)
  assert.equal(fromA.closes + fromB.closes, 2)
})

test('pipe, a corrupted record, ends it', async () => {
  const { b, pair, fromA, fromB } = await pipes()
  b.start()
  pair.b.push(Buffer.alloc(40, 20))
  assert.equal((await fromA.closed)?.code, 'STREAM_CORRUPT')
  assert.equal((await fromB.closed)?.code, 'LINK_LOST')
})

test('pipe, made of a stream that is already lost, still tells', async () => {
  const pair = duplexPair()
  const { dialer, listener } = await connect(pair)
  pair.a.destroy()
  await Promise.all([dialer.closed, listener.closed])
  const pipe = dialer.toPipe()
  const sink = new Sink(pipe)
  pipe.start()
  assert.equal((await sink.closed)?.code, 'LINK_LOST')
})
