import assert from 'node:assert/strict'
import { createCipheriv, pbkdf2Sync } from 'node:crypto'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createStage, type Outcome, type Stage } from './support.ts'

let stage: Stage
let home = ''
const PHRASE = `${'abandon '.repeat(11)}about`

before(async () => {
  stage = await createStage()
  home = stage.home('desk')
  await stage.kith(['init', '--restore', '--no-passphrase', '--home', home, '--name', 'desk'], { input: PHRASE })
})
after(() => stage.close())

const vault = (...args: string[]): string[] => ['vault', ...args, '--home', home]
const errorOf = (outcome: Outcome): { code: string; next: string | null } => JSON.parse(outcome.stderr).error
const SSH = "m/74'/0'/1'/0'"
const SSH_KEY = '6a9dd5c41915fba6cc22b8760263aba45b068cae7bead1d069c7b8eeb0118134'

test('vault without a running node, derives, encrypts, decrypts and gives passwords for one time', async () => {
  assert.equal((await stage.json(vault('derive', SSH))).public_key, SSH_KEY)
  const form = await stage.json(vault('encrypt'), { input: 'a token' })
  assert.equal(form.key_version, 2)
  const opened = await stage.kith(vault('decrypt'), { input: JSON.stringify(form) })
  assert.deepEqual([opened.status, opened.stdout], [0, 'a token'])
  const password = await stage.kith(vault('site-password', 'example.org'))
  assert.equal(password.stdout, 'MkYp6hH0wC9ZNkL_cEIBfVy6\n')
  const status = await stage.kith([...vault('status'), '--json'])
  assert.equal(errorOf(status).code, 'DAEMON_NOT_RUNNING')
})

test('vault of a running node, is locked, opened, used and locked again', async () => {
  const node = await stage.up(home)
  const locked = await stage.kith([...vault('derive', SSH), '--json'])
  assert.equal(errorOf(locked).code, 'VAULT_LOCKED')
  assert.match(errorOf(locked).next ?? '', /kith.* vault unlock/)
  const unlocked = await stage.json(vault('unlock'))
  assert.deepEqual([unlocked.vault, unlocked.unlocked, unlocked.created], ['default', true, false])
  const twice = await stage.kith([...vault('unlock'), '--json'])
  assert.equal(errorOf(twice).code, 'VAULT_UNLOCKED')

  assert.equal((await stage.json(vault('derive', SSH))).public_key, SSH_KEY)
  const ethereum = await stage.json(vault('derive', "m/44'/60'/0'/0/0"))
  assert.deepEqual([ethereum.type, ethereum.public_key], ['secp256k1', '0237b0bb7a8288d38ed49a524b5dc98cff3eb5ca824c9f9dc0dfdb3d9cd600f299'])
  const symmetric = await stage.kith([...vault('derive', "m/74'/2'/0'/0'"), '--json'])
  assert.equal(errorOf(symmetric).code, 'USAGE')

  const large = 'x'.repeat(200_000)
  const form = await stage.json(vault('encrypt'), { input: large })
  const rotated = await stage.json(vault('rotate', '--key-version', '3'), { input: JSON.stringify(form) })
  assert.equal(rotated.key_version, 3)
  const opened = await stage.kith(vault('decrypt'), { input: JSON.stringify(rotated) })
  assert.equal(opened.stdout, large)
  const tampered = await stage.kith([...vault('decrypt', '--out', 'never')], { input: JSON.stringify({ ...rotated, key_version: 2 }) })
  assert.match(tampered.stderr, /DECRYPT_FAILED/)
  assert.equal((await stage.kith(vault('site-password', 'example.org'))).stdout, 'MkYp6hH0wC9ZNkL_cEIBfVy6\n')

  const listed = await stage.json<{ vaults: { vault: string; unlocked: boolean; derivations: number }[] }>(vault('status'))
  assert.deepEqual(
    listed.vaults.map(({ vault: name, unlocked: open }) => [name, open]),
    [['default', true]],
  )
  assert.deepEqual((await stage.json(['status', '--home', home])).vaults, ['default'])
  assert.match((await stage.kith(['status', '--home', home])).stdout, /vaults +open: default/)
  const { stdout } = await stage.kith(['metrics', '--home', home])
  assert.match(stdout, /kith_vaults_unlocked 1/)
  assert.match(stdout, /kith_vault_derivations_total\{class="ssh"\} 1/)

  assert.deepEqual((await stage.json(vault('lock'))).locked, ['default'])
  assert.deepEqual((await stage.json(vault('lock'))).locked, [])
  const { rows } = await stage.json<{ rows: { action: string; actor: string; subject: string; details?: Record<string, unknown> }[] }>([
    'audit',
    '--home',
    home,
  ])
  const told = rows.filter(({ action }) => action.startsWith('vault.')).map(({ action, actor, subject, details }) => [action, actor, subject, details?.class])
  assert.deepEqual(told.reverse().slice(0, 3), [
    ['vault.unlock', 'owner', 'default', undefined],
    ['vault.derive', 'owner', 'default', 'ssh'],
    ['vault.derive', 'owner', 'default', 'ethereum'],
  ])
  assert.deepEqual(told.at(-1), ['vault.lock', 'owner', 'default', undefined])
  assert.ok(!JSON.stringify(rows).includes("m/74'"), 'paths stay out of the audit log')
  await stage.json(['down', '--home', home])
  await node.exited
})

