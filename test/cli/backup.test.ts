import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { formatRecipient } from '../../src/vault/bech32.ts'
import { createStage, type Stage } from './support.ts'

const BIN = fileURLToPath(new URL('../../bin/kith.mjs', import.meta.url))

interface Failure {
  readonly error: { readonly code: string; readonly next: string | null }
}

/** A command that must fail, and its code; every one names a next step. */
async function codeOf(stage: Stage, args: readonly string[], options: { input?: string } = {}): Promise<string> {
  const outcome = await stage.kith([...args, '--json'], options)
  assert.notEqual(outcome.status, 0, `${args.join(' ')} succeeded: ${outcome.stdout}`)
  const { error } = JSON.parse(outcome.stderr.trim().split('\n').at(-1) as string) as Failure
  assert.equal(typeof error.next, 'string', `${error.code} names no next step`)
  return error.code
}

/** A key file that age-keygen made, when it is installed; its recipient comes with it. */
function ageKey(stage: Stage): { file: string; recipient: string } | undefined {
  const file = join(stage.folder, 'key.txt')
  try {
    if (!existsSync(file)) execFileSync('age-keygen', ['-o', file], { stdio: 'ignore' })
    return { file, recipient: execFileSync('age-keygen', ['-y', file], { encoding: 'utf8' }).trim() }
  } catch {
    return undefined
  }
}

test('a running node, backed up and lost, comes back on another home; its peers accept it with their settings and messages', {
  timeout: 180_000,
}, async (t) => {
  const stage = await createStage()
  t.after(() => stage.close())
  const key = ageKey(stage)
  if (key === undefined) return t.skip('needs age-keygen')
  const [a, b, again] = [stage.home('a'), stage.home('b'), stage.home('again')]
  const { did } = await stage.json<{ did: string }>(['init', '--home', a, '--name', 'desk', '--no-passphrase'])
  await stage.json(['init', '--home', b, '--name', 'friend', '--no-passphrase'])
  const desk = await stage.up(a)
  await stage.up(b)
  const { ticket } = await stage.json<{ ticket: string }>(['invite', '--home', a])
  await stage.json(['join', '-', '--home', b], { input: ticket })
  await stage.json(['policy', 'allow', 'friend', 'file', '--home', a]).catch(() => stage.json(['allow', 'friend', 'file', '--home', a]))
  writeFileSync(join(stage.folder, 'letter.txt'), 'see you at the mill')
  await stage.json(['send', 'desk', 'letter.txt', '--home', b])
  const linkKey = (await stage.json<{ link_key: string }>(['id', 'show', '--home', a])).link_key

  const made = await stage.json<{ path: string; keys: string; did: string; bytes: number; files: number }>([
    'backup',
    'desk.age',
    '--home',
    a,
    '--recipient',
    key.recipient,
  ])
  assert.equal(made.did, did)
  assert.equal(made.keys, 'container')
  assert.equal(statSync(join(stage.folder, 'desk.age')).size, made.bytes)
  assert.equal(statSync(join(stage.folder, 'desk.age')).mode & 0o777, 0o600)
  assert.deepEqual(
    readdirSync(a).filter((name) => name.startsWith('.backup')),
    [],
    'the copy of the store is gone',
  )
  assert.equal(await codeOf(stage, ['restore', 'desk.age', '--home', a, '--key-file', key.file, '--force']), 'HOME_IN_USE')

  desk.process.kill('SIGKILL')
  await desk.exited
  const restored = await stage.json<{ did: string; link_key: string; replaced_link_key: string; safety: string | null; passphrase: string }>([
    'restore',
    'desk.age',
    '--home',
    again,
    '--key-file',
    key.file,
  ])
  assert.equal(restored.did, did)
  assert.equal(restored.replaced_link_key, linkKey)
  assert.notEqual(restored.link_key, linkKey)
  assert.equal(restored.passphrase, 'stored')
  assert.equal(restored.safety, null)
  assert.equal(readFileSync(join(again, 'inbox', 'letter.txt'), 'utf8'), 'see you at the mill')

  const node = await stage.up(again)
  assert.equal(node.ready.did, did)
  const inbox = await stage.json<{ files?: { name: string; here: boolean }[] } & Record<string, unknown>>(['inbox', '--home', again])
  assert.match(JSON.stringify(inbox), /letter\.txt/)
  // The peer knows the identity, not the machine; it greets the new link key and takes up where they were.
  const rounds = await stage.json<{ rtt_ms?: unknown }>(['ping', 'friend', '-n', '1', '--home', again])
  assert.ok(rounds !== undefined)
  const peers = JSON.stringify(await stage.json(['peers', '--home', b]))
  assert.match(peers, new RegExp(did))
  writeFileSync(join(stage.folder, 'second.txt'), 'and again')
  await stage.json(['send', 'desk', 'second.txt', '--home', b])
  assert.equal(readFileSync(join(again, 'inbox', 'second.txt'), 'utf8'), 'and again', 'the rule for files is back, too')
  const audit = JSON.stringify(await stage.json(['audit', '--home', again]))
  assert.match(audit, /backup\.restore/)
})

