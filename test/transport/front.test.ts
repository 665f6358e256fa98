import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect as connectTcp, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { after, before, type TestContext, test } from 'node:test'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import { systemClock } from '../../src/core/clock.ts'
import { systemRandom } from '../../src/core/random.ts'
import { acmeChallenge } from '../../src/transport/front/acme-challenge.ts'
import { readClientHello } from '../../src/transport/front/client-hello.ts'
import { sshOrHttp } from '../../src/transport/front/first-bytes.ts'
import { FrontGuard } from '../../src/transport/front/guard.ts'
import { FrontPool } from '../../src/transport/front/pool.ts'
import { keyedUpgrade } from '../../src/transport/wss/accept.ts'
import { keyedPath, parseWssAddress, parseWssListenAddress, withoutToken } from '../../src/transport/wss/address.ts'
import { connectWebSocket } from '../../src/transport/wss/connect.ts'
import { converseRaw, openSite, siteCertificate } from '../site/support.ts'
import { hasCode, within } from './support.ts'
import { handClock } from './tls-support.ts'

let folder = ''
let certificate: Awaited<ReturnType<typeof siteCertificate>>
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'kith-front-'))
  certificate = await siteCertificate(folder)
})
after(() => rmSync(folder, { recursive: true, force: true }))

async function tlsTo(t: TestContext, port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options })
  t.after(() => socket.destroy())
  socket.on('error', () => {})
  await within('the handshake', new Promise((resolve) => socket.once('secureConnect', resolve)))
  return socket
}

async function textOf(stream: Duplex): Promise<string> {
  let text = ''
  for await (const chunk of stream) text += String(chunk)
  return text
}

test('an SSH banner of one byte at a time, handed over whole; everything else is the site’s', async (t) => {
  const { front, port } = await openSite(t, certificate)
  const arrived: { bytes: string; from: string }[] = []
  front.onSsh((stream, { remoteAddress, transport }) => {
    stream.once('data', (bytes) => {
      arrived.push({ bytes: String(bytes), from: `${transport} ${remoteAddress}` })
      stream.end('SSH-2.0-here\r\n')
    })
  })
  const slow = await converseRaw(port, { pieces: [...'SSH-2.0-x\r\n'] })
  assert.equal(String(slow.bytes), 'SSH-2.0-here\r\n')
  assert.ok(arrived[0]?.bytes.startsWith('SSH-2.0-'))
  assert.equal(arrived[0]?.from, 'tls 127.0.0.1')
  for (const pieces of [['SSH-1.99-x\r\n'], ['S'], ['SSH-2.0'], [' SSH-2.0-x\r\n']]) {
    const { bytes } = await converseRaw(port, { pieces, end: true })
    assert.ok(bytes.length === 0 || bytes.toString().startsWith('HTTP/1.1 400 Bad Request\r\nServer: nginx'), pieces.join(''))
  }
  assert.equal(arrived.length, 1)
  assert.deepEqual(
    ['S', 'SSH-2.0', 'SSH-2.0-', 'SSH-2.1', 'GET /', 'SSX'].map((text) => sshOrHttp(Buffer.from(text))),
    [undefined, undefined, 'ssh', 'http', 'http', 'http'],
  )
})

test('silence at every stage, ended at its deadline and forgotten', async (t) => {
  const clock = handClock(Date.now())
  const { front, port } = await openSite(t, certificate, { clock, firstBytesMs: 60_000 })
  front.onSsh((stream) => stream.destroy())
  const plain = connectTcp({ port, host: '127.0.0.1' })
  t.after(() => plain.destroy())
  const half = connectTcp({ port, host: '127.0.0.1' })
  t.after(() => half.destroy())
  half.write(Buffer.from('160301020001', 'hex'))
  const secure = await tlsTo(t, port)
  const started = await tlsTo(t, port)
  started.write('SSH-')
  const sockets: Socket[] = [plain, half, secure, started]
  const ends = sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve)))
  for (const socket of sockets) socket.on('error', () => {}).resume()
  while (front.connections < 4) await new Promise(setImmediate)
  const ticking = setInterval(() => clock.advance(30_000), 5)
  t.after(() => clearInterval(ticking))
  await within('the ends', Promise.all(ends))
  while (front.connections > 0) await new Promise(setImmediate)
})

