import type { Clock, Timer } from '../core/clock.ts'
import { asKithError, isKithError, type KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Random } from '../core/random.ts'
import type { AccountKey } from './acme/account-key.ts'
import type { AcmeHttp } from './acme/http.ts'
import type { Identifier } from './acme/identifiers.ts'
import { issueCertificate } from './acme/issue.ts'
import type { Responder } from './acme/responders.ts'
import { keyPem, makeKey, makeSelfSigned } from './acme/x509.ts'
import { type CertificateFile, readCertificate } from './certificate-file.ts'
import type { AcmeState, CertificateStore } from './certificate-store.ts'

/**
 * # A certificate that is always there
 *
 * ```text
 * nothing yet ──self-signed──┐
 *                            ├──> current ──2/3 of its life──> issue ──ok──> current, kept on disk
 * kept on disk, still good ──┘                                   │
 *                                                                └─failed──> 5 min, 15 min, 45 min ... 12 h, or as long as the authority says
 * ```
 *
 * A start asks nobody when what is on disk is good. What was tried and failed is on disk too, so a node that starts over and over asks no more often than one that
 * runs; nor does one whose clock is wrong.
 */
export interface KeeperOptions {
  readonly identifiers: readonly Identifier[]
  readonly directory: string
  readonly contact: readonly string[]
  readonly profile?: string | undefined
  readonly responder: Responder
  readonly http: AcmeHttp
  readonly store: CertificateStore
  /** The key of the account. @throws KithError `VAULT_LOCKED` while it cannot be had. */
  readonly accountKey: () => Promise<AccountKey>
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** Told of each certificate that was got, and of each attempt that failed. */
  readonly onOutcome?: (outcome: 'issued' | 'failed', error?: KithError) => void
}

export interface KeeperView {
  readonly source: 'acme' | 'self-signed'
  readonly names: readonly string[]
  readonly notAfter: number
  /** When the authority is asked next. */
  readonly nextMs: number
  readonly error: KithError | undefined
}

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000
/** Time is looked at this often: a laptop sleeps, and a clock is set. */
const LOOK_MS = HOUR_MS
/** A vault may be unlocked at any moment. */
const LOCKED_LOOK_MS = MINUTE_MS
const FIRST_RETRY_MS = 5 * MINUTE_MS
const MAX_RETRY_MS = 12 * HOUR_MS
const RATE_LIMITED_MS = HOUR_MS
const SELF_SIGNED_LIFE_MS = 30 * DAY_MS

/** Keeps one certificate from one authority. */
export class CertificateKeeper {
  readonly #options: KeeperOptions
  /** Renewals of many nodes that started together spread over this share of a certificate's life. */
  readonly #jitter: number
  readonly #stop: AbortController = new AbortController()
  #selfSigned: CertificateFile
  #issued: CertificateFile | undefined
  #state: AcmeState
  #error: KithError | undefined
  #timer: Timer | undefined
  #flight: Promise<void> | undefined

  constructor(options: KeeperOptions) {
    const { identifiers, directory, clock, random } = options
    this.#options = options
    this.#jitter = random.unit() / 30
    this.#selfSigned = selfSigned(identifiers, clock, random)
    this.#state = { directory, names: identifiers.map(({ value }) => value), issuedMs: 0, failures: 0, nextMs: 0 }
  }

  /** What to serve. The same object for as long as it is the same certificate. */
  get current(): CertificateFile {
    return this.#issued ?? this.#selfSigned
  }

  get view(): KeeperView {
    const { names, notAfter } = this.current
    return { source: this.#issued === undefined ? 'self-signed' : 'acme', names, notAfter, nextMs: this.#dueMs(), error: this.#error }
  }

  /** Reads what is kept. Asks nobody. */
  async load(): Promise<void> {
    const { store, directory, identifiers, clock } = this.#options
    const [state, kept] = [await store.readState(), await store.readCertificate()]
    const names = identifiers.map(({ value }) => value)
    if (state === undefined || state.directory !== directory || state.names.join() !== names.join()) return
    this.#state = state
    if (kept === undefined) return
    try {
      this.#issued = readCertificate({ key: String(kept.key), cert: String(kept.cert), identifiers, now: clock.now() })
    } catch (error) {
      if (!isKithError(error, 'CERTIFICATE_INVALID')) throw error
      this.#options.logger.warn('kept certificate not used', { reason: error.details.reason })
    }
  }

  /** Begins to renew by itself. */
  start(): void {
    this.#arm()
  }

  /** Asks the authority now if it is time, or whenever `force`; calls at the same time share one attempt. Never rejects: what failed is in `view`. */
  async look({ force = false }: { readonly force?: boolean } = {}): Promise<void> {
    if (this.#flight === undefined && !force && this.#options.clock.now() < this.#dueMs()) return
    this.#flight ??= this.#issue().finally(() => {
      this.#flight = undefined
    })
    await this.#flight
  }

