import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { TlsCertificate } from '../../src/transport/front/types.ts'
import { handClock } from '../transport/tls-support.ts'
import { converseRaw, openSite, siteCertificate, sitePages, temporaryFolder } from './support.ts'

const head = 'HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: now\r\n'
const get = (path: string, ...lines: readonly string[]): string =>
  `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${lines.map((line) => `${line}\r\n`).join('')}Connection: close\r\n\r\n`

/** Bytes of the real one are in test/slow/site-nginx.test.ts; here is what must hold without it. */
describe('the site', () => {
  const cleanups: (() => unknown)[] = []
  const scope = { after: (run: () => unknown) => void cleanups.push(run) } as never
  let certificate: TlsCertificate
  let port = 0
  before(async () => {
    const root = temporaryFolder(scope)
    certificate = await siteCertificate(root)
    port = (await openSite(scope, certificate, { folder: await sitePages(root) })).port
  })
  after(async () => {
    for (const run of cleanups.reverse()) await run()
  })

  const say = async (text: string): Promise<string> =>
    (await converseRaw(port, { pieces: [text], plain: false })).bytes.toString('latin1').replaceAll(/Date: [^\r]+/g, 'Date: now')
  const statusOf = async (text: string): Promise<number> => Number((await say(text)).slice(9, 12))

  test('a file, with the head of nginx in its order', async () => {
    assert.equal(
      await say(get('/page.txt', 'Range: bytes=2-5')),
      'HTTP/1.1 206 Partial Content\r\nServer: nginx/1.22.1\r\nDate: now\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n' +
        'Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\nConnection: close\r\nETag: "6553f100-36"\r\nContent-Range: bytes 2-5/54\r\n\r\npage',
    )
    assert.equal(
      await say(get('/')),
      `${head}Content-Type: text/html\r\nContent-Length: 18\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\nConnection: close\r\nETag: "6553f100-12"\r\nAccept-Ranges: bytes\r\n\r\n<h1>It works</h1>\n`,
    )
  })

  test('paths that lead out of the folder, by dots, escapes or links, never a byte from outside', async () => {
    const paths = [
      '/../secret.txt',
      '/%2e%2e/secret.txt',
      '/docs/..%2f..%2fsecret.txt',
      '/docs/../../secret.txt',
      '/..%5csecret.txt',
      '/%252e%252e/secret.txt',
      '/escape.txt',
      '/up/secret.txt',
      '/up/',
      '//etc/passwd',
      '/docs//../..//secret.txt',
    ]
    for (const path of paths) {
      const answer = await say(get(path))
      assert.match(answer, /^HTTP\/1\.1 (400|403|404) /, path)
      assert.ok(!answer.includes('not of the site'), path)
    }
    assert.equal(await statusOf(get('/alias.txt')), 200)
  })

  test('requests that are none, refused without touching a file', async () => {
    for (const [text, status] of [
      ['get / HTTP/1.1\r\n', 400],
      ['GET / HTTP/3.0\r\n', 505],
      [`GET /${'a'.repeat(9_000)} HTTP/1.1\r\n`, 414],
      [get('/', `A: ${'b'.repeat(9_000)}`), 400],
      ['GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n', 400],
      ['GET / HTTP/1.1\r\nHost: a\r\n\tfolded\r\n\r\n', 400],
      ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 400],
      ['GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n', 400],
      ['GET /page.txt\0x HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ] as const)
      assert.equal(await statusOf(text), status, text.slice(0, 40))
  })

  test('a host that would add a header to a redirect, refused', async () => {
    assert.equal(await statusOf('GET /docs HTTP/1.1\r\nHost: a\rX: y\r\nConnection: close\r\n\r\n'), 400)
    const answer = await say('GET /docs?a HTTP/1.1\r\nHost: EXAMPLE.org:99\r\nConnection: close\r\n\r\n')
    assert.ok(answer.includes(`\r\nLocation: https://example.org:${port}/docs/?a\r\n`), answer)
  })

  test('a path with bytes of a line’s end, kept out of the redirect’s head', async () => {
    const answer = await say(get('/docs%0d%0aX:%20y'))
    assert.ok(!answer.includes('\r\nX: y'))
  })

  test('a pipelined request behind a body, answered on its own', async () => {
    const answer = await say(`POST /page.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 31\r\n\r\nGET /index.html HTTP/1.1\r\n\r\nabc${get('/missing')}`)
    assert.deepEqual(answer.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 405', 'HTTP/1.1 404'])
  })

  test('a thousand requests on one connection, the last says so', async () => {
    const answer = await say('HEAD / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(1_001))
    const kept = answer.match(/Connection: [a-z-]+/g) ?? []
    assert.deepEqual([kept.length, kept[998], kept[999]], [1_000, 'Connection: keep-alive', 'Connection: close'])
  })

  test('a body of chunks that never ends in size, cut off', async () => {
    const answer = await say(`POST /page.txt HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${'f'.repeat(40)}\r\n`)
    assert.deepEqual(answer.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 405'])
  })

  test('a server of another name and no folder, one plain page', async (t) => {
    const other = await openSite(t, certificate, { server: 'nginx', clock: handClock() })
    const { bytes } = await converseRaw(other.port, { pieces: [get('/')] })
    assert.match(bytes.toString(), /^HTTP\/1\.1 200 OK\r\nServer: nginx\r\nDate: Mon, 01 Jun 2026 00:00:00 GMT\r\n[\s\S]*<h1>Welcome<\/h1>/)
    assert.equal(Number((await converseRaw(other.port, { pieces: [get('/other')] })).bytes.toString().slice(9, 12)), 404)
  })
})
