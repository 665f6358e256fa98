import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { addSshLine, revokeSsh } from '../../src/daemon/access/acts.ts'
import { createControlClient } from '../../src/daemon/control/client.ts'
import { openRuntime, type Runtime } from '../../src/daemon/runtime.ts'
import { createStage } from '../cli/support.ts'

const PROGRAMS = ['ssh', 'ssh-keygen'] as const
const [SSH, KEYGEN] = PROGRAMS
const SKIP = PROGRAMS.some((program) => spawnSync(program, ['-V']).error !== undefined) ? 'no OpenSSH here' : false
let folder = ''
let node: Runtime
let port = 0
const state = process.env.XDG_STATE_HOME
const children: ChildProcess[] = []

before(async () => {
  if (SKIP !== false) return
  folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-access-ssh-')))
  process.env.XDG_STATE_HOME = join(folder, 'state')
  for (const name of ['ann', 'ben', 'cat', 'ca']) keygen('-t', 'ed25519', '-N', '', '-f', join(folder, name))
  keygen('-s', join(folder, 'ca'), '-I', 'cat', '-n', 'deploy', '-z', '7', '-V', '-1m:+1h', join(folder, 'cat.pub'))
  node = await openRuntime({
    home: join(folder, 'home'),
    create: { name: 'door' },
    control: false,
    flags: { listen: ['tcp://127.0.0.1:0'], 'discovery.mdns': false, 'ssh.listen': '127.0.0.1:0' },
    start: false,
  })
  const { text } = await files()
  await writeFile(join(folder, 'keys'), text, { mode: 0o600 })
  await writeFile(join(folder, 'revoked'), '', { mode: 0o600 })
  await writeFile(
    join(folder, 'home', 'config.toml'),
    `[access]\nauthorized_keys = ["${join(folder, 'keys')}"]\nrevocations = ["${join(folder, 'revoked')}"]\n`,
  )
  await node.config.reload()
  await node.startServices()
  await node.vaults.unlock('default', undefined)
  await until(() => node.ssh.status !== null)
  port = Number(node.ssh.status?.listen?.split(':').at(-1))
})
after(async () => {
  for (const child of children) child.kill()
  await node?.close()
  if (state === undefined) delete process.env.XDG_STATE_HOME
  else process.env.XDG_STATE_HOME = state
  if (folder !== '') await rm(folder, { recursive: true, force: true })
})

function keygen(...args: readonly string[]): void {
  const { status, stderr } = spawnSync(KEYGEN, ['-q', ...args])
  assert.equal(status, 0, stderr.toString())
}

async function files(): Promise<{ readonly text: string }> {
  const [ann, ca] = await Promise.all(['ann.pub', 'ca.pub'].map((name) => readFile(join(folder, name), 'utf8')))
  return { text: `${ann}cert-authority ${ca}` }
}

