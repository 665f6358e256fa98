import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import type { Duplex } from 'node:stream'
import { test } from 'node:test'
import type ssh2 from 'ssh2'
import { KithError } from '../../src/core/errors.ts'
import type { SshDoorOptions } from '../../src/ssh/door.ts'
import { DEFAULT_SSH_LIMITS } from '../../src/ssh/limits.ts'
import { login, pair, type TestDoor, testDoor, userKey } from './support.ts'

async function loggedIn(options: Partial<SshDoorOptions> = {}, extra: object = {}): Promise<TestDoor & { client: ssh2.Client; end(): void }> {
  const at = testDoor(options)
  const key = userKey()
  at.identity.allow(key, extra)
  const client = await login(at.dial(), { key, strictVendor: false })
  return {
    ...at,
    client,
    end() {
      client.end()
      at.door.close()
    },
  }
}

function forwardOut(client: ssh2.Client, host: string, port: number): Promise<ssh2.ClientChannel> {
  return new Promise((resolve, reject) =>
    client.forwardOut('127.0.0.1', 1, host, port, (error, channel) => (error === undefined ? resolve(channel) : reject(error))),
  )
}

async function text(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

test('a channel, is confirmed only when its target answered', async () => {
  let answer: ((value: { stream: Duplex; close(): void }) => void) | undefined
  const asked: string[] = []
  const at = await loggedIn({
    dial: ({ target }) => {
      asked.push(target)
      return new Promise((resolve) => {
        answer = resolve
      })
    },
  })
  let confirmed = false
  const opening = forwardOut(at.client, 'db.example', 5432).then((channel) => {
    confirmed = true
    return channel
  })
  // A second request that is answered shows that the first was handled and waits.
  await assert.rejects(forwardOut(at.client, 'x', 0))
  assert.deepEqual([asked, confirmed], [['db.example:5432'], false])
  const [mine, theirs] = pair()
  answer?.({ stream: theirs, close: () => theirs.destroy() })
  const channel = await opening
  channel.write('ping')
  assert.equal(String((await once(mine, 'data'))[0]), 'ping')
  mine.end('pong')
  assert.equal(await text(channel), 'pong')
  at.end()
})

test('a target that fails, refuses the channel and says why by the code alone', async () => {
  const at = await loggedIn({
    dial: async ({ target }) => {
      throw new KithError(target.startsWith('denied') ? 'FORWARD_DENIED' : 'FORWARD_UNREACHABLE', 'rule 7 of the owner says no', { details: { rule: 7 } })
    },
  })
  await assert.rejects(
    forwardOut(at.client, 'denied.example', 1),
    (error: Error & { reason?: number }) => error.reason === 1 && !error.message.includes('rule'),
  )
  await assert.rejects(forwardOut(at.client, 'gone.example', 1), (error: Error & { reason?: number }) => error.reason === 2 && !error.message.includes('rule'))
  at.end()
})

test('ports beyond 65,535 and 0, and hosts that are none, are refused and never dialled', async () => {
  const asked: string[] = []
  const at = await loggedIn({
    dial: async ({ target }) => {
      asked.push(target)
      throw new KithError('FORWARD_DENIED')
    },
  })
  for (const [host, port] of [
    ['h', 0],
    ['h', 65_536],
    ['h', 65_536 + 22],
    ['', 22],
    ['a'.repeat(256), 22],
  ] as const)
    await assert.rejects(forwardOut(at.client, host, port))
  assert.deepEqual(asked, [])
  at.end()
})

test('a certificate without permit-port-forwarding, opens nothing', async () => {
  const at = await loggedIn({ dial: async () => assert.fail('dialled'), mayListen: async () => true }, { noForwarding: true })
  await assert.rejects(forwardOut(at.client, 'h', 22), (error: Error & { reason?: number }) => error.reason === 1)
  await assert.rejects(
    new Promise((resolve, reject) => at.client.forwardIn('127.0.0.1', 0, (error, port) => (error === undefined ? resolve(port) : reject(error)))),
  )
  at.end()
})

test('an end in one direction, leaves the other open', async () => {
  const [mine, theirs] = pair()
  const at = await loggedIn({ dial: async () => ({ stream: theirs, close: () => theirs.destroy() }) })
  const channel = await forwardOut(at.client, 'h', 80)
  mine.end()
  channel.resume()
  await once(channel, 'end')
  channel.end('still here')
  assert.equal(await text(mine), 'still here')
  at.end()
})

test('eight megabytes each way, arrive whole', async () => {
  const [mine, theirs] = pair()
  const at = await loggedIn({ dial: async () => ({ stream: theirs, close: () => theirs.destroy() }) })
  const channel = await forwardOut(at.client, 'h', 80)
  const block = Buffer.alloc(65_536, 1)
  const pump = async (out: Duplex): Promise<void> => {
    for (let i = 0; i < 128; i++) if (!out.write(block)) await once(out, 'drain')
    out.end()
  }
  const count = async (from: AsyncIterable<Buffer>): Promise<number> => {
    let length = 0
    for await (const chunk of from) length += chunk.length
    return length
  }
  const [, , back, forth] = await Promise.all([pump(channel), pump(mine), count(channel), count(mine)])
  assert.deepEqual([back, forth], [128 * 65_536, 128 * 65_536])
  at.end()
})

test('keys, are made anew in the middle of a transfer without losing a byte', async () => {
  const [mine, theirs] = pair()
  const at = await loggedIn({
    dial: async () => ({ stream: theirs, close: () => theirs.destroy() }),
    limits: () => ({ ...DEFAULT_SSH_LIMITS, rekeyBytes: 100_000 }),
  })
  let exchanges = 0
  at.client.on('handshake', () => {
    exchanges += 1
  })
  const channel = await forwardOut(at.client, 'h', 80)
  const sent = Buffer.from(Array.from({ length: 8_000_000 }, (_, at_) => at_ & 0xff))
  mine.end(sent)
  const chunks: Buffer[] = []
  for await (const chunk of channel) chunks.push(chunk as Buffer)
  assert.deepEqual(Buffer.concat(chunks).equals(sent), true)
  assert.ok(exchanges >= 2, `${exchanges}`)
  at.end()
})

test('the control channel, is found by its exact names on any port and never dialled', async () => {
  const asked: string[] = []
  const controlled: string[] = []
  const at = await loggedIn({
    dial: async ({ target }) => {
      asked.push(target)
      throw new KithError('FORWARD_DENIED')
    },
    control: (channel, caller) => {
      controlled.push(caller.id)
      channel.end('hello')
    },
  })
  for (const [host, port] of [
    ['alknet-control', 0],
    ['alknet-control', 1],
    ['kith-control', 9736],
  ] as const)
    assert.equal(await text(await forwardOut(at.client, host, port)), 'hello')
  for (const host of ['ALKNET-control', 'alknet-controls', 'alknet.example.com', 'alknet-']) await assert.rejects(forwardOut(at.client, host, 1))
  assert.equal(controlled.length, 3)
  assert.deepEqual(asked, ['ALKNET-control:1', 'alknet-controls:1', 'alknet.example.com:1', 'alknet-:1'])
  at.end()
})

test('a door without calls, refuses the control channel', async () => {
  const at = await loggedIn({ dial: async () => assert.fail('dialled') })
  await assert.rejects(forwardOut(at.client, 'alknet-control', 0), (error: Error & { reason?: number }) => error.reason === 1)
  at.end()
})

test('a unix socket, is asked for by its whole path', async () => {
  const asked: string[] = []
  const at = await loggedIn({
    dial: async ({ target }) => {
      asked.push(target)
      throw new KithError('FORWARD_DENIED')
    },
  })
  for (const path of ['/run/x.sock', 'run/x.sock', '/a\0b', `/${'x'.repeat(200)}`])
    await assert.rejects(
      new Promise((resolve, reject) =>
        at.client.openssh_forwardOutStreamLocal(path, (error, channel) => (error === undefined ? resolve(channel) : reject(error))),
      ),
    )
  assert.deepEqual(asked, ['unix:/run/x.sock'])
  at.end()
})

function forwardIn(client: ssh2.Client, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => client.forwardIn(host, port, (error, bound) => (error === undefined ? resolve(bound) : reject(error))))
}

