import assert from 'node:assert/strict'
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { concat, utf8 } from '../../src/core/bytes.ts'
import { isKithError } from '../../src/core/errors.ts'
import { systemRandom } from '../../src/core/random.ts'
import type { Secret } from '../../src/core/secret.ts'
import { readBackup } from '../../src/daemon/backup/read.ts'
import { homePaths, openHome } from '../../src/identity/home.ts'
import { openIdentity } from '../../src/identity/keystore.ts'
import { loadKeyFile, saveKeyFile } from '../../src/identity/keystore-file.ts'
import { resolvePassphrase } from '../../src/identity/passphrase.ts'
import { parsePhrase, phraseToSeed } from '../../src/vault/bip39.ts'
import { writeContainer } from '../../src/vault/container.ts'
import { deriveBackupKey, X25519Identity } from '../../src/vault/container-recipients.ts'
import { backUp, checkHome, cutEverywhere, filesOf, fingerprint, makeHome, restore, secret, sourceOf, toKey, type World, world } from './support.ts'

/** Every step of a restore that is cut is looked at by `test/slow/backup-faults.test.ts`; here one in so many, and all of the exchange. */
const STRIDE = 12

const rejectsWith = (work: Promise<unknown>, code: string): Promise<void> =>
  assert.rejects(work, (error) => isKithError(error) && error.code === code && typeof error.next === 'string')

test('a home without passphrase, restored into an empty one by its phrase, has everything but its link keys', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a')
  const { bytes, created } = await backUp(at, made, toKey(made.key))
  assert.equal(created.header.keys, 'container')
  const restored = await restore(at, 'b', bytes, made.key)
  assert.equal(restored.safety, null)
  await checkHome(at, 'b', made)
  assert.notEqual(readFileSync(join(at.at('a'), 'id'), 'utf8'), readFileSync(join(at.at('b'), 'id'), 'utf8'), 'the kept passphrases are two')
})

test('a home with a passphrase, restored with it, keeps it; with a new one it has that; without any it is refused', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a', 'then')
  const { bytes, created } = await backUp(at, made, toKey(made.key), 'then')
  assert.equal(created.header.keys, 'passphrase')
  await rejectsWith(restore(at, 'b', bytes, made.key), 'PASSPHRASE_REQUIRED')
  await assert.rejects(restore(at, 'b', bytes, made.key, { passphrase: 'wrong' }), (error) => isKithError(error, 'PASSPHRASE_WRONG'))
  assert.deepEqual(readdirSync(at.at('b')).sort(), ['id', 'kith.lock'], 'what failed left nothing')
  await restore(at, 'b', bytes, made.key, { passphrase: 'then' })
  await checkHome(at, 'b', made, 'then')
  await restore(at, 'c', bytes, made.key, { passphrase: 'then', newPassphrase: secret('now') })
  await checkHome(at, 'c', made, 'now')
  await restore(at, 'd', bytes, made.key, { passphrase: 'then', newPassphrase: 'none' })
  await checkHome(at, 'd', made)
})

test('a home whose passphrase nobody knows, restored with the phrase and a new one, has the same identity', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a', 'forgotten')
  const { bytes } = await backUp(at, made, toKey(made.key), 'forgotten')
  await restore(at, 'b', bytes, made.key, { phrase: made.phrase, newPassphrase: secret('now') })
  await checkHome(at, 'b', made, 'now')
})

test('a backup read with age and tar, by whoever holds the key, has no key of the machine, no kept passphrase, no token and no log in it', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a')
  mkdirSync(join(made.path, 'control'), { mode: 0o700 })
  mkdirSync(join(made.path, 'log'), { mode: 0o700 })
  for (const name of ['control/token', 'log/kith.log', 'device.age.unopened', 'pending.age', 'identity.elsewhere', '.hidden']) {
    writeFileSync(join(made.path, name), `planted in ${name}`, { mode: 0o600 })
  }
  const { bytes } = await backUp(at, made, toKey(made.key))
  const names: string[] = []
  const contents: Buffer[] = []
  await readBackup({
    source: sourceOf(bytes),
    identities: [new X25519Identity(made.key)],
    async onFile(file) {
      names.push(file.name)
      for await (const piece of file.content()) contents.push(Buffer.from(piece))
    },
  })
  assert.deepEqual(names, ['config.toml', 'identity.age', 'kith.db', 'inbox/größe (1).bin', 'inbox/letter.txt'])
  const everything = Buffer.concat(contents)
  assert.equal(everything.indexOf('planted in'), -1)
  for (const ns of ['mail/prekey', 'mesh/invites']) assert.equal(everything.indexOf(`row of ${ns}`), -1, ns)
  assert.ok(everything.indexOf('row of mesh/book') > 0)
  const kept = [...filesOf(join(at.base, 'state'))].filter(([name]) => name.endsWith('.passphrase')).map(([, file]) => file)
  assert.equal(kept.length, 1)
  assert.equal(everything.indexOf((kept[0] as Buffer).toString('latin1').trim()), -1)
})

