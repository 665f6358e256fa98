import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createNode, type Node } from '../../src/index.ts'
import { converseRaw, siteCertificate, sitePages } from '../site/support.ts'
import { freePort } from '../support/ports.ts'

let folder = ''
const state = process.env.XDG_STATE_HOME
before(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-front-')))
  process.env.XDG_STATE_HOME = join(folder, 'state')
})
after(async () => {
  if (state === undefined) delete process.env.XDG_STATE_HOME
  else process.env.XDG_STATE_HOME = state
  await rm(folder, { recursive: true, force: true })
})

async function open(name: string, listen: readonly string[], config: Record<string, unknown> = {}): Promise<Node> {
  const home = join(folder, name)
  await mkdir(home, { mode: 0o700 })
  const lines = Object.entries(config).map(([path, value]) => `${path} = ${JSON.stringify(value)}\n`)
  await writeFile(join(home, 'config.toml'), lines.join(''), { mode: 0o600 })
  return await createNode({ home, name, listen })
}

async function talk(a: Node, b: Node): Promise<string> {
  a.handle('test/echo/1', async (stream) => void stream.pipe(stream))
  const stream = await b.open(a.did, 'test/echo/1')
  stream.end('hello')
  let text = ''
  for await (const chunk of stream) text += String(chunk)
  return text
}

test('two nodes with tls:// addresses, linked over them', async () => {
  await using a = await open('a', ['tls://127.0.0.1:0'])
  await using b = await open('b', ['tls://127.0.0.1:0'])
  await b.join(await a.invite())
  assert.equal(await talk(a, b), 'hello')
  const [peer] = b.status().peers
  assert.deepEqual([peer?.path?.scheme, peer?.pq], ['tls', true])
  assert.equal(b.why('a').path?.scheme, 'tls')
})

test('a site, links over TLS and links over WebSockets, all at one port', async () => {
  const certificate = await siteCertificate(folder)
  await chmod(certificate.keyFile, 0o600)
  const port = await freePort()
  await using a = await open('c', [`tls://127.0.0.1:${port}`, `wss://127.0.0.1:${port}`], {
    'front.listen': `127.0.0.1:${port}`,
    'front.site': await sitePages(folder),
    'certificate.file': certificate.certFile,
    'certificate.key_file': certificate.keyFile,
  })
  assert.deepEqual(a.status().degraded, [])
  const [tls, wss] = a.addresses
  assert.equal(tls, `tls://127.0.0.1:${port}`)
  assert.match(wss ?? '', new RegExp(`^wss://127\\.0\\.0\\.1:${port}/[A-Za-z0-9_-]{32}\\?pin=[A-Za-z0-9_-]{43}$`))
  const page = await converseRaw(port, { pieces: ['GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'] })
  assert.match(page.bytes.toString(), /^HTTP\/1\.1 200 OK\r\nServer: nginx\/1\.22\.1\r\n[\s\S]*<h1>It works<\/h1>\n$/)
  await using b = await open('d', ['tcp://127.0.0.1:0'], { 'link.prefer': ['wss'] })
  await b.join(await a.invite())
  assert.equal(await talk(a, b), 'hello')
  assert.equal(b.status().peers[0]?.path?.scheme, 'wss')
  const file = join(folder, 'c', 'wss.token')
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  const token = (await readFile(file, 'latin1')).trim()
  const log = await readFile(join(folder, 'c', 'log', 'kith.log'), 'latin1').catch(() => '')
  assert.ok(!log.includes(token), 'the token stands in the log')
})

test('a front door without a certificate, degraded and told', async () => {
  const port = await freePort()
  await using a = await open('e', ['tcp://127.0.0.1:0'], { 'front.listen': `127.0.0.1:${port}` })
  const [trouble] = a.status().degraded
  assert.deepEqual([trouble?.service, trouble?.code], ['front', 'SCHEME_UNAVAILABLE'])
})
