import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { freePort, reachable } from '../support/ports.ts'
import { postgresMissing, startPostgres } from '../support/postgres.ts'
import { keygen, realDoor, run, workplace } from './ssh-support.ts'

/** Programs that know nothing of Kith, through the forwards of an ordinary ssh that logged in at the door. */
const without = (...programs: readonly string[]): string | false => {
  const missing = programs.find((program) => !existsSync(program))
  return missing === undefined ? false : `${missing} is not installed`
}

function start(context: TestContext, command: string, args: readonly string[]): ChildProcess {
  const child = spawn(command, args, { stdio: 'ignore' })
  const gone = once(child, 'exit')
  context.after(async () => {
    child.kill('SIGKILL')
    await gone
  })
  return child
}

async function forwarding(context: TestContext, ...args: readonly string[]): Promise<ChildProcess> {
  const directory = await workplace(context)
  await keygen('-t', 'ed25519', '-N', '', '-f', join(directory, 'key'))
  const door = await realDoor(context, { directory, authorized: await readFile(join(directory, 'key.pub'), 'utf8') })
  return start(context, 'ssh', ['-N', '-o', 'ExitOnForwardFailure=yes', ...door.options('key'), ...args, '-p', String(door.port), 'alice@127.0.0.1'])
}

test('redis-cli through ssh -L, and curl through ssh -D with a name that the door resolves', {
  skip: without('/usr/bin/ssh', '/usr/bin/curl', '/usr/bin/redis-server', '/usr/bin/redis-cli'),
  timeout: 40_000,
}, async (context) => {
  const [redis, local, dynamic] = [await freePort(), await freePort(), await freePort()]
  const web = createServer((request, response) => response.end(`${request.url} for ${request.headers.host}`)).listen(0, '127.0.0.1')
  await once(web, 'listening')
  context.after(() => {
    web.closeAllConnections()
    web.close()
  })
  const page = `localhost:${(web.address() as AddressInfo).port}`
  const server = start(context, 'redis-server', ['--port', String(redis), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'])
  await reachable(redis, server)
  const client = await forwarding(context, '-L', `127.0.0.1:${local}:127.0.0.1:${redis}`, '-D', `127.0.0.1:${dynamic}`)
  for (const port of [local, dynamic]) await reachable(port, client)
  const value = 'x'.repeat(100_000)
  const cli = async (...args: readonly string[]): Promise<string> => (await run('redis-cli', ['-p', String(local), ...args])).out.trim()
  assert.equal(await cli('set', 'key', value), 'OK')
  assert.equal(await cli('get', 'key'), value)
  const { out, err } = await run('curl', [
    '-sS',
    '--fail',
    '--max-time',
    '15',
    '--noproxy',
    '',
    '--socks5-hostname',
    `127.0.0.1:${dynamic}`,
    `http://${page}/a`,
  ])
  assert.equal(out, `/a for ${page}`, err)
})

test('psql through ssh -L, gets megabytes whole', {
  skip: without('/usr/bin/ssh') || (postgresMissing() ?? false),
  timeout: 50_000,
}, async (context) => {
  const database = await startPostgres()
  context.after(() => database.close())
  const local = await freePort()
  await reachable(local, await forwarding(context, '-L', `127.0.0.1:${local}:127.0.0.1:${database.port}`))
  const query = "select sum(length(repeat(md5(i::text), 100))) from generate_series(1, 20000) i; select repeat('y', 3000000)"
  const { out, err } = await run('psql', ['-h', '127.0.0.1', '-p', String(local), '-U', 'postgres', '-At', '-c', query, 'postgres'])
  assert.equal(out, `64000000\n${'y'.repeat(3_000_000)}\n`, err)
})
