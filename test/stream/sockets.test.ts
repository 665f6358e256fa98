import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect as connectPlain, createServer, type Server, type Socket } from 'node:net'
import { after, before, test } from 'node:test'
import { dial } from '../../src/stream/dial.ts'
import type { EncryptedStream } from '../../src/stream/encrypted-stream.ts'
import { listen } from '../../src/stream/listen.ts'
import { connectSocket } from '../../src/stream/socket-reads.ts'
import { configs } from './fixtures.ts'

let server: Server
let port = 0
/** Accepted sockets, and who waits for one, by the dialling port. */
const accepted: Map<number, Socket> = new Map()
const waiting: Map<number, (socket: Socket) => void> = new Map()

before(async () => {
  server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const from = socket.remotePort as number
    const wanted = waiting.get(from)
    waiting.delete(from)
    if (wanted === undefined) accepted.set(from, socket)
    else wanted(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
})
after(() => server.close())

/** The other end of a socket that is being dialled. */
async function otherEnd(socket: Socket): Promise<Socket> {
  await once(socket, 'connect')
  const from = socket.localPort as number
  const ready = accepted.get(from)
  accepted.delete(from)
  return ready ?? new Promise((resolve) => waiting.set(from, resolve))
}

/** What Node's handle is asked for; without it a socket is read by 'data' events. */
function hideUserBuffer(socket: Socket): void {
  Object.defineProperty((socket as unknown as { _handle: object })._handle, 'useUserBuffer', { value: undefined })
}

type Way = 'onread' | 'adopted' | 'events'

async function links(dialled: Way, answered: Way): Promise<{ dialer: EncryptedStream; listener: EncryptedStream; sockets: Socket[] }> {
  const socket = dialled === 'onread' ? connectSocket({ host: '127.0.0.1', port }) : connectPlain({ host: '127.0.0.1', port, allowHalfOpen: true })
  const other = await otherEnd(socket)
  if (dialled === 'events') hideUserBuffer(socket)
  if (answered === 'events') hideUserBuffer(other)
  const { dialing, listening } = configs()
  const [dialer, listener] = await Promise.all([dial(socket, dialing), listen(other, listening)])
  assert.equal(socket.listenerCount('data'), dialled === 'events' ? 1 : 0, 'the dialled socket is read as meant')
  assert.equal(other.listenerCount('data'), answered === 'events' ? 1 : 0, 'the accepted socket is read as meant')
  return { dialer, listener, sockets: [socket, other] }
}

const message = (i: number, length: number): Buffer => Buffer.alloc(length, (i * 7 + 1) & 255)
const sizes = [0, 1, 50, 1_000, 16_400, 65_520, 70_000, 200_000, 400_000, 1_000_000]

for (const [dialled, answered] of [
  ['onread', 'adopted'],
  ['onread', 'events'],
  ['adopted', 'events'],
  ['events', 'adopted'],
] as const) {
  test(`sockets read by ${dialled} and ${answered}, messages both ways at once, arrive`, async () => {
    const { dialer, listener } = await links(dialled, answered)
    const run = async (from: EncryptedStream, to: EncryptedStream): Promise<void> => {
      const sending = (async () => {
        for (let round = 0; round < 3; round++) for (const [i, size] of sizes.entries()) await from.send(message(i + round, size))
        from.end()
      })()
      let n = 0
      for await (const got of to) {
        const expected = message((n % sizes.length) + Math.floor(n / sizes.length), sizes[n % sizes.length] as number)
        assert.ok(Buffer.from(got).equals(expected), `message ${n}`)
        n++
        // A slow reader: frames are held and the socket is paused.
        if (n % 4 === 0) await new Promise(setImmediate)
      }
      assert.equal(n, 3 * sizes.length)
      await sending
    }
    await Promise.all([run(dialer, listener), run(listener, dialer)])
    await Promise.all([dialer.close(), listener.close()])
  })
}

test('sockets, twenty links through the same read buffer, do not mix', async () => {
  const all = await Promise.all(Array.from({ length: 20 }, () => links('onread', 'adopted')))
  await Promise.all(
    all.map(async ({ dialer, listener }, link) => {
      const a = dialer.toPipe()
      const b = listener.toPipe()
      const total = 1_500_000
      const arrived: PromiseWithResolvers<void> = Promise.withResolvers()
      let at = 0
      b.onData = (data, start, end) => {
        for (let i = start; i < end; i += 997) assert.equal(data[i], (at + i - start + link) & 255)
        at += end - start
        if (at === total) arrived.resolve()
      }
      b.start()
      a.start()
      const source = Buffer.from(Array.from({ length: 70_256 }, (_, i) => (i + link) & 255))
      let sent = 0
      const pump = (): void => {
        while (!a.blocked && sent < total) {
          const length = Math.min(total - sent, 1 + ((sent * 13 + link * 7_919) % 70_000))
          // The pattern repeats every 256 bytes: start where it stands.
          a.write(source, sent & 255, (sent & 255) + length)
          sent += length
        }
      }
      a.onDrain = pump
      pump()
      await arrived.promise
      a.close()
      await Promise.all([dialer.closed, listener.closed])
    }),
  )
})

test('sockets, a reader that pauses within a bulk transfer, gets the rest when it goes on', async () => {
  for (const way of ['adopted', 'events'] as const) {
    const { dialer, listener } = await links('onread', way)
    const count = 60
    const sending = (async () => {
      for (let i = 0; i < count; i++) await dialer.send(message(i, 100_000))
    })()
    for (let i = 0; i < count; i++) {
      assert.ok(Buffer.from((await listener.receive()) ?? []).equals(message(i, 100_000)), `message ${i}`)
      if (i % 10 === 0) for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate)
    }
    await sending
    await Promise.all([dialer.close(), listener.close()])
  }
})

test('sockets, bytes that arrived before listen was called, are not lost', async () => {
  const socket = connectSocket({ host: '127.0.0.1', port })
  const other = await otherEnd(socket)
  const { dialing, listening } = configs()
  const dialed = dial(socket, dialing)
  // The key frame and Syn are in the accepted socket's own buffer by now.
  await once(other, 'readable')
  const listener = await listen(other, listening)
  const dialer = await dialed
  await dialer.send(Buffer.from('x'))
  assert.equal((await listener.receive())?.length, 1)
  await Promise.all([dialer.close(), listener.close()])
})

test('sockets, bytes that arrived before dial was called, are not lost', async () => {
  const socket = connectSocket({ host: '127.0.0.1', port })
  const other = await otherEnd(socket)
  other.write(Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]))
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
  await assert.rejects(dial(socket, configs().dialing), { code: 'STREAM_CORRUPT' })
  other.destroy()
})

test('sockets, addresses raced by name, read into the shared buffer', async () => {
  const socket = connectSocket({ host: 'localhost', port, autoSelectFamily: true, autoSelectFamilyAttemptTimeout: 250 })
  const other = await otherEnd(socket)
  const { dialing, listening } = configs()
  const [dialer, listener] = await Promise.all([dial(socket, dialing), listen(other, listening)])
  await listener.send(message(1, 200_000))
  assert.equal((await dialer.receive())?.length, 200_000)
  await Promise.all([dialer.close(), listener.close()])
})

test('sockets, reset by the other side, are a lost link', async () => {
  const { listener, dialer, sockets } = await links('onread', 'adopted')
  const receiving = listener.receive()
  sockets[0]?.resetAndDestroy()
  await assert.rejects(receiving, { code: 'LINK_LOST' })
  await Promise.all([dialer.closed, listener.closed])
})