test('an occupied home, without force, is not touched; with it what was there lies in a safety copy of its own, each time', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a')
  const { bytes } = await backUp(at, made, toKey(made.key))
  const other = await makeHome(at, 'b')
  const before = fingerprint(at.at('b'))
  await rejectsWith(restore(at, 'b', bytes, made.key), 'HOME_NOT_EMPTY')
  assert.equal(fingerprint(at.at('b')), before)
  const first = await restore(at, 'b', bytes, made.key, { force: true })
  const second = await restore(at, 'b', bytes, made.key, { force: true })
  assert.notEqual(first.safety, second.safety, 'the same backup twice keeps two copies')
  await checkHome(at, 'b', made)
  cpSync(first.safety as string, at.at('c'), { recursive: true })
  chmodSync(at.at('c'), 0o700)
  assert.equal(fingerprint(at.at('c')), before, 'nothing of what was there is lost')
  await using home = await openHome(at.at('c'))
  const { secret: passphrase } = await resolvePassphrase({ environment: { ...at.environment }, home })
  using identity = await openIdentity(home, { passphrase })
  assert.equal(identity.did, other.did, 'and it opens')
})

test('a home that somebody holds, is not restored into', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a')
  const { bytes } = await backUp(at, made, toKey(made.key))
  const home = await openHome(made.path)
  await rejectsWith(restore(at, 'a', bytes, made.key, { force: true }), 'HOME_IN_USE')
  await home.close()
})

test('an older backup than the newest known one, by this home or by this user, is refused until that is wanted', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a')
  const first = await backUp(at, made, toKey(made.key))
  const second = await backUp(at, made, toKey(made.key))
  assert.ok(second.created.header.counter > first.created.header.counter, 'the clock stood still; the counter did not')
  await rejectsWith(restore(at, 'b', first.bytes, made.key), 'BACKUP_ROLLBACK')
  await restore(at, 'b', second.bytes, made.key)
  const back = await restore(at, 'c', first.bytes, made.key, { allowRollback: true })
  assert.equal(back.newer, second.created.header.counter)
  await checkHome(at, 'c', made)
  // What was restored goes on above everything known, and a clock that was set back changes nothing.
  const elsewhere: World = { ...at, environment: { XDG_STATE_HOME: join(at.base, 'other state') } }
  await rejectsWith(restore(elsewhere, 'c', first.bytes, made.key, { force: true }), 'BACKUP_ROLLBACK')
  await restore(elsewhere, 'd', first.bytes, made.key)
})

test('a backup that somebody else sealed to the same key, is refused as forged: unsigned, signed by another, or with another header', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a')
  const evil = await makeHome(at, 'evil')
  const genuine = await backUp(at, made, toKey(made.key))
  const theirs = await backUp(at, evil, toKey(made.key))
  const forge = async (
    header: (of: Record<string, unknown>) => Record<string, unknown>,
    from: Uint8Array,
    seal: (of: Record<string, unknown>) => Record<string, unknown>,
  ): Promise<Uint8Array> => {
    const parts: Uint8Array[] = []
    const { readContainer } = await import('../../src/vault/container.ts')
    const files: { name: string; bytes: Buffer }[] = []
    const read = await readContainer({
      source: sourceOf(from),
      identities: [new X25519Identity(made.key)],
      onHeader: async () => {},
      async onFile(file) {
        const content: Buffer[] = []
        for await (const piece of file.content()) content.push(Buffer.from(piece))
        files.push({ name: file.name, bytes: Buffer.concat(content) })
      },
    })
    async function* all() {
      for (const { name, bytes } of files) yield { name, size: bytes.length, mtime: 1, content: () => sourceOf(bytes) }
    }
    await writeContainer({
      ...toKey(made.key),
      sink: async (bytes) => void parts.push(Uint8Array.from(bytes)),
      header: header({ ...read.header }),
      files: all(),
      mtime: 1,
      seal: async () => seal({ ...read.seal }),
    })
    return concat(...parts)
  }
  const same = <T>(of: T): T => of
  await rejectsWith(restore(at, 'b', await forge(same, genuine.bytes, () => ({})), made.key), 'BACKUP_FORGED')
  await rejectsWith(restore(at, 'b', await forge((of) => ({ ...of, counter: 2 ** 47 }), genuine.bytes, same), made.key), 'BACKUP_FORGED')
  await rejectsWith(restore(at, 'b', await forge((of) => ({ ...of, did: made.did }), theirs.bytes, same), made.key), 'BACKUP_FORGED')
  await rejectsWith(restore(at, 'b', await forge((of) => ({ ...of, did: null }), genuine.bytes, same), made.key), 'BACKUP_FORGED')
  assert.ok(!existsSync(join(at.at('b'), 'identity.age')))
})

