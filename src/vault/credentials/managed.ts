import type { Clock, Timer } from '../../core/clock.ts'
import { asKithError, KithError } from '../../core/errors.ts'
import type { Metrics } from '../../core/observe/metrics.ts'
import type { Random } from '../../core/random.ts'
import type { Secret } from '../../core/secret.ts'
import {
  type CredentialInfo,
  type CredentialKey,
  type CredentialProvider,
  cloneCredential,
  type OidcToken,
  type OpenCredential,
  wipeCredential,
} from './types.ts'
import type { VaultCredentials } from './vault-store.ts'

/** New tokens of a refresh. The caller of the function owns them. */
export interface RefreshedToken {
  readonly accessToken: Secret
  /** Absent: the old one stays valid. */
  readonly refreshToken: Secret | undefined
  /** Ms from now; absent: its issuer did not say. */
  readonly expiresInMs: number | undefined
}

/**
 * Asks the issuer for new tokens. Keeps nothing of `token`, whose secrets are its caller's.
 * @throws KithError `CREDENTIAL_REFUSED` when asking again is of no use, `CREDENTIAL_REFRESH_FAILED` when it may be.
 */
export type Refresh = (token: OidcToken, options: { readonly signal: AbortSignal }) => Promise<RefreshedToken>

export interface ManagedOptions {
  readonly source: VaultCredentials
  readonly refresh: Refresh
  readonly clock: Clock
  readonly random: Random
  readonly metrics: Metrics
  /** A credential was renewed, or its issuer refuses to. */
  readonly onOutcome?: ((key: CredentialKey, outcome: 'renewed' | 'refused', info: CredentialInfo) => void) | undefined
}

/** Renewed this long before the end at most, or a fifth of the life before, times 1 to 1.5 so that many nodes do not ask at once. */
const MAX_EARLY_MS = 300_000
const MIN_EARLY_MS = 10_000
const EARLY_PART = 5
/** One that ends sooner than this is not handed out any more: it would end on the way. */
const LEAST_LEFT_MS = 5_000
/** An issuer that names no end is asked again after this. */
const UNKNOWN_LIFE_MS = 3_600_000
const FIRST_PAUSE_MS = 1_000
const MAX_PAUSE_MS = 300_000

interface State {
  /** Shared by everybody who asks meanwhile. */
  running: Promise<void> | undefined
  abort: AbortController | undefined
  timer: Timer | undefined
  failures: number
  /** Monotonic; nobody asks before. */
  notBefore: number
  error: KithError | undefined
  /** The revision whose refresh the issuer refused for good. */
  refused: number | undefined
  /** Drawn anew for each revision. */
  jitter: number
  /** Tokens that are here and could not be written: the old refresh token may be worth nothing any more. */
  unsaved: { readonly revision: number; readonly token: OidcToken; readonly expiresMs: number | undefined } | undefined
}

/**
 * Keeps tokens fresh.
 *
 * ```text
 *   issued            early                    5 s before the end       end
 *     |  hand it out    |  hand it out, renew behind  |  wait for the renewal
 * ```
 *
 * One renewal of a credential at a time, whoever asks. After a failure there is a pause, doubled each time up to five minutes: until its end the old token is handed
 * out, after it everybody is told at once. What an issuer refuses for good is not asked again before a person puts another in its place. A renewal is stored before
 * it is handed out; where that fails it is kept in memory and written at the next occasion, since the issuer may have ended the old one.
 */
export class ManagedCredentials implements CredentialProvider {
  readonly name = 'managed'
  readonly #options: ManagedOptions
  readonly #states: Map<string, State> = new Map()
  readonly #count: (result: 'ok' | 'failed' | 'refused' | 'overtaken') => void

  constructor(options: ManagedOptions) {
    this.#options = options
    const counter = options.metrics.counter('kith_credential_refreshes_total', 'Renewals of credentials by their outcome.', ['result'])
    this.#count = (result) => counter.add(1, { result })
  }

  list(): Promise<readonly CredentialInfo[]> {
    return this.#options.source.list()
  }

