import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import type { AddressInfo, Socket } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { createServer } from 'node:tls'
import { KithError } from '../../src/core/errors.ts'
import { manualClock } from '../../src/core/manual-clock.ts'
import { systemRandom } from '../../src/core/random.ts'
import { type AcmeAnswer, type AcmeHttp, createAcmeHttp } from '../../src/site/acme/http.ts'
import { keyPem, makeKey, makeSelfSigned } from '../../src/site/acme/x509.ts'
import { readCertificate } from '../../src/site/certificate-file.ts'
import { type CertificateStore, createCertificateStore } from '../../src/site/certificate-store.ts'
import { type Bench, bench, certificateFor, DAY_MS, ids, looked, START } from '../site/authority.ts'
import { hasCode } from '../transport/support.ts'

/** A certificate authority that lies, and a machine on which everything goes wrong while one is asked. */

const MINUTE_MS = 60_000

/** Says something else than the authority, where `change` knows something. */
function lying({ ca }: Bench, change: (path: string, answer: AcmeAnswer) => Partial<AcmeAnswer> | undefined): AcmeHttp {
  return async (request) => {
    const answer = await ca.http(request)
    return { ...answer, ...change(request.url.slice(request.url.lastIndexOf('/') + 1), answer) }
  }
}

const changed = (answer: AcmeAnswer, more: object): Partial<AcmeAnswer> => ({
  body: Buffer.from(JSON.stringify({ ...(JSON.parse(String(answer.body)) as object), ...more })),
})

test('an authority asked for in vain after another one, the certificate of the other is not taken for its own at the next start', async (t) => {
  const at = await bench(t)
  const staging = await at.keeper({ directory: 'https://ca.example/staging/directory' })
  await looked(at.clock, staging)
  assert.equal(staging.view.source, 'acme')
  const other = { directory: 'https://ca.example/directory' }
  const wanted = await at.keeper(other)
  assert.equal(wanted.view.source, 'self-signed')
  at.ca.say.set('order', { status: 403, body: { type: 'urn:ietf:params:acme:error:rejectedIdentifier' } })
  await looked(at.clock, wanted)
  const after = await at.keeper(other)
  assert.equal(after.view.source, 'self-signed')
  at.clock.advance(after.view.nextMs - at.clock.now())
  await looked(at.clock, after)
  assert.equal((await at.keeper(other)).view.source, 'acme')
})

test('killed at every write, at most one order more, none at once, and a certificate that was got is kept', async (t) => {
  for (const last of ['state before', 'certificate', 'state after'] as const) {
    const at = await bench(t)
    const real = createCertificateStore(at.home)
    let writes = 0
    const dies = ['state before', 'certificate', 'state after'].indexOf(last)
    const end = Promise.withResolvers<never>()
    end.promise.catch(() => {})
    const store: CertificateStore = {
      ...real,
      writeCertificate: async (...args) => (writes++ < dies ? await real.writeCertificate(...args) : await end.promise),
      writeState: async (...args) => (writes++ < dies ? await real.writeState(...args) : await end.promise),
    }
    void (await at.keeper({ store })).look()
    try {
      for (let turn = 0; turn < 100_000 && writes <= dies; turn++) {
        await new Promise(setImmediate)
        if (at.clock.next !== undefined && at.clock.next <= 20_000) await at.clock.run(at.clock.next)
      }
      assert.equal(writes, dies + 1, last)
      const orders = (): number => at.ca.asked.filter((path) => path === 'order').length
      assert.equal(orders(), last === 'state before' ? 0 : 1)
      const next = await at.keeper()
      await looked(at.clock, next)
      assert.equal(orders(), 1, last)
      assert.equal(next.view.source, last === 'certificate' ? 'self-signed' : 'acme', last)
      if (last === 'certificate') assert.ok(next.view.nextMs - at.clock.now() >= 5 * MINUTE_MS - 1)
    } finally {
      end.reject(new Error('dead'))
    }
  }
})

test('a home that cannot be written to, nobody is asked for what could not be kept', async (t) => {
  const at = await bench(t)
  const full = async (): Promise<never> => {
    throw new Error('ENOSPC')
  }
  const keeper = await at.keeper({ store: { ...createCertificateStore(at.home), writeState: full, writeCertificate: full } })
  await looked(at.clock, keeper)
  assert.equal(keeper.view.error?.code, 'CERTIFICATE_FAILED')
  assert.deepEqual(at.ca.asked, [])
})

