import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { inspect } from 'node:util'
import { systemClock } from '../../src/core/clock.ts'
import { createSigner, randomSeed } from '../../src/core/crypto/ed25519.ts'
import { KithError } from '../../src/core/errors.ts'
import { manualClock } from '../../src/core/manual-clock.ts'
import { systemRandom } from '../../src/core/random.ts'
import { connectThrough, parseProxy, proxyRoute } from '../../src/transport/proxy.ts'
import { createTcpTransport } from '../../src/transport/tcp.ts'
import type { Channel } from '../../src/transport/types.ts'
import { listening, scripted, smallConnect, smallSocks } from '../support/proxies.ts'
import { tcpSide } from './setups/tcp.ts'
import { hasCode, within } from './support.ts'

const soon = () => AbortSignal.timeout(10_000)
const through = (proxies: readonly string[], host = 'db.example', port = 5432) =>
  connectThrough(proxies.map(parseProxy), { host, port, signal: soon(), clock: systemClock })

/** The error it ends with; its code and what it was about. */
async function ends(promise: Promise<unknown>): Promise<string> {
  const error = await within(
    'the refusal',
    promise.then(
      () => undefined,
      (thrown: unknown) => thrown,
    ),
  )
  assert.ok(error instanceof KithError, String(error))
  return `${error.code} ${error.details.reason ?? ''}`
}

async function echo(t: TestContext): Promise<number> {
  return await listening(t, (socket) => {
    socket.write('hello ')
    socket.pipe(socket)
  })
}

test('proxy URLs, read', () => {
  const read = (text: string) => {
    const proxy = parseProxy(text)
    return [proxy.scheme, proxy.host, proxy.port, proxy.credentials?.user, proxy.credentials?.password]
  }
  assert.deepEqual(read('socks5://127.0.0.1:9050'), ['socks5', '127.0.0.1', 9050, undefined, undefined])
  assert.deepEqual(read('socks5h://proxy.example'), ['socks5', 'proxy.example', 1080, undefined, undefined])
  assert.deepEqual(read('HTTP://proxy.example/'), ['http', 'proxy.example', 80, undefined, undefined])
  assert.deepEqual(read('http://[2001:db8::1]:3128'), ['http', '2001:db8::1', 3128, undefined, undefined])
  assert.deepEqual(read('socks5://me:p%40ss%3Aword@proxy:1'), ['socks5', 'proxy', 1, 'me', 'p@ss:word'])
  assert.deepEqual(read('http://me@proxy:1'), ['http', 'proxy', 1, 'me', ''])
  assert.deepEqual(read('http://me:a:b@proxy:1'), ['http', 'proxy', 1, 'me', 'a:b'])
})

test('proxy URLs that are none, ADDRESS_INVALID without the text', () => {
  const bad = ['', 'proxy:1080', 'socks4://a:1', 'https://a:1', 'socks5://', 'socks5://:1', 'socks5://a:', 'socks5://a:0', 'socks5://a:65536', 'socks5://a b:1']
  bad.push(
    'socks5://[::1',
    'socks5://[127.0.0.1]:1',
    'socks5://[fe80::1%25eth0]:1',
    'socks5://a:1/path',
    'socks5://a:1?x',
    'socks5://u:%zz@a:1',
    'socks5://:p@a:1',
  )
  bad.push('socks5://u%0a:p@a:1', `socks5://${'u'.repeat(256)}:p@a:1`, `socks5://u:${'p'.repeat(256)}@a:1`, `http://${'a'.repeat(254)}:1`, 'http://u%3a:p@a:1')
  for (const text of bad) assert.throws(() => parseProxy(text), hasCode('ADDRESS_INVALID'), text)
  assert.throws(
    () => parseProxy('socks9://user:hunter2@a:1'),
    (error: Error) => !inspect(error).includes('hunter2'),
  )
})

test('credentials of a proxy, in no text form of it', () => {
  const proxy = parseProxy('socks5://user:hunter2@proxy.example:1')
  for (const text of [inspect(proxy, { depth: 9, showHidden: true }), JSON.stringify({ proxy }), String(proxy)]) {
    assert.doesNotMatch(text, /hunter2|user/)
  }
  assert.equal(`${proxy}`, 'socks5://proxy.example:1')
})

