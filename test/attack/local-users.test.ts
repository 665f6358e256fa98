import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, copyFile, link, mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { isKithError } from '../../src/core/errors.ts'
import { controlPlace, prepareControlPlace } from '../../src/daemon/control/place.ts'
import { createNode, type Node } from '../../src/index.ts'

/** Another user of the same machine: what it reads, connects to and puts in the way. */
const NOBODY = 65_534
const AS_ROOT = { skip: process.getuid?.() !== 0 || process.platform !== 'linux', timeout: 60_000 }
const BIN = fileURLToPath(new URL('../../bin/kith.mjs', import.meta.url))
let folder = ''
let node: Node
let long: Node
before(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-attack-users-')))
  // Others may pass through here: only the node's own directories stand in the way.
  await chmod(folder, 0o755)
  // The checkout may lie where nobody else may go, and Node with it.
  await link(process.execPath, join(folder, 'node')).catch(() => copyFile(process.execPath, join(folder, 'node')))
  const env = { XDG_STATE_HOME: join(folder, 'state') }
  node = await createNode({ home: join(folder, 'home'), listen: ['tcp://127.0.0.1:0'], env })
  long = await createNode({ home: join(folder, 'long'.repeat(30)), listen: ['tcp://127.0.0.1:0'], env })
})
after(async () => {
  await node.close()
  await long.close()
  await rm(folder, { recursive: true, force: true })
})

/** Runs a script as somebody else; its output. */
function stranger(script: string): string {
  const { stdout, stderr } = spawnSync(join(folder, 'node'), ['-e', script], { uid: NOBODY, gid: NOBODY, cwd: '/', encoding: 'utf8', timeout: 30_000 })
  return `${stdout}${stderr}`
}

test('another user, cannot connect to the control socket, read the token or list the home', AS_ROOT, async () => {
  const homes = [join(folder, 'home'), join(folder, 'long'.repeat(30))]
  assert.notEqual(dirname(controlPlace(homes[1] as string).socket), join(homes[1] as string, 'control'))
  for (const home of homes) {
    const { socket, token } = controlPlace(home)
    const tries = [
      `require('node:net').connect(${JSON.stringify(socket)}).on('connect', () => console.log('IN')).on('error', (e) => console.log(e.code))`,
      `try { console.log('IN', require('node:fs').readFileSync(${JSON.stringify(token)}, 'utf8')) } catch (e) { console.log(e.code) }`,
      `try { console.log('IN', require('node:fs').readdirSync(${JSON.stringify(home)})) } catch (e) { console.log(e.code) }`,
      `try { console.log('IN', require('node:fs').readdirSync(${JSON.stringify(join(folder, 'state', 'kith'))})) } catch (e) { console.log(e.code) }`,
      `try { require('node:fs').unlinkSync(${JSON.stringify(socket)}); console.log('IN') } catch (e) { console.log(e.code) }`,
    ]
    for (const script of tries) assert.equal(stranger(script).trim(), 'EACCES', script)
  }
})

test('another user who was first at the directory of the socket, is not trusted with it', AS_ROOT, async () => {
  const place = controlPlace(join(folder, 'squat'.repeat(25)))
  const directory = dirname(place.socket)
  await mkdir(directory, { mode: 0o700 })
  try {
    await chown(directory, NOBODY, NOBODY)
    await assert.rejects(prepareControlPlace(place), (error) => isKithError(error, 'HOME_UNSAFE'))
  } finally {
    await rm(directory, { recursive: true })
  }
})

test('a home of another user, is neither used nor written to', AS_ROOT, async () => {
  const home = join(folder, 'theirs')
  await mkdir(home, { mode: 0o700 })
  await chown(home, NOBODY, NOBODY)
  await assert.rejects(createNode({ home, env: { XDG_STATE_HOME: join(folder, 'state') } }), (error) => isKithError(error, 'HOME_UNSAFE'))
  const env = { ...process.env, XDG_STATE_HOME: join(folder, 'state') }
  const detached = spawnSync(process.execPath, [BIN, 'up', '--detach', '--home', home], { env, encoding: 'utf8', timeout: 60_000 })
  assert.match(detached.stderr, /HOME_UNSAFE/)
  assert.deepEqual(await readdir(home), [])
})

test('a ticket typed as an argument, is not left in the list of processes', { ...AS_ROOT, skip: process.platform !== 'linux' }, async () => {
  // A node that takes the connection and never answers keeps the command waiting.
  const home = join(folder, 'waiting')
  const { socket, token } = controlPlace(home)
  await mkdir(dirname(token), { recursive: true, mode: 0o700 })
  await chmod(home, 0o700)
  await writeFile(token, `${'0'.repeat(64)}\n`, { mode: 0o600 })
  const server = createServer().listen(socket)
  await once(server, 'listening')
  const child = spawn(process.execPath, [BIN, 'join', 'kith1secretsecretsecret', '--home', home], { stdio: 'ignore' })
  try {
    await once(server, 'connection')
    const line = await readFile(`/proc/${child.pid}/cmdline`, 'utf8')
    assert.equal(line.includes('secret'), false, line)
  } finally {
    child.kill('SIGKILL')
    server.close()
  }
})

test('what the node is given to keep, stands in no process’s arguments', { ...AS_ROOT, skip: process.platform !== 'linux' }, async () => {
  const home = join(folder, 'args')
  const env = { ...process.env, XDG_STATE_HOME: join(folder, 'state'), ICN_KEYSTORE_PASSPHRASE: 'four plain little words' }
  const child = spawn(process.execPath, [BIN, 'start', '--home', home, '--listen', 'tcp://127.0.0.1:0', '--json'], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    await once(child.stdout, 'data')
    const token = (await readFile(controlPlace(home).token, 'utf8')).trim()
    for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
      const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
      assert.equal(line.includes(token) || line.includes('plain little words'), false, line)
    }
  } finally {
    const gone = once(child, 'exit')
    child.kill('SIGTERM')
    await gone
  }
})
