import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { converseRaw, type Exchange, openSite, siteCertificate, sitePages, temporaryFolder } from '../site/support.ts'
import { freePort, reachable } from '../support/ports.ts'

/** Times of both servers, so that silence ends within the test. */
const [HEAD_MS, IDLE_MS, LINGER_MS] = [2_000, 3_000, 1_000]
const missing = spawnSync('nginx', ['-v']).error !== undefined ? 'nginx is not installed' : false

const get = (path: string, ...headers: readonly string[]): string =>
  `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${headers.map((line) => `${line}\r\n`).join('')}Connection: close\r\n\r\n`
const tag = '"6553f100-12"'
const modified = 'Tue, 14 Nov 2023 22:13:20 GMT'

const EXCHANGES: Readonly<Record<string, Exchange>> = {
  'GET of the root': { pieces: [get('/')] },
  'GET of what is not there': { pieces: [get('/missing')] },
  'GET of what is not there, from Chrome': { pieces: [get('/missing', 'User-Agent: Mozilla/5.0 Chrome/120.0')] },
  HEAD: { pieces: [get('/page.txt').replace('GET', 'HEAD')] },
  'HEAD of what is not there': { pieces: [get('/missing').replace('GET', 'HEAD')] },
  'POST on a file': { pieces: ['POST /page.txt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc'] },
  'POST on what is not there, then GET': {
    pieces: ['POST /missing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc', get('/')],
  },
  'POST in chunks, then GET': {
    pieces: ['POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n', '0\r\n\r\n', get('/')],
  },
  'POST of more than is taken': { pieces: ['POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\nabc'], end: true },
  'an unknown method': { pieces: [get('/').replace('GET', 'FETCH')] },
  'an unknown method on what is not there': { pieces: [get('/missing').replace('GET', 'DELETE')] },
  'a method in small letters': { pieces: [get('/').replace('GET', 'get')] },
  TRACE: { pieces: [get('/').replace('GET', 'TRACE')] },
  CONNECT: { pieces: ['CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n'] },
  'CONNECT of a path': { pieces: [get('/').replace('GET', 'CONNECT')] },
  'OPTIONS of everything': { pieces: ['OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n'] },
  'OPTIONS of a file': { pieces: [get('/page.txt').replace('GET', 'OPTIONS')] },
  'version 2.0': { pieces: ['GET / HTTP/2.0\r\nHost: localhost\r\n\r\n'] },
  'version 1.7': { pieces: [get('/').replace('1.1', '1.7')] },
  'version 0.9 written out': { pieces: ['GET / HTTP/0.9\r\n\r\n'] },
  'version 1.0': { pieces: ['GET / HTTP/1.0\r\n\r\n'] },
  'version 1.0 that keeps': { pieces: ['GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n', get('/page.txt')] },
  'no version': { pieces: ['GET /page.txt\r\n'] },
  'no version, missing': { pieces: ['GET /missing\r\n'] },
  'no version, POST': { pieces: ['POST /\r\n'] },
  'garbage without a line': { pieces: [Buffer.from([1, 2, 3, 4])] },
  'garbage in the version': { pieces: ['GET / HTTQ/1.1\r\n'] },
  'garbage behind the version': { pieces: ['GET / HTTP/1.1x\r\n'] },
  'a preface of HTTP/2': { pieces: ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'] },
  'empty lines before': { pieces: [`\r\n\r\n\n${get('/')}`] },
  'lines without CR': { pieces: [get('/').replaceAll('\r\n', '\n')] },
  'a line of 8,300 bytes': { pieces: [get(`/${'a'.repeat(8_300)}`)] },
  'a line of 8,100 bytes': { pieces: [get(`/${'a'.repeat(8_100)}`)] },
  'a name of 300 bytes': { pieces: [get(`/${'a'.repeat(300)}`)] },
  'an oversized header': { pieces: [get('/', `Cookie: ${'a'.repeat(9_000)}`)] },
  'a large header': { pieces: [get('/', `Cookie: ${'a'.repeat(8_000)}`)] },
  'many large headers': { pieces: [get('/', ...Array.from({ length: 5 }, (_, i) => `Cookie${i}: ${'a'.repeat(7_900)}`))] },
  'four large headers': { pieces: [get('/', ...Array.from({ length: 4 }, (_, i) => `Cookie${i}: ${'a'.repeat(7_900)}`))] },
  'a request in pieces': { pieces: [...get('/')] },
  'a header without a colon': { pieces: [get('/', 'nothing')] },
  'a header that begins with a space': { pieces: [get('/', ' folded: x')] },
  'a header with a space in its name': { pieces: [get('/', 'a b: x')] },
  'a header with a zero byte': { pieces: [get('/', 'a: x\0y')] },
  'no host': { pieces: ['GET / HTTP/1.1\r\n\r\n'] },
  'an empty host': { pieces: ['GET / HTTP/1.1\r\nHost:\r\n\r\n'] },
  'two hosts': { pieces: ['GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'] },
  'a host with a slash': { pieces: ['GET / HTTP/1.1\r\nHost: a/b\r\n\r\n'] },
  'an absolute request': { pieces: [get('https://example.org:8443/page.txt')] },
  'an absolute request without a path': { pieces: [get('http://example.org')] },
  'two lengths': { pieces: ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx'] },
  'a bad length': { pieces: ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n'] },
  'length and chunks': { pieces: ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n'] },
  'another coding': { pieces: ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n'] },
  'chunks in version 1.0': { pieces: ['POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'] },
  'keep-alive and pipelining': { pieces: [`GET /page.txt HTTP/1.1\r\nHost: localhost\r\n\r\nGET /missing HTTP/1.1\r\nHost: localhost\r\n\r\n${get('/')}`] },
  'GET that waits to go on': { pieces: [get('/', 'Expect: 100-continue', 'Content-Length: 3'), 'abc'] },
  'POST that waits to go on': { pieces: ['POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n'], end: true },
  'GET of what is not there that waits to go on': { pieces: [get('/missing', 'Expect: 100-continue')] },
  'chunks that are none': { pieces: ['GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n'] },
  'POST in chunks that are none': { pieces: ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n'] },
  'a chunk with many zeros': { pieces: [`GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${'0'.repeat(30)}\r\n\r\n`], end: true },
  'a refused HEAD': { pieces: ['HEAD / HTTP/1.1\r\nHost: a b\r\n\r\n'] },
  'a refused HEAD without a line': { pieces: ['HEAD / HTTX'] },
  'keep-alive, then close': { pieces: [get('/', 'Connection: keep-alive')] },
  'close, then keep-alive': { pieces: ['GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n'], end: true },
  'POST of an old browser': { pieces: ['POST / HTTP/1.1\r\nHost: a\r\nUser-Agent: Mozilla/4.0 (compatible; MSIE 6.0)\r\n\r\n'] },
  'a page that is missing, for Opera': { pieces: [get('/missing', 'User-Agent: Mozilla/4.0 (compatible; MSIE 6.0) Opera')] },
  'the same condition twice': { pieces: [get('/', 'If-None-Match: "x"', 'If-None-Match: *')] },
  'two hosts, and silence': { pieces: ['GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n'] },
  'a path above the root, and silence': { pieces: ['GET /../x HTTP/1.1\r\n'] },
  'a host with two dots': { pieces: [get('/docs').replace('localhost', 'a..b')] },
  'a host of one dot': { pieces: [get('/docs').replace('localhost', '.')] },
  'a host with half a bracket': { pieces: [get('/docs').replace('localhost', '[::1')] },
  'a length of 63 bits': { pieces: [`GET / HTTP/1.1\r\nHost: a\r\nContent-Length: ${2n ** 63n - 1n}\r\n\r\n`], end: true },
  'a length of 64 bits': { pieces: [`GET / HTTP/1.1\r\nHost: a\r\nContent-Length: ${2n ** 63n}\r\n\r\n`], end: true },
  'a length and another coding': { pieces: ['GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: gzip\r\n\r\n'], end: true },
  'an empty range': { pieces: [get('/page.txt', 'Range: bytes=')] },
  'a range of 63 bits': { pieces: [get('/page.txt', `Range: bytes=2-${2n ** 63n - 1n}`)] },
  'a range of 64 bits': { pieces: [get('/page.txt', `Range: bytes=2-${2n ** 63n}`)] },
  'a date with one digit': { pieces: [get('/', 'If-Modified-Since: Tue, 4 Nov 2023 22:13:20 GMT')] },
  'a date of another day': { pieces: [get('/', 'If-Modified-Since: x, 14 Nov 2023 22:13:20 and more')] },
  'a date of asctime': { pieces: [get('/', 'If-Modified-Since: Tue Nov 14 22:13:20 2023')] },
  'a date that is none': { pieces: [get('/', 'If-Unmodified-Since: yesterday')] },
  'one range': { pieces: [get('/page.txt', 'Range: bytes=2-5')] },
  'the last bytes': { pieces: [get('/page.txt', 'Range: bytes=-5')] },
  'from a byte on': { pieces: [get('/page.txt', 'Range: bytes=50-')] },
  'a range behind the end': { pieces: [get('/page.txt', 'Range: bytes=100-200')] },
  'a range that is none': { pieces: [get('/page.txt', 'Range: bytes=x')] },
  'a range in other units': { pieces: [get('/page.txt', 'Range: lines=1-2')] },
  'two ranges': { pieces: [get('/page.txt', 'Range: bytes=0-1,4-5')] },
  'ranges longer than the file': { pieces: [get('/page.txt', 'Range: bytes=0-,0-')] },
  'a range of an empty file': { pieces: [get('/empty.bin', 'Range: bytes=0-1')] },
  'a range if the tag fits': { pieces: [get('/index.html', 'Range: bytes=0-1', `If-Range: ${tag}`)] },
  'a range if the tag does not fit': { pieces: [get('/index.html', 'Range: bytes=0-1', 'If-Range: "x"')] },
  'If-Modified-Since, the same': { pieces: [get('/', `If-Modified-Since: ${modified}`)] },
  'If-Modified-Since, later': { pieces: [get('/', 'If-Modified-Since: Wed, 15 Nov 2023 22:13:20 GMT')] },
  'If-None-Match, the same': { pieces: [get('/', `If-None-Match: ${tag}`)] },
  'If-None-Match, weak and in a list': { pieces: [get('/', `If-None-Match: "a", W/${tag}`)] },
  'If-None-Match, another': { pieces: [get('/', 'If-None-Match: "x"')] },
  'If-None-Match, another, of the same date': { pieces: [get('/', 'If-None-Match: "x"', `If-Modified-Since: ${modified}`)] },
  'If-Match, another': { pieces: [get('/', 'If-Match: "x"')] },
  'If-Unmodified-Since, earlier': { pieces: [get('/', 'If-Unmodified-Since: Mon, 13 Nov 2023 22:13:20 GMT')] },
  'a folder': { pieces: [get('/docs/')] },
  'a folder without its slash': { pieces: [get('/docs')] },
  'a folder without its slash, with a query': { pieces: [get('/docs?a=b')] },
  'a folder without an index': { pieces: [get('/empty/')] },
  'a folder that is not there': { pieces: [get('/nothing/')] },
  'a file as a folder': { pieces: [get('/page.txt/')] },
  'a file below a file': { pieces: [get('/page.txt/x')] },
  'a dot-file': { pieces: [get('/.hidden/note')] },
  'a folder of dots': { pieces: [get('/.hidden')] },
  'a path above the root': { pieces: [get('/../etc/passwd')] },
  'a path above the root in escapes': { pieces: [get('/%2e%2e/etc/passwd')] },
  'a path above the root with an escaped slash': { pieces: [get('/docs/..%2f..%2fetc/passwd')] },
  'a path that goes up and stays': { pieces: [get('/docs/../page.txt')] },
  'a path with dots and slashes': { pieces: [get('//./docs/.//../docs/./index.html')] },
  'a path that ends in dots': { pieces: [get('/docs/..')] },
  'a path with an escaped question mark': { pieces: [get('/page.txt%3fx')] },
  'a path with a zero byte': { pieces: [get('/page.txt%00')] },
  'a path with a broken escape': { pieces: [get('/%zz')] },
  'a path with a fragment': { pieces: [get('/page.txt#x')] },
  'a path with a space in escapes': { pieces: [get('/with%20space.svg')] },
  'a path with a plus': { pieces: [get('/with+space.svg')] },
  'a large file': { pieces: [get('/large.bin')] },
  'silence before a request': { pieces: [] },
  'silence in a request': { pieces: ['GET / HT'] },
  'silence in the headers': { pieces: ['GET / HTTP/1.1\r\nHost: l'] },
  'silence behind a request': { pieces: ['GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'] },
  'an end before a request': { pieces: [], end: true },
  'an end in a request': { pieces: ['GET / HT'], end: true },
  'an end behind a request': { pieces: [get('/').replace('close', 'keep-alive')], end: true },
  'plain HTTP': { pieces: [get('/')], plain: true },
  'plain HTTP without a host': { pieces: ['GET / HTTP/1.1\r\n\r\n'], plain: true },
  'plain HTTP without a version': { pieces: ['GET /\r\n'], plain: true },
  'plain garbage': { pieces: [Buffer.from([5, 1, 0])], plain: true },
  'plain garbage with a high bit': { pieces: [Buffer.alloc(40, 0x99)], plain: true },
  'plain SSH': { pieces: ['SSH-2.0-OpenSSH_9.2\r\n'], plain: true },
  'plain silence': { pieces: [], plain: true },
  'a TLS record that is none': { pieces: [Buffer.from('1603010004deadbeef', 'hex')], plain: true },
}

describe('the site and nginx, asked the same', { skip: missing }, () => {
  let nginxPort = 0
  let sitePort = 0
  const cleanups: (() => unknown)[] = []

  before(async () => {
    const scope = { after: (run: () => unknown) => void cleanups.push(run) }
    const root = temporaryFolder(scope as never)
    const certificate = await siteCertificate(root)
    const folder = await sitePages(root)
    nginxPort = await freePort()
    await startNginx(root, folder, certificate, nginxPort, (run) => cleanups.push(run), HEAD_MS)
    const times = { headMs: HEAD_MS, idleMs: IDLE_MS, lingerMs: LINGER_MS }
    sitePort = (await openSite(scope as never, certificate, { folder, times, firstBytesMs: HEAD_MS })).port
  })
  after(async () => {
    for (const run of cleanups.reverse()) await run()
  })

  for (const [name, exchange] of Object.entries(EXCHANGES)) {
    test(`${name}, the same bytes and the same end`, { concurrency: true }, async () => {
      const [real, ours] = await Promise.all([converseRaw(nginxPort, exchange), converseRaw(sitePort, exchange)])
      assert.equal(show(ours.bytes, sitePort), show(real.bytes, nginxPort))
      assert.equal(ours.ended, real.ended)
    })
  }

  test('nmap names both alike', { skip: spawnSync('nmap', ['-V']).error !== undefined ? 'nmap is not installed' : false }, async (t) => {
    // It waits for a banner for longer than the servers above wait for a request.
    const root = temporaryFolder(t)
    const certificate = await siteCertificate(root)
    const folder = await sitePages(root)
    const port = await freePort()
    await startNginx(root, folder, certificate, port, (run) => t.after(run), 60_000)
    const own = (await openSite(t, certificate, { folder })).port
    const child = spawn('nmap', ['-n', '-Pn', '-sT', '-sV', '-oX', '-', '-p', `${port},${own}`, '127.0.0.1'], { stdio: ['ignore', 'pipe', 'ignore'] })
    let said = ''
    child.stdout.on('data', (chunk) => {
      said += chunk
    })
    await once(child, 'close')
    const named = (at: number): string | undefined => new RegExp(`<port protocol="tcp" portid="${at}">.*?(<service .*?)</port>`).exec(said)?.[1]
    assert.match(named(port) ?? said, /product="nginx" version="1\.22\.1".* tunnel="ssl"/)
    assert.equal(named(own), named(port))
  })
})

/** Dates, ports and boundaries are each server's own. */
function show(bytes: Buffer, port: number): string {
  const boundary = /boundary=(\d{20})/.exec(bytes.toString('latin1'))?.[1] ?? '-'.repeat(99)
  return bytes
    .toString('latin1')
    .replaceAll(/Date: [^\r]+/g, 'Date: now')
    .replaceAll(`:${port}/`, ':PORT/')
    .replaceAll(boundary, 'BOUNDARY')
}

async function startNginx(
  root: string,
  folder: string,
  files: { keyFile: string; certFile: string },
  port: number,
  whenDone: (run: () => Promise<void>) => unknown,
  headMs: number,
): Promise<void> {
  const place = join(root, 'nginx')
  await mkdir(place)
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${place}/${name};`).join(' ')
  const config = `daemon off; pid ${place}/pid; error_log ${place}/error.log; user ${process.getuid?.() === 0 ? 'root' : 'nobody'};
events {} http { include /etc/nginx/mime.types; default_type application/octet-stream; access_log off; ${temporary}
client_header_timeout ${headMs}ms; client_body_timeout ${headMs}ms; keepalive_timeout ${IDLE_MS}ms; lingering_timeout ${LINGER_MS}ms; lingering_time ${6 * LINGER_MS}ms;
server { listen 127.0.0.1:${port} ssl; ssl_certificate ${files.certFile}; ssl_certificate_key ${files.keyFile}; root ${folder}; index index.html; } }`
  await writeFile(join(place, 'nginx.conf'), config)
  const child = spawn('nginx', ['-p', place, '-c', join(place, 'nginx.conf')], { stdio: 'ignore' })
  whenDone(async () => {
    const exit = once(child, 'exit')
    child.kill('SIGTERM')
    await exit
  })
  await reachable(port, child)
}
