import type { Clock, Timer } from '../../core/clock.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Random } from '../../core/random.ts'
import type { Secret } from '../../core/secret.ts'
import type { LocalDevice } from '../../identity/device.ts'
import { hasPending, identityMissing, isDeviceOnly, savePapers } from '../../identity/device-home.ts'
import { loadTokenNotes, type TokenNote } from '../../identity/hardware/notes.ts'
import type { Home } from '../../identity/home.ts'
import type { IdentityKeys } from '../../identity/identity-keys.ts'
import { hasIdentity, type KeystoreOptions, openIdentity, renewBinding, rotateDeviceKey } from '../../identity/keystore.ts'
import { type Passphrase, resolvePassphrase } from '../../identity/passphrase.ts'
import { followKeys } from '../devices/follow.ts'
import type { Service, Trouble } from '../service.ts'
import type { PassphraseMode } from '../status.ts'
import { describeDevice, type IdentitySummary, saveSummary } from './describe.ts'
import { openDeviceWith } from './open.ts'
import { isUnattended, modeOf, workFactorFor } from './protection.ts'
import { type RotationReason, rotateKeys } from './rotate.ts'
import { setUpIdentity } from './setup.ts'

/** How often a node that may unlock its identity by itself looks whether the binding is due. */
const RENEWAL_LOOK_MS = 6 * 3_600_000
/** From here on `status` says that the binding ends. */
const EXPIRY_NOTICE_MS = 5 * 86_400_000

/** The identity while one piece of work has it open. */
export interface OpenedIdentity {
  readonly home: Home
  /** Closed when the work is done. */
  readonly identity: IdentityKeys
  readonly device: LocalDevice
  /** For what saves a key file: the passphrase, which is wiped after the work, clock, randomness and cost. */
  readonly options: KeystoreOptions & { readonly random: Random }
}

export interface IdentityServiceOptions {
  readonly home: Home
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly environment: NodeJS.ProcessEnv
  readonly passphraseFile?: string
  /** Given by a program; stays the caller's until the node closes. */
  readonly passphrase?: Secret
}

/**
 * This machine's keys while the node runs. Without an identity, or while nobody has given the passphrase, it does not start, and the node is degraded.
 * The passphrase itself is not kept: what needs it later asks for it, or reads the one stored outside the home.
 */
export class IdentityService implements Service {
  readonly name = 'identity'
  readonly #options: IdentityServiceOptions
  /** Called when the keys in use changed, or only their binding; one owner, set before the first start. */
  onChange: (what: 'keys' | 'binding') => Promise<void> = async () => {}
  #device: LocalDevice | undefined
  #mode: PassphraseMode = 'passphrase'
  #deviceOnly = false
  #notes: readonly TokenNote[] = []
  #given: Secret | undefined
  #timer: Timer | undefined

  constructor(options: IdentityServiceOptions) {
    this.#options = options
  }

