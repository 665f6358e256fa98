import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import type { TestContext } from 'node:test'
import { concat, utf8 } from '../../src/core/bytes.ts'
import { type Clock, type ManualClock, manualClock } from '../../src/core/clock.ts'
import { isKithError, KithError } from '../../src/core/errors.ts'
import { createAudit } from '../../src/core/observe/audit.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { openSqliteStore } from '../../src/core/store/sqlite.ts'
import { type CreatedBackup, createBackup } from '../../src/daemon/backup/create.ts'
import { BackupDesk } from '../../src/daemon/backup/desk.ts'
import { type RestoredHome, type RestoreOptions, restoreBackup } from '../../src/daemon/backup/restore.ts'
import { changePassphrase } from '../../src/daemon/identity/change-passphrase.ts'
import { loadSummary } from '../../src/daemon/identity/describe.ts'
import { type SetUpResult, setUpIdentity } from '../../src/daemon/identity/setup.ts'
import { storedBoot } from '../../src/identity/boot.ts'
import { openHome } from '../../src/identity/home.ts'
import { openDevice, openKeystore } from '../../src/identity/keystore.ts'
import { resolvePassphrase } from '../../src/identity/passphrase.ts'
import { phraseToSeed } from '../../src/vault/bip39.ts'
import type { ContainerRecipients } from '../../src/vault/container-header.ts'
import { deriveBackupKey, recipientOf, X25519Identity, X25519Recipient } from '../../src/vault/container-recipients.ts'
import { Killed, withFault } from './faults.ts'

export const T0 = 1_800_000_000_000
/** Cheap scrypt for tests. */
export const WORK_FACTOR = 2

export const secret = (text: string): Secret => Secret.take(Buffer.from(text))

export interface World {
  readonly base: string
  readonly environment: NodeJS.ProcessEnv
  readonly clock: ManualClock
  at(name: string): string
}

export function world(t: TestContext): World {
  const base = mkdtempSync(join(tmpdir(), 'kith-backup-'))
  t.after(() => rmSync(base, { recursive: true, force: true }))
  return { base, environment: { XDG_STATE_HOME: join(base, 'state') }, clock: manualClock(T0), at: (name) => join(base, name) }
}

export interface MadeHome {
  readonly path: string
  readonly did: string
  readonly linkKey: string
  readonly phrase: Secret
  /** X25519, of the phrase. */
  readonly key: Secret
}

/** A home with an identity, settings, a store with rows, and an inbox. `passphrase` absent: one that is kept outside. */
export async function makeHome({ at, environment, clock }: World, name: string, passphrase?: string): Promise<MadeHome> {
  const path = at(name)
  const { summary, phrase } = await setUp(path, name, { environment, clock })
  if (passphrase !== undefined) {
    // At a cost that tests can pay; a person's passphrase would be stretched for half a second each time.
    const kept = await keptPassphrase(path, environment)
    await changePassphrase(path, kept, secret(passphrase), { environment, workFactor: WORK_FACTOR })
  }
  await using home = await openHome(path)
  writeFileSync(join(path, 'config.toml'), '[log]\nlevel = "debug"\n', { mode: 0o600 })
  mkdirSync(join(path, 'inbox', '.partial'), { recursive: true, mode: 0o700 })
  writeFileSync(join(path, 'inbox', 'letter.txt'), 'see you at the mill', { mode: 0o600 })
  writeFileSync(join(path, 'inbox', 'größe (1).bin'), Buffer.alloc(100_000, 7), { mode: 0o600 })
  writeFileSync(join(path, 'inbox', '.partial', 'half.part'), 'half', { mode: 0o600 })
  const store = await openSqliteStore(home.paths.store)
  for (const ns of ['mesh/book', 'mail/prekey', 'mesh/invites']) await store.put(ns, utf8('row'), utf8(`row of ${ns}`))
  await store.close()
  const seed = phraseToSeed(phrase)
  return { path, did: summary.did, linkKey: summary.link_key, phrase, key: deriveBackupKey(seed) }
}

async function setUp(path: string, name: string, { environment, clock }: Pick<World, 'environment' | 'clock'>): Promise<SetUpResult> {
  await using home = await openHome(path)
  return await setUpIdentity({ home, clock, random: systemRandom, environment, name })
}

