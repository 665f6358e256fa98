import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import type ssh2 from 'ssh2'
import { manualClock } from '../../src/core/clock.ts'
import { Admission, sourceOf } from '../../src/ssh/admission.ts'
import { DEFAULT_SSH_LIMITS } from '../../src/ssh/limits.ts'
import { closed, login, pair, testDoor, userKey } from './support.ts'

const GARBAGE: readonly (readonly [string, Buffer])[] = [
  ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ['another version of SSH', Buffer.from('SSH-1.5-x\r\n')],
  ['a line without end', Buffer.concat([Buffer.from('SSH-2.0-'), Buffer.alloc(4_096, 0x61)])],
  ['a line that is too long', Buffer.from(`SSH-2.0-${'a'.repeat(300)}\r\n`)],
  ['zeros', Buffer.alloc(1_000)],
  ['a greeting in front', Buffer.from('hello\r\nSSH-2.0-x\r\n')],
  ['a packet of a gigabyte', Buffer.concat([Buffer.from('SSH-2.0-x\r\n'), Buffer.from([0x40, 0, 0, 0, 4]), Buffer.alloc(100)])],
]
for (const [name, bytes] of GARBAGE) {
  test(`a connection that says ${name}, is cut off`, async () => {
    const { door, dial } = testDoor()
    const line = dial()
    line.write(bytes)
    await closed(line)
    door.close()
  })
}

test('an identification in single bytes, is understood', async () => {
  const { door, identity, dial } = testDoor()
  const key = userKey()
  identity.allow(key)
  const far = dial()
  const [near, middle] = pair()
  let first = true
  middle.on('data', (chunk: Buffer) => {
    if (first) for (const byte of chunk) far.write(Buffer.of(byte))
    else far.write(chunk)
    first = false
  })
  far.on('data', (chunk: Buffer) => middle.write(chunk))
  const client = await login(near, { key })
  assert.equal(door.sessions().length, 1)
  client.end()
  door.close()
})

test('a client that says nothing, loses its place at the deadline', async () => {
  const clock = manualClock()
  const { door, dial } = testDoor({ clock })
  const line = dial()
  line.write('SSH-2.')
  clock.advance(DEFAULT_SSH_LIMITS.identificationMs)
  await closed(line)
  door.close()
})

test('a client that does not log in, loses its place at the deadline', async () => {
  const clock = manualClock()
  const { door, dial } = testDoor({ clock })
  const line = dial()
  line.write('SSH-2.0-slow\r\n')
  await once(line, 'data')
  clock.advance(DEFAULT_SSH_LIMITS.loginMs)
  await closed(line)
  door.close()
})

test('connections that come together, are counted together', async () => {
  const { door, dial } = testDoor({ limits: () => ({ ...DEFAULT_SSH_LIMITS, connectionsPerAddress: 2, connections: 3 }) })
  const lines = [dial('192.0.2.1'), dial('192.0.2.1'), dial('192.0.2.1'), dial('192.0.2.2'), dial('192.0.2.3')]
  await Promise.all([closed(lines[2] as never), closed(lines[4] as never)])
  assert.deepEqual(
    lines.map(({ destroyed }) => destroyed),
    [false, false, true, false, true],
  )
  door.close()
})

test('a place, is free again when its connection is over, and a drained door takes nobody', async () => {
  const { door, dial } = testDoor({ limits: () => ({ ...DEFAULT_SSH_LIMITS, connections: 1 }) })
  const first = dial()
  first.destroy()
  await closed(first)
  await new Promise(setImmediate)
  const second = dial()
  await once(second, 'data')
  door.drain()
  await closed(second)
  await closed(dial())
  door.close()
})

test('sources, are one address of IPv4 or a /64 of IPv6', () => {
  assert.equal(sourceOf('::ffff:192.0.2.1'), '192.0.2.1')
  assert.equal(sourceOf('2001:db8:1:2:3:4:5:6'), sourceOf('2001:DB8:1:2::9'))
  assert.notEqual(sourceOf('2001:db8:1:2::1'), sourceOf('2001:db8:1:3::1'))
  assert.equal(sourceOf('fe80::1%eth0'), sourceOf('fe80::2'))
})

test('a limit of 0, is none', () => {
  const admission = new Admission(() => ({ ...DEFAULT_SSH_LIMITS, connections: 0, connectionsPerAddress: 0, pending: 0, failuresPerAddress: 0 }), manualClock())
  for (let i = 0; i < 1_000; i++) {
    admission.failed('192.0.2.1')
    assert.equal(typeof admission.enter('192.0.2.1'), 'object')
  }
})

