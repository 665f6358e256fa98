import assert from 'node:assert/strict'
import { createHash, createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { SignatureV4 } from '@smithy/signature-v4'
import fc from 'fast-check'
import { utf8 } from '../../src/core/bytes.ts'
import { Secret } from '../../src/core/secret.ts'
import { bodyDigest, presignRequest, type SignableRequest, type SigningScope, signRequest, UNSIGNED_BODY } from '../../src/vault/credentials/sigv4.ts'

interface Vector {
  readonly name: string
  readonly request: string
  /** Absent in some later editions of the suite. */
  readonly canonical?: string
  readonly toSign?: string
  readonly authorization: string
}
interface Suite {
  readonly region: string
  readonly service: string
  readonly accessKey: string
  readonly secretKey: string
  readonly sessionToken: string
  readonly time: string
  readonly cases: readonly Vector[]
}

const suite = JSON.parse(readFileSync(new URL('../vectors/aws-sigv4.json', import.meta.url), 'utf8')) as Suite
const secretKey = Secret.take(utf8(suite.secretKey))
const sessionToken = Secret.take(utf8(suite.sessionToken))
const { accessKey } = suite
const scope: SigningScope = { region: suite.region, service: suite.service, nowMs: Date.parse(suite.time) }

/** A request as its text stands in the suite: what is before the last word of the first line is the target, spaces included. */
function parse(text: string): SignableRequest & { readonly body: string } {
  const [head = '', body = ''] = text.split('\n\n')
  const [first = '', ...lines] = head.split('\n')
  const [, method = '', target = ''] = /^(\S+) (.*) HTTP\/1.1$/.exec(first) ?? []
  const headers: [string, string][] = []
  for (const line of lines) {
    const last = headers.at(-1)
    if (/^\s/.test(line) && last !== undefined) last[1] += `\n${line}`
    else headers.push([line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)])
  }
  return { method, target, headers, body, bodySha256: bodyDigest(utf8(body)) }
}

/** The suite signs what the request has, and its two forms of a session token differ in whether it is under the signature. */
function signedAsSuite(vector: Vector, unsigned: readonly string[] = []): ReturnType<typeof signRequest> {
  const request = parse(unsigned.length > 0 ? vector.request.replace('charset=utf-8', 'charset=utf8') : vector.request)
  const withToken = vector.name === 'post-sts-header-before' || vector.name === 'post-sts-header-after'
  const key = { accessKey, secretKey, ...(withToken ? { sessionToken } : {}) }
  return signRequest(request, key, { ...scope, signSessionToken: vector.name !== 'post-sts-header-after', unsignedHeaders: new Set(unsigned) })
}

/** In these the published request has a header, and another spelling of `utf8`, that the published signature was made without: both are reproduced, each for itself. */
const LENGTH_ADDED: ReadonlySet<string> = new Set(['post-x-www-form-urlencoded', 'post-x-www-form-urlencoded-parameters'])

for (const vector of suite.cases) {
  test(`request of the published suite, ${vector.name}, is signed as published`, () => {
    const signed = signedAsSuite(vector)
    if (vector.canonical !== undefined) assert.equal(signed.canonicalRequest, vector.canonical)
    const compared = LENGTH_ADDED.has(vector.name) ? signedAsSuite(vector, ['content-length']) : signed
    if (vector.toSign !== undefined) assert.equal(compared.stringToSign, vector.toSign)
    assert.equal(compared.signature, vector.authorization.slice(-64))
    if (!LENGTH_ADDED.has(vector.name)) assert.equal(Object.fromEntries(signed.headers).authorization, vector.authorization)
  })
}

test('published suite, counted, has all of its cases', () => {
  assert.equal(suite.cases.length, 31)
})

class Sha256 {
  readonly #state: { update(data: Uint8Array): unknown; digest(): Buffer }
  constructor(secret?: unknown) {
    this.#state = secret === undefined ? createHash('sha256') : createHmac('sha256', secret as Uint8Array)
  }
  update(data: unknown): void {
    this.#state.update(typeof data === 'string' ? Buffer.from(data) : (data as Uint8Array))
  }
  async digest(): Promise<Uint8Array> {
    return this.#state.digest()
  }
}

function oracle(service: string): SignatureV4 {
  const plain = { accessKeyId: accessKey, secretAccessKey: suite.secretKey }
  return new SignatureV4({
    service,
    region: suite.region,
    sha256: Sha256 as never,
    credentials: plain,
    uriEscapePath: service !== 's3',
    applyChecksum: service === 's3',
  })
}

