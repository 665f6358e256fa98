import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync, verify, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { chmod, writeFile } from 'node:fs/promises'
import { type IncomingMessage, request } from 'node:http'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { KithError } from '../../src/core/errors.ts'
import { manualClock } from '../../src/core/manual-clock.ts'
import { systemRandom } from '../../src/core/random.ts'
import { AccountKey } from '../../src/site/acme/account-key.ts'
import { challengeName, parseIdentifier } from '../../src/site/acme/identifiers.ts'
import { httpResponder, tlsResponder } from '../../src/site/acme/responders.ts'
import { keyPem, makeKey, makeSelfSigned } from '../../src/site/acme/x509.ts'
import { readCertificate } from '../../src/site/certificate-file.ts'
import type { AcmeState, CertificateStore, KeptCertificate } from '../../src/site/certificate-store.ts'
import { hasCode } from '../transport/support.ts'
import { bench, DAY_MS, ids, looked, START } from './authority.ts'

const MINUTE_MS = 60_000

function selfSigned(names: readonly string[], change: Partial<Parameters<typeof makeSelfSigned>[0]> = {}): { key: string; cert: string } {
  const key = makeKey()
  const dates = { notBefore: START - DAY_MS, notAfter: START + 90 * DAY_MS }
  return { key: keyPem(key), cert: makeSelfSigned({ identifiers: names.map(parseIdentifier), key, random: systemRandom, ...dates, ...change }) }
}

test('names and addresses, in one spelling, with the server names of their challenges', () => {
  assert.deepEqual(ids('Node.Example.ORG', '192.0.2.1', '2001:DB8:0:0::1'), [
    { type: 'dns', value: 'node.example.org' },
    { type: 'ip', value: '192.0.2.1' },
    { type: 'ip', value: '2001:db8::1' },
  ])
  assert.deepEqual(ids('a.example.org', '192.0.2.1', '2001:db8::1').map(challengeName), [
    'a.example.org',
    '1.2.0.192.in-addr.arpa',
    '1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa',
  ])
  for (const bad of ['', 'localhost', '*.example.org', 'a..b', '-a.org', 'a.org.', 'a b.org', '1.2.3', 'fe80::1%eth0', 'ä.example', `${'a'.repeat(64)}.org`]) {
    assert.throws(() => parseIdentifier(bad), hasCode('CONFIG_INVALID'), bad)
  }
})

