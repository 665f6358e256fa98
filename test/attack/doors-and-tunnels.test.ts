import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { afterEach, describe, test } from 'node:test'
import type ssh2 from 'ssh2'
import { systemClock } from '../../src/core/clock.ts'
import { createSite } from '../../src/site/site.ts'
import type { SshDoorOptions } from '../../src/ssh/door.ts'
import { encodeListen, LISTEN_PROTOCOL } from '../../src/tunnel/listen-wire.ts'
import { library, login, pair, testDoor, userKey } from '../ssh/support.ts'
import { answers, freePort } from '../support/ports.ts'
import { openNodes, until } from '../tunnel/pair.ts'

/** A scanner, an SSH client with a good key, and a peer with one right ask the doors and tunnels for more. */

describe('a scanner that knows nginx', () => {
  const site = createSite({ clock: systemClock })
  const open: Duplex[] = []
  afterEach(() => {
    for (const end of open.splice(0)) end.destroy()
  })

  /** What the site says to these bytes, which need no more to be answered. */
  async function ask(bytes: string): Promise<string> {
    const [mine, theirs] = pair()
    open.push(mine, theirs)
    const place = { remoteAddress: '192.0.2.1', remotePort: 1, encrypted: true, localAddress: '192.0.2.2', localPort: 443 }
    site(theirs, { ...place, upgrade: () => false })
    mine.write(Buffer.from(bytes, 'latin1'))
    const [first] = (await once(mine, 'data')) as [Buffer]
    return first.toString('latin1')
  }

  test('waits to go on, is told so before a page and not before a refusal', async () => {
    assert.match(await ask('GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n'), /^HTTP\/1\.1 100 Continue\r\n\r\n/)
    assert.match(await ask('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n'), /^HTTP\/1\.1 405 /)
  })

  test('says two hosts or goes above the root, is refused at that line', async () => {
    assert.match(await ask('GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n'), /^HTTP\/1\.1 400 /)
    assert.match(await ask('GET /../x HTTP/1.1\r\n'), /^HTTP\/1\.1 400 /)
    assert.match(await ask('GET / HTTP/1.1\r\nHost: a..b\r\n'), /^HTTP\/1\.1 400 /)
  })

  test('sends a HEAD that is refused, gets no page', async () => {
    assert.match(await ask('HEAD / HTTX'), /^HTTP\/1\.1 400 [^<]*\r\n\r\n$/)
  })

  test('sends chunks that are none, gets no page and no next answer', async () => {
    const chunks = 'HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n'
    assert.match(await ask(`GET / ${chunks}`), /^HTTP\/1\.1 400 /)
    assert.match(await ask(`POST / ${chunks}`), /^HTTP\/1\.1 405 [^<]*Connection: close\r\n/)
  })

  test('names a condition twice, or a date that is none, is refused', async () => {
    const get = (lines: string): Promise<string> => ask(`GET / HTTP/1.1\r\nHost: a\r\n${lines}\r\n\r\n`)
    assert.match(await get('If-Match: "a"\r\nIf-Match: *'), /^HTTP\/1\.1 400 /)
    assert.match(await get('If-Unmodified-Since: yesterday'), /^HTTP\/1\.1 412 /)
    assert.match(await get('Connection: close\r\nConnection: keep-alive'), /Connection: keep-alive\r\n/)
  })
})

describe('strangers at the SSH door', { timeout: 10_000 }, () => {
  test('many connections of one address that wait, leave places for others', (t) => {
    const at = testDoor()
    t.after(() => at.door.close())
    const refused = (): number => at.lines.filter(({ fields }) => fields.reason === 'pending').length
    for (let i = 0; i < 64; i++) at.dial('192.0.2.7')
    assert.equal(refused(), 48)
    at.dial('192.0.2.8')
    assert.equal(refused(), 48)
  })

  test('new keys before login, end the connection', async (t) => {
    const at = testDoor()
    t.after(() => at.door.close())
    const client = new library.Client()
    client.on('error', () => {})
    // Rekeying is no matter of its public interface before login.
    client.once('handshake', () => (client as unknown as { _protocol: { rekey(): void } })._protocol.rekey())
    client.connect({ sock: at.dial() as never, username: 'alice', authHandler: () => {} })
    await once(client, 'close')
    assert.ok(at.lines.some(({ fields }) => fields.reason === 'keys exchanged anew before login'))
  })
})

describe('an SSH client that may listen', { timeout: 10_000 }, () => {
  let ends: (() => void)[] = []
  afterEach(() => {
    for (const end of ends.splice(0)) end()
  })

  async function loggedIn(options: Partial<SshDoorOptions>): Promise<ssh2.Client> {
    const at = testDoor(options)
    const key = userKey()
    at.identity.allow(key)
    const client = await login(at.dial(), { key })
    ends = [() => client.end(), () => at.door.close()]
    return client
  }

  test('asks, takes back and asks again at once, holds nothing when it has gone', async () => {
    const port = await freePort()
    // The rules are slow: both requests wait for them together.
    const waiting: ((allowed: boolean) => void)[] = []
    const client = await loggedIn({
      mayListen: () =>
        new Promise((resolve) => {
          waiting.push(resolve)
          if (waiting.length === 2) for (const answer of waiting) answer(true)
        }),
    })
    const settled = [
      new Promise<void>((resolve) => client.forwardIn('127.0.0.1', port, () => resolve())),
      new Promise<void>((resolve) => client.unforwardIn('127.0.0.1', port, () => resolve())),
      new Promise<void>((resolve) => client.forwardIn('127.0.0.1', port, () => resolve())),
    ]
    await Promise.all(settled)
    client.end()
    await once(client, 'close')
    for (let turn = 0; turn < 20 && (await answers(port)); turn++) await new Promise(setImmediate)
    assert.equal(await answers(port), false)
  })

  test('may not any more, listens no more and its connections end', async () => {
    let allowed = true
    let changed = (): void => {}
    const client = await loggedIn({
      mayListen: async () => allowed,
      onRules: (run) => {
        changed = run
        return () => {}
      },
    })
    client.on('tcp connection', (_info, accept) => accept().resume())
    const port = await new Promise<number>((resolve, reject) =>
      client.forwardIn('127.0.0.1', 0, (error, bound) => (error === undefined ? resolve(bound) : reject(error))),
    )
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    changed()
    assert.equal(await answers(port), true)
    allowed = false
    changed()
    await once(socket.resume(), 'close')
    assert.equal(await answers(port), false)
  })
})

test('a peer that may listen, asks for many ports in one breath, gets as many as one peer has', { timeout: 10_000 }, async (t) => {
  const nodes = await openNodes()
  t.after(() => nodes.close())
  let answered = 0
  for (let i = 0; i < 24; i++) {
    const stream = await nodes.raw('near', LISTEN_PROTOCOL)
    stream.onData = (_data, start, end) => {
      stream.consume(end - start)
      answered++
    }
    stream.onError = () => {
      answered++
    }
    stream.write(encodeListen(new Uint8Array(16).fill(i), { host: '127.0.0.1', port: 0 }))
  }
  await until(() => answered === 24)
  assert.equal(nodes.far.serving().length, 16)
})
