import type { Clock, Timer } from '../../core/clock.ts'
import { asKithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { MetricsRegistry } from '../../core/observe/metrics.ts'
import type { LocalDevice } from '../../identity/device.ts'
import type { Service, Trouble } from '../service.ts'
import { daysSince, isDue, keyAges } from './key-age.ts'

const HOUR_MS = 3_600_000
/** How often ages are looked at; the first time an hour after the start, so that a node that is restarted again and again does not change keys each time. */
const LOOK_MS = HOUR_MS
/** For so long a new link key waits for connections that carry something, in days beyond its time. */
const PATIENCE_DAYS = 7

export interface KeySettings {
  /** Age in days from which `status` asks for a rotation; 0: never. */
  readonly rotateAfterDays: number
  /** Whether the node then rotates the identity by itself. */
  readonly rotateUnattended: boolean
  /** Age in days from which this machine's link key is replaced; 0: never. */
  readonly linkKeyDays: number
}

export interface RotationScheduleOptions {
  readonly identity: {
    readonly device: LocalDevice
    /** Whether the identity can be opened without anybody saying the passphrase. */
    readonly unattended: boolean
    /** Not null: the identity signs in a token. */
    readonly hardware?: string | null
    rotate(given: undefined): Promise<unknown>
    rotateIdentity(given: undefined, reason: 'scheduled'): Promise<unknown>
  }
  readonly settings: () => KeySettings
  /** Whether connections of users would be cut by new link keys now. */
  readonly isBusy: () => boolean
  /** Notes in the audit log what the node did by itself. */
  readonly note: (action: 'identity.rotate' | 'device.rotate', details: { readonly age_days: number }) => Promise<void>
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: MetricsRegistry
}

/**
 * # Keys that grow old
 *
 * ```text
 * identity keys   rotate_after_days: status, doctor and metric say so ----> rotated by itself only where the owner switched that on
 * link key        link_key_days: replaced by itself at a quiet moment ----> peers find the new one by asking (PN-2), nobody is told
 * ```
 *
 * Both need the identity to sign, so the node does it by itself only where it can open the identity unattended. There is no store of bindings that were signed
 * beforehand for later link keys: whoever copies `device.age` would have those keys too, which is what replacing them is against.
 */
export class RotationSchedule implements Service {
  readonly name = 'keys'
  readonly needs: readonly string[] = ['identity', 'mesh']
  readonly #options: RotationScheduleOptions
  #timer: Timer | undefined
  #working: Promise<void> | undefined

  constructor(options: RotationScheduleOptions) {
    this.#options = options
    const { metrics, clock } = options
    const identityAge = metrics.gauge('kith_identity_key_age_seconds', 'Since when the identity signs with the keys it has now.')
    const linkAge = metrics.gauge('kith_link_key_age_seconds', 'Since when this machine has its link key.')
    metrics.beforeRender(() => {
      const ages = this.#ages()
      if (ages === undefined) return
      identityAge.set(Math.max(0, Math.floor((clock.now() - ages.identitySinceMs) / 1_000)))
      linkAge.set(Math.max(0, Math.floor((clock.now() - ages.linkSinceMs) / 1_000)))
    })
  }

  async start(): Promise<void> {
    this.#arm()
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    await this.#working
  }

  health(): readonly Omit<Trouble, 'service'>[] {
    const ages = this.#ages()
    const { rotateAfterDays } = this.#options.settings()
    const now = this.#options.clock.now()
    if (ages === undefined || !isDue(ages.identitySinceMs, now, rotateAfterDays)) return []
    const message = `The keys of this identity are ${daysSince(ages.identitySinceMs, now)} days old; they are to be replaced after ${rotateAfterDays}.`
    return [{ code: 'KEYS_OLD', message, next: this.#inToken ? 'kith id hardware commit --help' : 'kith id rotate --reason scheduled' }]
  }

  /** One look: at most one change, the identity's keys first, since they bring a new binding anyway. Never rejects. */
  async look(): Promise<'identity' | 'link' | undefined> {
    const { identity, settings, isBusy, clock } = this.#options
    const ages = this.#ages()
    if (ages === undefined || !identity.unattended) return undefined
    const now = clock.now()
    const { rotateAfterDays, rotateUnattended, linkKeyDays } = settings()
    // A rotation can lead out of the token, which nobody but the owner decides.
    if (rotateUnattended && !this.#inToken && isDue(ages.identitySinceMs, now, rotateAfterDays)) {
      return (await this.#change('identity.rotate', daysSince(ages.identitySinceMs, now), () => identity.rotateIdentity(undefined, 'scheduled')))
        ? 'identity'
        : undefined
    }
    if (!isDue(ages.linkSinceMs, now, linkKeyDays)) return undefined
    if (isBusy() && !isDue(ages.linkSinceMs, now, linkKeyDays + PATIENCE_DAYS)) return undefined
    return (await this.#change('device.rotate', daysSince(ages.linkSinceMs, now), () => identity.rotate(undefined))) ? 'link' : undefined
  }

  get #inToken(): boolean {
    return (this.#options.identity.hardware ?? null) !== null
  }

  async #change(action: 'identity.rotate' | 'device.rotate', age: number, run: () => Promise<unknown>): Promise<boolean> {
    const { logger, note } = this.#options
    try {
      await run()
      logger.info('keys replaced', { action, age_days: age })
      await note(action, { age_days: age })
      return true
    } catch (error) {
      logger.warn('keys not replaced', { action, error: asKithError(error, 'INTERNAL').toJSON() })
      return false
    }
  }

  #ages(): ReturnType<typeof keyAges> | undefined {
    try {
      return keyAges(this.#options.identity.device)
    } catch {
      // Locked, or about to stop.
      return undefined
    }
  }

  #arm(): void {
    this.#timer = this.#options.clock.after(LOOK_MS, () => {
      this.#arm()
      this.#working ??= this.look().then(() => {
        this.#working = undefined
      })
    })
  }
}