async function until(met: () => boolean): Promise<void> {
  const limit = AbortSignal.timeout(15_000)
  while (!met()) {
    limit.throwIfAborted()
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

interface Client {
  readonly child: ChildProcess
  readonly ended: Promise<unknown>
}

/** A client that stays, until it is told to go or its connection ends. */
function connect(key: string, ...options: readonly string[]): Client {
  return dial(port, key, ...options)
}

function dial(to: number, key: string, ...options: readonly string[]): Client {
  const quiet = [
    '-F',
    '/dev/null',
    '-o',
    'StrictHostKeyChecking=no',
    '-o',
    `UserKnownHostsFile=${join(folder, 'known')}`,
    '-o',
    'IdentitiesOnly=yes',
    '-o',
    'BatchMode=yes',
  ]
  const child = spawn(SSH, [...quiet, '-N', '-p', String(to), '-i', join(folder, key), ...options, 'deploy@127.0.0.1'], { stdio: 'ignore' })
  children.push(child)
  return { child, ended: once(child, 'exit') }
}

const sessions = (): number => node.ssh.sessions().length

test('keys and certificates revoked by a reload, stay in until --disconnect-revoked, and never come in again', { skip: SKIP, timeout: 50_000 }, async () => {
  const ann = connect('ann')
  await until(() => sessions() === 1)
  const cat = connect('cat', '-o', `CertificateFile=${join(folder, 'cat-cert.pub')}`)
  await until(() => sessions() === 2)
  const ben = connect('ben')
  await ben.ended
  assert.equal(sessions(), 2, 'a key that is not known does not come in')
  await writeFile(join(folder, 'revoked'), 'serial: 7\n')
  await node.config.reload()
  assert.equal(await node.access.recheck({ disconnect: false }), 1)
  assert.equal(sessions(), 2, 'running connections are left alone')
  await connect('cat', '-o', `CertificateFile=${join(folder, 'cat-cert.pub')}`).ended
  assert.equal(await node.access.recheck({ disconnect: true }), 1)
  await cat.ended
  await until(() => sessions() === 1)
  assert.equal(ann.child.exitCode, null, 'nobody else is disturbed')
  await revokeSsh(node, await readFile(join(folder, 'ann.pub'), 'utf8'), true)
  await ann.ended
  await until(() => sessions() === 0)
  await connect('ann').ended
})

test('a key added by command, comes in at once', { skip: SKIP, timeout: 30_000 }, async () => {
  await addSshLine(node, await readFile(join(folder, 'ben.pub'), 'utf8'))
  const ben = connect('ben')
  await until(() => sessions() === 1)
  ben.child.kill()
  await ben.ended
})

test('a key taken back by command, typed on a running node, goes on until kith config reload --disconnect-revoked, and nobody else is disturbed', {
  skip: SKIP,
  timeout: 55_000,
}, async () => {
  const stage = await createStage()
  try {
    const home = stage.home('typed')
    const kith = async (...args: readonly string[]): Promise<string> => {
      const { status, stdout, stderr } = await stage.kith([...args, '--home', home])
      assert.equal(status, 0, `kith ${args.join(' ')}: ${stderr}`)
      return stdout + stderr
    }
    await kith('init', '--no-passphrase')
    await writeFile(
      join(home, 'config.toml'),
      `[discovery]\nmdns = false\n[ssh]\nlisten = "127.0.0.1:0"\n[access]\nauthorized_keys = ["${join(folder, 'typed')}"]\n`,
    )
    await writeFile(join(folder, 'typed'), await readFile(join(folder, 'ben.pub')), { mode: 0o600 })
    await stage.up(home)
    await kith('vault', 'unlock')
    const to = Number((await kith('ssh', 'status', '--quiet')).trim().split(':').at(-1))
    const added = new Map<string, string>()
    for (const name of ['ann', 'ben']) added.set(name, (await kith('access', 'ssh', 'add', join(folder, `${name}.pub`), '--quiet')).trim())
    const client = createControlClient({ home })
    const inside = async (count: number): Promise<void> => {
      const limit = AbortSignal.timeout(15_000)
      while ((await client.call('GET /v1/ssh/sessions', {})).sessions.length !== count) limit.throwIfAborted()
    }
    const [ann, ben] = [dial(to, 'ann'), dial(to, 'ben')]
    await inside(2)
    assert.match(await kith('access', 'ssh', 'remove', added.get('ann') as string), /go on\. To end them: .*config reload --disconnect-revoked/)
    assert.doesNotMatch(await kith('config', 'reload'), /have ended/)
    await inside(2)
    assert.match(await kith('config', 'reload', '--disconnect-revoked'), /^connections of those who would not come in any more have ended$/m)
    await ann.ended
    await inside(1)
    assert.equal(ben.child.exitCode, null)
    await dial(to, 'ann').ended
    assert.doesNotMatch(await kith('config', 'reload', '--disconnect-revoked'), /would not come in/, 'there is nobody left to tell')
    await inside(1)
    assert.match(
      await kith('access', 'ssh', 'remove', join(folder, 'ben.pub')),
      /^It still stands in .*typed:1\. To keep it out: .* access ssh revoke SHA256:/m,
    )
    await inside(1)
    assert.match(await kith('access', 'ssh', 'revoke', join(folder, 'ben.pub'), '--disconnect-revoked'), /have ended/)
    await ben.ended
    await inside(0)
  } finally {
    await stage.close()
  }
})