test('vault of another name, made with a phrase, has keys, lock and passphrase of its own', async () => {
  await stage.up(home)
  const file = join(stage.folder, 'work-passphrase')
  await writeFile(file, 'correct horse battery\n', { mode: 0o600 })
  const missing = await stage.kith([...vault('unlock', 'work'), '--json'])
  assert.equal(errorOf(missing).code, 'VAULT_MISSING')
  const made = await stage.json(vault('unlock', 'work', '--restore', '--passphrase-file', file), {
    input: 'legal winner thank year wave sausage worth useful legal winner thank yellow',
  })
  assert.deepEqual([made.vault, made.unlocked, made.created], ['work', true, true])
  const again = await stage.kith([...vault('unlock', 'work', '--new', '--passphrase-file', file), '--json'])
  assert.equal(errorOf(again).code, 'VAULT_EXISTS')
  assert.equal((await stat(join(home, 'vaults', 'work.age'))).mode & 0o777, 0o600)

  const own = await stage.json(vault('derive', SSH, '--vault', 'work'))
  assert.notEqual(own.public_key, SSH_KEY)
  const other = await stage.kith([...vault('derive', SSH), '--json'])
  assert.equal(errorOf(other).code, 'VAULT_LOCKED')

  assert.deepEqual((await stage.json(vault('lock', 'work'))).locked, ['work'])
  assert.equal(errorOf(await stage.kith([...vault('lock', 'wrok'), '--json'])).code, 'VAULT_MISSING')
  assert.deepEqual(await stage.json(['certificate', '--home', home]), { certificate: null })
  assert.equal(errorOf(await stage.kith(['certificate', 'renew', '--home', home, '--json'])).code, 'NOT_FOUND')
  await writeFile(`${file}.wrong`, 'something else\n', { mode: 0o600 })
  const wrong = await stage.kith([...vault('unlock', 'work', '--passphrase-file', `${file}.wrong`), '--json'])
  assert.equal(errorOf(wrong).code, 'PASSPHRASE_WRONG')
  await stage.json(vault('unlock', 'work', '--passphrase-file', file))
  const { checks } = JSON.parse((await stage.kith(['doctor', '--json', '--home', home])).stdout) as { checks: { name: string; ok: boolean; detail: string }[] }
  assert.match(checks.find(({ name }) => name === 'vaults')?.detail ?? '', /work, whole/)
  assert.ok(checks.some(({ name }) => name === 'core dumps'))
  const bad = await stage.kith([...vault('unlock', '../work'), '--json'])
  assert.equal(errorOf(bad).code, 'USAGE')
  await stage.json(['down', '--home', home])
})