test('a certificate that cannot be kept, used all the same, not ordered anew every few minutes, and kept when it can be', async (t) => {
  const at = await bench(t)
  const real = createCertificateStore(at.home)
  let full = true
  const writeCertificate: CertificateStore['writeCertificate'] = async (certificate) => {
    if (full) throw new Error('ENOSPC')
    await real.writeCertificate(certificate)
  }
  const keeper = await at.keeper({ store: { ...real, writeCertificate } })
  const orders = (): number => at.ca.asked.filter((path) => path === 'order').length
  for (let hour = 0; hour < 30; hour++) {
    await looked(at.clock, keeper)
    assert.deepEqual([keeper.view.source, keeper.view.error?.details.reason, orders()], ['acme', 'not kept', 1])
    at.clock.advance(60 * MINUTE_MS)
  }
  // Whoever starts now has none, and does not order one at once.
  const early = await at.keeper()
  assert.equal(early.view.source, 'self-signed')
  await early.close()
  full = false
  await looked(at.clock, keeper)
  assert.equal(keeper.view.error, undefined)
  assert.deepEqual([(await at.keeper()).view.source, orders()], ['acme', 1])
})

test('closed while it asks, asked again at the next start without waiting', async (t) => {
  const at = await bench(t)
  const asked = Promise.withResolvers<void>()
  const http: AcmeHttp = ({ signal }) => {
    asked.resolve()
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  }
  const keeper = await at.keeper({ http })
  const look = keeper.look()
  await asked.promise
  await keeper.close()
  await look
  const next = await at.keeper()
  await looked(at.clock, next)
  assert.equal(next.view.source, 'acme')
})

test('a clock that was years ahead when an attempt failed or succeeded and is right again, the authority is asked when it is due', async (t) => {
  for (const works of [false, true]) {
    const at = await bench(t)
    const ahead = 20 * 365 * DAY_MS
    const http: AcmeHttp = works
      ? lying(at, (path) => {
          return path === 'cert' ? { body: Buffer.from(certificateFor(at.ca.csr(), ['a.example.org'], START, ahead + 90 * DAY_MS)) } : undefined
        })
      : at.ca.http
    at.clock.setWall(START + ahead)
    if (!works) at.ca.say.set('order', { status: 500 })
    const keeper = await at.keeper({ http })
    await looked(at.clock, keeper)
    assert.equal(keeper.view.source, works ? 'acme' : 'self-signed')
    at.clock.setWall(START + DAY_MS)
    const limit = works ? START + (2 / 3 + 1 / 30) * (ahead + 90 * DAY_MS) : at.clock.now()
    for (const one of [keeper, await at.keeper({ http })]) assert.ok(one.view.nextMs <= limit, `${works}: ${new Date(one.view.nextMs).toISOString()}`)
  }
})

test('times in the home that are none, or lie beyond all time, no reason never to ask, and a view that can be shown', async (t) => {
  const at = await bench(t)
  at.ca.say.set('order', { status: 500 })
  await looked(at.clock, await at.keeper())
  const file = join(at.home, 'certificates', 'acme.json')
  const state = JSON.parse(await readFile(file, 'utf8')) as object
  for (const change of [{ nextMs: 1e300 }, { nextMs: 8.64e15 }, { issuedMs: 1e300, nextMs: 1e300 }, { nextMs: at.clock.now() + 400 * DAY_MS }]) {
    await writeFile(file, JSON.stringify({ ...state, ...change }))
    const keeper = await at.keeper()
    assert.doesNotThrow(() => new Date(keeper.view.nextMs).toISOString())
    assert.ok(keeper.view.nextMs <= at.clock.now() + 9 * DAY_MS, JSON.stringify(change))
  }
})

test('Retry-After of nothing, of the past or of ages while an order is not ready, asked no more than once a second and no less than four times a minute', async (t) => {
  for (const header of ['0', '-5', 'Thu, 01 Jan 1970 00:00:00 GMT', '999999999', 'Fri, 31 Dec 9999 23:59:59 GMT', 'soon']) {
    const at = await bench(t)
    const http = lying(at, (path, answer) => {
      if (path === 'authz') return { ...changed(answer, { status: 'pending' }), headers: { ...answer.headers, 'retry-after': header } }
      return undefined
    })
    const start = at.clock.monotonic()
    const keeper = await at.keeper({ http })
    await looked(at.clock, keeper)
    const seconds = (at.clock.monotonic() - start) / 1_000
    const asked = at.ca.asked.filter((path) => path === 'authz').length
    assert.equal(keeper.view.error?.code, 'CERTIFICATE_FAILED')
    assert.ok(seconds <= 301, header)
    assert.ok(asked <= seconds + 2 && asked >= 20, `${header}: ${asked} in ${seconds} s`)
  }
})

