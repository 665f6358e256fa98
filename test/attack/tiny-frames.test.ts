import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { test } from 'node:test'
import { JoinedBytes } from '../../src/core/joined-bytes.ts'
import type { LinkStream } from '../../src/transport/types.ts'
import { splice } from '../../src/tunnel/splice.ts'
import { credit, data, FIN, type Scripted, SYN, scripted } from '../transport/script-pipe.ts'

/** The window every stream begins with, spent a byte at a time: what was kept per byte cost sixty megabytes a stream. */
const WINDOW = 256 * 1024
/** A window joined, in pieces of at most 64 KiB. */
const FEW = 32

function feedSingles(scene: Scripted, count: number): void {
  const thousand = Buffer.concat(Array.from({ length: 1_000 }, () => data(0, 1, 'x')))
  const frame = thousand.length / 1_000
  for (let left = count; left > 0; left -= 1_000) scene.pipe.feed(thousand.subarray(0, Math.min(left, 1_000) * frame))
}

test('a window of one-byte frames before anybody listens, kept joined', async () => {
  const scene = scripted('listener')
  const arrived: LinkStream[] = []
  scene.mux.onStream = (stream) => arrived.push(stream)
  scene.pipe.feed(data(SYN, 1, 'x'))
  feedSingles(scene, WINDOW - 1)
  const pieces: number[] = []
  const [stream] = arrived
  assert.ok(stream !== undefined)
  stream.onData = (_bytes, start, end) => pieces.push(end - start)
  await new Promise(setImmediate)
  assert.equal(
    pieces.reduce((sum, length) => sum + length, 0),
    WINDOW,
  )
  assert.ok(pieces.length <= FEW, `${pieces.length} pieces`)
})

test('a window of one-byte frames for a Duplex that nobody reads, kept joined and credited only when read', async () => {
  const scene = scripted('listener')
  let duplex: ReturnType<LinkStream['toDuplex']> | undefined
  scene.mux.onStream = (stream) => {
    duplex = stream.toDuplex()
  }
  scene.pipe.feed(data(SYN, 1, 'x'))
  feedSingles(scene, WINDOW - 1)
  await new Promise(setImmediate)
  assert.ok(duplex !== undefined)
  assert.deepEqual(
    scene.pipe.take().filter(({ type, length }) => type === 1 && length > 0),
    [],
    'no credit for what nobody took',
  )
  let pieces = 0
  let length = 0
  duplex.on('data', (chunk: Buffer) => {
    pieces++
    length += chunk.length
  })
  for (let turn = 0; turn < 100 && length < WINDOW; turn++) await new Promise(setImmediate)
  assert.equal(length, WINDOW)
  assert.ok(pieces <= FEW, `${pieces} pieces`)
  assert.ok(scene.pipe.take().some(({ type, length: granted }) => type === 1 && granted > 0))
})

test('a Duplex read in any manner while small and large frames come, gets every byte in order', async () => {
  const manners: readonly ((stream: ReturnType<LinkStream['toDuplex']>) => Promise<Buffer>)[] = [
    (stream) => buffer(stream),
    async (stream) => {
      const chunks: Buffer[] = []
      // Asks for more than is there, and for less.
      const next = (): Buffer | null => stream.read(chunks.length % 2 === 0 ? 1_000 : 7) as Buffer | null
      stream.on('readable', () => {
        for (let chunk = next(); chunk !== null; chunk = next()) chunks.push(chunk)
      })
      await once(stream, 'end')
      return Buffer.concat(chunks)
    },
    async (stream) => {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        stream.pause()
        setImmediate(() => stream.resume())
      })
      await once(stream, 'end')
      return Buffer.concat(chunks)
    },
  ]
  for (const read of manners) {
    const scene = scripted('listener')
    let whole: Promise<Buffer> | undefined
    scene.mux.onStream = (stream) => {
      whole = read(stream.toDuplex())
    }
    const sent: Buffer[] = []
    scene.pipe.feed(data(SYN, 1, ''))
    for (let index = 0; index < 400; index++) {
      const piece = Buffer.alloc(index % 11 === 0 ? 5_000 : 1 + (index % 3), index)
      sent.push(piece)
      scene.pipe.feed(data(0, 1, piece))
      if (index % 7 === 0) await new Promise(setImmediate)
    }
    scene.pipe.feed(credit(FIN, 1, 0))
    assert.ok(whole !== undefined)
    assert.deepEqual(await whole, Buffer.concat(sent))
  }
})

test('a window of one-byte frames for a local socket that does not read, joined behind the first write', async (t) => {
  const accepted: Socket[] = []
  const server = createServer({ pauseOnConnect: true }, (socket) => accepted.push(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const local = connect((server.address() as AddressInfo).port, '127.0.0.1')
  t.after(() => {
    local.destroy()
    for (const socket of accepted) socket.destroy()
    server.close()
  })
  await once(local, 'connect')
  let writes = 0
  const write = local.write.bind(local) as (bytes: Uint8Array, done: () => void) => boolean
  local.write = ((bytes: Uint8Array, done: () => void) => {
    writes++
    return write(bytes, done)
  }) as typeof local.write
  const scene = scripted('listener')
  scene.mux.onStream = (stream) => void splice(local, stream, { meter: { bytesIn: 0, bytesOut: 0 }, resume: () => {}, done: () => {} })
  scene.pipe.feed(data(SYN, 1, ''))
  feedSingles(scene, WINDOW)
  scene.pipe.feed(credit(FIN, 1, 0))
  const [far] = accepted
  assert.ok(far !== undefined)
  assert.equal((await buffer(far)).length, WINDOW)
  assert.ok(writes <= FEW, `${writes} writes`)
})

test('joined bytes, come out as they went in, in pieces of at most 64 KiB that take no more than twice their length', () => {
  const joined = new JoinedBytes()
  const source = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 251))
  for (let at = 0, step = 1; at < source.length; at += step, step = (step * 7) % 4_999) joined.append(source, at, Math.min(source.length, at + step))
  assert.equal(joined.length, source.length)
  const out: Buffer[] = []
  let memory = 0
  for (let piece = joined.take(); piece !== undefined; piece = joined.take()) {
    assert.ok(piece.length <= 64 * 1024)
    memory += piece.buffer.byteLength
    out.push(piece)
  }
  assert.deepEqual(Buffer.concat(out), source)
  assert.ok(memory <= 2 * source.length)
  assert.equal(joined.length, 0)
})
