import { existsSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Clock } from '../../core/clock.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import { makeFolder } from '../../core/make-folder.ts'
import type { Random } from '../../core/random.ts'
import type { Secret } from '../../core/secret.ts'
import { MAX_AGE_FILE_BYTES } from '../../identity/age-file.ts'
import { syncDirectory, writeAtomic, writeNew } from '../../identity/atomic-file.ts'
import { isSealed } from '../../identity/hardware/sealed.ts'
import type { Home } from '../../identity/home.ts'
import { exportPassphraseOf, PHRASE_WORK_FACTOR, sealExport } from '../../identity/identity-export.ts'
import { IdentityKeys } from '../../identity/identity-keys.ts'
import { hasIdentity, openIdentity } from '../../identity/keystore.ts'
import type { IdentityContent } from '../../identity/keystore-codec.ts'
import { sumPath } from '../../identity/keystore-file.ts'
import { makeDevice, saveIdentity } from '../../identity/keystore-save.ts'
import { keepStatePassphrase, type Passphrase, statePassphrasePath } from '../../identity/passphrase.ts'
import { readPrivateFile } from '../../identity/private-file.ts'
import { phraseToSeed } from '../../vault/bip39.ts'
import { describeDevice, type IdentitySummary, loadSummary, saveSummary } from './describe.ts'
import { machineName, STORED_WORK_FACTOR } from './setup.ts'

export interface ExportOptions {
  /** Seals the file; stays the caller's. Absent: what follows from the identity's phrase does. */
  readonly passphrase?: Secret
  readonly random: Random
  readonly workFactor?: number
}

/**
 * Writes the identity, never a machine's keys, into one sealed file that does not exist yet.
 * @throws KithError `FILE_EXISTS`, `KEYSTORE_NOT_SAVED`, `NOT_FOUND` for an identity without a phrase when no passphrase is given.
 */
export async function exportIdentity(identity: IdentityKeys, path: string, { passphrase, random, workFactor }: ExportOptions): Promise<void> {
  // Asked first: sealing takes a while, and the answer is known.
  if ((await stat(path).catch(() => undefined)) !== undefined) throw taken(path)
  const own = passphrase === undefined ? phrasePassphrase(identity) : undefined
  const factor = own === undefined ? workFactor : PHRASE_WORK_FACTOR
  try {
    const sealed = await sealExport(identity.content, passphrase ?? (own as Secret), { random, ...(factor === undefined ? {} : { workFactor: factor }) })
    await writeNew(path, sealed)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') throw taken(path)
    if (isKithError(error)) throw error
    throw new KithError('KEYSTORE_NOT_SAVED', `The export could not be written to ${path}; nothing was left there.`, {
      details: { path, reason: code ?? 'unknown' },
      next: 'kith id export FILE (another place)',
      cause: error,
    })
  } finally {
    own?.wipe()
  }
}

function taken(path: string): KithError {
  return new KithError('FILE_EXISTS', `There is something at ${path} already; an export replaces nothing.`, {
    details: { path },
    next: 'kith id export FILE (another name)',
  })
}

function phrasePassphrase(identity: IdentityKeys): Secret {
  const phrase = identity.phrase()
  if (phrase === undefined) throw new KithError('NOT_FOUND', 'This identity was not made from a phrase.', { next: 'kith id export FILE (with a passphrase)' })
  const seed = phraseToSeed(phrase)
  phrase.wipe()
  try {
    return exportPassphraseOf(seed)
  } finally {
    seed.wipe()
  }
}

export interface ImportOptions {
  readonly home: Home
  /** As opened: its passphrase was right. Ownership passes. */
  readonly content: IdentityContent
  /** Seals the key files here from now on; stays the caller's. Absent: a random one kept outside the home. */
  readonly passphrase?: Secret
  /** Opens what stands in the home, as far as somebody can; stays the caller's. */
  readonly present?: Secret
  /** Whether this machine changes the identity's keys from now on. One machine should. */
  readonly mayRotate: boolean
  readonly name?: string
  readonly clock: Clock
  readonly random: Random
  readonly environment: NodeJS.ProcessEnv
  readonly workFactor?: number
}

export interface Imported {
  readonly summary: IdentitySummary
  /** Where what stood here before was copied to. */
  readonly safetyCopy: string | undefined
}

