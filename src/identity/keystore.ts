import { equal } from '../core/bytes.ts'
import { systemClock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import { systemRandom } from '../core/random.ts'
import type { Secret } from '../core/secret.ts'
import { adoptChain } from './chain.ts'
import { createInception, createRotation } from './chain-make.ts'
import type { LocalDevice } from './device.ts'
import { identityMissing, isDeviceOnly } from './device-home.ts'
import { type Home, openHome, readPrivateFile } from './home.ts'
import { IdentityKeys } from './identity-keys.ts'
import { cloneSeeds, closeKeySet, commitNext, type KeySeeds, openKeySet, publicKeysOf, randomKeySeeds, type TokenOpener } from './keys.ts'
import { type IdentityContent, unpackIdentity } from './keystore-codec.ts'
import { type KeystoreOptions, loadDevice, loadFrom, makeDevice, saveDevice, saveIdentity, signPapers } from './keystore-save.ts'
import type { ChainEntry, ChainReason, ChainState, RecoveryPolicy } from './types.ts'

/**
 * # Keystore
 *
 * ```text
 * identity.age  --opened rarely-->  IdentityKeys  --signs-->  binding, chain entry          both sealed by one passphrase
 * device.age    --unattended---->   LocalDevice   --signs-->  links
 * ```
 *
 * The identity's file is always written first and carries the identity's own chain; the device's file follows. A kill between the two leaves an older binding
 * or none, which the next unlocking makes good.
 */
export type { KeystoreOptions } from './keystore-save.ts'

/** The secrets a new identity is made of; whoever holds the phrase derives them. Ownership passes to the keystore. */
export interface NewIdentity {
  /** The generation that signs now. */
  readonly seeds: KeySeeds
  readonly next: KeySeeds
  readonly phrase?: Secret
  /** For a restore: the chain as fetched, whose head are the keys of `seeds`. Absent: entry 0 is made. */
  readonly chain?: ChainState
  /** False when a restore could not ask anybody for the chain: then the identity is used, but never rotated from here. Default true. */
  readonly mayRotate?: boolean
  readonly policy?: RecoveryPolicy
}

export interface CreateKeystoreOptions extends KeystoreOptions {
  /** Absent: fresh random keys and no phrase. */
  readonly identity?: NewIdentity
  /** What the owner calls this machine, at most 64 bytes. */
  readonly name?: string
}

/** Both files, opened. */
export class Keystore implements AsyncDisposable {
  readonly home: Home
  readonly identity: IdentityKeys
  readonly device: LocalDevice
  readonly #ownsHome: boolean

  constructor(home: Home, identity: IdentityKeys, device: LocalDevice, ownsHome: boolean) {
    this.home = home
    this.identity = identity
    this.device = device
    this.#ownsHome = ownsHome
  }

  /** Wipes all keys, and frees the home when it was opened here. Idempotent. */
  async close(): Promise<void> {
    this.identity.close()
    this.device.close()
    if (this.#ownsHome) await this.home.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/**
 * Makes identity and device in a home (a path, or one that is open).
 * @throws KithError `IDENTITY_EXISTS`, `CHAIN_INVALID` when the keys are not those of the given chain, and what `openHome` throws.
 */
export async function createKeystore(at: string | Home, options: CreateKeystoreOptions): Promise<Keystore> {
  return withHome(at, true, async (home, owned) => {
    if ((await hasIdentity(home)) || (await isDeviceOnly(home))) throw new KithError('IDENTITY_EXISTS', undefined, { details: { path: home.paths.root } })
    const tokens = options.tokens ?? home.tokens?.open
    const identity = new IdentityKeys(newContent(options, tokens), tokens)
    await saveIdentity(home, identity.content, options)
    return new Keystore(home, identity, await makeDevice(home, identity, options), owned)
  })
}

/** Opens both files; a missing `device.age` is made anew. @throws as `openIdentity` and `openHome`. */
export async function openKeystore(at: string | Home, options: KeystoreOptions & { name?: string }): Promise<Keystore> {
  return withHome(at, false, async (home, owned) => {
    const identity = await openIdentity(home, options)
    try {
      const device = (await loadDevice(home, options)) ?? (await makeDevice(home, identity, options))
      await renewIfDue(home, device, identity, options)
      return new Keystore(home, identity, device, owned)
    } catch (error) {
      identity.close()
      throw error
    }
  })
}

export async function hasIdentity(home: Home): Promise<boolean> {
  return (await readPrivateFile(home.paths.identity, MAX_FILE)) !== undefined
}

const MAX_FILE = 1 << 21

/**
 * Opens `identity.age` alone. Close it as soon as it has signed.
 * @throws KithError `IDENTITY_MISSING`, `PASSPHRASE_WRONG`, `KEYSTORE_DAMAGED`, `KEYSTORE_UNSUPPORTED`, `HOME_UNSAFE`.
 */
export async function openIdentity(home: Home, options: Pick<KeystoreOptions, 'passphrase' | 'tokens'>): Promise<IdentityKeys> {
  const plaintext = await loadFrom(home, 'identity', options.passphrase)
  if (plaintext === undefined) throw await identityMissing(home)
  try {
    return new IdentityKeys(unpackIdentity(plaintext), options.tokens ?? home.tokens?.open)
  } finally {
    plaintext.wipe()
  }
}

/**
 * Opens what a node runs on. While the passphrase is at hand the binding is renewed when it is due (`renew: false` leaves it), for which the identity is
 * opened and closed again; a device that is missing is made.
 * @throws as `openIdentity`.
 */
export async function openDevice(home: Home, options: KeystoreOptions & { name?: string; renew?: boolean }): Promise<LocalDevice> {
  const device = await loadDevice(home, options)
  const now = (options.clock ?? systemClock).now()
  if (device !== undefined && (options.renew === false || !device.renewalDue(now) || (await isDeviceOnly(home)))) return device
  try {
    using identity = await openIdentity(home, options)
    if (device === undefined) return await makeDevice(home, identity, options)
    await renewIfDue(home, device, identity, options)
    return device
  } catch (error) {
    device?.close()
    throw error
  }
}

/** Signs a new binding for the device's keys and saves it. */
export async function renewBinding(home: Home, device: LocalDevice, identity: IdentityKeys, options: KeystoreOptions & { name?: string }): Promise<void> {
  const papers = signPapers(identity, device.signer, { serial: device.serial, name: options.name ?? device.name, root: device.content.root }, options)
  await saveDevice(home, { ...device.content, ...papers }, options)
  device.replace(papers)
}

/**
 * Gives this machine new link keys and their binding. The old device stays open for the caller to close; peers find the new key by asking (PN-2).
 * @returns the device with the new keys, saved.
 */
export async function rotateDeviceKey(home: Home, device: LocalDevice, identity: IdentityKeys, options: KeystoreOptions): Promise<LocalDevice> {
  return makeDevice(home, identity, { ...options, name: device.name }, device)
}

export interface RotateIdentityOptions extends KeystoreOptions {
  readonly reason: Exclude<ChainReason, 'none'>
  /** The generation after the one that is revealed now. Ownership passes. */
  readonly next: KeySeeds
  /** Replaces the recovery policy; absent keeps it. */
  readonly policy?: RecoveryPolicy
  readonly kind?: 'rotate' | 'close'
}

/**
 * Reveals the committed keys: a new chain entry, saved before it is shown to anybody, and a new binding. `identity` is closed.
 * @returns the entry and the identity with its new keys.
 * @throws KithError `IDENTITY_LOCKED` on a machine that may not rotate.
 */
export async function rotateIdentity(
  home: Home,
  device: LocalDevice,
  identity: IdentityKeys,
  options: RotateIdentityOptions,
): Promise<{ entry: ChainEntry; identity: IdentityKeys }> {
  if (!identity.mayRotate) {
    throw new KithError('IDENTITY_LOCKED', 'this machine was restored without its chain and does not rotate the identity', {
      next: 'rotate on the machine that did so before',
    })
  }
  const now = (options.clock ?? systemClock).now()
  const content = identity.content
  keepsPostQuantum(content.next, options.next)
  const policy = options.policy ?? identity.chain.entries.at(-1)?.policy
  const tokens = options.tokens ?? home.tokens?.open
  const revealed = openKeySet('identity', cloneSeeds(content.next), tokens)
  let entry: ChainEntry
  try {
    entry = createRotation({
      chain: identity.chain,
      signer: revealed,
      reason: options.reason,
      next: publicKeysOf(options.next),
      now,
      kind: options.kind ?? 'rotate',
      ...(options.reason === 'scheduled' ? { previous: identity.signer } : {}),
      ...(policy === undefined ? {} : { policy }),
    })
  } finally {
    closeKeySet(revealed)
  }
  const { state } = adoptChain(identity.chain, [entry], { now })
  const rotated: IdentityContent = {
    ...content,
    generation: content.generation + 1,
    seeds: cloneSeeds(content.next),
    next: options.next,
    phrase: content.phrase?.clone(),
    chain: state,
  }
  await saveIdentity(home, rotated, options)
  identity.close()
  const opened = new IdentityKeys(rotated, tokens)
  await renewBinding(home, device, opened, options)
  return { entry, identity: opened }
}

async function renewIfDue(home: Home, device: LocalDevice, identity: IdentityKeys, options: KeystoreOptions): Promise<void> {
  const now = (options.clock ?? systemClock).now()
  if (device.renewalDue(now) || device.chain.index < identity.chain.index) await renewBinding(home, device, identity, options)
}

function newContent(options: CreateKeystoreOptions, tokens: TokenOpener | undefined): IdentityContent {
  const random = options.random ?? systemRandom
  const now = (options.clock ?? systemClock).now()
  const given = options.identity ?? { seeds: randomKeySeeds(random), next: randomKeySeeds(random) }
  const chain = given.chain ?? firstChain(given, now, tokens)
  const keys = publicKeysOf(given.seeds)
  keepsPostQuantum(given.seeds, given.next)
  if (!equal(keys.ed25519, chain.keys.ed25519) || !equal(commitNext(publicKeysOf(given.next)), (chain.entries[chain.index] as ChainEntry).next)) {
    throw new KithError('CHAIN_INVALID', 'the keys are not those of the head of the chain', { details: { index: chain.index } })
  }
  return { createdMs: now, generation: chain.index, mayRotate: given.mayRotate ?? true, seeds: given.seeds, next: given.next, phrase: given.phrase, chain }
}

/** Nobody accepts an entry that drops the post-quantum key: promising keys without one would end the identity. */
function keepsPostQuantum(present: KeySeeds, next: KeySeeds): void {
  if (present.mldsa !== undefined && next.mldsa === undefined) throw new TypeError('keys that follow ones with a post-quantum key have one')
}

/** Entry 0 carries no date: whoever restores the identity from its phrase makes the very same entry, and peers see one chain, not two. */
function firstChain(given: NewIdentity, now: number, tokens: TokenOpener | undefined): ChainState {
  const signer = openKeySet('identity', cloneSeeds(given.seeds), tokens)
  try {
    const policy = given.policy === undefined ? {} : { policy: given.policy }
    const entry = createInception({ signer, next: publicKeysOf(given.next), now: 0, ...policy })
    return adoptChain(undefined, [entry], { now }).state
  } finally {
    closeKeySet(signer)
  }
}

async function withHome(at: string | Home, create: boolean, run: (home: Home, owned: boolean) => Promise<Keystore>): Promise<Keystore> {
  if (typeof at !== 'string') return run(at, false)
  const home = await openHome(at, { create })
  try {
    return await run(home, true)
  } catch (error) {
    await home.close()
    throw error
  }
}
