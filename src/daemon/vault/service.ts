import { auditText } from '../../assembly/audit-text.ts'
import type { Clock } from '../../core/clock.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import type { Audit, AuditEvent } from '../../core/observe/audit.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Metrics } from '../../core/observe/metrics.ts'
import type { Random } from '../../core/random.ts'
import type { Secret } from '../../core/secret.ts'
import type { Home } from '../../identity/home.ts'
import { resolvePassphrase } from '../../identity/passphrase.ts'
import { createVault, type Vault } from '../../vault/vault.ts'
import type { DerivationEvent, LockReason } from '../../vault/vault-types.ts'
import type { ConfigHolder } from '../config/holder.ts'
import type { IdentityService } from '../identity/service.ts'
import type { Service, Trouble } from '../service.ts'
import { checkVaultName, DEFAULT_VAULT, listVaultFiles, missing, openVaultFile } from './files.ts'

/** As long as the audit log takes; a longer name must not keep a row out. */
const MAX_ACTOR_BYTES = 128

/** A vault as `kith vault status` shows it. */
export interface VaultView {
  readonly vault: string
  readonly unlocked: boolean
  readonly since: string | null
  readonly last_used: string | null
  readonly locks_at: string | null
  readonly cached_keys: number
  readonly derivations: number
}

export interface VaultServiceOptions {
  readonly home: Home
  readonly config: ConfigHolder
  readonly identity: Pick<IdentityService, 'withIdentity'>
  /** The log of what the owner did; undefined while the node has none open. */
  readonly audit: () => Audit | undefined
  readonly environment: NodeJS.ProcessEnv
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly metrics: Metrics
}

/**
 * The vaults of this home: `default` stands on the phrase of the identity, the others on phrases of their own. Each is locked until somebody gives its
 * passphrase, has its own lock and keys, and is wiped when it is locked, unused for `vault.idle_lock_s`, and when the node stops.
 */
export class VaultService implements Service {
  readonly name = 'vault'
  /** Runs after somebody opened a vault: what waited for a key of it can go on. */
  onUnlocked: (() => void) | undefined
  readonly #options: VaultServiceOptions
  readonly #vaults: Map<string, Vault> = new Map()
  readonly #opened: (vault: Vault) => void
  readonly #derived: (event: DerivationEvent) => void
  readonly #locked: (id: string, reason: LockReason) => void

