import assert from 'node:assert/strict'
import { once } from 'node:events'
import { lstat, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createEnvelopeSession } from '../../src/call/envelope-session.ts'
import { createLocalCallee } from '../../src/call/local.ts'
import { createRegistry } from '../../src/call/registry.ts'
import { manualClock, systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { createRawDoor, type RawDoor } from '../../src/gateway/raw-door.ts'
import { byScopes, callerNamed, defineOperation, identitiesOf } from './support.ts'

const registry = createRegistry([
  defineOperation({ name: 'who/am', kind: 'query', input: true, output: true, access: 'everyone', handler: (_input, { caller }) => caller.id }),
  defineOperation({ name: 'owner/only', kind: 'query', input: true, output: true, handler: () => 'secret' }),
])
const callee = createLocalCallee({ registry, authorize: byScopes, clock: systemClock, random: systemRandom, logger: silentLogger })
const clock = manualClock()
let door: RawDoor
let port: number
let folder: string

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kith-raw-'))
  door = createRawDoor({
    identities: identitiesOf({ alk_reader: callerNamed('reader') }),
    clock,
    logger: silentLogger,
    serve: (socket, caller) => createEnvelopeSession(socket, { callee, caller, clock: systemClock }).closed,
  })
  port = (await door.listenTcp('127.0.0.1', 0)).port
  await door.listenUnix(join(folder, 'calls.sock'))
})
after(async () => {
  await door.close()
  callee.close()
  await rm(folder, { recursive: true })
})

function frame(value: unknown): Buffer {
  const body = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
  const header = Buffer.alloc(4)
  header.writeUInt32BE(body.length)
  return Buffer.concat([header, body])
}

const auth = (payload: unknown): Buffer => frame({ type: 'auth', id: 'auth-1', payload })
const request = (id: string, path: string): Buffer => frame({ type: 'call.requested', id, payload: { operationId: path, input: null } })

/** Frames as they come, until there are so many or the connection ends. */
async function frames(socket: Socket, count: number): Promise<{ type: string; id: string; payload: Record<string, unknown> }[]> {
  const found: { type: string; id: string; payload: Record<string, unknown> }[] = []
  let bytes = Buffer.alloc(0)
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    bytes = Buffer.concat([bytes, chunk])
    while (bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32BE(0)) {
      const end = 4 + bytes.readUInt32BE(0)
      found.push(JSON.parse(bytes.subarray(4, end).toString()))
      bytes = bytes.subarray(end)
    }
    if (found.length >= count) break
  }
  return found
}

test('a connection, that shows its key first, is told so and calls as that key', async () => {
  const socket = connect(port, '127.0.0.1')
  // All at once, and byte by byte.
  for (const byte of Buffer.concat([auth('alk_reader'), request('1', '/who/am')])) socket.write(Buffer.from([byte]))
  const [ok, answer] = await frames(socket, 2)
  assert.deepEqual(ok, { type: 'auth.ok', id: 'auth-1', payload: {} })
  assert.equal(answer?.type, 'call.responded')
  assert.deepEqual(answer?.payload, { output: 'key:reader' })
})

test('a caller of raw framing, without the right, is answered as if there were no such operation', async () => {
  const socket = connect(port, '127.0.0.1')
  socket.write(Buffer.concat([auth('alk_reader'), request('1', '/owner/only'), request('2', '/owner/none')]))
  const [, hidden, missing] = await frames(socket, 3)
  assert.deepEqual({ ...hidden, id: '' }, { ...missing, id: '' })
})

test('a connection, that shows anything else first, is told and ended, and nothing it sent is carried out', async () => {
  for (const first of [
    auth('alk_other'),
    auth(null),
    auth(''),
    auth({ token: 'alk_reader' }),
    frame({ type: 'call.requested', id: '1', payload: { operationId: '/who/am' } }),
    frame({ type: 'auth', payload: 'alk_reader' }),
    frame('no json'),
    frame('[]'),
    Buffer.from([0, 0, 0, 0]),
    Buffer.from([0xff, 0xff, 0xff, 0xff]),
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.alloc(70_000, 1),
  ]) {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.write(Buffer.concat([first, request('1', '/who/am')]))
    const answers = await frames(socket, 9).catch(() => [])
    assert.ok(answers.length <= 1)
    for (const answer of answers) assert.equal(answer.type, 'auth.error')
  }
})

test('a connection, that shows a token twice, is not asked again', async () => {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.write(Buffer.concat([auth('alk_reader'), auth('alk_reader')]))
  const answers = await frames(socket, 9).catch(() => [])
  assert.equal(answers.filter(({ type }) => type === 'auth.ok').length, 1)
})

test('a connection, that says nothing for 10 s, is ended', async () => {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.write(auth('alk_reader').subarray(0, 7))
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
  clock.advance(10_000)
  const [answer] = await frames(socket, 9)
  assert.equal(answer?.payload.code, 'TIMEOUT')
})

test('connections of nobody yet, more than may be, are let go', async () => {
  const sockets = Array.from({ length: 80 }, () => connect(port, '127.0.0.1').on('error', () => undefined))
  const ended = sockets.map((socket) => once(socket.resume(), 'close'))
  await Promise.race(ended)
  for (const socket of sockets) socket.destroy()
  await Promise.all(ended)
})

test('the socket file, opened by this user, needs no token and is closed to others', async () => {
  const path = join(folder, 'calls.sock')
  assert.equal((await lstat(path)).mode & 0o777, 0o600)
  const socket = connect(path)
  socket.write(Buffer.concat([auth(null), request('1', '/owner/only')]))
  const [ok, answer] = await frames(socket, 2)
  assert.equal(ok?.type, 'auth.ok')
  assert.deepEqual(answer?.payload, { output: 'secret' })
  const asKey = connect(path)
  asKey.write(Buffer.concat([auth('alk_reader'), request('1', '/who/am')]))
  assert.deepEqual((await frames(asKey, 2))[1]?.payload, { output: 'key:reader' })
})

test('a socket file, of another process or no socket at all, is not taken over; one left behind is', async () => {
  await assert.rejects(door.listenUnix(join(folder, 'calls.sock')), { code: 'BIND_REFUSED' })
  await writeFile(join(folder, 'file'), '')
  await assert.rejects(door.listenUnix(join(folder, 'file')), { code: 'BIND_REFUSED' })
  await assert.rejects(door.listenTcp('0.0.0.0', 0), { code: 'BIND_REFUSED' })
})
