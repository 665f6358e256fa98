import assert from 'node:assert/strict'
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, watch, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { openTarget } from '../../src/cli/backup/target.ts'
import type { CommandContext } from '../../src/cli/context.ts'
import { concat } from '../../src/core/bytes.ts'
import { isKithError } from '../../src/core/errors.ts'
import { systemRandom } from '../../src/core/random.ts'
import { BackupDesk } from '../../src/daemon/backup/desk.ts'
import { readBackup } from '../../src/daemon/backup/read.ts'
import { pruneSnapshots, snapshotFolder, snapshotName } from '../../src/daemon/backup/snapshots.ts'
import { changePassphrase } from '../../src/daemon/identity/change-passphrase.ts'
import { setDuress } from '../../src/daemon/identity/duress.ts'
import { openDeviceWith } from '../../src/daemon/identity/open.ts'
import { changeSeal } from '../../src/daemon/identity/seal.ts'
import { exportIdentity, importIdentity } from '../../src/daemon/identity/transfer.ts'
import { checkModule } from '../../src/identity/hardware/module.ts'
import { homePaths, openHome, viewHome } from '../../src/identity/home.ts'
import { openExport } from '../../src/identity/identity-export.ts'
import { openDevice, openIdentity } from '../../src/identity/keystore.ts'
import { resolvePassphrase } from '../../src/identity/passphrase.ts'
import { formatRecipient } from '../../src/vault/bech32.ts'
import { writeContainer } from '../../src/vault/container.ts'
import { recipientOf, X25519Identity } from '../../src/vault/container-recipients.ts'
import { backUp, makeHome, restore, secret, sourceOf, toKey, type World, world } from '../backup/support.ts'

const refused =
  (code: string) =>
  (error: unknown): boolean =>
    isKithError(error) && error.code === code && typeof error.next === 'string'

test('a home with a backup, a damaged vault and an old key file lying in it, is backed up and restored all the same', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a')
  const first = await backUp(at, made, toKey(made.key))
  mkdirSync(join(made.path, 'vaults'), { mode: 0o700 })
  writeFileSync(join(made.path, 'monday.age'), first.bytes, { mode: 0o600 })
  writeFileSync(join(made.path, 'vaults/empty.age'), '', { mode: 0o600 })
  for (const name of ['large.age', 'vaults/large.age']) writeFileSync(join(made.path, name), Buffer.alloc(3 << 20), { mode: 0o600 })
  const { bytes } = await backUp(at, made, toKey(made.key))
  const restored = await restore(at, 'b', bytes, made.key)
  assert.deepEqual([...restored.still_sealed].sort(), ['vaults/empty.age'])
  assert.ok(readFileSync(join(at.at('b'), 'monday.age')).equals(first.bytes))
})

test('a home with a passphrase and such files in it, restored under a new passphrase, is restored', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a', 'then')
  mkdirSync(join(made.path, 'vaults'), { mode: 0o700 })
  for (const name of ['stray.age', 'vaults/words.age']) writeFileSync(join(made.path, name), 'no age file', { mode: 0o600 })
  const { bytes } = await backUp(at, made, toKey(made.key), 'then')
  const restored = await restore(at, 'b', bytes, made.key, { passphrase: 'then', newPassphrase: secret('now') })
  assert.deepEqual([...restored.still_sealed].sort(), ['vaults/words.age'])
})

/** A backup of a home without identity, which anybody can make: with a header as wanted. */
async function foreign(at: World, header: Record<string, unknown>, key: Parameters<typeof toKey>[0]): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  await writeContainer({
    ...toKey(key),
    sink: async (bytes) => void parts.push(Uint8Array.from(bytes)),
    header: {
      did: null,
      name: null,
      link_key: null,
      kith: '0',
      created_at: new Date(at.clock.now()).toISOString(),
      created_ms: at.clock.now(),
      series: '00'.repeat(16),
      counter: 1,
      boot: 0,
      keys: 'none',
      recipient: null,
      contents: [],
      ...header,
    },
    files: (async function* () {})(),
    mtime: 1,
    seal: async () => ({}),
  })
  return concat(...parts)
}

test('a backup with a counter, date or run that no time has, is refused by code and leaves no mark', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a')
  const largest = Number.MAX_SAFE_INTEGER
  for (const header of [{ counter: largest }, { created_ms: largest }, { boot: largest }]) {
    await assert.rejects(restore(at, 'b', await foreign(at, header, made.key), made.key), refused('BACKUP_INVALID'), JSON.stringify(header))
  }
  await restore(at, 'b', await foreign(at, { counter: 2 }, made.key), made.key)
  await assert.rejects(restore(at, 'c', await foreign(at, {}, made.key), made.key), refused('BACKUP_ROLLBACK'))
})