test('channels beyond the limit, are refused, and the connection goes on', async () => {
  const { door, identity, dial } = testDoor({
    limits: () => ({ ...DEFAULT_SSH_LIMITS, channels: 3 }),
    dial: async () => ({ stream: pair()[0], close: () => {} }),
  })
  const key = userKey()
  identity.allow(key)
  const client = await login(dial(), { key })
  const open = (): Promise<ssh2.ClientChannel> =>
    new Promise((resolve, reject) => client.forwardOut('', 0, 'h', 1, (error, channel) => (error === undefined ? resolve(channel) : reject(error))))
  const [first] = await Promise.all([open(), open(), open()])
  await assert.rejects(open(), /Channel open failure/)
  first?.close()
  first?.resume()
  await once(first as ssh2.ClientChannel, 'close')
  await open()
  client.end()
  door.close()
})

/** Sends what no honest client sends, with the keys of one. */
async function misbehave(run: (protocol: RawProtocol) => void): Promise<boolean> {
  const { door, identity, dial } = testDoor({ dial: async () => ({ stream: pair()[0], close: () => {} }) })
  const key = userKey()
  identity.allow(key)
  const line = dial()
  const client = (await login(line, { key })) as ssh2.Client & { _protocol: RawProtocol }
  client.removeAllListeners('error')
  client.on('error', () => {})
  const channel = await new Promise<ssh2.ClientChannel>((resolve, reject) =>
    client.forwardOut('', 0, 'h', 1, (error, opened) => (error === undefined ? resolve(opened) : reject(error))),
  )
  channel.on('error', () => {})
  run(client._protocol)
  const gone = await Promise.race([
    closed(line).then(() => true),
    new Promise<boolean>((resolve) => client.exec('help', (error) => error === undefined && resolve(false))),
  ])
  client.end()
  door.close()
  return gone
}

interface RawProtocol {
  channelData(id: number, data: Buffer): void
  channelWindowAdjust(id: number, amount: number): void
  directTcpip(id: number, window: number, packet: number, options: object): void
}

test('data beyond the window, ends the connection', async () => {
  assert.equal(
    await misbehave((protocol) => {
      // The other end of the forward reads nothing, so no window is given back.
      for (let i = 0; i < 200; i++) protocol.channelData(0, Buffer.alloc(32_768))
    }),
    true,
  )
})

test('a window beyond 32 bits, ends the connection', async () => {
  assert.equal(
    await misbehave((protocol) => {
      protocol.channelWindowAdjust(0, 0xffff_ffff)
      protocol.channelWindowAdjust(0, 0xffff_ffff)
    }),
    true,
  )
})

test('a channel with packets of no bytes, is refused and does not hang the door', async () => {
  assert.equal(await misbehave((protocol) => protocol.directTcpip(77, 1_000, 0, { srcIP: '', srcPort: 0, dstIP: 'h', dstPort: 1 })), false)
})

test('a client with a huge window that does not read, makes nobody write on', async () => {
  const [mine, theirs] = pair()
  const { door, identity, dial } = testDoor({ dial: async () => ({ stream: theirs, close: () => theirs.destroy() }) })
  const key = userKey()
  identity.allow(key)
  const line = dial()
  const client = (await login(line, { key })) as ssh2.Client & { _protocol: RawProtocol }
  const channel = await new Promise<ssh2.ClientChannel>((resolve, reject) =>
    client.forwardOut('', 0, 'h', 1, (error, opened) => (error === undefined ? resolve(opened) : reject(error))),
  )
  channel.on('error', () => {})
  client._protocol.channelWindowAdjust(0, 0x7fff_ffff)
  await new Promise<void>((resolve, reject) => client.exec('help', (error) => (error === undefined ? resolve() : reject(error))))
  line.pause()
  // What fits into the buffers on the way is taken; then the source has to wait.
  let taken = 0
  const block = Buffer.alloc(65_536)
  for (let waited = 0; waited < 50; ) {
    if (mine.write(block)) {
      taken += block.length
      waited = 0
    } else {
      waited += 1
      await new Promise(setImmediate)
    }
    assert.ok(taken < 32 * 1_048_576, 'the door writes for a client that does not read')
  }
  line.destroy()
  door.close()
})
