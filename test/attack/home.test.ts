import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, cp, lstat, mkdir, mkdtemp, readdir, readFile, realpath, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { isKithError, type KithError } from '../../src/core/errors.ts'
import { loadConfig } from '../../src/daemon/config/load.ts'
import { createControlClient } from '../../src/daemon/control/client.ts'
import { controlPlace } from '../../src/daemon/control/place.ts'
import { createNode, type Node } from '../../src/index.ts'

/** Other users of the machine, odd masks, planted links and old copies against the home of a node. */
const POSIX = { skip: process.platform === 'win32', timeout: 60_000 }
let folder = ''
let env: NodeJS.ProcessEnv = {}
const nodes: Node[] = []

before(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-attack-home-')))
  env = { XDG_STATE_HOME: join(folder, 'state'), PATH: process.env.PATH ?? '' }
})
after(async () => {
  for (const node of nodes) await node.close()
  await rm(folder, { recursive: true, force: true })
})

async function open(name: string, options: { listen?: string[] } = {}): Promise<Node> {
  const node = await createNode({ home: join(folder, name), name, listen: options.listen ?? ['tcp://127.0.0.1:0'], env })
  nodes.push(node)
  return node
}

async function* tree(path: string): AsyncGenerator<string> {
  yield path
  if (!(await lstat(path)).isDirectory()) return
  for (const name of await readdir(path)) yield* tree(join(path, name))
}

test('a node run with the mask 000, leaves nothing that others can open', POSIX, async () => {
  const mask = process.umask(0)
  try {
    const [near, far] = [await open('mask-near'), await open('mask-far')]
    await near.join(await far.invite())
    await far.policy.allow(near.did, 'file')
    await writeFile(join(folder, 'letter.txt'), 'x')
    await near.send(far.did, join(folder, 'letter.txt'))
    let seen = 0
    for (const top of [join(folder, 'mask-near'), join(folder, 'mask-far'), join(folder, 'state', 'kith')]) {
      for await (const path of tree(top)) {
        const { mode } = await lstat(path)
        assert.equal(mode & 0o077, 0, `${path} ${(mode & 0o777).toString(8)}`)
        seen++
      }
    }
    assert.ok(seen > 20)
    assert.equal(process.umask(), 0)
  } finally {
    process.umask(mask)
  }
})

test('the control token, stands in no log, no event and no answer', POSIX, async () => {
  const node = await open('token')
  const home = join(folder, 'token')
  const token = (await readFile(join(home, 'control', 'token'), 'utf8')).trim()
  const client = createControlClient({ home })
  const status = JSON.stringify(await client.call('GET /v1/status', {}))
  assert.equal(status.includes(token), false)
  await assert.rejects(client.call('POST /v1/peers/forget', { peer: token.slice(0, 60) }))
  for (const name of await readdir(join(home, 'log'))) assert.equal((await readFile(join(home, 'log', name), 'utf8')).includes(token), false)
  await node.close()
})

test('a ticket, stands in no log of either side', POSIX, async () => {
  const [near, far] = [await open('ticket-near'), await open('ticket-far')]
  const ticket = await far.invite()
  await near.join(ticket)
  await assert.rejects(near.join(`${ticket.slice(0, -3)}abc`))
  for (const name of ['ticket-near', 'ticket-far']) {
    const log = await readFile(join(folder, name, 'log', 'kith.log'), 'utf8')
    assert.equal(log.includes(ticket.slice(5, 40)), false)
  }
  await near.close()
  await far.close()
})

test('another user’s control directory, is never spoken to', POSIX, async () => {
  const home = join(folder, 'squatted')
  await mkdir(home, { mode: 0o700 })
  await mkdir(join(home, 'elsewhere'), { mode: 0o700 })
  await symlink(join(home, 'elsewhere'), join(home, 'control'))
  const client = createControlClient({ home })
  await assert.rejects(client.call('GET /v1/status', {}), (error) => isKithError(error, 'HOME_UNSAFE'))
  await rm(join(home, 'control'))
  await mkdir(join(home, 'control'), { mode: 0o777 })
  await chmod(join(home, 'control'), 0o777)
  await assert.rejects(client.call('GET /v1/status', {}), (error) => isKithError(error, 'HOME_UNSAFE'))
})