  /** @throws KithError `IDENTITY_LOCKED` while the node has no keys. */
  get device(): LocalDevice {
    if (this.#device === undefined) throw new KithError('IDENTITY_LOCKED', 'The node has no keys at the moment.', { next: 'kith status' })
    return this.#device
  }

  get mode(): PassphraseMode {
    return this.#mode
  }

  /** Address of the token that holds the key the identity signs with; null when it is in the key file. */
  get hardware(): string | null {
    return this.#notes.find(({ generation }) => generation === this.#device?.chain.index)?.uri ?? null
  }

  /** Whether the identity's keys are on another machine. */
  get deviceOnly(): boolean {
    return this.#deviceOnly
  }

  /** Undefined while the node has no keys, as `summary`. */
  get did(): string | undefined {
    return this.#device?.did
  }

  /** Undefined while the node has no keys. */
  get summary(): IdentitySummary | undefined {
    return this.#device === undefined ? undefined : describeDevice(this.#device, this.#mode)
  }

  async start(signal: AbortSignal): Promise<void> {
    const { home, clock, random } = this.#options
    this.#deviceOnly = await isDeviceOnly(home)
    if (!this.#deviceOnly && !(await hasIdentity(home))) {
      if (await hasPending(home)) throw await identityMissing(home)
      throw new KithError('IDENTITY_MISSING', `There is no identity in ${home.paths.root}.`, { next: 'kith init' })
    }
    const passphrase = await this.#passphrase(this.#given)
    this.#given = undefined
    try {
      this.#mode = modeOf(passphrase)
      this.#device = await openDeviceWith(home, { passphrase: passphrase.secret, clock, random, ...workFactorFor(passphrase) })
    } finally {
      this.#release(passphrase)
    }
    this.#notes = await loadTokenNotes(home.paths.root)
    await saveSummary(home.paths.root, describeDevice(this.#device, this.#mode))
    signal.throwIfAborted()
    this.#schedule()
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#device?.close()
    this.#device = undefined
  }

  health(): readonly Omit<Trouble, 'service'>[] {
    const left = this.device.bindingExpires - this.#options.clock.now()
    if (left > EXPIRY_NOTICE_MS) return []
    const day = new Date(this.device.bindingExpires).toISOString().slice(0, 10)
    const message = left <= 0 ? `This machine's binding ended on ${day}; peers refuse it.` : `This machine's binding ends on ${day}.`
    return [{ code: 'BINDING_EXPIRED', message, next: 'kith id device renew' }]
  }

  /**
   * Makes the identity of the home, which the caller then starts with. The recovery phrase is not given away: it is read from the key file, on a terminal.
   * @throws KithError `IDENTITY_EXISTS`, `USAGE`, `PHRASE_INVALID`.
   */
  async create(wanted: { readonly name?: string | undefined; readonly words?: number | undefined }, passphrase: Secret | undefined): Promise<IdentitySummary> {
    const { home, clock, random, environment } = this.#options
    if (await hasIdentity(home)) throw new KithError('IDENTITY_EXISTS', undefined, { next: 'kith id show' })
    const { summary, phrase } = await setUpIdentity({
      home,
      clock,
      random,
      environment,
      ...(passphrase === undefined ? {} : { passphrase }),
      ...(wanted.name === undefined ? {} : { name: wanted.name }),
      ...(wanted.words === undefined ? {} : { words: wanted.words }),
    })
    phrase.wipe()
    if (passphrase !== undefined) this.give(passphrase)
    return summary
  }

  /** Hands over the passphrase for the next start. Takes a copy. */
  give(passphrase: Secret): void {
    this.#given?.wipe()
    this.#given = passphrase.clone()
  }

  /**
   * Opens the identity for one piece of work and closes it again. `changed` names what the work has left on the disk: papers and links follow it.
   * @throws KithError `IDENTITY_LOCKED`, `PASSPHRASE_WRONG`, `IDENTITY_MISSING`, and what `run` throws.
   */
  async withIdentity<T>(given: Secret | undefined, run: (opened: OpenedIdentity) => Promise<{ result: T; changed?: 'binding' }>): Promise<T> {
    const { home, clock, random } = this.#options
    const { result, changed } = await this.#unlocked(given, async (passphrase, cost) => {
      using identity = await openIdentity(home, { passphrase })
      return await run({ home, identity, device: this.device, options: { passphrase, clock, random, ...cost } })
    })
    if (changed !== undefined) {
      await this.onChange(changed)
      await this.#saved()
    }
    return result
  }

  /** Whether the identity can be opened without anybody saying the passphrase. */
  get unattended(): boolean {
    return !this.#deviceOnly && (isUnattended(this.#mode) || this.#options.passphrase !== undefined)
  }

  /** A new binding for the keys in use, signed on another machine and verified. Needs no passphrase: it is public, and kept beside the key file. */
  async takePapers(papers: Pick<LocalDevice['content'], 'binding' | 'chain' | 'serial' | 'name'>): Promise<void> {
    await savePapers(this.#options.home, papers)
    this.device.replace(papers)
    await this.onChange('binding')
    await this.#saved()
  }

  /** Signs a new binding for the keys in use. @throws KithError `IDENTITY_LOCKED`, `PASSPHRASE_WRONG`. */
  async renew(given: Secret | undefined): Promise<IdentitySummary> {
    await this.withIdentity(given, async ({ home, identity, device, options }) => {
      await renewBinding(home, device, identity, options)
      return { result: undefined, changed: 'binding' }
    })
    return describeDevice(this.device, this.#mode)
  }

  /** Gives this machine new link keys, saved before they are used; links begin again with them. @throws as `renew`. */
  async rotate(given: Secret | undefined): Promise<IdentitySummary> {
    const { home, clock, random } = this.#options
    await this.#unlocked(given, async (passphrase, cost) => {
      using identity = await openIdentity(home, { passphrase })
      const before = this.device
      this.#device = await rotateDeviceKey(home, before, identity, { passphrase, clock, random, ...cost })
      try {
        await followKeys(home, identity, this.#device, { clock, replaces: before.linkSigner.publicKey })
        await this.onChange('keys')
      } finally {
        before.close()
      }
    })
    return await this.#saved()
  }

  /** Replaces the keys of the identity by the ones it committed to. Links go on; peers learn of it when they next greet. @throws as `renew`. */
  async rotateIdentity(given: Secret | undefined, reason: RotationReason): Promise<IdentitySummary> {
    await this.withIdentity(given, async ({ home, identity, device, options }) => {
      await rotateKeys(home, device, identity, reason, options)
      return { result: undefined, changed: 'binding' }
    })
    return describeDevice(this.device, this.#mode)
  }

  async #saved(): Promise<IdentitySummary> {
    const summary = describeDevice(this.device, this.#mode)
    this.#notes = await loadTokenNotes(this.#options.home.paths.root)
    await saveSummary(this.#options.home.paths.root, summary)
    return summary
  }

  async #unlocked<T>(given: Secret | undefined, run: (passphrase: Secret, cost: { workFactor?: number }) => Promise<T>): Promise<T> {
    const passphrase = await this.#passphrase(given?.clone())
    try {
      return await run(passphrase.secret, workFactorFor(passphrase))
    } finally {
      this.#release(passphrase)
    }
  }

  /** Takes ownership of `given`. */
  async #passphrase(given: Secret | undefined): Promise<Passphrase> {
    const { home, environment, passphraseFile, passphrase } = this.#options
    const known = given ?? passphrase
    try {
      return await resolvePassphrase({
        home,
        environment,
        ...(known === undefined ? {} : { given: known }),
        ...(passphraseFile === undefined ? {} : { file: passphraseFile }),
      })
    } catch (error) {
      if (!isKithError(error, 'PASSPHRASE_REQUIRED')) throw error
      throw new KithError('IDENTITY_LOCKED', 'The keys of this node are locked; it needs the passphrase.', { next: 'kith id unlock', cause: error })
    }
  }

  /** Wipes a passphrase, unless it belongs to the program that made the node. */
  #release(passphrase: Passphrase): void {
    if (passphrase.secret !== this.#options.passphrase) passphrase.secret.wipe()
  }

  /** A node that can unlock its identity unattended renews the binding when it is due. */
  #schedule(): void {
    const { clock, logger } = this.#options
    if (!this.unattended) return
    this.#timer = clock.after(RENEWAL_LOOK_MS, () => {
      this.#schedule()
      if (this.#device?.renewalDue(clock.now()) !== true) return
      this.renew(undefined).then(
        () => logger.info('binding renewed'),
        (error: unknown) => logger.warn('binding not renewed', { message: error instanceof Error ? error.message : 'unknown' }),
      )
    })
  }
}