const letters = 'abzAZ019-_.~ !$&\'()*+,;=:@%/"<>|ä€😀'
const word = fc.string({ unit: fc.constantFrom(...letters), minLength: 1, maxLength: 8 })
const segment = word.map((text) =>
  encodeURIComponent(text.replaceAll('/', '')).replace(/[!'()*]/g, (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`),
)
const arbitraryRequest = fc.record({
  method: fc.constantFrom('GET', 'PUT', 'POST', 'DELETE'),
  path: fc.array(fc.oneof(segment, fc.constantFrom('.', '..', '')), { maxLength: 5 }).map((parts) => `/${parts.join('/')}`),
  query: fc.uniqueArray(fc.tuple(word, fc.oneof(word, fc.constant(''))), { maxLength: 5, selector: ([name]) => name }),
  headers: fc.uniqueArray(fc.tuple(fc.stringMatching(/^x-[a-z]{1,8}$/), fc.stringMatching(/^[!-~]([ -~]{0,12}[!-~])?$/)), {
    maxLength: 4,
    selector: ([name]) => name,
  }),
  body: fc.string({ maxLength: 40 }),
})

for (const service of ['execute-api', 's3'] as const) {
  test(`requests of any form, signed for ${service}, have the signature that the independent implementation gives`, async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryRequest, async ({ method, path, query, headers, body }) => {
        const signedByOracle = await oracle(service).sign(
          {
            ...{ method, protocol: 'https:', hostname: 'example.org', path, body },
            query: Object.fromEntries(query),
            headers: { host: 'example.org', ...Object.fromEntries(headers) },
          } as never,
          { signingDate: new Date(scope.nowMs) },
        )
        const pairs = query.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join('&')
        const signed = signRequest(
          {
            method,
            target: query.length === 0 ? path : `${path}?${pairs}`,
            headers: [['Host', 'example.org'], ...headers],
            bodySha256: bodyDigest(utf8(body)),
          },
          { accessKey, secretKey },
          { ...scope, service },
        )
        assert.equal(Object.fromEntries(signed.headers).authorization, (signedByOracle as unknown as { headers: Record<string, string> }).headers.authorization)
      }),
      { numRuns: 300 },
    )
  })
}

test('requests of any form, presigned, have the signature that the independent implementation gives', async () => {
  await fc.assert(
    fc.asyncProperty(arbitraryRequest, fc.integer({ min: 1, max: 604_800 }), async ({ path, query }, expiresS) => {
      const request = { method: 'GET', protocol: 'https:', hostname: 'example.org', path, query: Object.fromEntries(query), headers: { host: 'example.org' } }
      const other = (await oracle('execute-api').presign(request as never, { signingDate: new Date(scope.nowMs), expiresIn: expiresS })) as {
        query: Record<string, string>
      }
      const pairs = query.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join('&')
      const target = query.length === 0 ? path : `${path}?${pairs}`
      const signed = presignRequest(
        { method: 'GET', target, headers: [['host', 'example.org']] },
        { accessKey, secretKey },
        { ...scope, service: 'execute-api', expiresS },
      )
      assert.equal(signed.signature, other.query['X-Amz-Signature'])
      assert.ok(signed.target.endsWith(`X-Amz-Signature=${signed.signature}`))
    }),
    { numRuns: 150 },
  )
})

test('session token, signed and presigned, is under the signature unless the service wants it beside', () => {
  const request = { method: 'GET', target: '/', headers: [['Host', 'example.org'] as const] }
  const key = { accessKey, secretKey, sessionToken }
  const inside = presignRequest(request, key, { ...scope, expiresS: 60 })
  const beside = presignRequest(request, key, { ...scope, expiresS: 60, signSessionToken: false })
  assert.match(inside.canonicalRequest, /X-Amz-Security-Token/)
  assert.doesNotMatch(beside.canonicalRequest, /X-Amz-Security-Token/)
  assert.match(beside.target, /X-Amz-Security-Token=/)
  assert.notEqual(inside.signature, beside.signature)
})

test('unsigned body, signed for S3, is announced as such', () => {
  const signed = signRequest(
    { method: 'PUT', target: '/b/k', headers: [['host', 's3.example']], bodySha256: UNSIGNED_BODY },
    { accessKey, secretKey },
    { ...scope, service: 's3' },
  )
  assert.equal(Object.fromEntries(signed.headers)['x-amz-content-sha256'], UNSIGNED_BODY)
  assert.ok(signed.canonicalRequest.endsWith(`\n${UNSIGNED_BODY}`))
})

test('header that the request claims for itself, signed, is replaced', () => {
  const headers = [['host', 'example.org'] as const, ['X-Amz-Date', '19700101T000000Z'] as const]
  const signed = signRequest({ method: 'GET', target: '/', headers }, { accessKey, secretKey }, scope)
  assert.match(signed.canonicalRequest, /x-amz-date:20150830T123600Z\n/)
})

test('request without a host, with a line break in a name, or living too long, is a mistake of the caller', () => {
  const key = { accessKey, secretKey }
  assert.throws(() => signRequest({ method: 'GET', target: '/', headers: [] }, key, scope), TypeError)
  assert.throws(
    () =>
      signRequest(
        {
          method: 'GET',
          target: '/',
          headers: [
            ['host', 'a'],
            ['x\nb', '1'],
          ],
        },
        key,
        scope,
      ),
    TypeError,
  )
  for (const expiresS of [0, 604_801, 1.5]) {
    assert.throws(() => presignRequest({ method: 'GET', target: '/', headers: [['host', 'a']] }, key, { ...scope, expiresS }), TypeError)
  }
})

test('wiped secret key, used to sign, is refused', () => {
  const gone = Secret.take(utf8('x'))
  gone.wipe()
  assert.throws(() => signRequest({ method: 'GET', target: '/', headers: [['host', 'a']] }, { accessKey, secretKey: gone }, scope), { code: 'SECRET_WIPED' })
})