test('a link planted as control directory, socket or token, is not followed by the node', POSIX, async () => {
  const home = join(folder, 'planted')
  const prey = join(folder, 'prey')
  await mkdir(prey, { mode: 0o755 })
  await writeFile(join(prey, 'file'), 'untouched')
  await (await open('planted')).close()
  await rm(join(home, 'control'), { recursive: true })
  await symlink(prey, join(home, 'control'))
  await assert.rejects(createNode({ home, env, listen: ['tcp://127.0.0.1:0'] }), (error) => isKithError(error, 'HOME_UNSAFE'))
  assert.equal((await stat(prey)).mode & 0o777, 0o755)
  await rm(join(home, 'control'))
  await mkdir(join(home, 'control'), { mode: 0o700 })
  await symlink(join(prey, 'file'), join(home, 'control', 'token'))
  await symlink(join(prey, 'file'), join(home, 'control', 'token.new'))
  const node = await createNode({ home, env, listen: ['tcp://127.0.0.1:0'] })
  assert.equal(await readFile(join(prey, 'file'), 'utf8'), 'untouched')
  assert.equal((await lstat(join(home, 'control', 'token'))).isFile(), true)
  await node.close()
  await rm(join(home, 'control', 'control.sock'), { force: true })
  await symlink(join(prey, 'socket'), join(home, 'control', 'control.sock'))
  await assert.rejects(createNode({ home, env, listen: ['tcp://127.0.0.1:0'] }), (error) => isKithError(error, 'HOME_UNSAFE'))
})

test('key files and state directory open to others or links, are refused before a key is read', POSIX, async () => {
  const home = join(folder, 'open-keys')
  await (await open('open-keys')).close()
  const again = (): Promise<Node> => createNode({ home, env, listen: ['tcp://127.0.0.1:0'] })
  const unsafe = async (what: string): Promise<void> => {
    await assert.rejects(again(), (error) => isKithError(error, 'HOME_UNSAFE'), what)
  }
  await chmod(join(home, 'device.age'), 0o644)
  await unsafe('device.age')
  await chmod(join(home, 'device.age'), 0o600)
  await rename(join(home, 'device.age'), join(folder, 'moved.age'))
  await symlink(join(folder, 'moved.age'), join(home, 'device.age'))
  await unsafe('link')
  await rm(join(home, 'device.age'))
  await rename(join(folder, 'moved.age'), join(home, 'device.age'))
  await chmod(home, 0o750)
  await unsafe('home')
  await chmod(home, 0o700)
  const [kept] = await readdir(join(folder, 'state', 'kith'))
  for (const name of await readdir(join(folder, 'state', 'kith'))) await chmod(join(folder, 'state', 'kith', name), 0o640)
  await unsafe('kept passphrase')
  for (const name of await readdir(join(folder, 'state', 'kith'))) await chmod(join(folder, 'state', 'kith', name), 0o600)
  assert.ok(kept !== undefined)
  await (await again()).close()
  await symlink(home, join(folder, 'linked-home'))
  await assert.rejects(createNode({ home: join(folder, 'linked-home'), env }), (error) => isKithError(error, 'HOME_UNSAFE'))
})

test('an old copy of the home put back, is told by its peers as a clone, banned by nobody, and heals with a new key', POSIX, async () => {
  const peer = await open('clone-peer')
  let home = await open('clone-old')
  await home.join(await peer.invite())
  await home.ping(peer.did)
  await home.close()
  await cp(join(folder, 'clone-old'), join(folder, 'clone-copy'), { recursive: true })
  for (let run = 0; run < 2; run++) {
    home = await open('clone-old')
    await home.ping(peer.did)
    await home.close()
  }
  const warnings: string[] = []
  peer.on('warning', ({ error }) => warnings.push(error.code))
  await rm(join(folder, 'clone-old'), { recursive: true })
  await rename(join(folder, 'clone-copy'), join(folder, 'clone-old'))
  home = await open('clone-old')
  await assert.rejects(home.ping(peer.did), (error) => isKithError(error) && `${error.code} ${error.message}`.includes('device key'))
  assert.deepEqual([...new Set(warnings)], ['DEVICE_CLONED'])
  assert.equal(peer.peers.list().find(({ did }) => did === home.did)?.class, 'known')
  await createControlClient({ home: join(folder, 'clone-old') }).callWithSecret('POST /v1/identity/rotate', {}, undefined)
  assert.equal((await home.ping(peer.did)).length, 1)
})

test('half of a keystore lost, no other identity takes its place unasked', POSIX, async () => {
  const before = await open('half')
  const { did } = before
  await before.close()
  const home = join(folder, 'half')
  const kept = await readFile(join(home, 'identity.age'))
  const device = await readFile(join(home, 'device.age'))
  await rm(join(home, 'identity.age'))
  await assert.rejects(createNode({ home, env, listen: ['tcp://127.0.0.1:0'] }), (error) => isKithError(error, 'KEYSTORE_DAMAGED'))
  assert.ok((await readFile(join(home, 'device.age'))).equals(device))
  await writeFile(join(home, 'identity.age'), kept, { mode: 0o600 })
  // The other half is made anew for the same identity.
  await rm(join(home, 'device.age'))
  const again = await open('half')
  assert.equal(again.did, did)
  // Cut short, it is said to be damaged, whatever the passphrase.
  await again.close()
  await writeFile(join(home, 'identity.age'), kept.subarray(0, kept.length - 7), { mode: 0o600 })
  await writeFile(join(home, 'device.age'), device.subarray(0, 100), { mode: 0o600 })
  await assert.rejects(createNode({ home, env, listen: ['tcp://127.0.0.1:0'] }), (error) => isKithError(error, 'KEYSTORE_DAMAGED'))
})

