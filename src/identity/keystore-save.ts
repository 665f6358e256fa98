import { type Clock, systemClock } from '../core/clock.ts'
import type { HybridSigner } from '../core/crypto/hybrid.ts'
import { isKithError } from '../core/errors.ts'
import { type Random, systemRandom } from '../core/random.ts'
import { Secret } from '../core/secret.ts'
import { bindingDates, createBinding, DEFAULT_BINDING_LIFE_MS, HARDWARE_BINDING_LIFE_MS } from './binding.ts'
import { storedBoot, writeBoot } from './boot.ts'
import { fallbackKemOf, LocalDevice } from './device.ts'
import { newerPapers } from './device-home.ts'
import { saveTokenNotes } from './hardware/notes.ts'
import type { Home } from './home.ts'
import type { IdentityKeys } from './identity-keys.ts'
import { cloneSeeds, closeKeySet, openKeySet, randomKeySeeds, type TokenOpener } from './keys.ts'
import { type DeviceContent, type IdentityContent, packDevice, packIdentity, ROOT_BYTES, type StoredDevice, unpackDevice } from './keystore-codec.ts'
import { loadKeyFile, saveKeyFile } from './keystore-file.ts'

export interface KeystoreOptions {
  /** Stays the caller's. */
  readonly passphrase: Secret
  /** Default: the system's. */
  readonly clock?: Clock
  readonly random?: Random
  /** log2 of scrypt's N for what is written; default 18. Less only for a passphrase that is itself 256 random bits, and in tests. */
  readonly workFactor?: number
  /** Default 30 days; 400 when the identity signs with a key in a token. */
  readonly bindingLifeMs?: number
  /** Opens keys that live in tokens. Default: what the home has (`Home.tokens`). */
  readonly tokens?: TokenOpener
}

/**
 * Opens a file of the home, or the one of its second keystore when the passphrase is that one's; which of the two is settled then.
 * @throws KithError as `loadKeyFile`.
 */
export async function loadFrom(home: Home, which: 'identity' | 'device', passphrase: Secret): Promise<Secret | undefined> {
  const { spare } = home
  try {
    const opened = await loadKeyFile(home.paths[which], passphrase)
    if (opened !== undefined) home.settle?.(home.paths)
    return opened
  } catch (error) {
    if (spare === undefined || !isKithError(error, 'PASSPHRASE_WRONG')) throw error
    const opened = await loadKeyFile(spare[which], passphrase).catch(() => undefined)
    if (opened === undefined) throw error
    home.settle?.(spare)
    return opened
  }
}

/** A file from before there was a root gets one, saved before anything is derived from it. @throws KithError as `loadKeyFile` and `unpackDevice`. */
export async function loadDevice(home: Home, options: KeystoreOptions): Promise<LocalDevice | undefined> {
  const plaintext = await loadFrom(home, 'device', options.passphrase)
  if (plaintext === undefined) return undefined
  let stored: StoredDevice
  try {
    stored = unpackDevice(plaintext)
  } finally {
    plaintext.wipe()
  }
  const root = stored.root ?? Secret.random(ROOT_BYTES, options.random ?? systemRandom)
  const content = { ...stored, ...(await newerPapers(home, stored)), root }
  const device = new LocalDevice(content)
  if (stored.root !== undefined) return device
  try {
    await saveDevice(home, content, options)
    return device
  } catch (error) {
    device.close()
    throw error
  }
}

/** New link keys with their binding, saved. `before` is the device they replace. */
export async function makeDevice(home: Home, identity: IdentityKeys, options: KeystoreOptions & { name?: string }, before?: LocalDevice): Promise<LocalDevice> {
  const random = options.random ?? systemRandom
  const seeds = randomKeySeeds(random)
  const root = before?.content.root.clone() ?? Secret.random(ROOT_BYTES, random)
  const signer = openKeySet('link', cloneSeeds(seeds))
  let content: DeviceContent
  try {
    const papers = signPapers(identity, signer, { serial: before?.serial ?? 0, name: options.name ?? '', root }, options)
    content = { createdMs: (options.clock ?? systemClock).now(), seeds, root, boot: before?.content.boot ?? 0, ...papers }
  } finally {
    closeKeySet(signer)
  }
  await saveDevice(home, content, options)
  // A home that never ran starts to count at zero; later a missing count is a lost one.
  if (before === undefined && (await storedBoot(home)) === undefined) await writeBoot(home, 0)
  return new LocalDevice(content)
}

/** A binding for a device by the current keys. Serials follow the clock, so that they rise even where the last one was lost. */
export function signPapers(
  identity: IdentityKeys,
  device: HybridSigner,
  last: { serial: number; name: string; root: Secret },
  options: KeystoreOptions,
): Pick<DeviceContent, 'binding' | 'chain' | 'serial' | 'name'> {
  const now = (options.clock ?? systemClock).now()
  const serial = Math.max(last.serial + 1, now)
  const dates = bindingDates(now, options.bindingLifeMs ?? (identity.hardware ? HARDWARE_BINDING_LIFE_MS : DEFAULT_BINDING_LIFE_MS))
  const fallbackKem = fallbackKemOf(last.root, device.ed25519.publicKey)
  const binding = createBinding({ chain: identity.chain, signer: identity.signer }, device, { ...dates, serial, name: last.name, fallbackKem })
  return { binding, chain: identity.chain, serial, name: last.name }
}

export async function saveIdentity(home: Home, content: IdentityContent, options: KeystoreOptions): Promise<void> {
  await save(home.paths.identity, packIdentity(content), options)
  await saveTokenNotes(home.paths.root, content)
}

export async function saveDevice(home: Home, content: DeviceContent, options: KeystoreOptions): Promise<void> {
  const boot = Math.max(content.boot, (await storedBoot(home)) ?? 0)
  await save(home.paths.device, packDevice({ ...content, boot }), options)
}

async function save(path: string, plaintext: Secret, options: KeystoreOptions): Promise<void> {
  const { random = systemRandom, workFactor } = options
  try {
    await saveKeyFile(path, plaintext, options.passphrase, workFactor === undefined ? { random } : { random, workFactor })
  } finally {
    plaintext.wipe()
  }
}