/**
 * Makes a home one of an exported identity, with new keys of the machine. What stands in the home is copied aside first, and goes only when the new file has
 * proven to open.
 * @throws KithError `IDENTITY_EXISTS` over another identity, `CHAIN_STALE` over newer keys of the same one, `USAGE` where the machine keeps another passphrase for the
 * home, `KEYSTORE_NOT_SAVED`.
 */
export async function importIdentity(options: ImportOptions): Promise<Imported> {
  const { home, content, clock, random, environment } = options
  using identity = new IdentityKeys({ ...content, mayRotate: options.mayRotate }, home.tokens?.open)
  const name = machineName(options.name ?? (await loadSummary(home.paths.root))?.name)
  await mustSucceed(options, identity)
  if (await hasIdentity(home)) mayReseal(options)
  const safetyCopy = await copyAside(home, clock)
  let kept: Passphrase | undefined
  try {
    kept = options.passphrase === undefined ? await keepStatePassphrase(home, random, environment) : undefined
    const passphrase = options.passphrase ?? (kept as Passphrase).secret
    const workFactor = kept === undefined ? options.workFactor : STORED_WORK_FACTOR
    const save = { passphrase, clock, random, name, ...(workFactor === undefined ? {} : { workFactor }) }
    await saveIdentity(home, identity.content, save)
    using device = await makeDevice(home, identity, save)
    const summary = describeDevice(device, kept === undefined ? 'passphrase' : 'stored')
    await saveSummary(home.paths.root, summary)
    return { summary, safetyCopy }
  } finally {
    kept?.secret.wipe()
  }
}

/** A home belongs to one identity for good: its peers, rules and messages are that one's. And an older export must not undo a rotation. */
async function mustSucceed({ home, present }: ImportOptions, identity: IdentityKeys): Promise<void> {
  const summary = await loadSummary(home.paths.root)
  let known: { did: string; index: number } | undefined = summary === undefined ? undefined : { did: summary.did, index: summary.chain.index }
  if (present !== undefined && (await hasIdentity(home))) {
    try {
      using standing = await openIdentity(home, { passphrase: present })
      known = { did: standing.did, index: standing.chain.index }
    } catch (error) {
      // What does not open cannot be asked; that may be why somebody imports. It is kept aside.
      if (!isKithError(error, 'PASSPHRASE_WRONG') && !isKithError(error, 'KEYSTORE_DAMAGED')) throw error
    }
  }
  if (known === undefined) return
  if (known.did !== identity.did) {
    throw new KithError('IDENTITY_EXISTS', 'This home belongs to another identity.', {
      details: { did: known.did, imported: identity.did },
      next: 'kith id import FILE --home DIR (another directory)',
    })
  }
  if (known.index > identity.chain.index) {
    throw new KithError('CHAIN_STALE', 'The identity rotated since this export was made; the keys that stand here are newer.', {
      details: { here: known.index, imported: identity.chain.index },
      next: 'kith id export FILE (a new export, on the machine that rotated)',
    })
  }
}

/** What the machine keeps for this home is tried before anybody is asked: it must open what stands here afterwards, too, and the vaults, which stay as they are. */
function mayReseal({ home, passphrase, environment }: ImportOptions): void {
  if (isSealed(home, environment)) {
    throw new KithError('USAGE', 'The passphrase of this home is sealed by the machine, and would not open the imported keys.', {
      next: 'kith id passphrase (ends the seal; then the same command again, or with another --home where the seal is broken)',
    })
  }
  if (passphrase !== undefined && existsSync(statePassphrasePath(home.id, environment))) {
    throw new KithError('USAGE', 'This home keeps its passphrase outside; that one would be tried on keys that have another.', {
      next: 'the same command with --no-passphrase, then kith id passphrase',
    })
  }
}

/** Copies of the key files in a directory of their own, synced. `undefined` when there was nothing. */
async function copyAside({ paths }: Home, clock: Clock): Promise<string | undefined> {
  const present: string[] = []
  for (const file of [paths.identity, paths.device]) if ((await stat(file).catch(() => undefined)) !== undefined) present.push(file)
  if (present.length === 0) return undefined
  const stamp = new Date(clock.now()).toISOString().replaceAll(/[:.]/g, '-')
  const directory = join(paths.root, 'safety', `before-import-${stamp}`)
  makeFolder(directory)
  for (const file of present) {
    for (const path of [file, sumPath(file)]) {
      const content = await readPrivateFile(path, MAX_AGE_FILE_BYTES)
      if (content !== undefined) await writeAtomic(join(directory, basename(path)), content)
    }
  }
  await syncDirectory(paths.root)
  return directory
}
