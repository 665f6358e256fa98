import { createHash } from 'node:crypto'
import { readdir, readFile, stat, unlink } from 'node:fs/promises'
import { basename, join, relative, sep } from 'node:path'
import type { Identity } from 'age-encryption'
import type { Clock } from '../../core/clock.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import type { Random } from '../../core/random.ts'
import type { Secret } from '../../core/secret.ts'
import { writeAtomic } from '../../identity/atomic-file.ts'
import type { LocalDevice } from '../../identity/device.ts'
import type { Home } from '../../identity/home.ts'
import { createKeystore, hasIdentity, openDevice, openIdentity } from '../../identity/keystore.ts'
import { loadKeyFile, saveKeyFile, sumPath } from '../../identity/keystore-file.ts'
import { saveIdentity } from '../../identity/keystore-save.ts'
import { forgetStatePassphrase, keepStatePassphrase } from '../../identity/passphrase.ts'
import { openSmall } from '../../vault/container-small.ts'
import { describeDevice, type IdentitySummary, saveSummary } from '../identity/describe.ts'
import { seedsOfHead } from '../identity/own-chain.ts'
import { STORED_WORK_FACTOR } from '../identity/setup.ts'
import { isKeyFile, MAX_KEY_FILE_BYTES } from './contents.ts'
import type { CheckedBackup } from './read.ts'

/** What seals the keys of the restored home. */
export interface RestoreKeys {
  /** Opens key files that were sealed to the keys of the backup. */
  readonly identities: readonly Identity[]
  /** Where the backup was opened by it. Gives the identity's keys where nobody knows the passphrase of then. */
  readonly phrase?: Secret
  /** Asked for when the key files are sealed by the passphrase of then. The caller wipes what it gives. `undefined`: nobody knows it. */
  passphrase(): Promise<Secret | undefined>
  /** From now on; `none`: a random one that is kept outside the home. Absent: the passphrase of then, or none where there was none. */
  readonly newPassphrase?: Secret | 'none'
  /** log2 of scrypt's N under a person's passphrase. Default 18. */
  readonly workFactor?: number
  readonly environment: NodeJS.ProcessEnv
  readonly clock: Clock
  readonly random: Random
}

export interface RestoredKeys {
  /** Closed by the caller. */
  readonly device: LocalDevice | undefined
  readonly summary: IdentitySummary | undefined
  readonly stillSealed: readonly string[]
  /** A passphrase was made and is kept outside the home. */
  readonly kept: boolean
}

interface Sealing {
  readonly passphrase: Secret
  readonly workFactor?: number
  readonly kept: boolean
}

/**
 * Makes the key files of a restored home its own: sealed by its passphrase, with new keys of the machine. It does not change the identity's keys from then on until it
 * has learned the newest chain from others: another machine may have done so since the backup was made.
 * @throws KithError `PASSPHRASE_REQUIRED`, `PASSPHRASE_WRONG`, `PHRASE_OTHER`, `BACKUP_FORGED`.
 */
export async function restoreKeys(place: Home, backup: CheckedBackup, options: RestoreKeys): Promise<RestoredKeys> {
  if (backup.header.keys === 'none' || !(await hasIdentity(place))) return { device: undefined, summary: undefined, stillSealed: [], kept: false }
  const names = await keyFilesOf(place.paths.root)
  return backup.header.keys === 'container' ? await fromContainer(place, backup, names, options) : await fromPassphrase(place, backup, names, options)
}

/** Sealed to the keys of the backup: they are opened with them and sealed anew. */
async function fromContainer(place: Home, backup: CheckedBackup, names: readonly string[], options: RestoreKeys): Promise<RestoredKeys> {
  return await withNew(place, options, async (sealing) => {
    const stillSealed: string[] = []
    for (const name of names) {
      const path = join(place.paths.root, name)
      const plaintext = await openSealed(path, options.identities)
      if (plaintext === undefined) {
        stillSealed.push(name)
        await writeSum(path)
        continue
      }
      try {
        await unlink(path)
        await saveKeyFile(path, plaintext, sealing.passphrase, { random: options.random, ...factorOf(sealing) })
      } finally {
        plaintext.wipe()
      }
    }
    return await complete(place, backup, stillSealed, sealing, options)
  })
}

/** `undefined` for one that was sealed by something else, or damaged, when the backup was made. */
async function openSealed(path: string, identities: readonly Identity[]): Promise<Secret | undefined> {
  try {
    return await openSmall(await readFile(path), identities)
  } catch (error) {
    if (basename(path) === 'identity.age' || !isKithError(error) || !error.code.startsWith('BACKUP_')) throw error
    return undefined
  }
}

