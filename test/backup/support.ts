import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import type { TestContext } from 'node:test'
import { concat, utf8 } from '../../src/core/bytes.ts'
import { type Clock, type ManualClock, manualClock } from '../../src/core/clock.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'
import { openSqliteStore } from '../../src/core/store/sqlite.ts'
import { type CreatedBackup, createBackup } from '../../src/daemon/backup/create.ts'
import { BackupDesk } from '../../src/daemon/backup/desk.ts'
import { type RestoredHome, type RestoreOptions, restoreBackup } from '../../src/daemon/backup/restore.ts'
import { setUpIdentity } from '../../src/daemon/identity/setup.ts'
import { openHome } from '../../src/identity/home.ts'
import { openDevice } from '../../src/identity/keystore.ts'
import { resolvePassphrase } from '../../src/identity/passphrase.ts'
import { phraseToSeed } from '../../src/vault/bip39.ts'
import type { ContainerRecipients } from '../../src/vault/container-header.ts'
import { deriveBackupKey, recipientOf, X25519Identity, X25519Recipient } from '../../src/vault/container-recipients.ts'

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
  await using home = await openHome(path)
  const given = passphrase === undefined ? undefined : secret(passphrase)
  const { summary, phrase } = await setUpIdentity({
    home,
    clock,
    random: systemRandom,
    environment,
    name,
    ...(given === undefined ? {} : { passphrase: given }),
  })
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
