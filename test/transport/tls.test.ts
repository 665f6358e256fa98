import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connect as connectTcp, createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { createSigner, publicKeyOfSeed, randomSeed } from '../../src/core/crypto/ed25519.ts'
import type { KithError } from '../../src/core/errors.ts'
import { systemRandom } from '../../src/core/random.ts'
import { checkLinkCertificate, makeLinkCertificate } from '../../src/transport/tls/certificate.ts'
import { createTlsTransport } from '../../src/transport/tls.ts'
import type { Channel } from '../../src/transport/types.ts'
import { tlsSide } from './setups/tls.ts'
import { hasCode, within } from './support.ts'
import { hugeCertificate } from './tls-huge.ts'
import { handClock, linkPem, listenTls, sendRaw, tlsClient } from './tls-support.ts'

const DAY_MS = 86_400_000
const NOW = Date.parse('2026-06-01T00:00:00Z')
const soon = () => AbortSignal.timeout(10_000)

/** An RSA certificate and key made once with openssl: `openssl req -x509 -newkey rsa:2048 -nodes -subj / -days 36500`. */
const RSA = new URL('../vectors/tls/rsa.pem', import.meta.url)

function reason(error: unknown): unknown {
  hasCode('HANDSHAKE_FAILED')(error)
  return (error as KithError).details.reason
}

test('a certificate, the documented bytes, which OpenSSL reads too', () => {
  const signer = createSigner('link', randomSeed(systemRandom))
  const der = Buffer.from(makeLinkCertificate(signer, NOW, systemRandom))
  const hex = der.toString('hex')
  assert.equal(der.length, 189)
  assert.match(
    hex,
    /^3081ba306ea0030201020210[4-7][0-9a-f]{31}300506032b65703000301e170d3236303533313233303030305a170d3236303833303030303030305a3000302a300506032b6570032100/,
  )
  assert.deepEqual(checkLinkCertificate(der, NOW), signer.publicKey)
  const seen = new X509Certificate(der)
  assert.deepEqual([seen.subject, seen.issuer, seen.subjectAltName], [undefined, undefined, undefined])
  assert.ok(seen.verify(seen.publicKey))
  assert.equal(seen.validTo, 'Aug 30 00:00:00 2026 GMT')
})

test('a certificate past 2049, written and read with four digits', () => {
  const signer = createSigner('link', randomSeed(systemRandom))
  for (const year of [2049, 2050, 2051]) {
    const now = Date.parse(`${year}-12-01T00:00:00Z`)
    const der = makeLinkCertificate(signer, now, systemRandom)
    assert.deepEqual(checkLinkCertificate(der, now), signer.publicKey)
    assert.ok(new X509Certificate(der).validTo.includes(String(year + 1)))
  }
})

test('a certificate at the wrong time, refused by its dates', () => {
  const der = makeLinkCertificate(createSigner('link', randomSeed(systemRandom)), NOW, systemRandom)
  const at = (ms: number) => {
    try {
      checkLinkCertificate(der, NOW + ms)
      return 'good'
    } catch (error) {
      return reason(error)
    }
  }
  assert.deepEqual([-4_199_000, -4_201_000, 90 * DAY_MS - 1_000, 90 * DAY_MS].map(at), ['good', 'not-yet', 'good', 'expired'])
})

test('a certificate with any byte changed, refused', () => {
  const der = makeLinkCertificate(createSigner('link', randomSeed(systemRandom)), NOW, systemRandom)
  for (let at = 0; at < der.length; at++) {
    const changed = Uint8Array.from(der)
    changed[at] = (changed[at] as number) ^ 1
    assert.throws(() => checkLinkCertificate(changed, NOW), hasCode('HANDSHAKE_FAILED'), `byte ${at}`)
  }
  for (const length of [0, 1, 100, 188]) assert.throws(() => checkLinkCertificate(der.subarray(0, length), NOW), hasCode('HANDSHAKE_FAILED'))
  assert.throws(() => checkLinkCertificate(Buffer.concat([der, Buffer.of(0)]), NOW), hasCode('HANDSHAKE_FAILED'))
})