test('a certificate and its key, read: names, dates; what does not fit, CERTIFICATE_INVALID by its reason and without the key', () => {
  const made = selfSigned(['a.example.org', '2001:db8::1'])
  const read = readCertificate({ ...made, identifiers: ids('a.example.org', '2001:db8::1'), now: START })
  assert.deepEqual(read.names, ['a.example.org', '2001:DB8:0:0:0:0:0:1'])
  assert.deepEqual([read.notBefore, read.notAfter], [START - DAY_MS, START + 90 * DAY_MS])
  const refused = (reason: string, options: Partial<Parameters<typeof readCertificate>[0]>) =>
    assert.throws(
      () => readCertificate({ ...made, ...options }),
      (error: unknown) =>
        error instanceof KithError && error.code === 'CERTIFICATE_INVALID' && error.details.reason === reason && !JSON.stringify(error).includes('PRIVATE'),
      reason,
    )
  refused('mismatch', { key: selfSigned(['a.example.org']).key })
  refused('key', { key: 'nonsense' })
  refused('cert', { cert: '' })
  refused('cert', { cert: made.key })
  refused('names', { identifiers: ids('b.example.org') })
  refused('names', { identifiers: ids('192.0.2.1') })
  refused('dates', { now: START + 91 * DAY_MS })
  refused('cert', { cert: made.cert.repeat(17) })
  const encrypted = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    privateKeyEncoding: { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
  refused('key', { key: encrypted.privateKey })
})

test('the account key: signatures that its public half verifies, nothing but P-256, the thumbprint of RFC 7638', () => {
  const key = makeKey()
  const account = new AccountKey(key)
  const jws = JSON.parse(account.sign({ url: 'https://ca.example/x', nonce: 'n' }, { a: 1 })) as Record<'protected' | 'payload' | 'signature', string>
  const signature = Buffer.from(jws.signature, 'base64url')
  assert.equal(signature.length, 64)
  assert.ok(verify('sha256', Buffer.from(`${jws.protected}.${jws.payload}`), { key: createPublicKey(key), dsaEncoding: 'ieee-p1363' }, signature))
  const { jwk, ...header } = JSON.parse(Buffer.from(jws.protected, 'base64url').toString()) as { jwk: object }
  assert.deepEqual(header, { alg: 'ES256', nonce: 'n', url: 'https://ca.example/x' })
  assert.deepEqual(Object.keys(jwk), ['crv', 'kty', 'x', 'y'])
  assert.doesNotMatch(JSON.stringify(jws), new RegExp(String(key.export({ format: 'jwk' }).d)))
  assert.equal(account.authorization('tok'), `tok.${account.thumbprint}`)
  assert.throws(() => new AccountKey(generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey), hasCode('KEY_INVALID'))
  assert.throws(() => AccountKey.fromPem('x'), hasCode('KEY_INVALID'))
})

test('challenges, answered only while they are open, and only for who asks for the name', async (t) => {
  const clock = manualClock(START)
  const tls = tlsResponder({ clock, random: systemRandom })
  const [identifier] = ids('A.example.org')
  const end = await tls.offer({ identifier: identifier as never, token: 't', authorization: 't.thumb' })
  const { cert } = tls.certificateFor('a.EXAMPLE.org') as { cert: string }
  assert.match(new X509Certificate(cert).subjectAltName ?? '', /DNS:a\.example\.org/)
  assert.ok(new X509Certificate(cert).raw.includes(Buffer.from('06082b0601050507011f0101ff', 'hex')), 'the extension is critical')
  for (const name of ['b.example.org', undefined, '']) assert.equal(tls.certificateFor(name), undefined)
  await end()
  assert.equal(tls.certificateFor('a.example.org'), undefined)

  const http = httpResponder({ host: '127.0.0.1', port: 0 })
  const ends = [await http.offer({ identifier: identifier as never, token: 'one', authorization: 'one.thumb' })]
  ends.push(await http.offer({ identifier: identifier as never, token: 'two', authorization: 'two.thumb' }))
  const port = http.port as number
  const ask = async (path: string, method = 'GET'): Promise<readonly [number | undefined, string]> => {
    const asked = request({ host: '127.0.0.1', port, path, method, agent: false }).end()
    const [response] = (await once(asked, 'response')) as [IncomingMessage]
    let body = ''
    for await (const chunk of response) body += String(chunk)
    return [response.statusCode, body]
  }
  assert.deepEqual(await ask('/.well-known/acme-challenge/one'), [200, 'one.thumb'])
  for (const path of ['/', '/.well-known/acme-challenge/', '/.well-known/acme-challenge/three', '/.well-known/acme-challenge/../one'])
    assert.equal((await ask(path))[0], 404, path)
  assert.equal((await ask('/.well-known/acme-challenge/one', 'POST'))[0], 404)
  for (const close of ends) await close()
  await assert.rejects(ask('/'), /ECONNREFUSED/)
  const taken = await listeningElsewhere(t)
  await assert.rejects(
    httpResponder({ host: '127.0.0.1', port: taken }).offer({ identifier: identifier as never, token: 'x', authorization: 'y' }),
    hasCode('CERTIFICATE_FAILED'),
  )
})

async function listeningElsewhere(t: TestContext): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return (server.address() as { port: number }).port
}

test('a certificate, got once: no question at the next start, one at two thirds of its life, none in between', async (t) => {
  const { clock, ca, keeper, outcomes } = await bench(t)
  const first = await keeper()
  assert.equal(first.view.source, 'self-signed')
  await looked(clock, first)
  assert.equal(first.view.error, undefined)
  assert.equal(first.view.source, 'acme')
  const { cert } = first.current
  const questions = ca.asked.length
  const second = await keeper()
  await looked(clock, second)
  assert.equal(second.current.cert, cert)
  assert.equal(second.current, second.current)
  clock.advance(59 * DAY_MS)
  await looked(clock, second)
  assert.equal(ca.asked.length, questions)
  // Two thirds, and half of the jitter of a thirtieth.
  clock.advance(3 * DAY_MS)
  await Promise.all([looked(clock, second), looked(clock, second), looked(clock, second)])
  assert.notEqual(second.current.cert, cert)
  assert.equal(ca.asked.filter((path) => path === 'finalize').length, 2)
  assert.deepEqual(outcomes, ['issued', 'issued'])
})