test('a SOCKS5 proxy and an HTTP proxy in a chain, names asked for at the proxies, first bytes of the target kept', async (t) => {
  const target = await echo(t)
  const last = await smallConnect(t, () => ({ host: '127.0.0.1', port: target }), 'second:pw2')
  const first = await smallSocks(t, () => ({ host: '127.0.0.1', port: last.port }), 'first:pw1')
  const socket = await within('the chain', through([`socks5://first:pw1@127.0.0.1:${first.port}`, 'http://second:pw2@inner.proxy.invalid:3128'], 'db.invalid'))
  t.after(() => socket.destroy())
  assert.deepEqual(first.asked, ['inner.proxy.invalid:3128'])
  assert.deepEqual(last.asked, ['db.invalid:5432'])
  socket.end('world')
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  assert.equal(text, 'hello world')
})

test('addresses, sent to a SOCKS5 proxy as addresses and not as text', async (t) => {
  const asked: string[] = []
  for (const host of ['192.0.2.7', '2001:db8::ff', '::ffff:192.0.2.1']) {
    const proxy = await scripted(t, [Uint8Array.of(5, 0), Uint8Array.of(5, 0, 0, 4, ...new Uint8Array(18)), undefined])
    const socket = await through([`socks5://127.0.0.1:${proxy.port}`], host)
    socket.destroy()
    asked.push(proxy.heard().toString('hex'))
  }
  assert.deepEqual(asked, [
    '05010005010001c00002071538',
    '0501000501000420010db80000000000000000000000ff1538',
    '0501000501000400000000000000000000ffffc00002011538',
  ])
  const http = await scripted(t, [Buffer.from('HTTP/1.1 204 No Content\r\n\r\n'), undefined])
  const socket = await through([`http://127.0.0.1:${http.port}`], '2001:db8::1')
  socket.destroy()
  assert.match(http.heard().toString(), /^CONNECT \[2001:db8::1\]:5432 HTTP\/1\.1\r\nHost: \[2001:db8::1\]:5432\r\n\r\n$/)
})

test('what a SOCKS5 proxy answers, told apart by code and reason', async (t) => {
  const cases: readonly (readonly [readonly (readonly number[] | undefined)[], string])[] = [
    [[[4, 0]], 'PROXY_INVALID version'],
    [[[5, 0xff]], 'PROXY_AUTH credentials-missing'],
    [[[5, 2]], 'PROXY_INVALID method'],
    [[[5, 1]], 'PROXY_INVALID method'],
    [[[5]], 'PROXY_UNREACHABLE closed'],
    [
      [
        [5, 0],
        [4, 0],
      ],
      'PROXY_INVALID version',
    ],
    [
      [
        [5, 0],
        [5, 1],
      ],
      'ADDRESS_UNREACHABLE general-failure',
    ],
    [
      [
        [5, 0],
        [5, 2, 0, 1, 0, 0, 0, 0, 0, 0],
      ],
      'PROXY_REFUSED ruleset',
    ],
    [
      [
        [5, 0],
        [5, 3],
      ],
      'ADDRESS_UNREACHABLE network-unreachable',
    ],
    [
      [
        [5, 0],
        [5, 4],
      ],
      'ADDRESS_UNREACHABLE host-unreachable',
    ],
    [
      [
        [5, 0],
        [5, 5],
      ],
      'ADDRESS_UNREACHABLE connection-refused',
    ],
    [
      [
        [5, 0],
        [5, 6],
      ],
      'ADDRESS_UNREACHABLE ttl-expired',
    ],
    [
      [
        [5, 0],
        [5, 7],
      ],
      'PROXY_REFUSED command-not-supported',
    ],
    [
      [
        [5, 0],
        [5, 8],
      ],
      'PROXY_REFUSED address-type-not-supported',
    ],
    [
      [
        [5, 0],
        [5, 0xf0],
      ],
      'ADDRESS_UNREACHABLE onion-not-found',
    ],
    [
      [
        [5, 0],
        [5, 99],
      ],
      'PROXY_REFUSED reply-99',
    ],
    [
      [
        [5, 0],
        [5, 0, 1, 1],
      ],
      'PROXY_INVALID reserved',
    ],
    [
      [
        [5, 0],
        [5, 0, 0, 2],
      ],
      'PROXY_INVALID address-type',
    ],
    [
      [
        [5, 0],
        [5, 0, 0, 3, 4, 0, 0],
      ],
      'PROXY_UNREACHABLE closed',
    ],
  ]
  for (const [answers, expected] of cases) {
    const port = await listening(t, (socket) => {
      let at = 0
      socket.on('data', () => {
        const answer = answers[at++]
        if (answer !== undefined) socket.write(Uint8Array.from(answer))
        if (at >= answers.length) socket.end()
      })
    })
    assert.equal(await ends(through([`socks5://127.0.0.1:${port}`])), expected, JSON.stringify(answers))
  }
  const wrong = await scripted(t, [Uint8Array.of(5, 2), Uint8Array.of(1, 7)])
  assert.equal(await ends(through([`socks5://u:p@127.0.0.1:${wrong.port}`])), 'PROXY_AUTH credentials-wrong')
  assert.equal(wrong.heard().toString('hex'), '050202000101750170')
  const strange = await scripted(t, [Uint8Array.of(5, 2), Uint8Array.of(5, 0)])
  assert.equal(await ends(through([`socks5://u:p@127.0.0.1:${strange.port}`])), 'PROXY_INVALID authentication-version')
})

