import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, chown, mkdir, readFile } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { keygen, type RealDoor, realDoor, run, workplace } from './ssh-support.ts'

/** Programs that know nothing of Kith, through the forwards of an ordinary ssh that logged in at the door. */
const POSTGRES = '/usr/lib/postgresql'
const without = (...programs: readonly string[]): string | false => {
  const missing = programs.find((program) => !existsSync(program))
  return missing === undefined ? false : `${missing} is not installed`
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function reachable(port: number): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt++) {
    const socket = connect(port, '127.0.0.1')
    const open = await new Promise<boolean>((resolve) => socket.once('connect', () => resolve(true)).once('error', () => resolve(false)))
    socket.destroy()
    if (open) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  assert.fail('the program did not listen in time')
}

function start(context: TestContext, command: string, args: readonly string[], more: { readonly uid?: number; readonly gid?: number } = {}): void {
  const child = spawn(command, args, { ...more, stdio: 'ignore' })
  const gone = once(child, 'exit')
  context.after(async () => {
    child.kill('SIGKILL')
    await gone
  })
}

async function forwarding(context: TestContext, ...args: readonly string[]): Promise<RealDoor> {
  const directory = await workplace(context)
  await keygen('-t', 'ed25519', '-N', '', '-f', join(directory, 'key'))
  const door = await realDoor(context, { directory, authorized: await readFile(join(directory, 'key.pub'), 'utf8') })
  start(context, 'ssh', ['-N', '-o', 'ExitOnForwardFailure=yes', ...door.options('key'), ...args, '-p', String(door.port), 'alice@127.0.0.1'])
  return door
}

test('redis-cli through ssh -L, and curl through ssh -D with a name that the door resolves', {
  skip: without('/usr/bin/ssh', '/usr/bin/curl', '/usr/bin/redis-server', '/usr/bin/redis-cli'),
  timeout: 40_000,
}, async (context) => {
  const [redis, local, dynamic] = [await freePort(), await freePort(), await freePort()]
  const web = createHttpServer((request, response) => response.end(`${request.url} for ${request.headers.host}`)).listen(0, '127.0.0.1')
  await once(web, 'listening')
  context.after(() => {
    web.closeAllConnections()
    web.close()
  })
  const page = `localhost:${(web.address() as AddressInfo).port}`
  start(context, 'redis-server', ['--port', String(redis), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'])
  await forwarding(context, '-L', `127.0.0.1:${local}:127.0.0.1:${redis}`, '-D', `127.0.0.1:${dynamic}`)
  for (const port of [redis, local, dynamic]) await reachable(port)
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
  skip: without('/usr/bin/ssh', '/usr/bin/psql', POSTGRES) || (process.getuid?.() !== 0 && 'a server account for PostgreSQL needs root'),
  timeout: 50_000,
}, async (context) => {
  const [database, local] = [await freePort(), await freePort()]
  const { directory } = await forwarding(context, '-L', `127.0.0.1:${local}:127.0.0.1:${database}`)
  const version = spawnSync('ls', [POSTGRES], { encoding: 'utf8' }).stdout.trim().split('\n').at(-1) as string
  const bin = join(POSTGRES, version, 'bin')
  const [uid, gid] = ['-u', '-g'].map((flag) => Number(spawnSync('id', [flag, 'postgres'], { encoding: 'utf8' }).stdout)) as [number, number]
  await chmod(directory, 0o711)
  const home = join(directory, 'pg')
  await mkdir(home)
  await chown(home, uid, gid)
  const made = spawn(join(bin, 'initdb'), ['-D', join(home, 'data'), '-A', 'trust', '-N'], { uid, gid, stdio: 'ignore' })
  assert.deepEqual(await once(made, 'exit'), [0, null])
  start(context, join(bin, 'postgres'), ['-D', join(home, 'data'), '-p', String(database), '-k', home, '-c', 'listen_addresses=127.0.0.1'], { uid, gid })
  for (const port of [database, local]) await reachable(port)
  const psql = (query: string): ReturnType<typeof run> =>
    run('psql', ['-h', '127.0.0.1', '-p', String(local), '-U', 'postgres', '-At', '-c', query, 'postgres'])
  // It accepts connections before it answers them.
  for (let attempt = 0; attempt < 50 && (await psql('select 1')).status !== 0; attempt++) await new Promise((resolve) => setTimeout(resolve, 100))
  const { out, err } = await psql("select sum(length(repeat(md5(i::text), 100))) from generate_series(1, 20000) i; select repeat('y', 3000000)")
  assert.equal(out, `64000000\n${'y'.repeat(3_000_000)}\n`, err)
})