test('a chain with a link that is none, not yet good for years, or good for seconds: the certificate in use stays, and no order after the other', async (t) => {
  const at = await bench(t)
  let forged: ((csr: Buffer) => string) | undefined
  const keeper = await at.keeper({
    http: lying(at, (path) => (path === 'cert' && forged !== undefined ? { body: Buffer.from(forged(at.ca.csr())) } : undefined)),
  })
  await looked(at.clock, keeper)
  const good = keeper.current
  const now = at.clock.now()
  const garbage = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
  for (const [name, make] of [
    ['chain', (csr: Buffer) => certificateFor(csr, ['a.example.org'], now, 90 * DAY_MS) + garbage],
    ['future', (csr: Buffer) => certificateFor(csr, ['a.example.org'], now + 4_000 * DAY_MS, 90 * DAY_MS)],
    ['past', (csr: Buffer) => certificateFor(csr, ['a.example.org'], now - 100 * DAY_MS, 90 * DAY_MS)],
    ['name', (csr: Buffer) => certificateFor(csr, ['b.example.org'], now, 90 * DAY_MS)],
    ['key', () => makeSelfSigned({ identifiers: ids('a.example.org'), key: makeKey(), notBefore: now, notAfter: now + DAY_MS, random: systemRandom })],
  ] as const) {
    forged = make
    await looked(at.clock, keeper, { force: true })
    assert.equal(keeper.view.error?.code, 'CERTIFICATE_FAILED', name)
    assert.equal(keeper.current, good, name)
    assert.equal((await at.keeper()).current.cert, good.cert, name)
  }
  forged = (csr) => certificateFor(csr, ['a.example.org'], at.clock.now(), 3_000)
  await looked(at.clock, keeper, { force: true })
  assert.ok(keeper.view.nextMs - at.clock.now() >= MINUTE_MS - 1)
})

test('a chain that TLS does not take, CERTIFICATE_INVALID when it is read and not when somebody comes', () => {
  const key = makeKey()
  const cert = makeSelfSigned({ identifiers: ids('a.example.org'), key, notBefore: START, notAfter: START + DAY_MS, random: systemRandom })
  for (const block of ['AAAA', '=', 'A'.repeat(60_000)])
    assert.throws(
      () => readCertificate({ key: keyPem(key), cert: `${cert}-----BEGIN CERTIFICATE-----\n${block}\n-----END CERTIFICATE-----\n` }),
      (error) => error instanceof KithError && error.code === 'CERTIFICATE_INVALID' && error.details.reason === 'cert',
    )
})

test('addresses of other machines in what an authority says, never asked', async (t) => {
  for (const evil of [
    'https://169.254.169.254/latest/meta-data',
    'https://127.0.0.1:8443/x',
    'https://[::1]/x',
    'https://printer.lan/x',
    'https://ca.example.evil.test/x',
  ]) {
    for (const [path, change] of [
      ['directory', (answer: AcmeAnswer) => changed(answer, { newOrder: evil })],
      ['directory', (answer: AcmeAnswer) => changed(answer, { newAccount: evil })],
      ['order', (answer: AcmeAnswer) => changed(answer, { authorizations: [evil] })],
      ['order', (answer: AcmeAnswer) => changed(answer, { finalize: evil })],
      ['order', (answer: AcmeAnswer) => ({ headers: { ...answer.headers, location: evil } })],
      ['authz', (answer: AcmeAnswer) => changed(answer, { challenges: [{ type: 'http-01', url: evil, token: 'tok' }] })],
      ['o1', (answer: AcmeAnswer) => changed(answer, { certificate: evil })],
    ] as const) {
      const at = await bench(t)
      const urls: string[] = []
      const http = lying(at, (asked, answer) => (asked === path ? change(answer) : undefined))
      const keeper = await at.keeper({
        http: async (request) => {
          urls.push(request.url)
          return await http(request)
        },
      })
      await looked(at.clock, keeper)
      assert.equal(keeper.view.error?.code, 'CERTIFICATE_FAILED', `${path} ${evil}`)
      assert.ok(
        urls.every((url) => new URL(url).hostname === 'ca.example'),
        `${path} ${evil}`,
      )
    }
  }
})