test('the command of the second passphrase, gets no passphrase or PIN from the environment', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a', 'first')
  const out = join(at.base, 'seen')
  mkdirSync(out)
  {
    await using home = await openHome(made.path)
    using device = await openDevice(home, { passphrase: secret('first'), renew: false })
    await setDuress(
      { home, device, clock: at.clock, random: systemRandom, workFactor: 1 },
      secret('second'),
      `env > '${out}/new' && mv '${out}/new' '${out}/env'`,
    )
  }
  const written = fileIn(t, out, 'env')
  process.env.ICN_KEYSTORE_PASSPHRASE = 'planted passphrase'
  process.env.ICN_TOKEN_PIN = 'planted pin'
  process.env.KITH_PLANTED = 'planted setting'
  try {
    await using home = await openHome(made.path)
    using device = await openDeviceWith(home, { passphrase: secret('second'), renew: false })
    assert.notEqual(device.did, made.did)
  } finally {
    for (const name of ['ICN_KEYSTORE_PASSPHRASE', 'ICN_TOKEN_PIN', 'KITH_PLANTED']) delete process.env[name]
  }
  await written
  const seen = readFileSync(join(out, 'env'), 'utf8')
  assert.match(seen, /^PATH=/m)
  assert.doesNotMatch(seen, /planted/)
})

function fileIn(t: TestContext, folder: string, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('nothing was run')), 20_000)
    const watcher = watch(folder, () => {
      if (existsSync(join(folder, name))) resolve()
    })
    t.after(() => {
      clearTimeout(timer)
      watcher.close()
    })
  })
}

test('a backup made by somebody who was given the second passphrase, has the same kinds of files in it as one of the first', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a', 'first')
  const set = async (): Promise<void> => {
    await using home = await openHome(made.path)
    using device = await openDevice(home, { passphrase: secret('first'), renew: false })
    await setDuress({ home, device, clock: at.clock, random: systemRandom, workFactor: 1 }, secret('second'), 'true')
  }
  await set()
  const { bytes } = await backUp(at, made, toKey(made.key), 'second')
  const names: string[] = []
  await readBackup({
    source: sourceOf(bytes),
    identities: [new X25519Identity(made.key)],
    async onFile(file) {
      names.push(file.name)
      for await (const _ of file.content());
    },
  })
  assert.deepEqual(names, ['identity.age'])
})

test('a module that a peer may have sent, in the inbox of a home or anywhere below one, is never loaded', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a')
  for (const folder of ['inbox', 'inbox/deep/er', '.']) {
    mkdirSync(join(made.path, folder), { recursive: true, mode: 0o700 })
    const path = join(made.path, folder, 'evil.so')
    copyFileSync(process.execPath, path)
    chmodSync(path, 0o600)
    assert.throws(() => checkModule(path), refused('TOKEN_UNAVAILABLE'), folder)
  }
})

test('import under a passphrase into a home that keeps one outside, is refused before anything changes, and works the way it says', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a')
  const file = join(at.base, 'export')
  const kept = async (path: string) => {
    await using home = await openHome(path)
    return (await resolvePassphrase({ environment: { ...at.environment }, home })).secret
  }
  const passphrase = await kept(made.path)
  {
    await using home = await openHome(made.path)
    using identity = await openIdentity(home, { passphrase })
    await exportIdentity(identity, file, { random: systemRandom, workFactor: 1, passphrase: secret('of the file') })
  }
  const before = readFileSync(join(made.path, 'identity.age'))
  const bring = async (given?: string): Promise<unknown> => {
    await using home = await openHome(made.path)
    const content = await openExport(readFileSync(file), secret('of the file'))
    return await importIdentity({
      home,
      content,
      mayRotate: false,
      clock: at.clock,
      random: systemRandom,
      environment: at.environment,
      workFactor: 1,
      ...(given === undefined ? {} : { passphrase: secret(given), present: secret(given) }),
    })
  }
  await assert.rejects(bring('another'), refused('USAGE'))
  assert.ok(readFileSync(join(made.path, 'identity.age')).equals(before))
  await bring()
  await using home = await openHome(made.path)
  const found = await resolvePassphrase({ environment: { ...at.environment }, home })
  using identity = await openIdentity(home, { passphrase: found.secret })
  assert.equal(identity.did, made.did)
})