test('the database of a node lost or put back from a copy, does not make the node a clone of itself', POSIX, async () => {
  const peer = await open('lost-peer')
  let home = await open('lost-db')
  await home.join(await peer.invite())
  await home.close()
  for (let run = 0; run < 3; run++) {
    home = await open('lost-db')
    await home.ping(peer.did)
    await home.close()
  }
  for (const name of await readdir(join(folder, 'lost-db'))) if (name.startsWith('kith.db')) await rm(join(folder, 'lost-db', name))
  home = await open('lost-db')
  await home.peers.add(peer.did, { urls: [...peer.addresses] })
  assert.equal((await home.ping(peer.did)).length, 1)
})

test('a configuration that is no file, endless or enormous, is refused and not read', POSIX, async () => {
  const home = join(folder, 'config')
  await mkdir(home, { mode: 0o700 })
  const load = (): Promise<unknown> => loadConfig({ home, env: {} })
  const file = join(home, 'config.toml')
  await symlink('/dev/zero', file)
  await assert.rejects(load(), (error) => isKithError(error, 'CONFIG_INVALID'))
  await rm(file)
  await mkdir(file)
  await assert.rejects(load(), (error) => isKithError(error, 'CONFIG_INVALID'))
  await rm(file, { recursive: true })
  const mkfifo = spawn('mkfifo', [file])
  await once(mkfifo, 'exit')
  await assert.rejects(load(), (error) => isKithError(error, 'CONFIG_INVALID'))
  await rm(file)
  await writeFile(file, `listen = ["${'x'.repeat(600_000)}"]`)
  await assert.rejects(load(), (error) => isKithError(error, 'CONFIG_INVALID'))
})

async function refusal(input: Parameters<typeof loadConfig>[0]): Promise<KithError> {
  try {
    await loadConfig(input)
  } catch (error) {
    if (isKithError(error, 'CONFIG_INVALID')) return error
    throw error
  }
  throw new TypeError('the configuration was taken')
}

test('TOML bombs and keys with a past, are refused with a short word', async () => {
  const home = join(folder, 'bombs')
  await mkdir(home, { mode: 0o700 })
  const bombs = [
    `a = ${'['.repeat(100_000)}`,
    `a = ${'[{a='.repeat(20_000)}`,
    `${'a.'.repeat(100_000)}a = 1`,
    `[${'a.'.repeat(100_000)}a]`,
    `"${'k'.repeat(200_000)}" = 1`,
    `"\\u001b[2J" = 1`,
    '__proto__ = { listen = ["tcp://0.0.0.0:1"] }',
    '"__proto__"."log.level" = "debug"',
    '[constructor.prototype]\nlisten = ["x"]',
    'log.level = { toString = "debug" }',
    'include = "/etc/passwd"',
    `listen = [${'"tcp://0.0.0.0:1",'.repeat(10_000)}]`,
    'files.quota_bytes = 99999999999999999999',
    'files.quota_bytes = inf',
    'shutdown.drain = "1e9d"',
  ]
  for (const text of bombs) {
    await writeFile(join(home, 'config.toml'), text)
    const error = await refusal({ home, env: {} })
    assert.ok(error.message.length < 1_000 && JSON.stringify(error.details).length < 2_000, text.slice(0, 40))
  }
  assert.equal(({} as { listen?: unknown }).listen, undefined)
  await writeFile(join(home, 'config.toml'), '')
  for (const name of ['KITH___PROTO__', 'KITH_LISTEN_', `KITH_${'X'.repeat(100_000)}`, 'KITH_LOG']) {
    assert.ok((await refusal({ home, env: { [name]: 'x' } })).message.length < 1_000, name.slice(0, 30))
  }
})

test('more connections to the control socket than it takes, and ones that say nothing, leave it answering', POSIX, async () => {
  const node = await open('flooded')
  const { socket } = controlPlace(join(folder, 'flooded'))
  const held = Array.from({ length: 200 }, () => connect(socket))
  for (const one of held) one.on('error', () => {})
  await Promise.all(held.map((one) => once(one, 'connect')))
  for (const one of held) one.write('POST /v1/stop HTTP/1.1\r\nauthorization: Bearer ')
  const client = createControlClient({ home: join(folder, 'flooded') })
  assert.equal((await client.call('GET /v1/status', {})).did, node.did)
  for (const one of held) one.destroy()
})
