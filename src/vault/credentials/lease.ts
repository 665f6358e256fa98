import type { Clock, Timer } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import { type Credential, type CredentialInfo, type OpenCredential, wipeCredential } from './types.ts'

/** How long one is handed out at most: so long after a rotation, or a removal, everybody works with the new one or none. */
export const MAX_LEASE_MS = 300_000
/** Handed out at the same time. */
export const MAX_LEASES = 1_024

/**
 * A credential handed out for a while. When the time is over, when the vault locks, and when it is given back, its secrets are wiped: whoever needs it longer asks
 * again, and gets what is valid then. That is how a rotation reaches everybody without being announced.
 */
export interface CredentialLease extends Disposable {
  readonly info: CredentialInfo
  /** Wall time in ms until which `use` works, for whoever passes the end on. */
  readonly expiresMs: number
  readonly ended: boolean
  /**
   * The credential, readable inside `read`, which keeps nothing of it.
   * @throws KithError `CREDENTIAL_EXPIRED` after the end, `VAULT_LOCKED` when the vault has locked since, `CLOSED` after `release`.
   */
  use<T>(read: (credential: Credential) => T): T
  /** Gives it back. Idempotent. */
  release(): void
}

/** Everything handed out and not yet ended. */
export class Leases {
  readonly #clock: Clock
  readonly #open: Set<Lease> = new Set()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#open.size
  }

  /** Takes ownership of the credential. @throws KithError `BUDGET_EXCEEDED`, `CREDENTIAL_EXPIRED` for one that has run out. */
  grant(open: OpenCredential, maxMs: number = MAX_LEASE_MS): CredentialLease {
    const now = this.#clock.now()
    const left = Math.min(maxMs, (open.info.expiresMs ?? Number.POSITIVE_INFINITY) - now)
    if (left <= 0 || this.#open.size >= MAX_LEASES) {
      wipeCredential(open.credential)
      throw left <= 0
        ? expired(open.info)
        : new KithError('BUDGET_EXCEEDED', `${MAX_LEASES} credentials are handed out already.`, { details: { limit: MAX_LEASES } })
    }
    const lease = new Lease(open, this.#clock, left, () => this.#open.delete(lease))
    this.#open.add(lease)
    return lease
  }

  /** Ends all of them, for the reason that the vault has locked. */
  purge(): void {
    for (const lease of [...this.#open]) lease.end('VAULT_LOCKED')
  }
}

type End = 'CLOSED' | 'CREDENTIAL_EXPIRED' | 'VAULT_LOCKED'

class Lease implements CredentialLease {
  readonly info: CredentialInfo
  readonly expiresMs: number
  readonly #credential: Credential
  readonly #clock: Clock
  /** Of the monotonic clock: setting the clock back prolongs nothing. */
  readonly #deadline: number
  readonly #timer: Timer
  readonly #gone: () => void
  #end: End | undefined

  constructor(open: OpenCredential, clock: Clock, leftMs: number, gone: () => void) {
    this.info = open.info
    this.expiresMs = clock.now() + leftMs
    this.#credential = open.credential
    this.#clock = clock
    this.#deadline = clock.monotonic() + leftMs
    this.#gone = gone
    this.#timer = clock.after(leftMs, () => this.end('CREDENTIAL_EXPIRED'))
  }

  get ended(): boolean {
    return this.#end !== undefined
  }

  use<T>(read: (credential: Credential) => T): T {
    // The timer of a machine that slept comes late.
    if (this.#clock.monotonic() >= this.#deadline) this.end('CREDENTIAL_EXPIRED')
    if (this.#end === 'CREDENTIAL_EXPIRED') throw expired(this.info)
    if (this.#end === 'VAULT_LOCKED')
      throw new KithError('VAULT_LOCKED', 'The vault has locked since the credential was handed out.', { next: 'kith vault unlock' })
    if (this.#end === 'CLOSED') throw new KithError('CLOSED', 'The credential was given back.')
    return read(this.#credential)
  }

  release(): void {
    this.end('CLOSED')
  }

  [Symbol.dispose](): void {
    this.end('CLOSED')
  }

  end(reason: End): void {
    if (this.#end !== undefined) return
    this.#end = reason
    this.#timer.cancel()
    wipeCredential(this.#credential)
    this.#gone()
  }
}

function expired({ service }: CredentialInfo): KithError {
  return new KithError('CREDENTIAL_EXPIRED', `The credential for ${service} has run out.`, {
    details: { service },
    next: `kith credential add ${service} --replace`,
  })
}