test('two sides with the hybrid group, a link that says so at both ends; the binding is the exporter', async (t) => {
  const [a, b] = [tlsSide(), tlsSide()]
  const door = await listenTls(t, b)
  const near = await a.transport.dial(`tls://127.0.0.1:${door.port}`, { expect: b.key, signal: soon() })
  t.after(() => near.close())
  near.send(Buffer.from('x'))
  const far =
    door.channels[0] ??
    (await within(
      'the channel',
      poll(() => door.channels[0]),
    ))
  await within('a message', far.receive())
  assert.deepEqual([near.postQuantum, far.postQuantum], [true, true])
  assert.equal(far.channelBinding.kind, 'tls-exporter')
  assert.match(far.path.address, /^tls:\/\/127\.0\.0\.1:\d+$/)
})

test('a client without the hybrid group, a link that is not called post-quantum', async (t) => {
  const b = tlsSide()
  const door = await listenTls(t, b)
  const client = tlsClient(t, door.port, { ...linkPem(Date.now()), ecdhCurve: 'X25519' })
  await within('the handshake', once(client, 'secureConnect'))
  assert.equal(
    (
      await within(
        'the channel',
        poll(() => door.channels[0]),
      )
    ).postQuantum,
    false,
  )
})

test('another key than the expected one, WRONG_KEY before a byte is written', async (t) => {
  const [a, b, c] = [tlsSide(), tlsSide(), tlsSide()]
  const door = await listenTls(t, b)
  await assert.rejects(a.transport.dial(`tls://127.0.0.1:${door.port}`, { expect: c.key, signal: soon() }), hasCode('WRONG_KEY'))
  // The dialer is gone as soon as it knows; whether its last words still left, the other side gets nothing to read.
  const outcome = await within(
    'the outcome',
    poll<unknown>(() => door.channels[0]?.receive().catch((error) => error) ?? door.failures[0]),
  )
  hasCode('LINK_LOST', 'HANDSHAKE_FAILED')(await within('the end', Promise.resolve(outcome)))
})

test('one’s own key, SELF_DIAL at both ends', async (t) => {
  const seed = randomSeed(systemRandom)
  const transport = createTlsTransport({ seed, clock: systemClock, random: systemRandom })
  const key = publicKeyOfSeed(seed)
  await assert.rejects(transport.dial('tls://127.0.0.1:1', { expect: key, signal: soon() }), hasCode('SELF_DIAL'))
  const door = await listenTls(t, { transport, key })
  const failed = door.failed()
  tlsClient(t, door.port, linkPem(Date.now(), seed.clone()))
  hasCode('SELF_DIAL')(await failed)
})

for (const [what, options, expected] of [
  ['of TLS 1.2', () => ({ ...linkPem(Date.now()), maxVersion: 'TLSv1.2' as const }), 'ERR_SSL_UNSUPPORTED_PROTOCOL'],
  ['without a certificate', () => ({}), 'missing'],
  ['with a certificate that has expired', () => linkPem(Date.now() - 100 * DAY_MS), 'expired'],
  ['with a certificate of the future', () => linkPem(Date.now() + 2 * DAY_MS), 'not-yet'],
  ['of another protocol', () => ({ ...linkPem(Date.now()), ALPNProtocols: ['h2', 'http/1.1'] }), 'ERR_SSL_NO_APPLICATION_PROTOCOL'],
  ['without any protocol', () => ({ ...linkPem(Date.now()), ALPNProtocols: [] }), 'alpn'],
] as const) {
  test(`a client ${what}, refused`, async (t) => {
    const door = await listenTls(t, tlsSide())
    const failed = door.failed()
    tlsClient(t, door.port, options())
    const found = reason(await failed)
    // The library names an alert that it sends as it names one that it gets, or not at all.
    assert.ok(found === expected || (expected.startsWith('ERR_SSL') && found === 'closed'), String(found))
    assert.equal(door.channels.length, 0)
  })
}

test('a client with an RSA certificate, refused: it has no signature that is spoken here', async (t) => {
  const door = await listenTls(t, tlsSide())
  const failed = door.failed()
  const rsa = await readFile(RSA, 'utf8')
  tlsClient(t, door.port, { cert: rsa, key: rsa })
  assert.equal(reason(await failed), 'missing')
})

test('a client that shows two certificates, refused', async (t) => {
  const door = await listenTls(t, tlsSide())
  const failed = door.failed()
  const [first, second] = [linkPem(Date.now()), linkPem(Date.now())]
  tlsClient(t, door.port, { cert: first.cert + second.cert, key: first.key })
  assert.equal(reason(await failed), 'chain')
})