test('renewed by itself on a running node, and no timer left when it is closed', async (t) => {
  const { clock, ca, keeper, outcomes } = await bench(t)
  // Nothing here waits for a disk while the clock runs on.
  let state: AcmeState | undefined
  let kept: KeptCertificate | undefined
  const store: CertificateStore = {
    readCertificate: async () => kept,
    writeCertificate: async (certificate) => {
      kept = certificate
    },
    readState: async () => state,
    writeState: async (next) => {
      state = next
    },
    readAccount: async () => undefined,
    writeAccount: async () => {},
  }
  const running = await keeper({ store })
  running.start()
  while (outcomes.length < 2) {
    await clock.run(60 * MINUTE_MS)
    await new Promise(setImmediate)
  }
  const days = (clock.now() - START) / DAY_MS
  assert.ok(days > 60 && days < 75, String(days))
  assert.equal(ca.asked.filter((path) => path === 'finalize').length, 2)
  await running.close()
  assert.equal(clock.pending, 0)
})

test('a failure, asked again after 5, 15, 45 minutes, and no sooner after a restart; the authority’s own delay counts', async (t) => {
  const { clock, ca, keeper, outcomes } = await bench(t)
  const problem = (type: string) => ({ type: `urn:ietf:params:acme:error:${type}`, detail: 'no\u001b[31m such thing' })
  let current = await keeper()
  const pauses: number[] = []
  for (let tries = 0; tries < 3; tries++) {
    ca.say.set('order', { status: 403, body: problem('rejectedIdentifier') })
    await looked(clock, current)
    assert.equal(current.view.error?.code, 'CERTIFICATE_FAILED')
    assert.equal(current.view.error.details.type, 'rejectedIdentifier')
    assert.equal(current.view.error.message, 'The authority refuses: no[31m such thing')
    pauses.push(Math.round((current.view.nextMs - clock.now()) / MINUTE_MS))
    current = await keeper()
    const before = ca.asked.length
    await looked(clock, current)
    assert.equal(ca.asked.length, before, 'a restart asks no sooner')
    clock.advance(current.view.nextMs - clock.now())
  }
  assert.deepEqual(pauses, [6, 17, 51])
  ca.say.set('order', { status: 429, body: problem('rateLimited'), headers: { 'retry-after': '90000' } })
  await looked(clock, current)
  assert.ok(current.view.nextMs - clock.now() >= 90_000_000)
  clock.advance(current.view.nextMs - clock.now())
  ca.say.set('order', { status: 429, body: problem('rateLimited'), headers: { 'retry-after': new Date(clock.now() + 2 * DAY_MS).toUTCString() } })
  await looked(clock, current)
  assert.ok(current.view.nextMs - clock.now() >= 2 * DAY_MS - 1_000)
  assert.ok(outcomes.every((outcome) => outcome === 'failed'))
})

test('a nonce that is not taken, tried again with the next one; ten of them, CERTIFICATE_FAILED', async (t) => {
  const { clock, ca, keeper } = await bench(t)
  const bad = { status: 400, body: { type: 'urn:ietf:params:acme:error:badNonce' } }
  ca.say.set('account', bad)
  const first = await keeper()
  await looked(clock, first)
  assert.equal(first.view.error, undefined)
  const stubborn = await keeper({
    identifiers: ids('b.example.org'),
    http: async (request) => {
      const answer = await ca.http(request)
      return request.url.endsWith('order') ? { ...answer, status: 400, body: Buffer.from(JSON.stringify(bad.body)) } : answer
    },
  })
  await looked(clock, stubborn)
  assert.equal(stubborn.view.error?.details.type, 'badNonce')
})