test('backups to standard output, with a passphrase, refused for a taken name and a full disk; and snapshots with retention', {
  timeout: 180_000,
}, async (t) => {
  const stage = await createStage()
  t.after(() => stage.close())
  const home = stage.home('a')
  await stage.json(['init', '--home', home, '--name', 'desk', '--no-passphrase'])
  writeFileSync(join(home, 'config.toml'), '[backup]\nkeep = 2\n', { mode: 0o600 })
  writeFileSync(join(stage.folder, 'seal'), 'a passphrase for the safe\n', { mode: 0o600 })
  writeFileSync(join(stage.folder, 'other'), 'another one\n', { mode: 0o600 })

  const piped = await stage.shell(
    `kith backup - --home ${home} --seal-passphrase-file seal > piped.age && kith restore - --home again --seal-passphrase-file seal --json < piped.age`,
  )
  assert.equal(piped.status, 0, piped.stderr)
  assert.equal(await codeOf(stage, ['restore', 'piped.age', '--home', stage.home('third'), '--seal-passphrase-file', 'other']), 'BACKUP_KEY_WRONG')
  assert.equal(await codeOf(stage, ['restore', 'piped.age', '--home', stage.home('third')]), 'PASSPHRASE_REQUIRED')

  assert.equal(await codeOf(stage, ['backup', 'piped.age', '--home', home]), 'FILE_EXISTS')
  assert.equal(await codeOf(stage, ['backup', 'nowhere/x.age', '--home', home]), 'FILE_MISSING')
  assert.equal(await codeOf(stage, ['backup', 'x.age', '--home', home, '--recipient', `age1${'q'.repeat(58)}`]), 'USAGE')
  assert.equal(
    await codeOf(stage, ['backup', 'x.age', '--home', home, '--recipient', formatRecipient(new Uint8Array(32))]),
    'KEY_INVALID',
    'a key that everybody could open',
  )
  if (existsSync('/dev/full')) assert.equal(await codeOf(stage, ['backup', '/dev/full', '--home', home]), 'STORE_FAILED')
  assert.deepEqual(
    readdirSync(stage.folder).filter((name) => name.includes('partial') || name === 'x.age'),
    [],
  )

  const names: string[] = []
  for (let n = 0; n < 3; n++) names.push((await stage.json<{ name: string }>(['snapshot', 'create', '--home', home])).name)
  const { snapshots } = await stage.json<{ snapshots: { name: string }[] }>(['snapshot', 'list', '--home', home])
  assert.deepEqual(
    snapshots.map(({ name }) => name),
    [names[2], names[1]],
  )
  assert.equal((await stage.json<{ path: string }>(['snapshot', 'verify', '--home', home])).path, join(home, 'snapshots', names[2] as string))
  const newest = join(home, 'snapshots', names[2] as string)
  const bytes = readFileSync(newest)
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1
  writeFileSync(newest, bytes)
  assert.equal(await codeOf(stage, ['snapshot', 'verify', '--home', home]), 'BACKUP_DAMAGED')
  assert.equal(await codeOf(stage, ['snapshot', 'verify', 'no-such', '--home', home]), 'NOT_FOUND')
  assert.deepEqual((await stage.json<{ removed: string[] }>(['snapshot', 'prune', '--keep', '1', '--home', home])).removed, [names[1]])
  assert.equal(await codeOf(stage, ['snapshot', 'prune', '--keep', '0', '--home', home]), 'USAGE')
})

test('a node with a passphrase that is locked, backs itself up once it knows its key; two backups at once both are whole', { timeout: 180_000 }, async (t) => {
  const stage = await createStage()
  t.after(() => stage.close())
  const home = stage.home('a')
  writeFileSync(join(stage.folder, 'pass'), 'correct horse\n', { mode: 0o600 })
  await stage.json(['init', '--home', home, '--name', 'desk', '--passphrase-file', 'pass'])
  await stage.up(home, ['--passphrase-file', 'pass'])
  assert.equal(await codeOf(stage, ['backup', 'first.age', '--home', home]), 'PASSPHRASE_REQUIRED')
  const first = await stage.json<{ keys: string; counter: number }>(['backup', 'first.age', '--home', home, '--passphrase-file', 'pass'])
  assert.equal(first.keys, 'passphrase')
  const both = await Promise.all(['second.age', 'third.age'].map((file) => stage.json<{ counter: number }>(['backup', file, '--home', home])))
  const counters = [first.counter, ...both.map(({ counter }) => counter)]
  assert.equal(new Set(counters).size, 3)
  for (const file of ['first.age', 'second.age', 'third.age'])
    await stage.json(['snapshot', 'verify', `./${file}`, '--home', home, '--passphrase-file', 'pass'])
})

test('a backup killed in the middle, leaves nothing under its name, a home that is sound, and a next backup that is whole', { timeout: 120_000 }, async (t) => {
  const stage = await createStage()
  t.after(() => stage.close())
  const home = stage.home('a')
  await stage.json(['init', '--home', home, '--name', 'desk', '--no-passphrase'])
  const inbox = join(home, 'inbox')
  mkdirSync(inbox, { mode: 0o700 })
  writeFileSync(join(inbox, 'large.bin'), Buffer.alloc(64 << 20, 1), { mode: 0o600 })
  for (const running of [false, true]) {
    if (running) await stage.up(home)
    // A pipe takes a little and then nothing more: the backup stands in the middle for as long as it likes.
    const pipe = join(stage.folder, `pipe-${running}`)
    execFileSync('mkfifo', [pipe])
    const child = spawn(process.execPath, [BIN, 'backup', pipe, '--home', home], {
      stdio: 'ignore',
      env: { ...process.env, XDG_STATE_HOME: join(stage.folder, 'state') },
    })
    const reader = await open(pipe, 'r')
    await reader.read(Buffer.alloc(65_536))
    child.kill('SIGKILL')
    await once(child, 'exit')
    await reader.close()
    const name = `after-${running}.age`
    await stage.json(['backup', name, '--home', home])
    assert.equal((await stage.json<{ files: number }>(['snapshot', 'verify', `./${name}`, '--home', home])).files, running ? 3 : 2)
  }
  assert.deepEqual(
    readdirSync(stage.folder).filter((name) => name.includes('partial')),
    [],
  )
})