/** Sealed by a person's passphrase, as they stood in the home. */
async function fromPassphrase(place: Home, backup: CheckedBackup, names: readonly string[], options: RestoreKeys): Promise<RestoredKeys> {
  for (const name of names) await writeSum(join(place.paths.root, name))
  const then = await options.passphrase()
  if (then === undefined) {
    if (options.phrase === undefined || options.newPassphrase === undefined || backup.chain === undefined) throw needed(options.phrase !== undefined)
    return await withNew(place, options, (sealing) => rebuild(place, backup, names, sealing, options))
  }
  // Said before anything is sealed anew.
  ;(await openIdentity(place, { passphrase: then })).close()
  if (options.newPassphrase === undefined) {
    return await complete(
      place,
      backup,
      [],
      { passphrase: then, kept: false, ...(options.workFactor === undefined ? {} : { workFactor: options.workFactor }) },
      options,
    )
  }
  return await withNew(place, options, async (sealing) => {
    const stillSealed: string[] = []
    for (const name of names) {
      const path = join(place.paths.root, name)
      const plaintext = await loadKeyFile(path, then).catch((error: unknown) => {
        if (isKithError(error) && ['PASSPHRASE_WRONG', 'KEYSTORE_DAMAGED', 'KEYSTORE_UNSUPPORTED'].includes(error.code)) return undefined
        throw error
      })
      if (plaintext === undefined) {
        stillSealed.push(name)
        continue
      }
      try {
        await saveKeyFile(path, plaintext, sealing.passphrase, { random: options.random, ...factorOf(sealing) })
      } finally {
        plaintext.wipe()
      }
    }
    return await complete(place, backup, stillSealed, sealing, options)
  })
}

/** Nobody knows the passphrase of then: the phrase gives the keys of the chain's head again. */
async function rebuild(place: Home, backup: CheckedBackup, names: readonly string[], sealing: Sealing, options: RestoreKeys): Promise<RestoredKeys> {
  const chain = backup.chain as NonNullable<CheckedBackup['chain']>
  const phrase = options.phrase as Secret
  const { seeds, next } = seedsOfHead(phrase, chain)
  await unlink(place.paths.identity)
  await unlink(sumPath(place.paths.identity))
  const { clock, random } = options
  const keystore = await createKeystore(place, {
    passphrase: sealing.passphrase,
    identity: { seeds, next, phrase: phrase.clone(), chain, mayRotate: false },
    name: backup.header.name ?? '',
    clock,
    random,
    ...factorOf(sealing),
  })
  keystore.identity.close()
  const summary = await summarise(place, keystore.device, sealing)
  return { device: keystore.device, summary, stillSealed: names.filter((name) => name !== 'identity.age'), kept: sealing.kept }
}

/** New keys of the machine, certified by the identity. */
async function complete(place: Home, backup: CheckedBackup, stillSealed: readonly string[], sealing: Sealing, options: RestoreKeys): Promise<RestoredKeys> {
  const { clock, random } = options
  const keystore = { passphrase: sealing.passphrase, clock, random, ...factorOf(sealing) }
  {
    using identity = await openIdentity(place, keystore)
    if (identity.did !== backup.header.did) {
      throw new KithError('BACKUP_FORGED', 'the key file in the backup is of another identity', {
        details: { reason: 'key file' },
        next: 'do not restore this file',
      })
    }
    if (identity.mayRotate) await saveIdentity(place, { ...identity.content, mayRotate: false }, keystore)
  }
  const device = await openDevice(place, { ...keystore, name: backup.header.name ?? '' })
  return { device, summary: await summarise(place, device, sealing), stillSealed, kept: sealing.kept }
}

async function summarise(place: Home, device: LocalDevice, { kept }: Sealing): Promise<IdentitySummary> {
  const summary = describeDevice(device, kept ? 'stored' : 'passphrase')
  await saveSummary(place.paths.root, summary)
  return summary
}

async function withNew(place: Home, options: RestoreKeys, run: (sealing: Sealing) => Promise<RestoredKeys>): Promise<RestoredKeys> {
  const wanted = options.newPassphrase ?? 'none'
  if (wanted !== 'none') return await run({ passphrase: wanted, kept: false, ...(options.workFactor === undefined ? {} : { workFactor: options.workFactor }) })
  const { secret } = await keepStatePassphrase(place, options.random, options.environment)
  try {
    return await run({ passphrase: secret, workFactor: STORED_WORK_FACTOR, kept: true })
  } catch (error) {
    await forgetStatePassphrase(place.id, options.environment)
    throw error
  } finally {
    secret.wipe()
  }
}

async function keyFilesOf(root: string): Promise<readonly string[]> {
  const found = await readdir(root, { recursive: true, withFileTypes: true })
  const names = found.filter((entry) => entry.isFile()).map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll(sep, '/'))
  const keyFiles = names.filter(isKeyFile).sort()
  const sizes = await Promise.all(keyFiles.map(async (name) => (await stat(join(root, name))).size))
  // They are read whole: something larger is none of ours and stays as it came.
  return keyFiles.filter((_, i) => (sizes[i] as number) <= MAX_KEY_FILE_BYTES)
}

/** The checksum that tells a damaged file from a wrong passphrase; it is in no backup. */
async function writeSum(path: string): Promise<void> {
  const digest = createHash('sha256')
    .update(await readFile(path))
    .digest('hex')
  await writeAtomic(sumPath(path), Buffer.from(`${digest}  ${basename(path)}\n`))
}

function factorOf({ workFactor }: Sealing): { workFactor?: number } {
  return workFactor === undefined ? {} : { workFactor }
}

function needed(phrase: boolean): KithError {
  return new KithError('PASSPHRASE_REQUIRED', 'The keys in this backup are sealed by the passphrase that the node had when it was made.', {
    next: phrase
      ? 'give it with --passphrase-file FILE; or, when nobody knows it, let the phrase do and set a new one: --new-passphrase-file FILE or --no-passphrase'
      : 'give it with --passphrase-file FILE; or, when nobody knows it, restore with the recovery phrase',
  })
}
