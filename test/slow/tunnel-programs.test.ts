import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, realpath, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { createNode, type Node } from '../../src/index.ts'
import { freePort, reachable } from '../support/ports.ts'
import { postgresMissing, startPostgres } from '../support/postgres.ts'

/** Programs that know nothing of Kith, through forwards and proxies between two nodes. */
const run = promisify(execFile)
const without = (...programs: readonly string[]): string | false => {
  const missing = programs.find((program) => !existsSync(program))
  return missing === undefined ? false : `${missing} is not installed`
}

let folder = ''
let near: Node
let far: Node
let web: Server
let page = ''
const children: ChildProcess[] = []
const state = process.env.XDG_STATE_HOME

before(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-programs-')))
  process.env.XDG_STATE_HOME = join(folder, 'state')
  const open = (name: string): Promise<Node> => createNode({ home: join(folder, name), name, listen: ['tcp://127.0.0.1:0'], start: true })
  near = await open('near')
  far = await open('far')
  await near.join(await far.invite())
  web = createServer((request, response) => response.end(`${request.method} ${request.url} for ${request.headers.host}`)).listen(0, '127.0.0.1')
  await once(web, 'listening')
  page = `localhost:${(web.address() as AddressInfo).port}`
  await far.policy.allow(near.did, 'forward', page)
})
after(async () => {
  await near.close()
  await far.close()
  for (const child of children) child.kill('SIGKILL')
  web.close()
  if (state === undefined) delete process.env.XDG_STATE_HOME
  else process.env.XDG_STATE_HOME = state
  await rm(folder, { recursive: true, force: true })
})

const curl = async (...args: string[]): Promise<string> =>
  (await run('curl', ['--silent', '--show-error', '--fail', '--max-time', '20', '--noproxy', '', ...args])).stdout
const portOf = (address: string): string => address.slice(address.lastIndexOf(':') + 1)

test('curl through a forward, SOCKS5 with remote names, CONNECT, and a name under .kith', { skip: without('/usr/bin/curl') }, async () => {
  await using forward = await near.forward({ peer: 'far', target: page, local: '127.0.0.1:0' })
  await using proxy = await near.socks({ peer: 'far', local: '127.0.0.1:0' })
  assert.equal(await curl(`http://${forward.address}/a`), `GET /a for ${forward.address}`)
  assert.equal(await curl('--socks5-hostname', proxy.address, `http://${page}/b`), `GET /b for ${page}`)
  assert.equal(await curl('--proxytunnel', '--proxy', `http://${proxy.address}`, `http://${page}/c`), `GET /c for ${page}`)
  assert.equal(await curl('--socks5-hostname', proxy.address, `http://far.kith:${portOf(page)}/d`), `GET /d for far.kith:${portOf(page)}`)
  assert.equal(await curl('--socks5-hostname', `far:x@${proxy.address}`, `http://${page}/e`), `GET /e for ${page}`)
})

test('curl to a target that the rules do not name, is told so by SOCKS5 and by CONNECT', { skip: without('/usr/bin/curl') }, async () => {
  await using proxy = await near.socks({ peer: 'far', local: '127.0.0.1:0' })
  // curl names SOCKS failures with 97; a proxy's status is a failed request.
  await assert.rejects(curl('--socks5-hostname', proxy.address, 'http://localhost:9/'), { code: 97 })
  await assert.rejects(
    curl('--proxytunnel', '--proxy', `http://${proxy.address}`, 'http://localhost:9/'),
    (error: Error & { code: number; stderr: string }) => {
      return error.code === 22 && error.stderr.includes('403')
    },
  )
})

test('redis-cli through a forward, and through a remote forward to a server on this side', {
  skip: without('/usr/bin/redis-server', '/usr/bin/redis-cli'),
}, async () => {
  const port = await freePort()
  const server = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', folder], { stdio: 'ignore' })
  children.push(server)
  await reachable(port, server)
  const redis = async (at: string, ...args: string[]): Promise<string> =>
    (await run('redis-cli', ['-p', portOf(at), ...args], { timeout: 20_000 })).stdout.trim()
  await far.policy.allow(near.did, 'forward', `127.0.0.1:${port}`)
  await using forward = await near.forward({ peer: 'far', target: `127.0.0.1:${port}`, local: '127.0.0.1:0' })
  const value = 'x'.repeat(100_000)
  assert.equal(await redis(forward.address, 'set', 'key', value), 'OK')
  assert.equal(await redis(forward.address, 'get', 'key'), value)
  const place = `127.0.0.1:${await freePort()}`
  await far.policy.allow(near.did, 'listen', place)
  await using remote = await near.forwardRemote({ peer: 'far', remote: place, to: `127.0.0.1:${port}` })
  assert.equal(remote.address, place)
  assert.equal(await redis(remote.address, 'get', 'key'), value)
})

test('psql through a forward by TCP, and through sockets of the file system on both sides', {
  skip: postgresMissing() ?? false,
  timeout: 60_000,
}, async (context) => {
  const database = await startPostgres()
  context.after(() => database.close())
  const { port, folder: home } = database
  const psql = async (host: string, at: string): Promise<string> => {
    const query = "select sum(length(repeat(md5(i::text), 100))) from generate_series(1, 20000) i; select repeat('y', 3000000)"
    return (await run('psql', ['-h', host, '-p', at, '-U', 'postgres', '-At', '-c', query, 'postgres'], { maxBuffer: 2 ** 24, timeout: 30_000 })).stdout
  }
  const expected = `64000000\n${'y'.repeat(3_000_000)}\n`
  await far.policy.allow(near.did, 'forward', `localhost:${port}`)
  await far.policy.allow(near.did, 'forward', `unix:${home}/.s.PGSQL.${port}`)
  await using byPort = await near.forward({ peer: 'far', target: `localhost:${port}`, local: '127.0.0.1:0' })
  const there = join(folder, 'pg-here')
  await mkdir(there)
  await using bySocket = await near.forward({ peer: 'far', target: `unix:${home}/.s.PGSQL.${port}`, local: `unix:${there}/.s.PGSQL.5432` })
  assert.equal(await psql('127.0.0.1', portOf(byPort.address)), expected)
  assert.equal(await psql(there, '5432'), expected)
  assert.equal(bySocket.address, `unix:${there}/.s.PGSQL.5432`)
})