test('what an HTTP proxy answers, decided by the three digits alone', async (t) => {
  const cases: readonly (readonly [string, string])[] = [
    ['HTTP/1.1 502 Bad gateway, try 200\r\n\r\n', 'ADDRESS_UNREACHABLE status-502'],
    ['HTTP/1.1 403 not 200\r\nServer: x\r\n\r\n', 'PROXY_REFUSED status-403'],
    ['HTTP/1.1 407 \r\nProxy-Authenticate: Basic realm="x"\r\n\r\n', 'PROXY_AUTH status-407'],
    ['HTTP/1.0 401 Unauthorized\r\n\r\n', 'PROXY_AUTH status-401'],
    ['HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n', 'PROXY_REFUSED status-301'],
    ['HTTP/1.1 101 Switching\r\n\r\n', 'PROXY_REFUSED status-101'],
    ['HTTP/2 200 OK\r\n\r\n', 'PROXY_INVALID status-line'],
    ['HTTP/1.1 2000 OK\r\n\r\n', 'PROXY_INVALID status-line'],
    ['HTTP/1.1  200 OK\r\n\r\n', 'PROXY_INVALID status-line'],
    ['SSH-2.0-OpenSSH_9.2\r\n', 'PROXY_INVALID status-line'],
    ['HTTP/1.1 200 OK\n\n', 'PROXY_INVALID line-end'],
    ['HTTP/1.1 200 OK\r\nno colon\r\n\r\n', 'PROXY_INVALID header'],
    ['HTTP/1.1 200 OK\r\na: b\0c\r\n\r\n', 'PROXY_INVALID header'],
    [`HTTP/1.1 200 OK\r\na: ${'b'.repeat(8_192)}\r\n\r\n`, 'PROXY_INVALID head-too-long'],
    ['HTTP/1.1 100 Continue\r\n\r\n'.repeat(400), 'PROXY_INVALID head-too-long'],
  ]
  for (const [answer, expected] of cases) {
    const proxy = await scripted(t, [Buffer.from(answer)])
    assert.equal(await ends(through([`http://127.0.0.1:${proxy.port}`])), expected, answer.slice(0, 60))
  }
  const interim = await scripted(t, [Buffer.from('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 299 Fine\r\nTransfer-Encoding: chunked\r\n\r\nrest')])
  const socket = await through([`http://127.0.0.1:${interim.port}`])
  t.after(() => socket.destroy())
  assert.equal(String((await within('the rest', once(socket, 'data')))[0]), 'rest')
})