test('a caller of the control interface who names a backup key of its own, does not get the backups of a node that knows its key', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a', 'first')
  await using home = await openHome(made.path)
  using device = await openDevice(home, { passphrase: secret('first'), renew: false })
  const { environment, clock } = at
  const desk = new BackupDesk({ home, clock, random: systemRandom, environment, device: () => device, store: () => undefined, audit: () => undefined })
  t.after(() => desk.close())
  const own = formatRecipient(recipientOf(made.key))
  const foreignKey = formatRecipient(recipientOf(secret('0123456789abcdef0123456789abcdef')))
  await desk.end((await desk.begin({ recipient: own })).id)
  await assert.rejects(desk.begin({ recipient: foreignKey }), refused('BACKUP_KEY_WRONG'))
  assert.equal(await desk.recipient(), own)
  await desk.end((await desk.begin()).id)
})

test('a passphrase changed while the one of before is being sealed, goes on opening the keys', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a', 'then')
  const folder = join(at.base, 'keyring')
  mkdirSync(folder)
  const script = `#!/bin/sh
case "$1" in
  store) cat > ${folder}/key; touch ${folder}/asked; while [ ! -e ${folder}/go ]; do sleep 0.05; done;;
  lookup) cat ${folder}/key;;
  *) rm -f ${folder}/key;;
esac
`
  writeFileSync(join(folder, 'secret-tool'), script, { mode: 0o700 })
  const environment = { ...at.environment, PATH: `${folder}:${process.env.PATH}` }
  const asked = fileIn(t, folder, 'asked')
  const id = readFileSync(join(made.path, 'id'), 'utf8').trim()
  const sealing = changeSeal(viewHome(homePaths(made.path), id), { secret: secret('then'), source: 'file' }, { where: 'keyring', environment })
  const outcome = assert.rejects(sealing, refused('PASSPHRASE_WRONG'))
  await asked
  await changePassphrase(made.path, secret('then'), undefined, { environment })
  writeFileSync(join(folder, 'go'), '')
  await outcome
  await using home = await openHome(made.path)
  const found = await resolvePassphrase({ environment: { ...environment }, home })
  using identity = await openIdentity(home, { passphrase: found.secret })
  assert.equal(identity.did, made.did)
})

test('a recovery file of a seal that cannot be written, is said to be so and leaves nothing', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a')
  await using home = await openHome(made.path)
  const { secret: kept, source } = await resolvePassphrase({ environment: { ...at.environment }, home })
  const request = { where: 'keyring', environment: at.environment, recoveryFile: join(at.base, 'nowhere', 'file') } as const
  await assert.rejects(changeSeal(home, { secret: kept, source, random: true }, request), refused('STORE_FAILED'))
  assert.ok(existsSync(join(at.base, 'state')))
})

test('a backup written into the home, over a key file or beside it, by another way too, is refused; into another folder it is not', async (t) => {
  const at = world(t)
  const made = await makeHome(at, 'a')
  const before = readFileSync(join(made.path, 'identity.age'))
  symlinkSync(made.path, at.at('way'))
  mkdirSync(join(made.path, 'vaults'))
  const target = (file: string) => openTarget({ home: made.path, cwd: at.base } as CommandContext, file, true)
  for (const file of ['a/identity.age', 'a/new.age', 'a/vaults/x.age', 'way/identity.age', 'a/snapshots/../identity.age']) {
    await assert.rejects(target(file), refused('USAGE'), file)
  }
  assert.ok(readFileSync(join(made.path, 'identity.age')).equals(before))
  mkdirSync(join(made.path, 'snapshots'))
  for (const file of ['out.age', 'a/snapshots/x.age', 'a.age']) {
    const opened = await target(file)
    await opened.discard()
  }
})

test('snapshots of a clock that was ahead, do not push out the one just made', async (t) => {
  const at = world(t)
  const folder = await snapshotFolder(at.base)
  const names = [2099, 2098, 2097].map((year) => snapshotName({ created_ms: Date.UTC(year, 0), counter: Date.UTC(year, 0) }))
  const made = snapshotName({ created_ms: at.clock.now(), counter: at.clock.now() })
  for (const name of [...names, made]) writeFileSync(join(folder, name), '')
  const removed = await pruneSnapshots(at.base, 2, made)
  assert.deepEqual(
    removed.map(({ name }) => name),
    names.slice(1),
  )
  assert.deepEqual(
    (await pruneSnapshots(at.base, 1)).map(({ name }) => name),
    [made],
  )
})
