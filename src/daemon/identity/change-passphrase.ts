import { systemClock } from '../../core/clock.ts'
import { systemRandom } from '../../core/random.ts'
import type { Secret } from '../../core/secret.ts'
import { openHome } from '../../identity/home.ts'
import { openIdentity, renewBinding } from '../../identity/keystore.ts'
import { packIdentity } from '../../identity/keystore-codec.ts'
import { saveKeyFile } from '../../identity/keystore-file.ts'
import { forgetStatePassphrase, keepStatePassphrase } from '../../identity/passphrase.ts'
import { describeDevice, type IdentitySummary, saveSummary } from './describe.ts'
import { openDeviceWith } from './open.ts'
import { STORED_WORK_FACTOR } from './setup.ts'

/**
 * Seals both key files anew. `next` undefined: from now on a random passphrase is kept outside the home. Both secrets stay the caller's.
 * A kill between the files is made good by the next opening (`openDeviceWith`); the stored passphrase is there before anything needs it, and goes last.
 * @throws KithError `HOME_IN_USE`, `PASSPHRASE_WRONG`, `IDENTITY_MISSING`.
 */
export async function changePassphrase(directory: string, current: Secret, next: Secret | undefined, environment: NodeJS.ProcessEnv): Promise<IdentitySummary> {
  await using home = await openHome(directory, { create: false })
  using identity = await openIdentity(home, { passphrase: current })
  using device = await openDeviceWith(home, { passphrase: current, renew: false })
  const stored = next === undefined ? (await keepStatePassphrase(home, systemRandom, environment)).secret : undefined
  try {
    const options = { random: systemRandom, ...(stored === undefined ? {} : { workFactor: STORED_WORK_FACTOR }) }
    const passphrase = next ?? (stored as Secret)
    const plaintext = packIdentity(identity.content)
    try {
      await saveKeyFile(home.paths.identity, plaintext, passphrase, options)
    } finally {
      plaintext.wipe()
    }
    await renewBinding(home, device, identity, { ...options, passphrase, clock: systemClock })
  } finally {
    stored?.wipe()
  }
  if (next !== undefined) await forgetStatePassphrase(home.id, environment)
  const summary = describeDevice(device, next === undefined ? 'stored' : 'passphrase')
  await saveSummary(home.paths.root, summary)
  return summary
}
