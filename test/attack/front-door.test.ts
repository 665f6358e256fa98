import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { duplexPair } from 'node:stream'
import { test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { systemClock } from '../../src/core/clock.ts'
import { systemRandom } from '../../src/core/random.ts'
import { keyPem, makeKey, makeSelfSigned } from '../../src/site/acme/x509.ts'
import { ACME_TLS_PROTOCOL, acmeChallenge } from '../../src/transport/front/acme-challenge.ts'
import { ClientHelloReader } from '../../src/transport/front/client-hello.ts'
import { openSite } from '../site/support.ts'
import { until } from '../tunnel/pair.ts'

/** A stranger at the port that links, SSH and a site share. */

test('a hello that comes a byte at a time, each byte in a record of its own, costs no more for every byte than the first', () => {
  const message = Buffer.alloc(16_384)
  message[0] = 1
  message.writeUIntBE(16_380, 1, 3)
  const records = Buffer.concat([...message.subarray(0, 5_000)].map((byte) => Buffer.from([0x16, 3, 1, 0, 1, byte])))
  let looks = 0
  const counted = (bytes: Buffer): Buffer =>
    new Proxy(bytes, {
      get(target, name) {
        looks++
        const value: unknown = Reflect.get(target, name, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  const reader = new ClientHelloReader()
  for (let length = 1; length <= records.length; length++) assert.equal(reader.read(counted(records.subarray(0, length))), 'incomplete')
  assert.ok(looks < 20 * records.length, `${looks} looks at ${records.length} bytes`)
})

test('handshakes that pretend to be of an authority and stop half-way, are counted by where they come from', { timeout: 10_000 }, async (t) => {
  const key = makeKey()
  const now = Date.now()
  const names = [{ type: 'dns', value: 'node.example' }] as const
  const certificate = { key: keyPem(key), cert: makeSelfSigned({ identifiers: names, key, notBefore: now, notAfter: now + 86_400_000, random: systemRandom }) }
  const { front, port } = await openSite(t, certificate)
  const challenge = acmeChallenge((name) => (name === 'node.example' ? certificate : undefined), systemClock)
  front.onAlpn(ACME_TLS_PROTOCOL, challenge, { keepsPlace: true })
  const [mine, theirs] = duplexPair()
  const client = connectTls({ socket: mine, servername: 'node.example', ALPNProtocols: [ACME_TLS_PROTOCOL], rejectUnauthorized: false })
  client.on('error', () => {})
  t.after(() => client.destroy())
  const [hello] = (await once(theirs, 'data')) as [Buffer]
  const sockets: Socket[] = []
  const settled: Promise<void>[] = []
  t.after(() => {
    for (const socket of sockets) socket.destroy()
  })
  for (let i = 0; i < 140; i++) {
    const socket = connectTcp(port, '127.0.0.1')
    socket.on('error', () => {})
    sockets.push(socket)
    // Each is answered with the first flight of a handshake, or closed.
    settled.push(
      new Promise((resolve) => {
        socket.on('data', () => resolve())
        socket.on('close', () => resolve())
      }),
    )
    socket.write(hello)
  }
  await Promise.all(settled)
  assert.equal(front.connections, 128)
  for (const socket of sockets) socket.destroy()
  await until(() => front.connections === 0)
})
