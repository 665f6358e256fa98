import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { isKithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import type { Did } from '../../src/identity/did.ts'
import type { LeanHandler, Policy, PolicyRequest, StreamContext } from '../../src/mesh/types.ts'
import { createTunnels, type Tunnels } from '../../src/tunnel/tunnels.ts'
import { encodeRequest } from '../../src/tunnel/wire.ts'
import { type ConnectedPair, connectedPair } from '../support/links.ts'
import { ONE_OF_EACH } from '../support/policy.ts'

const NEAR = 'did:icn:near' as Did
const FAR = 'did:icn:far' as Did

let links: ConnectedPair
let near: Tunnels
let far: Tunnels
let asked: PolicyRequest[] = []
let allowed: (request: PolicyRequest) => boolean = () => true
let resolved: readonly string[] = ['127.0.0.1']
const servers: Server[] = []
const sockets: Socket[] = []

beforeEach(async () => {
  links = await connectedPair()
  asked = []
  allowed = () => true
  resolved = ['127.0.0.1']
  const policy: Policy = {
    decide(request) {
      asked.push(request)
      return { allowed: allowed(request), rule: 'test', next: '' }
    },
    constraints: () => ONE_OF_EACH,
    classOf: () => 'known',
    scoreOf: () => 1_000,
  }
  const base = { policy, clock: systemClock, logger: silentLogger, resolve: async () => resolved }
  near = createTunnels({ ...base, mesh: { did: NEAR, openLean: () => links.near.open(), handleLean: () => {} } })
  const serve = (protocol: string, handler: LeanHandler): void => {
    if (protocol !== 'icn/forward/1') return
    links.far.onStream = (stream) => handler(stream, { peer: NEAR, signal: new AbortController().signal } as StreamContext)
  }
  far = createTunnels({ ...base, mesh: { did: FAR, openLean: () => links.far.open(), handleLean: serve } })
})
afterEach(async () => {
  await near.close()
  await far.close()
  await links.close()
  for (const socket of sockets.splice(0)) socket.destroy()
  for (const server of servers.splice(0)) server.close()
})

async function target(onSocket: (socket: Socket) => void): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket)
    socket.on('error', () => {})
    onSocket(socket)
  })
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function through(port: number, host = 'localhost'): Promise<Socket> {
  const { local } = await near.forward({ peer: FAR, target: `${host}:${port}`, local: '127.0.0.1:0' })
  const socket = connect({ host: '127.0.0.1', port: Number(local.split(':')[1]), allowHalfOpen: true })
  await once(socket, 'connect')
  sockets.push(socket)
  return socket
}

async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

test('bytes pass both ways unchanged, and half-close passes on', async () => {
  const port = await target((socket) => socket.pipe(socket))
  const socket = await through(port)
  const sent = randomBytes(5_000_000)
  socket.end(sent)
  assert.deepEqual(await readAll(socket), sent)
})

test('a target that speaks first is heard', async () => {
  const port = await target((socket) => socket.end('220 ready\r\n'))
  const socket = await through(port)
  assert.equal((await readAll(socket)).toString(), '220 ready\r\n')
})