test('change of the passphrase, takes along the vault that it opens and leaves the one with a passphrase of its own', async () => {
  const [own, next] = [join(stage.folder, 'work-passphrase'), join(stage.folder, 'next-passphrase')]
  await writeFile(next, 'another one entirely\n', { mode: 0o600 })
  await stage.json(vault('unlock', 'kept', '--new'))
  await stage.json(['id', 'passphrase', '--new-passphrase-file', next, '--home', home])
  const derive = (name: string, file: string): Promise<Record<string, unknown>> => stage.json(vault('derive', SSH, '--vault', name, '--passphrase-file', file))
  assert.equal((await derive('kept', next)).vault, 'kept')
  assert.equal((await derive('work', own)).vault, 'work')
  const wrong = await stage.kith([...vault('derive', SSH, '--vault', 'kept', '--passphrase-file', own), '--json'])
  assert.equal(errorOf(wrong).code, 'PASSPHRASE_WRONG')
  await stage.json(['id', 'passphrase', '--no-passphrase', '--passphrase-file', next, '--home', home])
  assert.equal((await stage.json(vault('derive', SSH, '--vault', 'kept'))).vault, 'kept')
})

test('node with a core limit above zero, looked at by the doctor, is warned of', { skip: process.platform !== 'linux' && 'needs Linux' }, async () => {
  const { stdout } = await stage.shell(`ulimit -Hc 4096; ulimit -Sc 4096; kith doctor --json --home ${home} || true`)
  const { checks } = JSON.parse(stdout) as { checks: { name: string; ok: boolean; next: string | null }[] }
  const found = checks.find(({ name }) => name === 'core dumps')
  assert.equal(found?.ok, false)
  assert.match(found?.next ?? '', /LimitCORE=0/)
})

test('secrets, asked for in JSON, are refused; with --out they go to a new file of the owner', async () => {
  const form = JSON.stringify(await stage.json(vault('encrypt'), { input: 'a token' }))
  for (const command of [vault('decrypt'), vault('site-password', 'example.org')]) {
    const refused = await stage.kith([...command, '--json'], { input: form })
    assert.equal(errorOf(refused).code, 'USAGE')
    assert.equal(refused.stdout, '')
  }
  const out = join(stage.folder, 'token.txt')
  assert.deepEqual(await stage.json(vault('decrypt', '--out', out), { input: form }), { file: out, bytes: 7 })
  assert.equal(await readFile(out, 'utf8'), 'a token')
  assert.equal((await stat(out)).mode & 0o777, 0o600)
  const twice = await stage.kith([...vault('decrypt', '--out', out), '--json'], { input: form })
  assert.equal(errorOf(twice).code, 'USAGE')
  const phrase = await stage.kith([...vault('phrase', 'work'), '--json'])
  assert.equal(errorOf(phrase).code, 'USAGE')
})

test('rotate with a password, takes over what a predecessor encrypted, from a file too', async () => {
  const salt = Buffer.alloc(16, 3)
  const cipher = createCipheriv('aes-256-gcm', pbkdf2Sync('old password', salt, 100_000, 32, 'sha256'), Buffer.alloc(12, 1))
  const sealed = Buffer.concat([cipher.update('old text'), cipher.final(), cipher.getAuthTag()])
  const old = { key_version: 1, salt: salt.toString('base64'), iv: Buffer.alloc(12, 1).toString('base64'), data: sealed.toString('base64') }
  const [form, password] = [join(stage.folder, 'old.json'), join(stage.folder, 'old-password')]
  await writeFile(form, JSON.stringify(old))
  await writeFile(password, 'old password\n', { mode: 0o600 })
  const taken = await stage.json(vault('rotate', form, '--password-file', password))
  assert.equal(taken.key_version, 2)
  assert.equal((await stage.kith(vault('decrypt'), { input: JSON.stringify(taken) })).stdout, 'old text')
  const without = await stage.kith([...vault('rotate', form), '--json'])
  assert.equal(errorOf(without).code, 'UNSUPPORTED')
})
