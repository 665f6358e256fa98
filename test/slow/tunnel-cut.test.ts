import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, existsSync, mkdtempSync, realpathSync, rmSync, statSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'

/** A link that breaks in the middle of a gibibyte: what a forward promises then. */
const run = promisify(execFile)
const LAUNCHER = join(import.meta.dirname, '..', '..', 'bin', 'kith.mjs')
const SIZE = 2 ** 30
const BLOCK = Buffer.alloc(2 ** 20)
let folder = ''
let listen = ''
let served = 0

before(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'kith-cut-')))
})
after(async () => {
  for (const home of ['near', 'far']) await kith(home, 'down').catch(() => {})
  rmSync(folder, { recursive: true, force: true })
})

async function kith(home: string, ...args: string[]): Promise<Record<string, unknown>> {
  const { stdout } = await run(process.execPath, [LAUNCHER, '--home', join(folder, home), '--json', ...args], {
    env: { ...process.env, XDG_STATE_HOME: join(folder, 'state') },
  })
  return JSON.parse(stdout.trim().split('\n').at(-1) as string) as Record<string, unknown>
}

/** Block i is i in its first bytes: a piece that is lost, doubled or moved changes the digest. */
function block(index: number): Buffer {
  const bytes = Buffer.from(BLOCK)
  bytes.writeUInt32BE(index, 0)
  return bytes
}

function* content(from: number): Generator<Buffer> {
  for (let at = from; at < SIZE; ) {
    const bytes = block(Math.floor(at / BLOCK.length)).subarray(at % BLOCK.length)
    at += bytes.length
    yield bytes
  }
}

async function send(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
  response.writeHead(from === 0 ? 200 : 206, {
    'Content-Length': SIZE - from,
    'Accept-Ranges': 'bytes',
    ...(from === 0 ? {} : { 'Content-Range': `bytes ${from}-${SIZE - 1}/${SIZE}` }),
  })
  await pipeline(Readable.from(counted(from)), response)
}

function* counted(from: number): Generator<Buffer> {
  for (const bytes of content(from)) {
    served += bytes.length
    yield bytes
  }
}

test('the link is cut in the middle of a gibibyte, the connection is reset and never taken for whole, and the same forward carries the rest', {
  skip: !existsSync('/usr/bin/curl') && 'curl is not installed',
  timeout: 120_000,
}, async (t) => {
  const web = createServer((request, response) => void send(request, response).catch(() => {})).listen(0, '127.0.0.1')
  t.after(() => web.close())
  await once(web, 'listening')
  const { port } = web.address() as AddressInfo
  const free = createTcpServer().listen(0, '127.0.0.1')
  await once(free, 'listening')
  listen = `tcp://127.0.0.1:${(free.address() as AddressInfo).port}`
  free.close()
  await once(free, 'close')
  for (const home of ['near', 'far']) await kith(home, 'init', '--name', home, '--no-passphrase')
  await kith('near', 'up', '--detach', '--listen', 'tcp://127.0.0.1:0')
  const { pid } = await kith('far', 'up', '--detach', '--listen', listen)
  await kith('near', 'join', String((await kith('far', 'invite')).ticket))
  await kith('far', 'allow', String((await kith('near', 'status')).did), 'forward', `127.0.0.1:${port}`)
  const { local } = await kith('near', 'forward', `far:127.0.0.1:${port}`, '--local', '127.0.0.1:0')
  const file = join(folder, 'download')
  const args = ['--silent', '--show-error', '--noproxy', '', '--output', file, '--continue-at', '-', '--max-time', '90', `http://${local}/`]

  const first = spawn('curl', args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  first.stderr.on('data', (data) => {
    said += data
  })
  const ended = once(first, 'exit')
  while (!existsSync(file) || statSync(file).size < SIZE / 4) await new Promise((resolve) => setTimeout(resolve, 10))
  process.kill(Number(pid), 'SIGKILL')
  const [status] = (await ended) as [number]
  // 56: the connection was reset; 18 would be an end before everything was there.
  assert.equal(status, 56, said)
  const have = statSync(file).size
  assert.ok(have < SIZE, 'the transfer was over before the link was cut')

  await kith('far', 'up', '--detach', '--listen', listen)
  const before = served
  await run('curl', args)
  assert.equal(statSync(file).size, SIZE)
  assert.ok(served - before <= SIZE - have, 'what had arrived was carried again')
  const [expected, got] = [createHash('sha256'), createHash('sha256')]
  for (const bytes of content(0)) expected.update(bytes)
  for await (const bytes of createReadStream(file, { highWaterMark: 2 ** 20 })) got.update(bytes as Buffer)
  assert.equal(got.digest('hex'), expected.digest('hex'))
  const { tunnels } = (await kith('near', 'tunnels')) as { tunnels: { total: number; local: string }[] }
  assert.deepEqual(
    tunnels.map((tunnel) => [tunnel.local, tunnel.total]),
    [[local, 2]],
    'it is the same forward, and nobody did anything to it',
  )
})
