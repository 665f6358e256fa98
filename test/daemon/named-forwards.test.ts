import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, beforeEach, test } from 'node:test'
import { KithError } from '../../src/core/errors.ts'
import { manualClock } from '../../src/core/manual-clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { forgetForward, saveForward } from '../../src/daemon/config/edit.ts'
import type { NamedForward } from '../../src/daemon/config/forwards.ts'
import { loadConfig } from '../../src/daemon/config/load.ts'
import { NamedForwards } from '../../src/daemon/services/named-forwards.ts'
import type { SshForwardOptions } from '../../src/daemon/services/tunnels.ts'
import type { Did } from '../../src/identity/did.ts'
import type { Tunnels } from '../../src/tunnel/index.ts'

const home = mkdtempSync(join(tmpdir(), 'kith-named-'))
const file = join(home, 'config.toml')
const read = async (): Promise<readonly NamedForward[]> => (await loadConfig({ home, env: {} })).values.forward
const DB: NamedForward = { name: 'db', kind: 'local', peer: 'office', target: 'db.internal:5432', local: '127.0.0.1:15432', bind_public: false }
const DEMO: NamedForward = { name: 'demo', kind: 'remote', peer: 'office', remote: '127.0.0.1:8080', to: 'unix:/run/app.sock' }
const BROWSE: NamedForward = { name: 'browse', kind: 'socks', peer: 'office' }
const WIKI: NamedForward = {
  ...{ name: 'wiki', kind: 'ssh', peer: 'ssh://alice@bastion.example:2222', target: 'wiki.internal:80', local: '127.0.0.1:8080', bind_public: false },
  ...{ host_key: `SHA256:${'A'.repeat(43)}`, key_file: '/keys/alice/id' },
}

beforeEach(() => rmSync(file, { force: true }))
after(() => rmSync(home, { recursive: true, force: true }))

test('forwards of all kinds, saved, are read again as they were, and forgotten one by one', async () => {
  for (const row of [DB, DEMO, BROWSE, WIKI]) await saveForward(home, row)
  assert.deepEqual(await read(), [DB, DEMO, BROWSE, WIKI])
  assert.equal(await forgetForward(home, 'demo'), true)
  assert.deepEqual(await read(), [DB, BROWSE, WIKI])
  assert.equal(await forgetForward(home, 'demo'), false)
})

test('a configuration with comments and other tables, edited, keeps everything else as it is', async () => {
  const written = '# mine\nlisten = ["tcp://127.0.0.1:4433"]  # here\n\n[[forward]]\nname = "old"\npeer = "a"\ntarget = "b:1"\n\n[log]\nlevel = "warn"\n'
  writeFileSync(file, written)
  await saveForward(home, DB)
  assert.ok(readFileSync(file, 'utf8').startsWith(written))
  assert.equal(await forgetForward(home, 'db'), true)
  assert.equal(readFileSync(file, 'utf8').trimEnd(), written.trimEnd())
  assert.equal(await forgetForward(home, 'old'), true)
  assert.equal(readFileSync(file, 'utf8').trimEnd(), '# mine\nlisten = ["tcp://127.0.0.1:4433"]  # here\n\n[log]\nlevel = "warn"')
})

test('forwards written in one line, edited, are left to the owner', async () => {
  writeFileSync(file, 'forward = [{ name = "db", peer = "a", target = "b:1" }]\n')
  await assert.rejects(saveForward(home, DB), { code: 'CONFIG_INVALID' })
  await assert.rejects(forgetForward(home, 'db'), { code: 'CONFIG_INVALID' })
})

for (const [what, text] of [
  ['no target', 'name = "db"\npeer = "a"'],
  ['a target that is none', 'name = "db"\npeer = "a"\ntarget = "b"'],
  ['a name like those given by itself', 'name = "f1"\npeer = "a"\ntarget = "b:1"'],
  ['an unknown kind', 'name = "db"\nkind = "udp"\npeer = "a"\ntarget = "b:1"'],
  ['a key that is none', 'name = "db"\npeer = "a"\ntarget = "b:1"\nlokal = "c:1"'],
  ['a server that is no address of SSH', 'name = "db"\nkind = "ssh"\npeer = "bastion"\ntarget = "b:1"'],
  ['a fingerprint that is none', 'name = "db"\nkind = "ssh"\npeer = "ssh://a@b"\ntarget = "b:1"\nhost_key = "MD5:00"'],
  ['the same name twice', 'name = "db"\npeer = "a"\ntarget = "b:1"\n[[forward]]\nname = "db"\npeer = "a"\ntarget = "b:1"'],
] as const) {
  test(`a forward with ${what} is refused by name`, async () => {
    writeFileSync(file, `[[forward]]\n${text}\n`)
    await assert.rejects(read(), (error) => error instanceof KithError && error.code === 'CONFIG_INVALID' && error.message.includes('forward'))
  })
}

test('a named forward whose port is taken is a trouble, tried again, and gone when it opened; a reload opens and closes only what changed', async () => {
  const clock = manualClock()
  const calls: string[] = []
  let taken = true
  const tunnels = {
    async forward({ id, check }: { id: string; check: boolean }) {
      calls.push(`open ${id}${check ? ' checked' : ''}`)
      if (taken && id === 'db') throw new KithError('ADDRESS_IN_USE')
    },
    async socks({ id }: { id: string }) {
      calls.push(`socks ${id}`)
    },
    async remove(id: string) {
      calls.push(`close ${id}`)
    },
  } as unknown as Tunnels
  const openSsh = async ({ id, server, check }: SshForwardOptions): Promise<void> => void calls.push(`ssh ${id} ${server}${check === false ? '' : ' checked'}`)
  const named = new NamedForwards({ tunnels, resolvePeer: (text) => text as Did, openSsh, clock, logger: silentLogger })
  await named.apply([WIKI])
  assert.deepEqual(calls.splice(0), ['ssh wiki ssh://alice@bastion.example:2222'])
  await named.apply([DB, BROWSE])
  assert.deepEqual(calls.shift(), 'close wiki')
  assert.deepEqual(calls.splice(0), ['open db', 'socks browse'])
  assert.deepEqual(
    named.troubles().map(({ code, message }) => [code, message.includes('db')]),
    [['ADDRESS_IN_USE', true]],
  )
  taken = false
  clock.advance(2_000)
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(calls.splice(0), ['open db'])
  assert.deepEqual(named.troubles(), [])
  await named.apply([{ ...DB, target: 'db.internal:5433' } as NamedForward, BROWSE])
  assert.deepEqual(calls.splice(0), ['close db', 'open db'])
  await named.apply([])
  assert.deepEqual(calls.splice(0).sort(), ['close browse', 'close db'])
  await saveForward(home, WIKI)
  named.adopt({ ...WIKI, known_hosts: undefined } as NamedForward)
  await named.apply(await read())
  assert.deepEqual(calls, [], 'one that a command opened and saved is not opened again')
  named.close()
  assert.equal(clock.pending, 0)
})