test('an answer that sends somewhere else, refused wherever it comes', async (t) => {
  for (const path of ['directory', 'account', 'order', 'authz', 'challenge', 'finalize', 'o1', 'cert']) {
    const at = await bench(t)
    const keeper = await at.keeper({
      http: lying(at, (asked, answer) =>
        asked === path ? { status: 302, headers: { ...answer.headers, location: 'https://ca.example/elsewhere' } } : undefined,
      ),
    })
    await looked(at.clock, keeper)
    assert.equal(keeper.view.source, 'self-signed', path)
    assert.equal(keeper.view.error?.details.status, 302, path)
  }
})

test('what an authority says is wrong, text that hides nothing and moves no cursor', async (t) => {
  const at = await bench(t)
  at.ca.say.set('order', { status: 403, body: { type: 'x', detail: `a\u009b31mb\u202ec\u2066d\u200be\u2028f${'😀'.repeat(400)}` } })
  const keeper = await at.keeper()
  await looked(at.clock, keeper)
  const { message } = keeper.view.error as KithError
  assert.match(message, /^The authority refuses: a31mbcdef😀+$/u)
  assert.ok(message.isWellFormed() && message.length < 700)
})

test('10,000 challenges, an order for a hundred thousand names or a profile without end, CERTIFICATE_FAILED', async (t) => {
  const challenge = { type: 'dns-01', url: 'https://ca.example/c', token: 't' }
  for (const [path, more] of [
    ['authz', { challenges: new Array(10_000).fill(challenge) }],
    ['order', { authorizations: new Array(100_000).fill('https://ca.example/authz') }],
    ['authz', { identifier: { type: 'dns', value: 'victim.example' } }],
    ['directory', { meta: { profiles: { ['x'.repeat(100_000)]: '' } } }],
  ] as const) {
    const at = await bench(t)
    const keeper = await at.keeper({ http: lying(at, (asked, answer) => (asked === path ? changed(answer, more) : undefined)) })
    await looked(at.clock, keeper)
    assert.equal(keeper.view.error?.code, 'CERTIFICATE_FAILED', path)
  }
})

test('answers that are none, never end or end too early, CERTIFICATE_FAILED from each and nobody waits for ever', { timeout: 10_000 }, async (t) => {
  const key = makeKey()
  const now = Date.now()
  const cert = makeSelfSigned({ identifiers: ids('127.0.0.1'), key, notBefore: now - DAY_MS, notAfter: now + DAY_MS, random: systemRandom })
  let say: (socket: Socket) => void = () => {}
  const server = createServer({ key: keyPem(key), cert }, (socket) => {
    socket.on('error', () => {})
    socket.once('data', () => say(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/directory`
  const endless = (piece: string, head: string) => (socket: Socket) => {
    socket.write(head)
    const go = (): void => {
      while (!socket.destroyed && socket.write(piece));
      socket.once('drain', go)
    }
    go()
  }
  for (const [name, answer] of [
    ['another protocol', (socket: Socket) => void socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n')],
    ['no end', (socket: Socket) => endless('A'.repeat(65_536), 'HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n')(socket)],
    ['headers without end', (socket: Socket) => endless(`X: ${'b'.repeat(1_000)}\r\n`, 'HTTP/1.1 200 OK\r\n')(socket)],
    ['cut off', (socket: Socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhel')],
    ['nothing', (socket: Socket) => void socket.destroy()],
    ['garbage', (socket: Socket) => void socket.write(Buffer.alloc(1_000, 0xff))],
  ] as const) {
    say = answer
    const http = createAcmeHttp({ clock: manualClock(START), proxies: { for: () => [] }, ca: cert, userAgent: 'test' })
    await assert.rejects(http({ method: 'GET', url, signal: new AbortController().signal }), hasCode('CERTIFICATE_FAILED'), name)
  }
  // Silence is ended by the clock, and by whoever asked.
  say = () => {}
  const clock = manualClock(START)
  const aborter = new AbortController()
  const http = createAcmeHttp({ clock, proxies: { for: () => [] }, ca: cert, userAgent: 'test' })
  const arrived = once(server, 'secureConnection')
  const silent = http({ method: 'GET', url, signal: aborter.signal })
  await arrived
  await Promise.all([clock.run(30_000), assert.rejects(silent, hasCode('CERTIFICATE_FAILED'))])
  const waiting = http({ method: 'GET', url, signal: aborter.signal })
  await once(server, 'secureConnection')
  aborter.abort(new KithError('CLOSED'))
  await assert.rejects(waiting, hasCode('CLOSED'))
})