test('a remote forward, brings connections to the client and ends when it is cancelled', async () => {
  const at = await loggedIn({ mayListen: async ({ host }) => host === '127.0.0.1' })
  const port = await forwardIn(at.client, 'localhost', 0)
  at.client.on('tcp connection', (_info, accept) => {
    const channel = accept()
    channel.on('data', (data: Buffer) => channel.end(data))
  })
  const socket = connect(port, '127.0.0.1')
  socket.write('echo')
  assert.equal(await text(socket), 'echo')
  await new Promise<void>((resolve, reject) => at.client.unforwardIn('localhost', port, (error) => (error === undefined ? resolve() : reject(error))))
  const again = connect(port, '127.0.0.1')
  await once(again, 'error')
  at.end()
})

test('a remote forward, beyond loopback, of a bad port, or against the rules, is refused', async () => {
  const asked: string[] = []
  const at = await loggedIn({
    mayListen: async ({ host, port }) => {
      asked.push(`${host}:${port}`)
      return false
    },
  })
  for (const [host, port] of [
    ['', 0],
    ['0.0.0.0', 0],
    ['::', 0],
    ['192.0.2.1', 80],
    ['a.name', 80],
    ['localhost', 65_536],
    ['localhost', 4_000],
  ] as const)
    await assert.rejects(forwardIn(at.client, host, port))
  assert.deepEqual(asked, ['127.0.0.1:4000'])
  at.end()
})

test('remote forwards, are no more than their limit and end with the connection', async () => {
  const at = await loggedIn({ mayListen: async () => true, limits: () => ({ ...DEFAULT_SSH_LIMITS, remoteForwards: 2 }) })
  const ports = [await forwardIn(at.client, '127.0.0.1', 0), await forwardIn(at.client, '127.0.0.1', 0)]
  await assert.rejects(forwardIn(at.client, '127.0.0.1', 0))
  at.client.end()
  await once(at.client, 'close')
  // The port is free again when somebody else can have it.
  const server = createServer().listen(ports[0], '127.0.0.1')
  await once(server, 'listening')
  assert.equal((server.address() as AddressInfo).port, ports[0])
  server.close()
  at.end()
})