  async get(key: CredentialKey, options: { readonly signal?: AbortSignal } = {}): Promise<OpenCredential | undefined> {
    options.signal?.throwIfAborted()
    const open = await this.#current(key)
    if (open === undefined || !open.info.renews) return open
    const state = this.#state(key)
    const left = this.#leftMs(open)
    if (left > this.#earlyMs(open, state)) {
      this.#arm(key, state, left - this.#earlyMs(open, state))
      return open
    }
    if (left > LEAST_LEFT_MS) {
      if (this.#mayTry(state, open.info.revision)) this.#renew(key, state).catch(() => {})
      return open
    }
    wipeCredential(open.credential)
    if (state.running === undefined) this.#refuseEarly(state, open.info)
    await unless(this.#renew(key, state), options.signal)
    const renewed = await this.#current(key)
    if (renewed === undefined || this.#leftMs(renewed) > 0) return renewed
    wipeCredential(renewed.credential)
    throw new KithError('CREDENTIAL_REFRESH_FAILED', `The new credential for ${key.service} has run out already; compare the clocks.`, {
      details: { service: key.service },
      next: 'kith doctor',
    })
  }

  /** Stops all renewals and forgets what is known of them: the vault has locked, or the node stops. */
  purge(): void {
    for (const state of this.#states.values()) {
      state.timer?.cancel()
      state.abort?.abort(new KithError('VAULT_LOCKED'))
      if (state.unsaved !== undefined) wipeCredential(state.unsaved.token)
    }
    this.#states.clear()
  }

  /** What is stored, or what could not be stored yet. */
  async #current(key: CredentialKey): Promise<OpenCredential | undefined> {
    const open = await this.#options.source.get(key)
    const state = this.#states.get(idOf(key))
    if (open === undefined || state?.unsaved === undefined) return open
    const { revision, token, expiresMs } = state.unsaved
    if (open.info.revision !== revision) {
      wipeCredential(token)
      state.unsaved = undefined
      return open
    }
    wipeCredential(open.credential)
    const copy = cloneCredential(token) as OidcToken
    const info = await this.#save(key, state, revision, token, expiresMs).catch(() => undefined)
    return { credential: copy, info: info ?? { ...open.info, expiresMs } }
  }

  #leftMs({ credential, info }: OpenCredential): number {
    if (credential.type !== 'oidc' || credential.accessToken === undefined) return 0
    const end = info.expiresMs ?? (info.changedMs ?? 0) + UNKNOWN_LIFE_MS
    return end - this.#options.clock.now()
  }

  #earlyMs({ info }: OpenCredential, state: State): number {
    const life = (info.expiresMs ?? Number.POSITIVE_INFINITY) - (info.changedMs ?? 0)
    return Math.min(Math.max(life / EARLY_PART, MIN_EARLY_MS), MAX_EARLY_MS) * state.jitter
  }