test('a backup with a device key, a token or a hidden file in it, is refused before it is written anywhere', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a')
  for (const name of [
    'device.age',
    'control/token',
    '.bashrc',
    'inbox/.partial/x',
    'safety/x/identity.age',
    'id',
    'boot',
    'kith.lock',
    'kith.db-wal',
    'device.papers',
  ]) {
    const parts: Uint8Array[] = []
    async function* one() {
      yield { name, size: 1, mtime: 1, content: () => sourceOf(Buffer.from('x')) }
    }
    const header = {
      ...(await backUp(at, made, toKey(made.key))).created.header,
    }
    await writeContainer({
      ...toKey(made.key),
      sink: async (bytes) => void parts.push(Uint8Array.from(bytes)),
      header,
      files: one(),
      mtime: 1,
      seal: async () => ({}),
    })
    await rejectsWith(restore(at, 'b', concat(...parts), made.key), 'BACKUP_UNSAFE')
  }
  assert.deepEqual(readdirSync(at.at('b')).sort(), ['id', 'kith.lock'])
})

test('a backup cut or changed at any place, restored over a home, leaves it as it was', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a')
  const { bytes } = await backUp(at, made, toKey(made.key))
  const before = fingerprint(made.path)
  for (let at_ = 70_000; at_ < bytes.length; at_ += 90_000) {
    await rejectsWith(restore(at, 'a', bytes.subarray(0, at_), made.key, { force: true }), 'BACKUP_TRUNCATED')
    const flipped = Uint8Array.from(bytes)
    flipped[at_] = (flipped[at_] as number) ^ 1
    await rejectsWith(restore(at, 'a', flipped, made.key, { force: true }), 'BACKUP_DAMAGED')
  }
  await rejectsWith(restore(at, 'a', concat(bytes, utf8('more')), made.key, { force: true }), 'BACKUP_TRAILING')
  assert.equal(fingerprint(made.path), before)
})

test('a restore killed at any step, leaves the old home or the new one, whole', { timeout: 120_000 }, async (t) => {
  const { old, fresh } = await cutEverywhere(world(t), 'kill', STRIDE)
  assert.ok(old > 5 && fresh > 5, `${old} times the old home, ${fresh} times the new one`)
})

test('a disk that is full at any step of a restore, is said to be, and the home is the old one or the new one', { timeout: 120_000 }, async (t) => {
  const { refused } = await cutEverywhere(world(t), 'full', STRIDE)
  assert.ok(refused > 5, `${refused} refusals`)
})

test('a note of a cut restore that names other places, moves nothing', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a')
  const stage = join(made.path, '.restore-0123456789abcdef')
  for (const note of [
    '{"version":1,"safety":"../x","old":[],"new":[]}',
    '{"version":1,"safety":"x","old":["../a"],"new":[]}',
    '{"version":1,"safety":null,"old":[],"new":["a/b"]}',
    'rubbish',
  ]) {
    mkdirSync(join(stage, 'new'), { recursive: true, mode: 0o700 })
    writeFileSync(join(stage, 'commit'), note, { mode: 0o600 })
    await rejectsWith(
      openHome(made.path).then(() => undefined),
      'STORE_FAILED',
    )
  }
})