test('a proxy that says nothing, or is not there, PROXY_UNREACHABLE; a caller that gives up, at once', async (t) => {
  const silent = parseProxy(`socks5://127.0.0.1:${await listening(t, () => {})}`)
  const clock = manualClock()
  const late = ends(connectThrough([silent], { host: 'a.example', port: 1, signal: soon(), clock, timeoutMs: 5_000 }))
  while (clock.pending > 1) await new Promise(setImmediate)
  clock.advance(5_000)
  assert.equal(await late, 'PROXY_UNREACHABLE no answer')

  const closed = await scripted(t, [undefined])
  assert.equal(await ends(through([`http://127.0.0.1:${closed.port}`])), 'PROXY_UNREACHABLE closed')
  assert.equal(await ends(through(['socks5://127.0.0.1:1'])), 'PROXY_UNREACHABLE ECONNREFUSED')

  const stop = new AbortController()
  const waiting = connectThrough([silent], { host: 'a.example', port: 1, signal: stop.signal, clock: systemClock })
  stop.abort(new KithError('ABORTED'))
  assert.equal(await ends(waiting), 'ABORTED ')
})

test('a second proxy that is not there, PROXY_UNREACHABLE with its name', async (t) => {
  const socks = await scripted(t, [Buffer.from([5, 0]), Buffer.from([5, 5, 0, 1, 0, 0, 0, 0, 0, 0])])
  const http = await scripted(t, [Buffer.from('HTTP/1.1 503 no\r\n\r\n')])
  for (const [first, reason] of [
    [`socks5://127.0.0.1:${socks.port}`, 'connection-refused'],
    [`http://127.0.0.1:${http.port}`, 'status-503'],
  ] as const) {
    await assert.rejects(through([first, 'http://second.example:3128']), (error: unknown) => {
      assert.ok(error instanceof KithError)
      assert.equal(error.code, 'PROXY_UNREACHABLE')
      assert.deepEqual(error.details, { proxy: 'http://second.example:3128', reason })
      assert.equal(error.message, `The proxy http://second.example:3128 cannot be reached through ${first} (${reason}).`)
      return true
    })
  }
})

test('an onion address without a proxy, refused and never asked of a resolver', async () => {
  assert.equal(await ends(through([], 'expyuzz4wqqyqhjn.onion')), 'ADDRESS_UNREACHABLE onion')
  const { transport, key } = tcpSide()
  await assert.rejects(
    transport.dial('tcp://expyuzz4wqqyqhjn.ONION:1', { expect: key, signal: soon() }),
    (error: KithError) => error.details.reason === 'onion',
  )
})

test('local addresses past the proxies, names always through them', () => {
  const proxies = [parseProxy('socks5://127.0.0.1:9050')]
  const route = proxyRoute(proxies, (address) => address.startsWith('127.') || address === '::1')
  for (const host of ['127.0.0.1', 'localhost', 'LOCALHOST', '::1']) assert.deepEqual(route.for(host), [], host)
  for (const host of ['localhost.example', '192.0.2.1', 'x.onion', '127.0.0.1.example']) assert.equal(route.for(host), proxies, host)
})

test('a link through a chain of proxies, both ends authenticated', async (t) => {
  const far = tcpSide()
  const arrived = Promise.withResolvers<Channel>()
  const server = await far.transport.listen('tcp://127.0.0.1:0', arrived.resolve)
  t.after(() => server.close())
  const port = Number(server.addresses[0]?.split(':').at(-1))
  const last = await smallSocks(t, () => ({ host: '127.0.0.1', port }))
  const first = await smallConnect(t, () => ({ host: '127.0.0.1', port: last.port }))
  const proxies = [parseProxy(`http://127.0.0.1:${first.port}`), parseProxy('socks5://second.invalid')]
  const signer = createSigner('link', randomSeed(systemRandom))
  const transport = createTcpTransport({ signer, clock: systemClock, random: systemRandom, proxies: proxyRoute(proxies, () => false) })
  const channel = await within('the link', transport.dial('tcp://peer.onion:4433', { expect: far.key, signal: soon() }))
  t.after(() => channel.close())
  const other = await within('the other end', arrived.promise)
  t.after(() => other.close())
  assert.deepEqual(last.asked, ['peer.onion:4433'])
  channel.send(Buffer.from('through'))
  assert.equal(Buffer.from(await other.receive({ signal: soon() })).toString(), 'through')
})
