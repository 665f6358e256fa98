import type { Clock } from '../../core/clock.ts'
import { asKithError, KithError } from '../../core/errors.ts'
import type { Audit, AuditEvent } from '../../core/observe/audit.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Counter, MetricsRegistry } from '../../core/observe/metrics.ts'
import type { Random } from '../../core/random.ts'
import type { Home } from '../../identity/home.ts'
import { createAcmeHttp } from '../../site/acme/http.ts'
import { parseIdentifier } from '../../site/acme/identifiers.ts'
import { httpResponder, type Responder, type TlsResponder, tlsResponder } from '../../site/acme/responders.ts'
import type { CertificateFile } from '../../site/certificate-file.ts'
import { type CertificateStore, createCertificateStore } from '../../site/certificate-store.ts'
import { CertificateKeeper } from '../../site/certificates.ts'
import type { TlsCertificate } from '../../transport/front/types.ts'
import type { Vault } from '../../vault/vault.ts'
import { DIRECTORIES, splitHostPort } from '../config/acme.ts'
import type { ConfigHolder } from '../config/holder.ts'
import type { Config } from '../config/settings.ts'
import { configuredProxies } from '../proxies.ts'
import type { Service, Trouble } from '../service.ts'
import { version } from '../version.ts'
import { accountKey } from './certificate-account.ts'
import { readCertificateFiles, readRoot } from './certificate-files.ts'

export interface CertificatesServiceOptions {
  readonly home: Home
  readonly config: ConfigHolder
  readonly vault: () => Vault
  readonly audit: () => Audit | undefined
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly metrics: MetricsRegistry
}

/** The certificate that browsers are shown, as `kith status` tells it. */
export interface CertificateStatus {
  readonly source: 'file' | 'acme' | 'self-signed'
  readonly names: readonly string[]
  readonly expires_at: string
  /** When the authority is asked next; null for one from files. */
  readonly renews_at: string | null
}

const DAY_MS = 86_400_000
/** One that nobody renews is told of this long before its end. */
const NOTICE_MS = 14 * DAY_MS
/** One that is renewed by itself is told of when that did not happen for this share of its life. */
const NOTICE_SHARE = 1 / 6
const RECORD_TRIES = 60
const RECORD_PAUSE_MS = 1_000

/** The certificate of the front door: from files, by ACME, or none. Asks no authority unless the owner agreed to its terms. */
export class CertificatesService implements Service {
  readonly name = 'certificates'
  readonly #options: CertificatesServiceOptions
  readonly #responder: TlsResponder
  readonly #store: CertificateStore
  readonly #attempts: Counter<'result'>
  #file: CertificateFile | undefined
  #keeper: CertificateKeeper | undefined
  #challengePort: () => number | undefined = () => undefined
  /** What the keeper was made of. */
  #plan = ''
  #trouble: KithError | undefined
  #answering = false
  #stopWatching: (() => void) | undefined
  readonly #closing: Set<Promise<void>> = new Set()

  constructor(options: CertificatesServiceOptions) {
    const { clock, random, home, metrics } = options
    this.#options = options
    this.#responder = tlsResponder({ clock, random })
    this.#store = createCertificateStore(home.paths.root)
    this.#attempts = metrics.counter('kith_certificate_attempts_total', 'Certificates asked of an authority, by result.', ['result'])
    const expires = metrics.gauge('kith_certificate_expires_seconds', 'Time until the certificate of the front door runs out; 0 without one.')
    metrics.beforeRender(() => {
      const { current } = this
      expires.set(current === undefined ? 0 : (current.notAfter - clock.now()) / 1_000)
    })
  }

  /** What the front door serves; undefined when nothing is configured. The same object for as long as it is the same certificate. */
  get current(): CertificateFile | undefined {
    return this.#file ?? this.#keeper?.current
  }

  /** The certificate by which a challenge of an authority is answered; undefined when nobody should ask for that name. */
  challengeFor(serverName: string | undefined): TlsCertificate | undefined {
    return this.#responder.certificateFor(serverName)
  }

  /** Where an authority's questions at port 80 are answered, while they are; the system may have chosen the port. */
  get challengeAddress(): string | null {
    const port = this.#challengePort()
    return port === undefined ? null : this.#options.config.current['acme.http_listen'].replace(/\d+$/, String(port))
  }

  /** The front door answers now, so that an authority can be asked to come and see. */
  answering(): void {
    this.#answering = true
    this.#keeper?.start()
  }