  /** Ends an attempt under way and asks no more. */
  async close(): Promise<void> {
    this.#stop.abort()
    this.#timer?.cancel()
    await this.#flight
  }

  #dueMs(): number {
    const { issuedMs, nextMs } = this.#state
    if (this.#issued === undefined) return nextMs
    const { notBefore, notAfter } = this.#issued
    const life = notAfter - notBefore
    // What was just got is not asked for again, whatever its dates look like to a clock that is wrong.
    return Math.max(notBefore + life * (2 / 3 + this.#jitter), issuedMs + Math.min(life / 3, DAY_MS), nextMs)
  }

  #arm(): void {
    if (this.#stop.signal.aborted) return
    const { clock } = this.#options
    const wait = this.#error?.code === 'VAULT_LOCKED' ? LOCKED_LOOK_MS : Math.min(Math.max(this.#dueMs() - clock.now(), 0), LOOK_MS)
    this.#timer?.cancel()
    this.#timer = clock.after(wait, () => void this.look().finally(() => this.#arm()))
  }

  async #issue(): Promise<void> {
    const { directory, contact, identifiers, profile, responder, http, clock, logger, onOutcome } = this.#options
    const { signal } = this.#stop
    try {
      const key = await this.#options.accountKey()
      const issued = await issueCertificate({ http, directory, key, contact, identifiers, profile, responder, clock, signal })
      // On disk before it counts: a node that dies here must not have used up the authority's patience for nothing.
      await this.#options.store.writeCertificate(issued)
      this.#issued = issued
      this.#error = undefined
      await this.#remember({ issuedMs: clock.now(), failures: 0, nextMs: 0 })
      logger.info('certificate issued', { names: issued.names, notAfter: new Date(issued.notAfter).toISOString() })
      onOutcome?.('issued')
    } catch (thrown) {
      if (!signal.aborted) await this.#failed(asKithError(thrown, 'CERTIFICATE_FAILED'))
    }
  }

  async #failed(error: KithError): Promise<void> {
    const { clock, random, logger, onOutcome } = this.#options
    const first = this.#error?.code !== error.code
    this.#error = error
    if (first) logger.warn('certificate not issued', { code: error.code, reason: error.message })
    // Nobody was asked.
    if (error.code === 'VAULT_LOCKED') return
    onOutcome?.('failed', error)
    const failures = this.#state.failures + 1
    const pause = Math.min(FIRST_RETRY_MS * 3 ** Math.min(failures - 1, 10), MAX_RETRY_MS) * (1 + random.unit() / 4)
    const { type, retryAfterMs } = error.details
    const asked = typeof retryAfterMs === 'number' ? retryAfterMs : type === 'rateLimited' ? RATE_LIMITED_MS : 0
    await this.#remember({ failures, nextMs: clock.now() + Math.max(pause, asked) })
  }

  async #remember(change: Partial<AcmeState>): Promise<void> {
    this.#state = { ...this.#state, ...change }
    await this.#options.store.writeState(this.#state).catch((error: unknown) => {
      this.#options.logger.error('certificate state not kept', { message: error instanceof Error ? error.message : 'unknown' })
    })
  }
}

/** What stands in until there is a certificate: an ordinary server that nobody set up has such a one. */
function selfSigned(identifiers: readonly Identifier[], clock: Clock, random: Random): CertificateFile {
  const key = makeKey()
  const now = clock.now()
  const cert = makeSelfSigned({ identifiers, key, notBefore: now - DAY_MS, notAfter: now + SELF_SIGNED_LIFE_MS, random })
  return readCertificate({ key: keyPem(key), cert })
}
