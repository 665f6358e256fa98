import { systemClock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import { createAudit } from '../../core/observe/audit.ts'
import { silentMetrics } from '../../core/observe/metrics.ts'
import { systemRandom } from '../../core/random.ts'
import { openSqliteStore } from '../../core/store/sqlite.ts'
import type { Store } from '../../core/store/types.ts'
import { openHome } from '../../identity/home.ts'
import { openIdentity } from '../../identity/keystore.ts'
import type { Passphrase } from '../../identity/passphrase.ts'
import { configCredentials } from '../../vault/credentials/config.ts'
import { createCredentials } from '../../vault/credentials/credentials.ts'
import { vaultSealing } from '../../vault/credentials/vault-sealing.ts'
import { createVault, type Vault } from '../../vault/vault.ts'
import { loadConfig } from '../config/load.ts'
import type { Desk } from './acts.ts'
import { secretReader } from './secret-file.ts'

/** The files of a home while no node runs: its store, and its vault, unlocked. */
export interface OfflineVault {
  readonly vault: Vault
  readonly store: Store
  readonly audit: ReturnType<typeof createAudit>
}

/**
 * Opens the default vault of a home on its files, for one piece of work. The passphrase stays the caller's.
 * @throws KithError `HOME_IN_USE` while a node runs, `PASSPHRASE_WRONG`, `IDENTITY_MISSING`, `NOT_FOUND` for an identity that was not made from a phrase.
 */
export async function withOfflineVault<T>(directory: string, passphrase: Passphrase, run: (opened: OfflineVault) => Promise<T>): Promise<T> {
  await using home = await openHome(directory, { create: false })
  const vault = createVault({ clock: systemClock, random: systemRandom, idleLockMs: 0 })
  using identity = await openIdentity(home, { passphrase: passphrase.secret })
  const phrase = identity.phrase()
  if (phrase === undefined) throw new KithError('NOT_FOUND', 'This identity was not made from a phrase, so it has no vault.', { next: 'kith id show' })
  try {
    await vault.unlock({ phrase })
  } finally {
    phrase.wipe()
  }
  const store = await openSqliteStore(home.paths.store)
  try {
    return await run({ vault, store, audit: createAudit({ store, clock: systemClock }) })
  } finally {
    vault.lock()
    await store.close()
  }
}

/** As `withOfflineVault`, for credentials. Nothing is renewed. */
export async function withOfflineCredentials<T>(
  directory: string,
  environment: Readonly<Record<string, string | undefined>>,
  passphrase: Passphrase,
  run: (desk: Desk) => Promise<T>,
): Promise<T> {
  const { values } = await loadConfig({ home: directory, env: environment })
  return await withOfflineVault(directory, passphrase, async ({ vault, store, audit }) => {
    using credentials = createCredentials({
      store,
      sealing: vaultSealing(vault),
      clock: systemClock,
      random: systemRandom,
      metrics: silentMetrics,
      refresh: async () => {
        throw new KithError('CREDENTIAL_REFRESH_FAILED', 'nothing is renewed while no node runs')
      },
      config: configCredentials({ configured: () => values.credentials, read: secretReader(environment) }),
    })
    return await run({ credentials, audit })
  })
}