test('a reader that does not read stops the target instead of filling memory', async () => {
  let written = 0
  const port = await target((socket) => {
    const chunk = Buffer.alloc(65_536)
    const more = (): void => {
      while (written < 256 * 2 ** 20) {
        written += chunk.length
        if (!socket.write(chunk)) {
          socket.once('drain', more)
          return
        }
      }
    }
    more()
  })
  const socket = await through(port)
  socket.pause()
  let last = -1
  while (last !== written) {
    last = written
    for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
  assert.ok(written < 64 * 2 ** 20, `${written} bytes were taken although nobody reads`)
  socket.destroy()
})

test('a refused forward names the command and is told before anything listens', async () => {
  allowed = () => false
  await assert.rejects(
    near.forward({ peer: FAR, target: 'localhost:5432' }),
    (error) => isKithError(error, 'FORWARD_DENIED') && error.next === `on the other machine: kith allow ${NEAR} forward localhost:5432`,
  )
  assert.deepEqual(near.list(), [])
})

test('the policy sees the name and every address it resolved to, and the checked address is dialled', async () => {
  const port = await target((socket) => socket.end('x'))
  resolved = ['127.0.0.1', '10.1.2.3']
  const socket = await through(port, 'db.internal')
  await readAll(socket)
  // By name alone first: a name that no rule may allow is not even looked up.
  assert.equal(asked[0]?.addresses, undefined)
  for (const request of asked.filter(({ addresses }) => addresses !== undefined))
    assert.deepEqual([request.action, request.target, request.addresses], ['forward', `db.internal:${port}`, ['127.0.0.1', '10.1.2.3']])
  assert.ok(asked.filter(({ addresses }) => addresses !== undefined).length >= 2)
})

test('permission withdrawn, the next connection is reset and the tunnel says why', async () => {
  const port = await target((socket) => socket.end('x'))
  const { local } = await near.forward({ peer: FAR, target: `localhost:${port}`, local: '127.0.0.1:0' })
  allowed = () => false
  const socket = connect(Number(local.split(':')[1]), '127.0.0.1')
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNRESET')
  assert.equal(near.list()[0]?.last_error?.code, 'FORWARD_DENIED')
})

test('nothing listens at the target, the connection is reset with FORWARD_REFUSED', async () => {
  const port = await target(() => {})
  const server = servers.pop() as Server
  server.close()
  await once(server, 'close')
  const { local } = await near.forward({ peer: FAR, target: `localhost:${port}`, local: '127.0.0.1:0' })
  const socket = connect(Number(local.split(':')[1]), '127.0.0.1')
  await once(socket, 'error')
  assert.equal(near.list()[0]?.last_error?.code, 'FORWARD_REFUSED')
})

test('a target that resets its connection resets the local one', async () => {
  const port = await target((socket) => socket.once('data', () => socket.resetAndDestroy()))
  const socket = await through(port)
  socket.write('x')
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNRESET')
})

test('the link is lost, local connections end with a reset', async () => {
  const port = await target(() => {})
  const socket = await through(port)
  socket.write('x')
  const failed = once(socket, 'error')
  await links.near.close()
  await failed
})

test('listening beyond loopback needs to be said', async () => {
  await assert.rejects(near.forward({ peer: FAR, target: 'localhost:80', local: '0.0.0.0:0' }), (error) => isKithError(error, 'BIND_REFUSED'))
})

test('the default local port is the target’s own, or a free one when it is taken', async () => {
  const port = await target((socket) => socket.end())
  const { local } = await near.forward({ peer: FAR, target: `localhost:${port}` })
  assert.notEqual(local, `127.0.0.1:${port}`)
  assert.match(local, /^127\.0\.0\.1:\d+$/)
})

test('a tunnel that was removed listens no more', async () => {
  const port = await target((socket) => socket.end())
  const { id, local } = await near.forward({ peer: FAR, target: `localhost:${port}`, local: '127.0.0.1:0' })
  await near.remove(id)
  const [error] = (await once(connect(Number(local.split(':')[1]), '127.0.0.1'), 'error')) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNREFUSED')
  await assert.rejects(near.remove(id), (error) => isKithError(error, 'NOT_FOUND'))
})

for (const [what, bytes] of [
  ['a request of another version', Uint8Array.of(9, 0, 1, 97, 0, 80)],
  ['a host that is none', Uint8Array.of(1, 0, 3, 47, 46, 46, 0, 80)],
  ['port 0', Uint8Array.of(1, 0, 1, 97, 0, 0)],
  ['a host longer than any', Uint8Array.of(1, 0, 0xff, 0xff, 0x01)],
] as const) {
  test(`a peer that sends ${what} is reset with WIRE_MALFORMED`, async () => {
    const stream = await links.near.open()
    const failed = new Promise<string>((resolve) => {
      stream.onError = (error) => resolve(error.code)
    })
    stream.write(bytes)
    assert.equal(await failed, 'WIRE_MALFORMED')
    assert.deepEqual(asked, [])
  })
}

test('a request in single bytes is understood', async () => {
  const port = await target((socket) => socket.end('ok'))
  const stream = await links.near.open()
  const answer = new Promise<string>((resolve) => {
    let text = ''
    stream.onData = (data, start, end) => {
      text += data.toString('latin1', start, end)
      stream.consume(end - start)
    }
    stream.onEnd = () => resolve(text)
  })
  for (const byte of encodeRequest({ kind: 'connect', host: '127.0.0.1', port })) {
    stream.write(Uint8Array.of(byte))
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.equal(await answer, 'ok')
  stream.end()
})
