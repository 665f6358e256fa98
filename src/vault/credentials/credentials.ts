import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { Metrics } from '../../core/observe/metrics.ts'
import type { Random } from '../../core/random.ts'
import type { Store } from '../../core/store/types.ts'
import { type CredentialLease, Leases } from './lease.ts'
import { checkKey } from './limits.ts'
import { ManagedCredentials, type ManagedOptions, type Refresh } from './managed.ts'
import {
  type Credential,
  type CredentialInfo,
  type CredentialKey,
  type CredentialProvider,
  type OpenCredential,
  type Sealing,
  wipeCredential,
} from './types.ts'
import { type PutOptions, vaultCredentials } from './vault-store.ts'

export interface CredentialsOptions {
  readonly store: Store
  readonly sealing: Sealing
  readonly clock: Clock
  readonly random: Random
  readonly metrics: Metrics
  readonly refresh: Refresh
  /** Asked before the vault. */
  readonly config?: CredentialProvider
  readonly onOutcome?: ManagedOptions['onOutcome']
}

export interface LeaseOptions {
  /** The identity on whose behalf: its own credential first, then the one for all. */
  readonly did?: string
  /** Shorter than the five minutes it is handed out for at most. */
  readonly maxMs?: number
  readonly signal?: AbortSignal
}

/** The node's credentials: one place to ask, whoever keeps them. */
export interface Credentials extends Disposable {
  /**
   * Hands one out for a while.
   * @throws KithError `CREDENTIAL_UNKNOWN`, `VAULT_LOCKED`, `CREDENTIAL_EXPIRED`, `CREDENTIAL_REFRESH_FAILED`, `CREDENTIAL_REFUSED`, `CREDENTIAL_INVALID`.
   */
  lease(service: string, options?: LeaseOptions): Promise<CredentialLease>
  /** What there is; no secret, and no unlocked vault needed. */
  list(): Promise<readonly CredentialInfo[]>
  /** @throws as `VaultCredentials.put`. */
  add(key: CredentialKey, credential: Credential, options?: PutOptions): Promise<CredentialInfo>
  /** From the vault; what is handed out ends with its lease. @throws KithError `CREDENTIAL_UNKNOWN`. */
  remove(key: CredentialKey): Promise<void>
  /** Ends what is handed out and every renewal. Happens by itself when the vault locks. */
  purge(): void
  /** `purge`, for good. Idempotent. */
  close(): void
}

/**
 * ```text
 *                 for this DID            for anybody
 * lease ->   config -> vault   then   config -> vault          vault: managed (renews) over sealed rows
 * ```
 */
export function createCredentials(options: CredentialsOptions): Credentials {
  const { store, sealing, clock, config } = options
  const vault = vaultCredentials({ store, sealing, clock })
  const managed = new ManagedCredentials({ ...options, source: vault })
  const chain = chained(config === undefined ? [managed] : [config, managed])
  const leases = new Leases(clock)
  const purge = (): void => {
    managed.purge()
    leases.purge()
  }
  const stop = sealing.onLock(purge)
  let closed = false
  const close = (): void => {
    if (closed) return
    closed = true
    stop()
    purge()
  }
  return {
    async lease(service, { did, maxMs, signal } = {}) {
      if (closed) throw new KithError('CLOSED')
      checkKey({ service, did })
      const asking = signal === undefined ? {} : { signal }
      const own = did === undefined ? undefined : await chain.get({ service, did }, asking)
      const open = own ?? (await chain.get({ service }, asking))
      if (open === undefined) throw unknown(service)
      // The vault may have locked while it was being opened.
      if (closed || (open.info.source === 'vault' && sealing.locked)) {
        wipeCredential(open.credential)
        throw closed ? new KithError('CLOSED') : new KithError('VAULT_LOCKED', undefined, { next: 'kith vault unlock' })
      }
      return leases.grant(open, maxMs)
    },
    list: () => chain.list(),
    add: (key, credential, put) => vault.put(key, credential, put),
    async remove(key) {
      if (!(await vault.remove(key))) throw unknown(key.service)
    },
    purge,
    close,
    [Symbol.dispose]: close,
  }
}

/**
 * The first that has it answers. One that fails ends the search: what comes after it might be another credential than the one that was meant.
 */
export function chained(providers: readonly CredentialProvider[]): CredentialProvider {
  return {
    name: 'chained',
    async get(key, options): Promise<OpenCredential | undefined> {
      for (const provider of providers) {
        const found = await provider.get(key, options)
        if (found !== undefined) return found
      }
      return undefined
    },
    list: async () => (await Promise.all(providers.map((provider) => provider.list()))).flat(),
  }
}

function unknown(service: string): KithError {
  return new KithError('CREDENTIAL_UNKNOWN', `There is no credential for ${service}.`, {
    details: { service },
    next: `kith credential add ${service} --type bearer --secret-file -`,
  })
}
