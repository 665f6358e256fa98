import assert from 'node:assert/strict'
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { afterEach, beforeEach, test } from 'node:test'
import { isKithError } from '../../src/core/errors.ts'
import { takeUdpHeader } from '../../src/tunnel/socks/wire.ts'
import { FAR, type Nodes, openNodes, read, readAll } from './pair.ts'

let nodes: Nodes
let door: string
const datagramSockets: UdpSocket[] = []

beforeEach(async () => {
  nodes = await openNodes()
  door = (await nodes.near.socks({ peer: FAR, local: '127.0.0.1:0' })).local
})
afterEach(async () => {
  for (const socket of datagramSockets.splice(0)) socket.close()
  await nodes.close()
})

const GREETING = Uint8Array.of(5, 1, 0)
const NAMED = Uint8Array.of(5, 2, 0, 2)

function request(command: number, host: string, port: number): Buffer {
  const end = Buffer.alloc(2)
  end.writeUInt16BE(port)
  const literal = /^\d+\.\d+\.\d+\.\d+$/.test(host)
  const address = literal ? Uint8Array.of(1, ...host.split('.').map(Number)) : Buffer.concat([Uint8Array.of(3, host.length), Buffer.from(host)])
  return Buffer.concat([Uint8Array.of(5, command, 0), address, end])
}

function login(user: string, password = 'x'): Buffer {
  return Buffer.concat([Uint8Array.of(1, user.length), Buffer.from(user), Uint8Array.of(password.length), Buffer.from(password)])
}

/** Connects, greets, asks; the reply's code. */
async function ask(command: number, host: string, port: number): Promise<{ socket: Socket; code: number | undefined }> {
  const socket = await nodes.dial(door)
  socket.write(GREETING)
  assert.deepEqual([...(await read(socket, 2))], [5, 0])
  socket.write(request(command, host, port))
  const reply = await read(socket, 10)
  return { socket, code: reply[1] }
}

test('a client connects by address, and what it sends at once with its request arrives', async () => {
  const port = await nodes.target((socket) => socket.pipe(socket))
  const socket = await nodes.dial(door)
  socket.end(Buffer.concat([GREETING, request(1, '127.0.0.1', port), Buffer.from('early')]))
  const all = await readAll(socket)
  assert.deepEqual([...all.subarray(0, 4)], [5, 0, 5, 0])
  assert.equal(String(all.subarray(12)), 'early')
})