async function keptPassphrase(path: string, environment: NodeJS.ProcessEnv): Promise<Secret> {
  await using home = await openHome(path)
  return (await resolvePassphrase({ environment: { ...environment }, home })).secret
}

export function toKey(key: Secret): ContainerRecipients {
  return { recipients: [new X25519Recipient(recipientOf(key), systemRandom)], random: systemRandom }
}

export interface Made {
  readonly bytes: Uint8Array
  readonly created: CreatedBackup
}

/** A backup of a home that nobody runs. */
export async function backUp({ environment, clock }: World, made: MadeHome, recipients: ContainerRecipients, passphrase?: string): Promise<Made> {
  await using home = await openHome(made.path, { create: false })
  const found = await resolvePassphrase({ environment: { ...environment }, home, ...(passphrase === undefined ? {} : { given: secret(passphrase) }) })
  using device = await openDevice(home, { passphrase: found.secret, clock, renew: false })
  const desk = new BackupDesk({ home, clock, random: systemRandom, environment, device: () => device, store: () => undefined, audit: () => undefined })
  const stage = await desk.begin()
  const parts: Uint8Array[] = []
  const created = await createBackup({
    ...recipients,
    stage,
    version: '0.0.0',
    sink: async (bytes) => void parts.push(Uint8Array.from(bytes)),
    seal: async (digest) => ({ ...desk.seal(stage.id, digest) }),
    ...(found.source === 'state' ? { reseal: found.secret } : {}),
  })
  await desk.end(stage.id, created.bytes)
  await desk.close()
  return { bytes: concat(...parts), created }
}

export async function* sourceOf(bytes: Uint8Array, piece = 65_536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += piece) yield bytes.subarray(at, at + piece)
}

export type RestoreChoice = Partial<Omit<RestoreOptions, 'passphrase'>> & { readonly passphrase?: string | undefined }

export async function restore(
  { at, environment, clock }: World,
  name: string,
  bytes: Uint8Array,
  key: Secret,
  choice: RestoreChoice = {},
): Promise<RestoredHome> {
  const { passphrase, ...rest } = choice
  return await restoreBackup({
    directory: at(name),
    source: sourceOf(bytes),
    identities: [new X25519Identity(key)],
    passphrase: async () => (passphrase === undefined ? undefined : secret(passphrase)),
    force: false,
    allowRollback: false,
    environment,
    clock: clock as Clock,
    random: systemRandom,
    workFactor: WORK_FACTOR,
    ...rest,
  })
}

/** Every file below a folder, with its content. */
export function filesOf(root: string): ReadonlyMap<string, Buffer> {
  const names = readdirSync(root, { recursive: true, encoding: 'utf8' }).map((name) => join(root, name))
  return new Map(names.filter((path) => statSync(path).isFile()).map((path) => [relative(root, path), readFileSync(path)]))
}

/** What a restore must leave as it is, whatever happens to it. The lock comes and goes, and the second keystore comes with the first opening. */
export function fingerprint(root: string): string {
  const kept = [...filesOf(root)].filter(([name]) => !/^(kith\.(lock|pid)|\.spare)/.test(name))
  return kept
    .map(([name, bytes]) => `${name} ${createHash('sha256').update(bytes).digest('hex')}`)
    .sort()
    .join('\n')
}