  constructor(options: VaultServiceOptions) {
    this.#options = options
    const { metrics } = options
    const unlocked = metrics.gauge('kith_vaults_unlocked', 'Vaults that are open at the moment.')
    const derivations = metrics.counter('kith_vault_derivations_total', 'Uses of keys of the vaults, by what the key is for.', ['class'])
    const locks = metrics.counter('kith_vault_locks_total', 'Vaults that were locked, by the owner or for being unused.', ['reason'])
    this.#opened = (vault) => {
      unlocked.add(1)
      this.#record({ actor: 'owner', action: 'vault.unlock', subject: vault.id, reason: '' })
    }
    this.#derived = ({ vault, who, class: purpose, type, cached }) => {
      derivations.add(1, { class: purpose })
      this.#record({ actor: auditText(who, MAX_ACTOR_BYTES), action: 'vault.derive', subject: vault, reason: '', details: { class: purpose, type, cached } })
    }
    this.#locked = (id, reason) => {
      unlocked.add(-1)
      locks.add(1, { reason })
      this.#record({ actor: reason === 'asked' ? 'owner' : 'node', action: 'vault.lock', subject: id, reason })
    }
  }

  async start(): Promise<void> {}

  /** Wipes every vault. They can be unlocked again when the node runs. */
  async stop(): Promise<void> {
    for (const vault of this.#vaults.values()) vault.lock()
  }

  health(): readonly Omit<Trouble, 'service'>[] {
    return []
  }

  /**
   * A vault of this home, locked or not; the same object for as long as the node runs.
   * @throws KithError `USAGE` for a name that is none.
   */
  get(id: string = DEFAULT_VAULT): Vault {
    const known = this.#vaults.get(checkVaultName(id))
    if (known !== undefined) return known
    const { clock, random, config, logger } = this.#options
    const vault = createVault({
      id,
      clock,
      random,
      idleLockMs: () => config.current['vault.idle_lock_s'] * 1_000,
      audit: this.#derived,
      onFailure: (error) => logger.error('vault listener failed', { vault: id, message: error instanceof Error ? error.message : 'unknown' }),
    })
    vault.onLock((reason) => this.#locked(id, reason))
    this.#vaults.set(id, vault)
    return vault
  }

  /** An unlocked vault. @throws KithError `VAULT_LOCKED`, `VAULT_MISSING`. */
  async opened(id: string): Promise<Vault> {
    await this.#mustExist(id)
    const vault = this.get(id)
    if (vault.unlocked) return vault
    throw new KithError('VAULT_LOCKED', undefined, { details: { vault: id }, next: unlockCommand(id) })
  }

  /**
   * Opens a vault by its passphrase, or by the one kept for this home. The passphrase stays the caller's.
   * @throws KithError `VAULT_UNLOCKED`, `VAULT_MISSING`, `PASSPHRASE_WRONG`, `IDENTITY_LOCKED`, `IDENTITY_MISSING`, `NOT_FOUND` for an identity without a phrase.
   */
  async unlock(id: string, passphrase: Secret | undefined): Promise<VaultView> {
    await this.#mustExist(id)
    const vault = this.get(id)
    if (vault.unlocked) throw new KithError('VAULT_UNLOCKED', undefined, { details: { vault: id }, next: 'kith vault status' })
    const phrase = id === DEFAULT_VAULT ? await this.#ownPhrase(passphrase) : await this.#filedPhrase(id, passphrase)
    try {
      await vault.unlock({ phrase })
    } finally {
      phrase.wipe()
    }
    this.#opened(vault)
    this.onUnlocked?.()
    return viewOf(vault)
  }

  /** The same for whoever may have mistyped the name. @throws KithError `VAULT_MISSING`, `USAGE`. */
  async lockNamed(id: string | undefined): Promise<readonly string[]> {
    if (id !== undefined) await this.#mustExist(id)
    return this.lock(id)
  }

  /** Locks one vault, or all. Gives the names of those that were open. */
  lock(id: string | undefined): readonly string[] {
    const wanted = id === undefined ? [...this.#vaults.values()] : [this.get(id)]
    const open = wanted.filter((vault) => vault.unlocked)
    for (const vault of open) vault.lock()
    return open.map((vault) => vault.id)
  }

  /** Every vault of this home. */
  async list(): Promise<readonly VaultView[]> {
    const names = [DEFAULT_VAULT, ...(await listVaultFiles(this.#options.home.paths.root))]
    return names.map((name) => viewOf(this.get(name)))
  }

  /** How many are open, from memory. */
  get unlocked(): readonly string[] {
    return [...this.#vaults.values()].filter((vault) => vault.unlocked).map((vault) => vault.id)
  }

  async #mustExist(id: string): Promise<void> {
    checkVaultName(id)
    if (id !== DEFAULT_VAULT && !(await listVaultFiles(this.#options.home.paths.root)).includes(id)) throw missing(id)
  }

  async #ownPhrase(passphrase: Secret | undefined): Promise<Secret> {
    const phrase = await this.#options.identity.withIdentity(passphrase, async ({ identity }) => ({ result: identity.phrase() }))
    if (phrase !== undefined) return phrase
    throw new KithError('NOT_FOUND', 'This identity was not made from a phrase, so there is none for the default vault.', {
      next: 'kith vault unlock NAME --new',
    })
  }

  async #filedPhrase(id: string, given: Secret | undefined): Promise<Secret> {
    const { home, environment } = this.#options
    if (given !== undefined) return await openVaultFile(home.paths.root, id, given)
    const kept = await keptPassphrase(home, environment, id)
    try {
      return await openVaultFile(home.paths.root, id, kept)
    } finally {
      kept.wipe()
    }
  }

  /** Rows of the audit log are written behind what is done: a key in use does not wait for the disk. */
  #record(event: AuditEvent): void {
    const { audit, logger } = this.#options
    const log = audit()
    if (log === undefined) return void logger.info(event.action, { actor: event.actor, vault: event.subject, ...event.details })
    Promise.resolve()
      .then(() => log.append(event))
      .catch((error: unknown) => logger.error('audit failed', { action: event.action, message: error instanceof Error ? error.message : 'unknown' }))
  }
}

async function keptPassphrase(home: Home, environment: NodeJS.ProcessEnv, id: string): Promise<Secret> {
  try {
    return (await resolvePassphrase({ home, environment })).secret
  } catch (error) {
    if (!isKithError(error, 'PASSPHRASE_REQUIRED')) throw error
    throw new KithError('PASSPHRASE_REQUIRED', 'The vault needs its passphrase.', { details: { vault: id }, next: unlockCommand(id), cause: error })
  }
}

function unlockCommand(id: string): string {
  return id === DEFAULT_VAULT ? 'kith vault unlock' : `kith vault unlock ${id}`
}

function viewOf(vault: Vault): VaultView {
  const { id, unlocked, sinceMs, usedMs, locksAtMs, cachedKeys, derivations } = vault.status()
  const time = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString())
  return { vault: id, unlocked, since: time(sinceMs), last_used: time(usedMs), locks_at: time(locksAtMs), cached_keys: cachedKeys, derivations }
}
