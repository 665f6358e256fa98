import { existsSync } from 'node:fs'
import { KithError } from '../../core/errors.ts'
import { type Random, systemRandom } from '../../core/random.ts'
import type { Secret } from '../../core/secret.ts'
import { writeNew } from '../../identity/atomic-file.ts'
import { forgetSealed, loadSealed, type SealKind, seal } from '../../identity/hardware/sealed.ts'
import { DEFAULT_PCRS } from '../../identity/hardware/tpm.ts'
import type { Home } from '../../identity/home.ts'
import { loadKeyFile } from '../../identity/keystore-file.ts'
import { forgetStatePassphrase, type Passphrase, readPassphraseFile, statePassphrasePath } from '../../identity/passphrase.ts'

export interface SealView {
  readonly sealed: SealKind | null
  readonly pcrs: readonly number[] | null
  /** Nobody knows the passphrase: when the seal breaks, the recovery file or the recovery phrase is the way back. */
  readonly random: boolean
}

export interface SealRequest {
  /** `off`: nothing is sealed from now on. */
  readonly where: 'tpm' | 'keyring' | 'off'
  readonly pcrs?: readonly number[] | undefined
  /** Where the passphrase is written for safe keeping elsewhere: a file that does not exist yet. */
  readonly recoveryFile?: string | undefined
  readonly environment: NodeJS.ProcessEnv
  readonly random?: Random
}

/** What is sealed for a home. @throws KithError `SEAL_INVALID`, `HOME_UNSAFE`. */
export async function viewSeal(home: Pick<Home, 'id'>, environment: NodeJS.ProcessEnv): Promise<SealView> {
  const sealed = await loadSealed(home, environment)
  return { sealed: sealed?.kind ?? null, pcrs: sealed?.tpm?.pcrs ?? null, random: sealed?.random ?? false }
}

/**
 * Seals the passphrase that the key files have, so that a person's own passphrase goes on opening them. One that was kept in the state directory is removed
 * from there once the seal holds. Also works beside the running node: no key file is changed. The passphrase stays the caller's.
 * @throws KithError `PASSPHRASE_WRONG`, `SEAL_*`, `IDENTITY_MISSING`.
 */
export async function changeSeal(home: Home, passphrase: Passphrase, request: SealRequest): Promise<SealView> {
  const { environment, where, recoveryFile, random = systemRandom } = request
  await mustOpen(home, passphrase.secret)
  if (recoveryFile !== undefined) await writeRecovery(recoveryFile, passphrase.secret)
  const before = await loadSealed(home, environment).catch(() => undefined)
  const unknown = passphrase.random === true || before?.random === true
  if (where === 'off') {
    if (before?.random === true && recoveryFile === undefined) {
      throw new KithError('PASSPHRASE_REQUIRED', 'Nobody knows the passphrase that is sealed: without the seal nothing would open the keys.', {
        next: 'kith id passphrase (sets one, or --no-passphrase; either ends the seal)',
      })
    }
    await forgetSealed(home, environment)
  } else {
    await seal(home, passphrase.secret, where === 'keyring' ? 'keyring' : { pcrs: request.pcrs ?? before?.tpm?.pcrs ?? DEFAULT_PCRS }, {
      environment,
      random,
      unknown,
    })
    await stillOpens(home, passphrase.secret, environment)
    await forgetKept(home, passphrase.secret, environment)
  }
  return await viewSeal(home, environment)
}

/** Sealing takes seconds, and no lock is held: a passphrase that was changed meanwhile must not be hidden behind the one of before. */
async function stillOpens(home: Home, passphrase: Secret, environment: NodeJS.ProcessEnv): Promise<void> {
  try {
    await mustOpen(home, passphrase)
  } catch (cause) {
    await forgetSealed(home, environment)
    throw new KithError('PASSPHRASE_WRONG', 'The passphrase was changed while it was being sealed; nothing is sealed.', {
      next: 'kith id seal (the same command again)',
      cause,
    })
  }
}

/** Only the one that is sealed now: a later one is the only key to the files. */
async function forgetKept(home: Home, passphrase: Secret, environment: NodeJS.ProcessEnv): Promise<void> {
  const path = statePassphrasePath(home.id, environment)
  if (!existsSync(path)) return
  using kept = readPassphraseFile(path)
  if (kept.equals(passphrase)) await forgetStatePassphrase(home.id, environment)
}

async function mustOpen(home: Home, passphrase: Secret): Promise<void> {
  const path = existsSync(home.paths.identity) ? home.paths.identity : home.paths.device
  const opened = await loadKeyFile(path, passphrase)
  opened?.wipe()
  if (opened === undefined) throw new KithError('IDENTITY_MISSING', undefined, { next: 'kith init' })
}

async function writeRecovery(path: string, passphrase: Secret): Promise<void> {
  const line = Buffer.alloc(passphrase.length + 1, 0x0a)
  try {
    passphrase.use((bytes) => bytes.copy(line))
    await writeNew(path, line)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new KithError(code === 'EEXIST' ? 'FILE_EXISTS' : 'STORE_FAILED', `the recovery file cannot be written: ${path}`, {
      details: { path, reason: code ?? 'unknown' },
      next: code === 'EEXIST' ? 'name a file that does not exist yet' : 'name a file in a folder that is there and has room; nothing was left there',
      cause,
    })
  } finally {
    line.fill(0)
  }
}