test('a client with a huge certificate, refused before a channel', async (t) => {
  const door = await listenTls(t, tlsSide())
  const failed = door.failed()
  tlsClient(t, door.port, hugeCertificate())
  assert.equal(reason(await failed), 'form')
})

test('a session that is offered again, not resumed', async (t) => {
  const door = await listenTls(t, tlsSide())
  const credentials = linkPem(Date.now())
  const first = tlsClient(t, door.port, credentials)
  const sessions: Buffer[] = []
  first.on('session', (session: Buffer) => sessions.push(session))
  await within(
    'the channel',
    poll(() => door.channels[0]),
  )
  door.channels[0]?.send(Buffer.from('hello'))
  first.resume()
  await within(
    'a session',
    poll(() => sessions[0]),
  )
  const second = tlsClient(t, door.port, { ...credentials, session: sessions[0] as Buffer })
  await within('the handshake', once(second, 'secureConnect'))
  assert.equal(second.isSessionReused(), false)
  await within(
    'the second channel',
    poll(() => door.channels[1]),
  )
})

test('a ClientHello of one byte at a time, answered; one that stops, ended at its deadline', async (t) => {
  const clock = handClock(Date.now())
  const seed = randomSeed(systemRandom)
  const side = { transport: createTlsTransport({ seed, clock, random: systemRandom }), key: publicKeyOfSeed(seed) }
  const door = await listenTls(t, side)
  const hello = await captureHello(t)
  const slow = sendRaw(
    t,
    door.port,
    [...hello].map((byte) => Buffer.of(byte)),
    { end: true },
  )
  // A ServerHello, then the end since nothing follows.
  assert.equal((await slow)[0], 0x16)
  const socket = connectTcp({ port: door.port, host: '127.0.0.1' })
  t.after(() => socket.destroy())
  await once(socket, 'connect')
  socket.write(hello.subarray(0, 40))
  const closed = once(socket, 'close')
  const ticking = setInterval(() => clock.advance(1_000), 1)
  t.after(() => clearInterval(ticking))
  await within('the end of the silent one', closed)
})

test('plain bytes at a port where only links listen, closed without a word', async (t) => {
  const door = await listenTls(t, tlsSide())
  assert.equal((await sendRaw(t, door.port, [Buffer.from('GET / HTTP/1.1\r\n\r\n')])).length, 0)
})

test('a certificate near its end, replaced for the next connection', async (t) => {
  const clock = handClock()
  const seeds = [randomSeed(systemRandom), randomSeed(systemRandom)] as const
  const [a, b] = seeds.map((seed) => ({ transport: createTlsTransport({ seed, clock, random: systemRandom }), key: publicKeyOfSeed(seed) }))
  assert.ok(a !== undefined && b !== undefined)
  const door = await listenTls(t, b)
  for (let month = 0; month < 5; month++) {
    const near: Channel = await a.transport.dial(`tls://127.0.0.1:${door.port}`, { expect: b.key, signal: soon() })
    near.close()
    await within(
      'the channel',
      poll(() => door.channels[month]),
    )
    clock.advance(31 * DAY_MS)
  }
})

test('lengths of messages, refused beyond the preface and in longer forms than needed', async (t) => {
  const door = await listenTls(t, tlsSide())
  for (const [bytes, code] of [
    [[0x81, 0x80, 0x02], 'FRAME_TOO_LARGE'],
    [[0x80, 0x00], 'STREAM_CORRUPT'],
    [[0xff, 0xff, 0xff], 'STREAM_CORRUPT'],
  ] as const) {
    const before = door.channels.length
    const client = tlsClient(t, door.port, linkPem(Date.now()))
    await within('the handshake', once(client, 'secureConnect'))
    client.write(Buffer.from(bytes))
    const channel = await within(
      'the channel',
      poll(() => door.channels[before]),
    )
    await assert.rejects(within('the refusal', channel.receive()), hasCode(code))
  }
})

/** What comes with a turn of the event loop. */
async function poll<T>(look: () => T | undefined): Promise<T> {
  for (;;) {
    const found = look()
    if (found !== undefined) return found
    await new Promise(setImmediate)
  }
}

/** The first bytes that a TLS client of ours sends. */
async function captureHello(t: TestContext): Promise<Buffer> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const arrived = once(server, 'connection')
  tlsClient(t, (server.address() as { port: number }).port, linkPem(Date.now()))
  const [socket] = await arrived
  const [bytes] = await once(socket, 'data')
  socket.destroy()
  server.close()
  return bytes
}