test('answers without the form of RFC 8555, CERTIFICATE_FAILED, and nothing of them is used', async (t) => {
  const { clock, ca, keeper } = await bench(t)
  const cases: readonly (readonly [string, { status?: number; headers?: Record<string, string>; body?: unknown }])[] = [
    ['directory', { body: '<html>' }],
    ['directory', { body: { newNonce: 1 } }],
    ['directory', { status: 500, body: 'oops' }],
    ['account', { status: 201 }],
    ['order', { status: 201, headers: { location: 'https://ca.example/o1' }, body: { status: 'pending', authorizations: 'x', finalize: 'y' } }],
    ['authz', { body: { status: 'pending', identifier: { type: 'dns', value: 'other.example.org' }, challenges: [] } }],
    ['authz', { body: { status: 'pending', identifier: { type: 'dns', value: 'a.example.org' }, challenges: [{ type: 'dns-01', url: 'u', token: 't' }] } }],
    [
      'authz',
      { body: { status: 'pending', identifier: { type: 'dns', value: 'a.example.org' }, challenges: [{ type: 'http-01', url: 'u', token: '../../etc' }] } },
    ],
    ['o1', { body: { status: 'invalid', authorizations: [], finalize: 'f', error: { type: 'urn:ietf:params:acme:error:caa', detail: 'CAA' } } }],
    ['cert', { body: 'no certificate' }],
    ['cert', { body: selfSigned(['a.example.org']).cert }],
  ]
  for (const [path, answer] of cases) {
    ca.say.set(path, answer)
    const one = await keeper()
    await looked(clock, one, { force: true })
    assert.equal(one.view.error?.code, 'CERTIFICATE_FAILED', path)
    assert.equal(one.view.source, 'self-signed', path)
    await one.close()
  }
})

test('addresses get the short-lived kind where it is offered; a kind that is not offered, CERTIFICATE_FAILED', async (t) => {
  const { clock, ca, keeper } = await bench(t)
  await looked(clock, await keeper({ identifiers: ids('192.0.2.1') }))
  assert.ok(ca.asked.includes('profile=shortlived'))
  const other = await keeper({ identifiers: ids('b.example.org'), profile: 'tlsserver' })
  await looked(clock, other)
  assert.match(other.view.error?.message ?? '', /does not offer the profile tlsserver/)
})

test('a locked vault, looked at every minute, nobody is asked and no failure is counted; unlocked, a certificate', async (t) => {
  const { clock, ca, keeper, outcomes } = await bench(t)
  let locked = true
  const account = new AccountKey(makeKey())
  const one = await keeper({
    accountKey: async () => {
      if (locked) throw new KithError('VAULT_LOCKED')
      return account
    },
  })
  one.start()
  for (let minute = 0; minute < 5; minute++) {
    await clock.run(MINUTE_MS)
    await new Promise(setImmediate)
  }
  assert.equal(one.view.error?.code, 'VAULT_LOCKED')
  assert.deepEqual(ca.asked, [])
  locked = false
  while (!outcomes.includes('issued')) {
    await clock.run(MINUTE_MS / 10)
    await new Promise(setImmediate)
  }
  assert.deepEqual([one.view.source, one.view.error], ['acme', undefined])
})

test('an authority or names other than those of the kept certificate, a new one is asked for', async (t) => {
  const { clock, keeper } = await bench(t)
  await looked(clock, await keeper())
  assert.equal((await keeper()).view.source, 'acme')
  assert.equal((await keeper({ identifiers: ids('a.example.org', 'b.example.org') })).view.source, 'self-signed')
  assert.equal((await keeper({ directory: 'https://other.example/directory' })).view.source, 'self-signed')
})

test('a clock far ahead of the authority’s, no certificate after the other', async (t) => {
  const { clock, ca, keeper } = await bench(t)
  ca.lifeMs = 90 * DAY_MS
  const one = await keeper({
    http: async (request) => {
      const wall = clock.now()
      clock.setWall(wall - 80 * DAY_MS)
      try {
        return await ca.http(request)
      } finally {
        clock.setWall(wall)
      }
    },
  })
  await looked(clock, one)
  assert.equal(one.view.source, 'acme')
  const questions = ca.asked.length
  await looked(clock, one)
  assert.equal(ca.asked.length, questions)
  assert.ok(one.view.nextMs - clock.now() >= DAY_MS - 1)
})

test('files of the home that are damaged or open to others: forgotten, or refused', async (t) => {
  const { clock, home, keeper } = await bench(t)
  await looked(clock, await keeper())
  const folder = join(home, 'certificates')
  await writeFile(join(folder, 'acme.json'), '{"directory":')
  assert.equal((await keeper()).view.source, 'self-signed')
  await chmod(join(folder, 'acme.pem'), 0o644)
  await assert.rejects(keeper(), hasCode('HOME_UNSAFE'))
})