test('every message in single bytes is understood', async () => {
  const port = await nodes.target((socket) => socket.end('ok'))
  const socket = await nodes.dial(door)
  for (const byte of Buffer.concat([GREETING, request(1, 'localhost', port)])) {
    socket.write(Uint8Array.of(byte))
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.equal(String((await readAll(socket)).subarray(12)), 'ok')
})

test('a name is resolved by the peer', async () => {
  const port = await nodes.target((socket) => socket.end('x'))
  const asked: string[] = []
  nodes.addresses = (host) => {
    asked.push(host)
    return ['127.0.0.1']
  }
  const { socket, code } = await ask(1, 'db.internal', port)
  assert.equal(code, 0)
  await readAll(socket)
  assert.deepEqual(asked, ['db.internal'])
})

test('the user’s name chooses the peer, and one that is not known is refused', async () => {
  const port = await nodes.target((socket) => socket.end('x'))
  for (const [user, answer] of [
    ['far', 0],
    ['nobody', 1],
  ] as const) {
    const socket = await nodes.dial(door)
    socket.write(NAMED)
    assert.deepEqual([...(await read(socket, 2))], [5, 2])
    socket.write(login(user))
    assert.deepEqual([...(await read(socket, 2))], [1, answer])
    if (answer !== 0) continue
    socket.write(request(1, '127.0.0.1', port))
    assert.equal((await read(socket, 10))[1], 0)
  }
})

test('a host under .kith names its peer', async () => {
  const port = await nodes.target((socket) => socket.end('x'))
  assert.equal((await ask(1, 'far.kith', port)).code, 0)
  assert.equal(nodes.asked.at(-1)?.target, `localhost:${port}`)
  assert.equal((await ask(1, 'db.internal.far.kith', port)).code, 0)
  assert.equal(nodes.asked.at(-1)?.target, `db.internal:${port}`)
  assert.equal((await ask(1, 'nobody.kith', port)).code, 4)
})

test('what went wrong has its reply', async () => {
  const port = await nodes.target(() => {})
  assert.equal((await ask(1, '127.0.0.1', 1)).code, 5, 'refused')
  nodes.addresses = () => {
    throw new Error('no such name')
  }
  assert.equal((await ask(1, 'none.example', 80)).code, 4, 'no such name')
  assert.equal((await ask(1, 'bad_\u0000name', 80)).code, 8, 'no name')
  assert.equal((await ask(1, '127.0.0.1', 0)).code, 8, 'no port')
  assert.equal((await ask(2, '127.0.0.1', port)).code, 7, 'BIND')
  assert.equal((await ask(9, '127.0.0.1', port)).code, 7, 'no command')
  nodes.allowed = () => false
  assert.equal((await ask(1, '127.0.0.1', port)).code, 2, 'denied')
  assert.equal(nodes.near.list()[0]?.last_error?.code, 'FORWARD_DENIED')
})

test('an address type that is none is answered with 08', async () => {
  const socket = await nodes.dial(door)
  socket.write(Buffer.concat([GREETING, Uint8Array.of(5, 1, 0, 9, 1, 2, 3, 4, 0, 80)]))
  assert.equal((await read(socket, 12))[3], 8)
})

test('a client without an acceptable method is told ff and let go', async () => {
  const socket = await nodes.dial(door)
  socket.write(Uint8Array.of(5, 1, 1))
  assert.deepEqual([...(await readAll(socket))], [5, 0xff])
})

for (const [what, bytes] of [
  ['SOCKS4', Uint8Array.of(4, 1, 0, 80, 127, 0, 0, 1, 0)],
  ['a TLS hello', Uint8Array.of(0x16, 3, 1, 2, 0, 1)],
  ['zeros', new Uint8Array(600)],
  ['a greeting without methods', Uint8Array.of(5, 0)],
  ['a greeting and noise', Buffer.concat([GREETING, Buffer.alloc(600, 0xee)])],
] as const) {
  test(`${what} ends the connection and nothing is asked of the peer`, async () => {
    const socket = await nodes.dial(door)
    socket.write(bytes)
    socket.resume()
    await new Promise((resolve) => socket.once('end', resolve).once('close', resolve))
    assert.deepEqual(nodes.asked, [])
  })
}

test('a link that is cut resets the client, so that it takes nothing for a whole answer', async () => {
  const port = await nodes.target((socket) => socket.write('half'))
  const { socket } = await ask(1, '127.0.0.1', port)
  await read(socket, 4)
  const failed = once(socket, 'error')
  await nodes.cut()
  const [error] = (await failed) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNRESET')
})

test('beyond loopback a door needs to be said, and asks for its password', async () => {
  await assert.rejects(nodes.near.socks({ peer: FAR, local: '0.0.0.0:0' }), (error) => isKithError(error, 'BIND_REFUSED'))
  const { local, password } = await nodes.near.socks({ peer: FAR, local: '0.0.0.0:0', allowPublicBind: true })
  assert.ok(password !== null && password.length >= 24)
  const port = await nodes.target((socket) => socket.end('x'))
  const anonymous = await nodes.dial(local)
  anonymous.write(GREETING)
  assert.deepEqual([...(await readAll(anonymous))], [5, 0xff])
  for (const [given, answer] of [
    ['wrong', 1],
    [password, 0],
  ] as const) {
    const socket = await nodes.dial(local)
    socket.write(Buffer.concat([NAMED, login('far', given)]))
    assert.deepEqual([...(await read(socket, 4))], [5, 2, 1, answer])
  }
  const http = await nodes.dial(local)
  http.write(`CONNECT 127.0.0.1:${port} HTTP/1.1\r\n\r\n`)
  assert.match(String(await readAll(http)), /^HTTP\/1\.1 407 /)
  assert.ok(!JSON.stringify(nodes.near.list()).includes(password))
})

// ---- HTTP CONNECT on the same port

async function http(text: string): Promise<string> {
  const socket = await nodes.dial(door)
  socket.write(text)
  return String(await readAll(socket))
}

test('CONNECT carries bytes both ways behind its answer', async () => {
  const port = await nodes.target((socket) => socket.once('data', (data) => socket.end(`got ${data}`)))
  const text = await http(`CONNECT localhost:${port} HTTP/1.1\r\nHost: localhost:${port}\r\nUser-Agent: x\r\n\r\nhello`)
  assert.equal(text, 'HTTP/1.1 200 Connection established\r\n\r\ngot hello')
})

test('CONNECT with the name of a peer in its login goes there, with an unknown one nowhere', async () => {
  const port = await nodes.target((socket) => socket.end('x'))
  const as = (user: string): Promise<string> =>
    http(`CONNECT localhost:${port} HTTP/1.1\r\nProxy-Authorization: Basic ${Buffer.from(`${user}:`).toString('base64')}\r\n\r\n`)
  assert.match(await as('far'), /^HTTP\/1\.1 200 /)
  assert.match(await as('nobody'), /^HTTP\/1\.1 502 /)
})

test('CONNECT is answered with a status that says what went wrong', async () => {
  const port = await nodes.target(() => {})
  assert.match(await http('CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n'), /^HTTP\/1\.1 502 /)
  nodes.allowed = () => false
  assert.match(await http(`CONNECT 127.0.0.1:${port} HTTP/1.1\r\n\r\n`), /^HTTP\/1\.1 403 /)
})

for (const [what, text, status] of [
  ['a plain GET of a page', 'GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n', 405],
  ['a target without a port', 'CONNECT example.com HTTP/1.1\r\n\r\n', 400],
  ['a target with a path', 'CONNECT example.com:80/x HTTP/1.1\r\n\r\n', 400],
  ['a line without a version', 'CONNECT example.com:80\r\n\r\n', 400],
  ['a folded header', 'CONNECT example.com:80 HTTP/1.1\r\nA: b\r\n c\r\n\r\n', 400],
  ['a header with a control character', 'CONNECT example.com:80 HTTP/1.1\r\nA: \u0001\r\n\r\n', 400],
  ['two logins', 'CONNECT a.b:80 HTTP/1.1\r\nProxy-Authorization: Basic YTo=\r\nProxy-Authorization: Basic YTo=\r\n\r\n', 400],
  ['a head without an end', `CONNECT a.b:80 HTTP/1.1\r\n${'A: b\r\n'.repeat(2_000)}`, 400],
  ['101 headers', `CONNECT a.b:80 HTTP/1.1\r\n${'A: b\r\n'.repeat(101)}\r\n`, 400],
] as const) {
  test(`${what} is answered with ${status} and asks nothing of the peer`, async () => {
    assert.match(await http(text), new RegExp(`^HTTP/1\\.1 ${status} `))
    assert.deepEqual(nodes.asked, [])
  })
}

// ---- UDP ASSOCIATE

async function udp(): Promise<UdpSocket> {
  const socket = createSocket('udp4')
  datagramSockets.push(socket)
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return socket
}

async function associate(): Promise<{ socket: Socket; port: number }> {
  const socket = await nodes.dial(door)
  socket.write(Buffer.concat([GREETING, request(3, '0.0.0.0', 0)]))
  assert.deepEqual([...(await read(socket, 2))], [5, 0])
  const reply = await read(socket, 10)
  assert.deepEqual([...reply.subarray(0, 4)], [5, 0, 0, 1])
  return { socket, port: reply.readUInt16BE(8) }
}

async function echoUdp(): Promise<number> {
  const server = await udp()
  server.on('message', (data, from) => server.send(data, from.port, from.address))
  return server.address().port
}

const datagram = (host: string, port: number, text: string, fragment = 0): Buffer => {
  const bytes = request(0, host, port)
  return Buffer.concat([Uint8Array.of(0, 0, fragment), bytes.subarray(3), Buffer.from(text)])
}

test('datagrams go to their targets and come back with where they came from', async () => {
  const port = await echoUdp()
  const client = await udp()
  const association = await associate()
  client.send(datagram('127.0.0.1', port, 'ping'), association.port, '127.0.0.1')
  const [answer] = (await once(client, 'message')) as [Buffer]
  const taken = takeUdpHeader(answer)
  assert.deepEqual(taken?.value, { fragment: 0, target: { host: '127.0.0.1', port } })
  assert.equal(String(answer.subarray(taken?.rest)), 'ping')
  assert.ok(nodes.asked.every(({ action }) => action === 'datagram'))
})

test('a name in a datagram is resolved by the peer, once for all datagrams to it', async () => {
  const port = await echoUdp()
  let asked = 0
  nodes.addresses = () => {
    asked++
    return ['127.0.0.1']
  }
  const client = await udp()
  const association = await associate()
  for (let round = 0; round < 3; round++) {
    client.send(datagram('db.internal', port, String(round)), association.port, '127.0.0.1')
    await once(client, 'message')
  }
  assert.equal(asked, 1)
})

test('fragments, datagrams of others and refused targets are dropped; what is right goes on', async () => {
  const port = await echoUdp()
  const [client, other] = [await udp(), await udp()]
  const heard: string[] = []
  client.on('message', (data) => heard.push(String(data.subarray(10))))
  other.on('message', () => assert.fail('another program got an answer'))
  const association = await associate()
  const send = (from: UdpSocket, bytes: Uint8Array): void => from.send(bytes, association.port, '127.0.0.1')
  nodes.allowed = ({ target }) => target === `127.0.0.1:${port}`
  send(client, datagram('127.0.0.1', port, 'first'))
  await once(client, 'message')
  send(client, datagram('127.0.0.1', port, 'fragment', 1))
  send(other, datagram('127.0.0.1', port, 'of another'))
  send(client, datagram('127.0.0.1', 9, 'refused'))
  send(client, Uint8Array.of(0, 0, 0))
  send(client, datagram('127.0.0.1', port, 'last'))
  await once(client, 'message')
  assert.deepEqual(heard, ['first', 'last'])
})

test('the association ends with its connection', async () => {
  const port = await echoUdp()
  const client = await udp()
  const association = await associate()
  client.send(datagram('127.0.0.1', port, 'ping'), association.port, '127.0.0.1')
  await once(client, 'message')
  association.socket.end()
  association.socket.resume()
  await once(association.socket, 'close')
  assert.equal(nodes.near.list()[0]?.connections, 0)
})