test('the passphrase of then, when the disk is read file by file, stands nowhere; and every key in a home lies in an age file', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a', 'planted passphrase of a person')
  const { bytes } = await backUp(at, made, toKey(made.key), 'planted passphrase of a person')
  await restore(at, 'b', bytes, made.key, { passphrase: 'planted passphrase of a person' })
  await using home = await openHome(at.at('b'))
  using identity = await openIdentity(home, { passphrase: secret('planted passphrase of a person') })
  const secrets: [string, Buffer][] = [['the passphrase', Buffer.from('planted passphrase of a person')]]
  made.phrase.use((words) => secrets.push(['the phrase', Buffer.from(words)], ['two words of it', Buffer.from(words.subarray(0, 12))]))
  made.key.use((key) => secrets.push(['the backup key', Buffer.from(key)]))
  for (const seeds of [identity.content.seeds, identity.content.next]) {
    for (const seed of [seeds.ed25519, seeds.mldsa]) if (seed !== undefined && 'use' in seed) seed.use((value) => secrets.push(['a seed', Buffer.from(value)]))
  }
  assert.ok(secrets.length >= 7)
  const files = [...filesOf(at.base), ['the backup', Buffer.from(bytes)] as const]
  for (const [name, content] of files) {
    for (const [what, value] of secrets) {
      assert.equal(content.indexOf(value), -1, `${what} stands in ${name}`)
      for (const text of [value.toString('hex'), value.toString('base64').replaceAll('=', '')])
        assert.equal(content.indexOf(text), -1, `${what}, spelled out, stands in ${name}`)
    }
  }
  // The search finds what is there.
  writeFileSync(join(at.at('b'), 'planted'), Buffer.concat([Buffer.alloc(1000), secrets[0]?.[1] as Buffer]))
  assert.ok([...filesOf(at.base)].some(([, content]) => content.indexOf(secrets[0]?.[1] as Buffer) >= 0))
})

test('a home without identity or store, backed up to a key, comes back as it was', async (t) => {
  const at = world(t)
  await using home = await openHome(at.at('a'))
  writeFileSync(join(home.paths.root, 'config.toml'), '', { mode: 0o600 })
  const { BackupDesk } = await import('../../src/daemon/backup/desk.ts')
  const { createBackup } = await import('../../src/daemon/backup/create.ts')
  const { Secret: Guarded } = await import('../../src/core/secret.ts')
  const key = Guarded.random(32, systemRandom)
  const desk = new BackupDesk({
    home,
    clock: at.clock,
    random: systemRandom,
    environment: at.environment,
    device: () => undefined,
    store: () => undefined,
    audit: () => undefined,
  })
  const stage = await desk.begin()
  const parts: Uint8Array[] = []
  await createBackup({
    ...toKey(key),
    stage,
    version: '0',
    sink: async (bytes) => void parts.push(Uint8Array.from(bytes)),
    seal: async (digest) => ({ ...desk.seal(stage.id, digest) }),
  })
  await desk.close()
  const restored = await restore(at, 'b', concat(...parts), key)
  assert.equal(restored.identity, null)
  assert.ok(existsSync(homePaths(at.at('b')).config))
})

test('vaults of a home without passphrase, restored, open by its new kept passphrase; one under a passphrase of its own stays as it was', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a')
  mkdirSync(join(made.path, 'vaults'), { mode: 0o700 })
  const kept = async (name: string): Promise<Secret> => {
    await using home = await openHome(at.at(name))
    return (await resolvePassphrase({ environment: { ...at.environment }, home })).secret
  }
  const options = { random: systemRandom, workFactor: 2 }
  await saveKeyFile(join(made.path, 'vaults', 'team.age'), secret('words of a team'), await kept('a'), options)
  await saveKeyFile(join(made.path, 'vaults', 'own.age'), secret('words of its own'), secret('its own'), options)
  const { bytes } = await backUp(at, made, toKey(made.key))
  const restored = await restore(at, 'b', bytes, made.key)
  assert.deepEqual(restored.still_sealed, ['vaults/own.age'])
  const open = async (name: string, passphrase: Secret): Promise<string | undefined> =>
    (await loadKeyFile(join(at.at('b'), 'vaults', name), passphrase))?.use((words) => words.toString())
  assert.equal(await open('team.age', await kept('b')), 'words of a team')
  assert.equal(await open('own.age', secret('its own')), 'words of its own')
})

test('a backup of format 1, made by the first version, opens with its phrase, and so it stays', async (t) => {
  const at = world(t)
  const fixture = (end: string): Buffer => readFileSync(join(import.meta.dirname, 'fixtures', `format-1.${end}`))
  const { phrase, did, counter } = JSON.parse(fixture('json').toString('utf8')) as { phrase: string; did: string; counter: number }
  const key = deriveBackupKey(phraseToSeed(parsePhrase(phrase)))
  const restored = await restore(at, 'b', fixture('age'), key)
  assert.equal(restored.header.did, did)
  assert.equal(restored.header.counter, counter)
  assert.equal(restored.identity?.did, did)
  assert.equal(readFileSync(join(at.at('b'), 'inbox', 'letter.txt'), 'utf8'), 'see you at the mill')
})