/** Everything that was to come back, came back, and nothing that must not. */
export async function checkHome(at: World, name: string, made: MadeHome, passphrase?: string): Promise<string> {
  const path = at.at(name)
  await using home = await openHome(path, { create: false })
  const found = await resolvePassphrase({ environment: { ...at.environment }, home, ...(passphrase === undefined ? {} : { given: secret(passphrase) }) })
  const { identity, device } = await openKeystore(home, { passphrase: found.secret, clock: at.clock })
  try {
    assert.equal(identity.did, made.did)
    assert.equal(identity.mayRotate, false, 'another machine may have rotated meanwhile')
    assert.ok(identity.phrase()?.equals(made.phrase))
    const linkKey = Buffer.from(device.linkSigner.publicKey).toString('hex')
    assert.notEqual(linkKey, made.linkKey, 'new link keys')
    assert.equal((await loadSummary(path))?.link_key, linkKey)
    assert.ok(((await storedBoot(home)) ?? 0) > 1_000_000, 'runs are numbered above all that was')
    assert.equal(readFileSync(join(path, 'config.toml'), 'utf8'), '[log]\nlevel = "debug"\n')
    assert.equal(readFileSync(join(path, 'inbox', 'letter.txt'), 'utf8'), 'see you at the mill')
    assert.ok(readFileSync(join(path, 'inbox', 'größe (1).bin')).equals(Buffer.alloc(100_000, 7)))
    assert.ok(!existsSync(join(path, 'inbox', '.partial', 'half.part')))
    const store = await openSqliteStore(home.paths.store)
    try {
      assert.deepEqual(await store.get('mesh/book', utf8('row')), utf8('row of mesh/book'))
      for (const ns of ['mail/prekey', 'mesh/invites']) assert.equal(await store.get(ns, utf8('row')), undefined, ns)
      const audit = createAudit({ store, clock: at.clock })
      assert.equal((await audit.list())[0]?.action, 'backup.restore')
      assert.equal((await audit.verify()).brokenAt, undefined)
    } finally {
      await store.close()
    }
    assert.deepEqual(
      readdirSync(path).filter((entry) => entry.startsWith('.') && entry !== '.spare'),
      [],
      'nothing is left of the work',
    )
    return linkKey
  } finally {
    identity.close()
    device.close()
  }
}

/** Copies of one made home and of what is kept for it. */
function copies(at: World, made: MadeHome): (name: string) => World {
  return (name) => {
    const base = join(at.base, name)
    mkdirSync(base)
    execFileSync('cp', ['-a', made.path, join(base, 'home')])
    execFileSync('cp', ['-a', join(at.base, 'state'), join(base, 'state')])
    return { ...at, base, environment: { XDG_STATE_HOME: join(base, 'state') }, at: (other) => join(base, other) }
  }
}

/**
 * Restores over copies of a home, each time cut at another step: every `stride`th, and each one from the first that left the new home on. What is left must be the
 * old home, or the new one with a whole safety copy.
 */
export async function cutEverywhere(at: World, mode: 'kill' | 'full', stride: number): Promise<{ old: number; fresh: number; refused: number }> {
  const made = await makeHome(at, 'a')
  const { bytes } = await backUp(at, made, toKey(made.key))
  const copy = copies(at, made)
  const before = fingerprint(made.path)
  const count = { old: 0, fresh: 0, refused: 0 }
  let switching = 0
  for (let step = 1; ; step += switching > 0 ? 1 : stride) {
    const there = copy(`cut-${step}`)
    const home = there.at('home')
    const { steps, error } = await withFault(mode, step, () => restore(there, 'home', bytes, made.key, { force: true }))
    const known =
      error === undefined || error instanceof Killed || (isKithError(error) && (mode === 'kill' || ['STORE_FAILED', 'KEYSTORE_NOT_SAVED'].includes(error.code)))
    assert.ok(known, String(error))
    if (error instanceof KithError) {
      count.refused++
      if (mode === 'full') assert.equal(typeof error.next, 'string')
    }
    // Taking the home is what the next command does first: it ends what was cut.
    await (await openHome(home)).close()
    if (existsSync(join(home, 'safety'))) {
      count.fresh++
      await checkHome(there, 'home', made)
      const [safety = ''] = readdirSync(join(home, 'safety'))
      const kept = [...filesOf(join(home, 'safety', safety)).keys()]
      assert.ok(kept.includes('device.age') && kept.includes('identity.age') && kept.includes('kith.db'), 'the safety copy is whole')
    } else {
      count.old++
      assert.equal(fingerprint(home), before, `step ${step}`)
    }
    rmSync(there.base, { recursive: true })
    if (steps < step) {
      assert.equal(error, undefined, 'without a fault it succeeds')
      return count
    }
    // The steps before the first that was found in the new home are looked at one by one, too.
    if (switching === 0 && count.fresh > 0) {
      switching = step
      step = Math.max(1, step - stride)
    }
  }
}