  #mayTry(state: State, revision: number): boolean {
    return state.refused !== revision && this.#options.clock.monotonic() >= state.notBefore
  }

  #refuseEarly(state: State, { service, revision }: CredentialInfo): void {
    if (this.#mayTry(state, revision)) return
    const waitMs = Math.max(0, Math.ceil(state.notBefore - this.#options.clock.monotonic()))
    if (state.refused === revision) throw refusedFor(service, state.error)
    throw new KithError(
      'CREDENTIAL_REFRESH_FAILED',
      `The credential for ${service} could not be renewed; the next attempt is in ${Math.ceil(waitMs / 1_000)} s.`,
      {
        details: { service, retry_ms: waitMs },
        next: 'kith credential list',
        cause: state.error,
      },
    )
  }

  /** Renews it ahead of time, also when nobody asks. */
  #arm(key: CredentialKey, state: State, inMs: number): void {
    state.timer?.cancel()
    state.timer = this.#options.clock.after(inMs, () => {
      this.#renew(key, state).catch(() => {})
    })
  }

  #renew(key: CredentialKey, state: State): Promise<void> {
    state.running ??= this.#renewOnce(key, state).finally(() => {
      state.running = undefined
      state.abort = undefined
    })
    return state.running
  }

  async #renewOnce(key: CredentialKey, state: State): Promise<void> {
    const { source, refresh, clock } = this.#options
    if (state.unsaved !== undefined) return await this.#saveLater(key, state)
    const open = await source.get(key)
    if (open === undefined || open.credential.type !== 'oidc') {
      if (open !== undefined) wipeCredential(open.credential)
      return
    }
    const abort = new AbortController()
    state.abort = abort
    const { credential, info } = open
    try {
      const fresh = await refresh(credential, { signal: abort.signal })
      const expiresMs = fresh.expiresInMs === undefined ? undefined : Math.floor(clock.now() + fresh.expiresInMs)
      const token: OidcToken = {
        type: 'oidc',
        accessToken: fresh.accessToken,
        refreshToken: fresh.refreshToken ?? credential.refreshToken?.clone(),
        client: credential.client === undefined ? undefined : { ...credential.client, clientSecret: credential.client.clientSecret?.clone() },
      }
      state.error = undefined
      await this.#save(key, state, info.revision, token, expiresMs).catch((error: unknown) => {
        if (state.unsaved === undefined) throw error
        this.#pause(key, state)
      })
      if (state.unsaved === undefined) {
        state.failures = 0
        state.notBefore = 0
      }
    } catch (error) {
      throw this.#failed(key, state, info, asKithError(error, 'CREDENTIAL_REFRESH_FAILED'))
    } finally {
      wipeCredential(credential)
    }
  }

  /** Until new tokens are written the issuer is not asked again: it would be asked with a refresh token that it may have ended. */
  async #saveLater(key: CredentialKey, state: State): Promise<void> {
    const open = await this.#current(key)
    if (open !== undefined) wipeCredential(open.credential)
    if (state.unsaved !== undefined) this.#pause(key, state)
  }

  /** Takes ownership of the token. */
  async #save(key: CredentialKey, state: State, revision: number, token: OidcToken, expiresMs: number | undefined): Promise<CredentialInfo | undefined> {
    let info: CredentialInfo | undefined
    try {
      info = await this.#options.source.renew(key, revision, token, expiresMs)
    } catch (error) {
      const gone = !this.#states.has(idOf(key))
      if (gone) wipeCredential(token)
      else state.unsaved = { revision, token, expiresMs }
      throw error
    }
    state.unsaved = undefined
    wipeCredential(token)
    this.#count(info === undefined ? 'overtaken' : 'ok')
    if (info === undefined) return undefined
    state.jitter = this.#drawJitter()
    this.#options.onOutcome?.(key, 'renewed', info)
    return info
  }

  #failed(key: CredentialKey, state: State, info: CredentialInfo, error: KithError): KithError {
    // Locking and stopping are no failure of the issuer.
    if (error.code === 'VAULT_LOCKED') return error
    state.error = error
    if (error.code === 'CREDENTIAL_REFUSED') {
      state.refused = info.revision
      this.#count('refused')
      this.#options.onOutcome?.(key, 'refused', info)
      return refusedFor(key.service, error)
    }
    this.#count('failed')
    this.#pause(key, state)
    return error
  }

  /** Twice as long as the last time, half of it drawn. */
  #pause(key: CredentialKey, state: State): void {
    const { clock, random } = this.#options
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** Math.min(state.failures, 20), MAX_PAUSE_MS) * (0.5 + random.unit() / 2)
    state.failures++
    state.notBefore = clock.monotonic() + pause
    if (this.#states.get(idOf(key)) === state) this.#arm(key, state, pause)
  }

  #state(key: CredentialKey): State {
    const id = idOf(key)
    const known = this.#states.get(id)
    if (known !== undefined) return known
    const none = { running: undefined, abort: undefined, timer: undefined, error: undefined, refused: undefined, unsaved: undefined }
    const state: State = { ...none, failures: 0, notBefore: 0, jitter: this.#drawJitter() }
    this.#states.set(id, state)
    return state
  }

  #drawJitter(): number {
    return 1 + this.#options.random.unit() / 2
  }
}

function idOf({ service, did = '' }: CredentialKey): string {
  return `${service} ${did}`
}

function refusedFor(service: string, cause: KithError | undefined): KithError {
  return new KithError('CREDENTIAL_REFUSED', `The issuer does not renew the credential for ${service} any more.`, {
    details: { service, ...(cause === undefined ? {} : { reason: cause.message }) },
    next: `kith credential add ${service} --replace`,
    cause,
  })
}

/** Waits as long as this caller wants; the work goes on for the others. */
function unless<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