test('connections beyond what one source may have, closed; others get in', () => {
  const guard = new FrontGuard(systemClock, { perSource: 2, connections: 4 })
  const places = ['192.0.2.1', '192.0.2.1', '192.0.2.1', '2001:db8::1', '2001:db8:0:0:ffff::2', '2001:db8::3', '192.0.2.2'].map((host) =>
    guard.admit(host, () => {}),
  )
  assert.deepEqual(
    places.map((place) => place !== undefined),
    [true, true, false, true, true, false, false],
  )
  places[0]?.release()
  places[0]?.release()
  assert.equal(guard.held, 3)
  assert.ok(guard.admit('192.0.2.1', () => {}) !== undefined)
  assert.equal(
    guard.admit('192.0.2.3', () => {}),
    undefined,
  )
})

test('a validation of a certificate authority, answered with its certificate and nothing else', async (t) => {
  const { front, port } = await openSite(t, certificate)
  front.onAlpn(
    'acme-tls/1',
    acmeChallenge((name) => (name === 'node.example' ? certificate : undefined), systemClock),
  )
  const asked = await tlsTo(t, port, { ALPNProtocols: ['acme-tls/1'], servername: 'node.example' })
  assert.equal(asked.alpnProtocol, 'acme-tls/1')
  assert.equal(await within('the end', textOf(asked)), '')
  const other = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['acme-tls/1'], servername: 'other.example' })
  t.after(() => other.destroy())
  await within('the refusal', new Promise((resolve) => other.once('error', resolve)))
  const browser = await tlsTo(t, port, { ALPNProtocols: ['h2', 'http/1.1'] })
  assert.equal(browser.alpnProtocol, 'http/1.1')
})

