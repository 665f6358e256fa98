import { systemClock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import { systemRandom } from '../../core/random.ts'
import type { Secret } from '../../core/secret.ts'
import { storedBoot } from '../../identity/boot.ts'
import { removeFromKeyring } from '../../identity/hardware/keyring.ts'
import { loadSealed } from '../../identity/hardware/sealed.ts'
import { type Home, homePaths, openHome } from '../../identity/home.ts'
import { changeKeyFiles, type KeyFileContent } from '../../identity/key-change.ts'
import { hasIdentity, openIdentity } from '../../identity/keystore.ts'
import { packDevice, packIdentity } from '../../identity/keystore-codec.ts'
import { stageStatePassphrase, statePassphrasePath } from '../../identity/passphrase.ts'
import { statePath } from '../../identity/state-directory.ts'
import { loadRecoveryKeys, packRecoveryKeys, RECOVERY_FILE } from '../recovery/key-file.ts'
import { vaultKeyFiles } from '../vault/files.ts'
import { describeDevice, type IdentitySummary, saveSummary } from './describe.ts'
import { openDeviceWith } from './open.ts'
import { STORED_WORK_FACTOR } from './setup.ts'

export interface ChangePassphraseOptions {
  readonly environment: NodeJS.ProcessEnv
  /** log2 of scrypt's N under a person's passphrase. Default 18. */
  readonly workFactor?: number
}

/**
 * Seals the key files of a home anew, all at once. `next` undefined: from now on a random passphrase is kept outside the home. Both secrets stay the caller's.
 * Killed at any moment, either the old passphrase opens everything or the new one does.
 * @throws KithError `HOME_IN_USE`, `PASSPHRASE_WRONG`, `IDENTITY_MISSING`, `KEYSTORE_NOT_SAVED`.
 */
export async function changePassphrase(
  directory: string,
  current: Secret,
  next: Secret | undefined,
  { environment, workFactor }: ChangePassphraseOptions,
): Promise<IdentitySummary> {
  await using home = await openHome(directory, { create: false })
  using identity = (await hasIdentity(home)) ? await openIdentity(home, { passphrase: current }) : undefined
  using device = await openDeviceWith(home, { passphrase: current, renew: false, clock: systemClock, ...(workFactor === undefined ? {} : { workFactor }) })
  // Vaults that this passphrase opens go along; one with a passphrase of its own keeps it.
  const vaults = await vaultKeyFiles(home.paths.root, current)
  // What is kept outside the home is of its first keystore.
  const first = home.paths.root === homePaths(directory).root
  if (next === undefined && !first) throw new KithError('PASSPHRASE_REQUIRED', undefined, { next: 'kith id passphrase' })
  const sealed = await loadSealed(home, environment).catch(() => undefined)
  const outside = [...(next === undefined ? [] : [statePassphrasePath(home.id, environment)]), statePath(home.id, 'sealed.json', environment)]
  const kept = next === undefined ? await stageStatePassphrase(home, systemRandom, environment) : undefined
  const boot = Math.max(device.content.boot, (await storedBoot(home)) ?? 0)
  const files = [
    ...(identity === undefined ? [] : [{ name: 'identity.age', plaintext: packIdentity(identity.content) }]),
    { name: 'device.age', plaintext: packDevice({ ...device.content, boot }) },
    ...(await recoveryFile(home, current)),
    ...vaults,
  ]
  try {
    const factor = kept === undefined ? workFactor : STORED_WORK_FACTOR
    await changeKeyFiles(home.paths.root, files, next ?? (kept as { secret: Secret }).secret, {
      random: systemRandom,
      ...(factor === undefined ? {} : { workFactor: factor }),
      ...(first ? { remove: outside } : {}),
      ...(kept?.move === undefined ? {} : { move: kept.move }),
    })
  } finally {
    kept?.secret.wipe()
    for (const { plaintext } of files) plaintext.wipe()
  }
  // What was sealed is the passphrase of before: of no use by now, and gone with the change.
  if (first && sealed?.kind === 'keyring') await removeFromKeyring(home.id, environment).catch(() => undefined)
  const summary = describeDevice(device, next === undefined ? 'stored' : 'passphrase')
  await saveSummary(home.paths.root, summary)
  return summary
}

/** New keys of an identity that is being recovered here are sealed with the rest. */
async function recoveryFile(home: Home, current: Secret): Promise<readonly KeyFileContent[]> {
  const keys = await loadRecoveryKeys(home, current)
  if (keys === undefined) return []
  try {
    return [{ name: RECOVERY_FILE, plaintext: packRecoveryKeys(keys) }]
  } finally {
    keys.phrase.wipe()
  }
}
