import type { Clock, Timer } from '../core/clock.ts'
import { asKithError, isKithError, KithError } from '../core/errors.ts'
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
 * A start asks nobody when what is on disk is good. What is tried is on disk before anybody is asked, so a node that starts over and over, or dies in the middle,
 * asks no more often than one that runs; nor does one whose clock is wrong. One whose clock is set back forgets what was decided by the other time.
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
/** Nothing that is waited for takes longer: the longest delay that an authority may ask for, and a day. */
const MAX_WAIT_MS = 8 * DAY_MS
/** However short the life of a certificate is. */
const LEAST_LIFE_MS = MINUTE_MS
/** Clocks are put right by small steps all the time. */
const SET_BACK_MS = HOUR_MS
const RATE_LIMITED_MS = HOUR_MS
const NOT_KEPT = 'not kept'
const SELF_SIGNED_LIFE_MS = 30 * DAY_MS

/** Keeps one certificate from one authority. */
export class CertificateKeeper {
  readonly #options: KeeperOptions
  /** Renewals of many nodes that started together spread over this share of a certificate's life. */
  readonly #jitter: number
  readonly #stop: AbortController = new AbortController()
  #selfSigned: CertificateFile
  #issued: CertificateFile | undefined
  /** What was got and is not on disk: tried again with every look. */
  #unkept: CertificateFile | undefined
  #state: AcmeState
  #error: KithError | undefined
  #timer: Timer | undefined
  #flight: Promise<void> | undefined

  constructor(options: KeeperOptions) {
    const { identifiers, directory, clock, random } = options
    this.#options = options
    this.#jitter = random.unit() / 30
    this.#selfSigned = selfSigned(identifiers, clock, random)
    this.#state = { directory, names: identifiers.map(({ value }) => value), issuedMs: 0, failures: 0, askedMs: 0, nextMs: 0 }
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
    if (kept?.directory !== directory) return
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
    const due = force || this.#options.clock.now() >= this.#dueMs()
    if (this.#flight === undefined && !due && this.#unkept === undefined) return
    this.#flight ??= (due ? this.#issue() : this.#keep()).finally(() => {
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
    const now = this.#options.clock.now()
    const { issuedMs, askedMs, nextMs } = this.#state
    // By a clock that was ahead: it would be waited for as long as it was wrong.
    const notBeforeMs = askedMs > now + SET_BACK_MS ? 0 : Math.min(nextMs, askedMs + MAX_WAIT_MS)
    if (this.#issued === undefined) return notBeforeMs
    const { notBefore, notAfter } = this.#issued
    const life = notAfter - notBefore
    // What was just got is not asked for again, whatever its dates look like to a clock that is wrong.
    const settledMs = issuedMs > now + SET_BACK_MS ? 0 : issuedMs + Math.max(Math.min(life / 3, DAY_MS), LEAST_LIFE_MS)
    return Math.max(notBefore + life * (2 / 3 + this.#jitter), settledMs, notBeforeMs)
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
    const before = this.#state
    try {
      const key = await this.#options.accountKey()
      await this.#begin()
      const issued = await issueCertificate({ http, directory, key, contact, identifiers, profile, responder, clock, signal })
      this.#issued = issued
      this.#unkept = issued
      this.#error = undefined
      await this.#keep()
      logger.info('certificate issued', { names: issued.names, notAfter: new Date(issued.notAfter).toISOString() })
      onOutcome?.('issued')
    } catch (thrown) {
      if (!signal.aborted) await this.#failed(asKithError(thrown, 'CERTIFICATE_FAILED'), before)
      // Ended by the owner, not by the authority: the next start may ask at once.
      else if (this.#state !== before) await this.#remember(before)
    }
  }

  /**
   * On disk before it counts: a node that dies here must not have used up the authority's patience for nothing. Where it cannot be written it is used all the
   * same, since the next one could not be written either.
   */
  async #keep(): Promise<void> {
    const { store, directory, clock, logger } = this.#options
    const issued = this.#unkept
    if (issued === undefined) return
    try {
      await store.writeCertificate({ directory, ...issued })
    } catch (cause) {
      const message = 'The certificate was issued and is in use, but the home cannot be written to: it is lost when the node stops.'
      if (this.#error?.details.reason !== NOT_KEPT) logger.warn('certificate not kept', { reason: cause instanceof Error ? cause.message : 'unknown' })
      this.#error = new KithError('CERTIFICATE_FAILED', message, { details: { reason: NOT_KEPT }, cause, next: 'kith doctor' })
      return
    }
    this.#unkept = undefined
    if (this.#error?.details.reason === NOT_KEPT) this.#error = undefined
    await this.#remember({ issuedMs: clock.now(), failures: 0, askedMs: clock.now(), nextMs: 0 })
  }

  /** As though it had failed already: whoever dies while he asks must not ask again at once. @throws KithError `CERTIFICATE_FAILED` where nothing can be kept. */
  async #begin(): Promise<void> {
    const now = this.#options.clock.now()
    const failures = this.#state.failures + 1
    this.#state = { ...this.#state, failures, askedMs: now, nextMs: now + this.#pauseMs(failures) }
    try {
      await this.#options.store.writeState(this.#state)
    } catch (cause) {
      throw new KithError('CERTIFICATE_FAILED', 'No certificate: the home cannot be written to, so that nobody was asked.', { cause, next: 'kith doctor' })
    }
  }

  #pauseMs(failures: number): number {
    return Math.min(FIRST_RETRY_MS * 3 ** Math.min(failures - 1, 10), MAX_RETRY_MS) * (1 + this.#options.random.unit() / 4)
  }

  async #failed(error: KithError, { failures: before }: AcmeState): Promise<void> {
    const { clock, logger, onOutcome } = this.#options
    const first = this.#error?.code !== error.code
    this.#error = error
    if (first) logger.warn('certificate not issued', { code: error.code, reason: error.message })
    // Nobody was asked.
    if (error.code === 'VAULT_LOCKED') return
    onOutcome?.('failed', error)
    const failures = before + 1
    const { type, retryAfterMs } = error.details
    const asked = typeof retryAfterMs === 'number' ? retryAfterMs : type === 'rateLimited' ? RATE_LIMITED_MS : 0
    const now = clock.now()
    await this.#remember({ failures, askedMs: now, nextMs: now + Math.max(this.#pauseMs(failures), asked) })
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