test('SSH by WebSocket at its keyed path, bytes both ways; any other path is the site’s, byte for byte', async (t) => {
  const { front, port } = await openSite(t, certificate)
  const token = systemRandom.bytes(24)
  front.onUpgrade(
    'ssh',
    keyedUpgrade(keyedPath(token, 'ssh'), systemClock, (stream) => {
      stream.on('error', () => {})
      stream.pipe(stream)
    }),
  )
  const socket = connectTcp({ port, host: '127.0.0.1' })
  t.after(() => socket.destroy())
  const pin = Buffer.from(execFileSync('openssl', ['x509', '-in', certificate.certFile, '-outform', 'der']))
  const hash = createHash('sha256').update(pin).digest()
  const address = parseWssAddress(`wss://127.0.0.1:${port}/${Buffer.from(token).toString('base64url')}?pin=${hash.toString('base64url')}`)
  const stream = await connectWebSocket(socket, address, { purpose: 'ssh', signal: AbortSignal.timeout(10_000), clock: systemClock })
  t.after(() => stream.destroy())
  const sent = systemRandom.bytes(500_000)
  const got: Buffer[] = []
  let length = 0
  const whole = new Promise<void>((resolve) =>
    stream.on('data', (chunk: Buffer) => {
      got.push(chunk)
      length += chunk.length
      if (length === sent.length) resolve()
    }),
  )
  stream.write(sent)
  await within('the echo', whole)
  assert.ok(Buffer.concat(got).equals(sent))

  const websocket = (path: string): string =>
    `GET ${path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`
  const right = keyedPath(token, 'ssh')
  const answers = await Promise.all(
    [
      websocket('/missing'),
      websocket(`${right}x`),
      websocket(right.slice(0, -1)),
      websocket(keyedPath(token, 'link')),
      websocket(keyedPath(systemRandom.bytes(24), 'ssh')),
      // The right path without a handshake that makes sense.
      websocket(right).replace('Version: 13', 'Version: 8'),
      websocket(right).replace('Key: dGhl', 'Key: '),
      websocket(right).replace('Upgrade: websocket', 'Upgrade: websocket\r\nSec-WebSocket-Protocol: ,'),
      `GET ${right} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
    ].map(async (text) => (await converseRaw(port, { pieces: [text] })).bytes.toString().replace(/Date: [^\r]+/, '')),
  )
  for (const answer of answers) assert.equal(answer, answers[0])
  assert.match(answers[0] as string, /^HTTP\/1\.1 404 Not Found\r\nServer: nginx\/1\.22\.1\r\n/)
  const taken = await converseRaw(port, { pieces: [websocket(right)] }, 500)
  assert.match(taken.bytes.toString(), /^HTTP\/1\.1 101 /)
})

test('a WebSocket to a site that is not the expected one, refused with what was wrong', async (t) => {
  const { port } = await openSite(t, certificate)
  const token = Buffer.from(systemRandom.bytes(24)).toString('base64url')
  const failure = async (address: string, authorities?: string): Promise<unknown> => {
    const socket = connectTcp({ port, host: '127.0.0.1' })
    t.after(() => socket.destroy())
    const options = { purpose: 'link' as const, signal: AbortSignal.timeout(10_000), clock: systemClock, ...(authorities === undefined ? {} : { authorities }) }
    const error = await connectWebSocket(socket, parseWssAddress(address), options).catch((cause: unknown) => cause)
    hasCode('HANDSHAKE_FAILED')(error)
    const { part, reason } = (error as { details: { part: string; reason: string } }).details
    return `${part} ${reason}`
  }
  assert.equal(await failure(`wss://127.0.0.1:${port}/${token}`), 'certificate DEPTH_ZERO_SELF_SIGNED_CERT')
  assert.equal(await failure(`wss://127.0.0.1:${port}/${token}?pin=${'A'.repeat(43)}`), 'certificate pin')
  assert.equal(await failure(`wss://127.0.0.1:${port}/${token}`, certificate.cert.toString()), 'upgrade 404')
  assert.equal(await failure(`wss://other.example:${port}/${token}`, certificate.cert.toString()), 'certificate ERR_TLS_CERT_ALTNAME_INVALID')
})

test('addresses of the keyed path, read, refused and shown without what opens them', () => {
  const token = Buffer.alloc(24, 7)
  const text = token.toString('base64url')
  assert.deepEqual(parseWssAddress(`wss://[2001:db8::1]:443/${text}`), { host: '2001:db8::1', port: 443, token, pin: undefined })
  for (const bad of [
    `wss://a:443`,
    `wss://a:443/${text}x`,
    `wss://a:443/${text}?pin=x`,
    `wss://a:0/${text}`,
    `wss://a/${text}`,
    `wss://u@a:443/${text}`,
    `https://a:443/${text}`,
  ])
    assert.throws(
      () => parseWssAddress(bad),
      (error: unknown) => hasCode('ADDRESS_INVALID')(error) && !JSON.stringify((error as { details: unknown }).details).includes(text),
      bad,
    )
  assert.deepEqual(parseWssListenAddress(`wss://0.0.0.0:0/${text}`, token), { host: '0.0.0.0', port: 0 })
  assert.throws(() => parseWssListenAddress(`wss://0.0.0.0:0/${Buffer.alloc(24).toString('base64url')}`, token), hasCode('ADDRESS_INVALID'))
  assert.equal(withoutToken(`wss://a:443/${text}?pin=x`), 'wss://a:443')
  assert.equal(withoutToken('tcp://a:1'), 'tcp://a:1')
})

test('a ClientHello in whatever pieces and records, read the same; what is none, not', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  t.after(() => server.close())
  const arrived = new Promise<Buffer>((resolve) =>
    server.once('connection', (socket) =>
      socket.once('data', (bytes: Buffer) => {
        resolve(bytes)
        socket.destroy()
      }),
    ),
  )
  await new Promise((resolve) => server.once('listening', resolve))
  const client = connectTls({
    port: (server.address() as { port: number }).port,
    host: '127.0.0.1',
    servername: 'node.example',
    ALPNProtocols: ['icn/1', 'h2'],
  })
  client.on('error', () => {})
  const hello = await within('the hello', arrived)
  const read = readClientHello(hello)
  assert.ok(typeof read === 'object')
  assert.deepEqual([read.alpn, read.serverName, read.groups.length > 0], [['icn/1', 'h2'], 'node.example', true])
  for (let length = 0; length < hello.length; length++) assert.equal(readClientHello(hello.subarray(0, length)), 'incomplete')
  const fragments = [...hello.subarray(5)].map((byte) => Buffer.of(0x16, 3, 1, 0, 1, byte))
  assert.deepEqual(readClientHello(Buffer.concat(fragments.slice(0, 2_000))), read)
  for (const bad of ['170303', '1604', '16030100020000', '160301ffff', '160301000401ffffff', '16030100040100000000'])
    assert.equal(readClientHello(Buffer.from(bad, 'hex')), undefined)
})

test('a port that two want, shared, and free when both have gone', async () => {
  const pool = new FrontPool({ clock: systemClock })
  const first = await pool.at({ host: '127.0.0.1', port: 0 })
  const second = await pool.at(first.front.address)
  assert.equal(first.front, second.front)
  first.front.onAlpn('icn/1', () => {})
  assert.throws(() => second.front.onAlpn('icn/1', () => {}), hasCode('ADDRESS_IN_USE'))
  await first.release()
  await first.release()
  const other = new FrontPool({ clock: systemClock })
  await assert.rejects(other.at(second.front.address), hasCode('ADDRESS_IN_USE'))
  await second.release()
  await (await other.at(second.front.address)).release()
})
