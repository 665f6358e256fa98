import type { Clock } from '../../core/clock.ts'
import type { Audit } from '../../core/observe/audit.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Metrics } from '../../core/observe/metrics.ts'
import type { Random } from '../../core/random.ts'
import { configCredentials } from '../../vault/credentials/config.ts'
import { type Credentials, createCredentials } from '../../vault/credentials/credentials.ts'
import type { Refresh } from '../../vault/credentials/managed.ts'
import { vaultSealing } from '../../vault/credentials/vault-sealing.ts'
import type { Vault } from '../../vault/vault.ts'
import type { ConfigHolder } from '../config/holder.ts'
import type { MeshService } from '../mesh-service.ts'
import type { Service, Trouble } from '../service.ts'
import { subjectOf } from './acts.ts'
import { secretReader } from './secret-file.ts'
import { tokenEndpoint } from './token-endpoint.ts'

export interface CredentialsServiceOptions {
  readonly config: ConfigHolder
  readonly mesh: MeshService
  /** The vault that seals them: the identity's own. */
  readonly vault: () => Vault
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly metrics: Metrics
  /** Default: the token endpoint that each credential names. */
  readonly refresh?: Refresh
}

/** The node's credentials: named in its configuration, or sealed in its store by its vault. */
export class CredentialsService implements Service {
  readonly name = 'credentials'
  readonly needs: readonly string[] = ['mesh']
  readonly #options: CredentialsServiceOptions
  #credentials: Credentials | undefined

  constructor(options: CredentialsServiceOptions) {
    this.#options = options
  }

  /** Undefined while the service does not run. */
  get credentials(): Credentials | undefined {
    return this.#credentials
  }

  async start(): Promise<void> {
    const { config, mesh, vault, environment, clock, random, metrics, logger } = this.#options
    const { audit } = mesh.runningAssembly
    this.#credentials = createCredentials({
      store: mesh.runningStore,
      sealing: vaultSealing(vault()),
      clock,
      random,
      metrics,
      refresh: this.#options.refresh ?? tokenEndpoint(clock),
      config: configCredentials({ configured: () => config.current.credentials, read: secretReader(environment) }),
      onOutcome: (key, outcome, { revision }) => {
        const subject = subjectOf(key)
        if (outcome === 'renewed') logger.info('credential renewed', { service: key.service, revision })
        else noteRefused(audit, logger, subject)
      },
    })
  }

  async stop(): Promise<void> {
    this.#credentials?.close()
    this.#credentials = undefined
  }

  health(): readonly Omit<Trouble, 'service'>[] {
    return []
  }
}

/** Once for each revision: it is not asked again. */
function noteRefused(audit: Audit, logger: Logger, subject: string): void {
  logger.warn('credential refused by its issuer', { subject })
  audit.append({ actor: 'node', action: 'credential.refused', subject, reason: 'the issuer does not renew it any more' }).catch((error: unknown) => {
    logger.error('audit failed', { message: error instanceof Error ? error.message : 'unknown' })
  })
}
