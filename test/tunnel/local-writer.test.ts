import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import test from 'node:test'
import fc from 'fast-check'
import { LocalWriter } from '../../src/tunnel/local-writer.ts'

/** A socket that takes what is written when it is told to. */
function scene(): { writer: LocalWriter; writes: Buffer[]; take(): void; taken: () => number } {
  const writes: Buffer[] = []
  const waiting: (() => void)[] = []
  let taken = 0
  const socket = {
    write(bytes: Buffer, done: () => void) {
      writes.push(Buffer.from(bytes))
      waiting.push(done)
      return true
    },
  }
  const writer = new LocalWriter(socket as unknown as Socket, (length) => {
    taken += length
  })
  return { writer, writes, take: () => waiting.splice(0).forEach((done) => void done()), taken: () => taken }
}

const turn = (): Promise<void> => new Promise(setImmediate)
const piece = (length: number, fill = 1): Buffer => Buffer.alloc(length, fill)

test('a small piece for a socket that is free, written at once', () => {
  const { writer, writes } = scene()
  writer.write(piece(100), 0, 100)
  assert.deepEqual(writes, [piece(100)])
})

test('large pieces of one turn, written together at its end', async () => {
  const { writer, writes, take, taken } = scene()
  for (const fill of [1, 2, 3]) writer.write(piece(65_536, fill), 0, 65_536)
  assert.equal(writes.length, 0)
  await turn()
  assert.deepEqual(
    writes.map(({ length }) => length),
    [3 * 65_536],
  )
  assert.equal(taken(), 0)
  take()
  assert.equal(taken(), 3 * 65_536)
})

test('a socket that is busy, what comes meanwhile follows in one write once it has taken the first', async () => {
  const { writer, writes, take } = scene()
  for (let index = 0; index < 1_000; index++) writer.write(piece(3, index), 0, 3)
  await turn()
  assert.equal(writes.length, 1)
  take()
  assert.deepEqual(
    writes.map(({ length }) => length),
    [3, 2_997],
  )
})

test('the end of the link’s side, everything gathered is written before it', () => {
  const { writer, writes } = scene()
  writer.write(piece(20_000), 0, 20_000)
  writer.flush()
  assert.equal(writes.length, 1)
})

test('pieces of any size, however the socket takes them, arrive in order and are counted once', async () => {
  const sizes = fc.array(fc.tuple(fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 300, max: 200_000 })), fc.boolean()), { maxLength: 30 })
  await fc.assert(
    fc.asyncProperty(sizes, async (pieces) => {
      const { writer, writes, take, taken } = scene()
      const sent: Buffer[] = []
      for (const [index, [size, pause]] of pieces.entries()) {
        const data = piece(size, index)
        sent.push(Buffer.from(data))
        writer.write(data, 0, size)
        data.fill(0xff)
        if (pause) await turn()
        if (index % 3 === 0) take()
      }
      writer.flush()
      for (let round = 0; round < 4; round++) {
        await turn()
        take()
      }
      const all = Buffer.concat(sent)
      assert.ok(all.equals(Buffer.concat(writes)))
      assert.equal(taken(), all.length)
    }),
    { numRuns: 30 },
  )
})