  /** The vault was unlocked: what waited for the account key is asked for at once. */
  vaultUnlocked(): void {
    if (this.#keeper?.view.error?.code === 'VAULT_LOCKED') void this.#keeper.look()
  }

  get status(): CertificateStatus | null {
    const { current } = this
    if (current === undefined) return null
    const view = this.#file === undefined ? this.#keeper?.view : undefined
    const time = (ms: number): string => new Date(ms).toISOString()
    const renews = view === undefined ? null : time(Math.max(view.nextMs, this.#options.clock.now()))
    return { source: view?.source ?? 'file', names: current.names, expires_at: time(current.notAfter), renews_at: renews }
  }

  /** What is wrong with the settings is told by `health`; nothing else is kept from running. */
  async start(): Promise<void> {
    const { config, logger } = this.#options
    this.#stopWatching = config.onReload((next) => this.#prepare(next))
    try {
      const use = await this.#prepare(config.current)
      use()
    } catch (error) {
      this.#trouble = asKithError(error, 'CERTIFICATE_INVALID')
      logger.warn('certificate not usable', { code: this.#trouble.code, reason: this.#trouble.message })
    }
  }

  async stop(): Promise<void> {
    this.#stopWatching?.()
    this.#stopWatching = undefined
    this.#replaceKeeper(undefined)
    this.#plan = ''
    this.#answering = false
    await Promise.all(this.#closing)
  }

  /** Asks the authority now. @throws KithError why there is no certificate; `NOT_FOUND` without an authority. */
  async renew(): Promise<CertificateStatus> {
    if (this.#keeper === undefined) {
      throw this.#trouble ?? new KithError('NOT_FOUND', 'No authority is configured for certificates.', { next: 'kith config show acme.names' })
    }
    await this.#keeper.look({ force: true })
    const error = this.#unanswered()
    if (error !== undefined) throw error
    return this.status as CertificateStatus
  }

  health(): readonly Omit<Trouble, 'service'>[] {
    const troubles = [this.#trouble, this.#file === undefined ? this.#unanswered() : undefined, this.#expiring()]
    return troubles.flatMap((error) => (error === undefined ? [] : [{ code: error.code, message: error.message, next: error.next ?? 'kith doctor' }]))
  }

  /** Why the authority gave no certificate. That something on the way to it failed says by itself neither what for nor what to do. */
  #unanswered(): KithError | undefined {
    const error = this.#keeper?.view.error
    if (error === undefined || error.next !== undefined) return error
    const { code, message, details, remote } = error
    return new KithError(code, `No certificate from the authority (acme.directory): ${message}`, {
      details,
      remote,
      next: 'kith certificate renew',
      cause: error,
    })
  }

  #expiring(): KithError | undefined {
    const { current } = this
    if (current === undefined || this.#keeper?.view.source === 'self-signed') return undefined
    const { notAfter, notBefore, names } = current
    const left = notAfter - this.#options.clock.now()
    const notice = this.#file === undefined ? (notAfter - notBefore) * NOTICE_SHARE : Math.min(NOTICE_MS, (notAfter - notBefore) / 3)
    if (left > notice) return undefined
    const when = left <= 0 ? 'has run out' : `runs out on ${new Date(notAfter).toISOString().slice(0, 10)}`
    return new KithError('CERTIFICATE_EXPIRING', `The certificate for ${names[0] ?? 'this node'} ${when}.`, { next: 'kith certificate show' })
  }

  /** Reads everything that the settings name, so that a mistake changes nothing: what was served is served on. */
  async #prepare(next: Config): Promise<() => void> {
    const file = await readCertificateFiles(next, this.#options.clock.now())
    const wanted = next['acme.names'].length > 0 && file === undefined
    const plan = wanted ? JSON.stringify(Object.entries(next).filter(([name]) => name.startsWith('acme.'))) : ''
    const http = next['acme.challenge'] === 'http-01' ? httpResponder(splitHostPort(next['acme.http_listen'])) : undefined
    const keeper = wanted && plan !== this.#plan ? await this.#makeKeeper(next, http ?? this.#responder) : undefined
    return () => {
      this.#trouble = undefined
      this.#file = file
      if (plan === this.#plan) return
      this.#plan = plan
      this.#replaceKeeper(keeper)
      this.#challengePort = () => http?.port
      if (this.#answering || http !== undefined) keeper?.start()
    }
  }

  #replaceKeeper(keeper: CertificateKeeper | undefined): void {
    const closing = this.#keeper?.close()
    this.#keeper = keeper
    if (closing === undefined) return
    this.#closing.add(closing)
    void closing.finally(() => this.#closing.delete(closing))
  }

  /** An authority next door answers before the log of this node is open. */
  #record(event: AuditEvent, tries = 0): void {
    const { audit, clock, logger } = this.#options
    const log = audit()
    if (log === undefined) {
      if (tries < RECORD_TRIES && this.#stopWatching !== undefined) clock.after(RECORD_PAUSE_MS, () => this.#record(event, tries + 1))
      return
    }
    log.append(event).catch((cause: unknown) => logger.error('audit failed', { message: cause instanceof Error ? cause.message : 'unknown' }))
  }

  async #makeKeeper(config: Config, responder: Responder): Promise<CertificateKeeper> {
    checkAgreement(config)
    const { clock, random, logger } = this.#options
    const wanted = config['acme.directory']
    const keeper = new CertificateKeeper({
      identifiers: config['acme.names'].map(parseIdentifier),
      directory: DIRECTORIES[wanted] ?? wanted,
      contact: [`mailto:${config['acme.contact']}`],
      profile: config['acme.profile'] || undefined,
      responder,
      http: createAcmeHttp({ clock, proxies: configuredProxies(this.#options.config), ca: await readRoot(config), userAgent: `kith/${version()}` }),
      store: this.#store,
      accountKey: () => accountKey({ form: config['acme.account_key'], store: this.#store, vault: this.#options.vault() }),
      clock,
      random,
      logger,
      onOutcome: (outcome, error) => {
        this.#attempts.add(1, { result: outcome })
        this.#record({ actor: 'node', action: `certificate.${outcome}`, subject: config['acme.names'][0] ?? '', reason: error?.code ?? '' })
      },
    })
    await keeper.load()
    return keeper
  }
}

/** An authority is asked only by somebody who may agree to its terms, and whom it can reach. */
function checkAgreement(config: Config): void {
  const next = 'set acme.agree and acme.contact in config.toml and run kith config reload'
  if (!config['acme.agree']) {
    throw new KithError('CONFIG_INVALID', 'acme.names is set, and acme.agree does not say that you agree to the terms of the authority.', { next })
  }
  if (config['acme.contact'] === '')
    throw new KithError('CONFIG_INVALID', 'acme.names is set, and acme.contact names nobody whom the authority could write to.', { next })
}
