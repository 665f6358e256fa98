import { equal, type PublicKey } from '../core/bytes.ts'
import { systemClock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import { systemRandom } from '../core/random.ts'
import { Secret } from '../core/secret.ts'
import { isName } from './binding.ts'
import { storedBoot, writeBoot } from './boot.ts'
import { fallbackKemOf } from './device.ts'
import { type TakenGrant, takeGrant } from './device-grant.ts'
import { hasPending, isDeviceOnly, loadPending, markDeviceOnly, removePending, savePending, saveRoster } from './device-home.ts'
import { createDeviceRequest, readDeviceRequest } from './device-request.ts'
import { addDocument } from './device-roster.ts'
import type { Home } from './home.ts'
import { cloneSeeds, closeKeySet, openKeySet, randomKeySeeds, wipeSeeds } from './keys.ts'
import { hasIdentity } from './keystore.ts'
import { ROOT_BYTES } from './keystore-codec.ts'
import { type KeystoreOptions, loadDevice, saveDevice } from './keystore-save.ts'

/**
 * # A new machine of an identity
 *
 * ```text
 * requestMachine   keys made, sealed in pending.age            -> request         (again: the same request)
 * joinIdentity     grant verified, countersigned               mark -> device.age -> devices.doc -> pending.age removed
 * ```
 *
 * A kill between two steps leaves what the next run of the same command goes on from.
 */
export interface RequestMachineOptions extends KeystoreOptions {
  readonly name: string
  /** Zero for everything. */
  readonly capabilities?: bigint
}

/**
 * Makes this machine's keys and what it asks the identity; when it has asked already, gives the same again.
 * @throws TypeError for a bad name. KithError `IDENTITY_EXISTS` when the home has keys already, `PASSPHRASE_WRONG`.
 */
export async function requestMachine(home: Home, options: RequestMachineOptions): Promise<Uint8Array> {
  const { passphrase, name, capabilities = 0n, clock = systemClock, random = systemRandom, workFactor } = options
  await mustHaveNoKeys(home)
  const pending = await loadPending(home, passphrase)
  if (pending !== undefined) {
    wipeSeeds(pending.seeds)
    pending.root.wipe()
    return pending.request
  }
  if (name === '' || !isName(name)) throw new TypeError('a machine has a name without control characters')
  const seeds = randomKeySeeds(random)
  const root = Secret.random(ROOT_BYTES, random)
  const signer = openKeySet('link', cloneSeeds(seeds))
  try {
    const fallbackKem = fallbackKemOf(root, signer.ed25519.publicKey)
    const request = createDeviceRequest(signer, { name, capabilities, fallbackKem, now: clock.now(), random })
    await savePending(home, { createdMs: clock.now(), seeds, root, request }, passphrase, workFactor === undefined ? { random } : { random, workFactor })
    return request
  } finally {
    closeKeySet(signer)
    wipeSeeds(seeds)
    root.wipe()
  }
}

/**
 * Takes the grant: from now on this home is a machine of the identity, without its keys.
 * @throws KithError `NOT_FOUND` when nothing was asked here, `DEVICE_GRANT_INVALID`, `CHAIN_*`, `BINDING_*`, `DEVICE_REVOKED`, `PASSPHRASE_WRONG`.
 */
export async function joinIdentity(home: Home, grant: Uint8Array, options: KeystoreOptions): Promise<TakenGrant> {
  const { passphrase, clock = systemClock } = options
  if (await hasIdentity(home)) throw new KithError('IDENTITY_EXISTS', undefined, { details: { path: home.paths.identity } })
  const pending = await loadPending(home, passphrase)
  if (pending === undefined) {
    throw new KithError('NOT_FOUND', 'No request waits in this home; a grant answers one.', { next: 'kith id device add --name NAME' })
  }
  const signer = openKeySet('link', cloneSeeds(pending.seeds))
  try {
    const now = clock.now()
    // Its age was judged where it was approved.
    const request = readDeviceRequest(pending.request, Math.max(0, pending.createdMs))
    const taken = takeGrant(grant, { request, machine: signer, now })
    if (!(await isSaved(home, request.linkKey, options))) {
      const { serial, name } = taken.decoded
      await markDeviceOnly(home)
      const { createdMs, seeds, root } = pending
      await saveDevice(home, { createdMs, seeds, root, boot: 0, binding: taken.binding, chain: taken.chain, serial, name }, options)
    }
    if (taken.document !== undefined) await saveRoster(home, addDocument(undefined, taken.document).roster)
    if ((await storedBoot(home)) === undefined) await writeBoot(home, 0)
    await removePending(home)
    return taken
  } finally {
    closeKeySet(signer)
    wipeSeeds(pending.seeds)
    pending.root.wipe()
  }
}

/** Whether an earlier run came as far as the keys. */
async function isSaved(home: Home, linkKey: PublicKey, options: KeystoreOptions): Promise<boolean> {
  if (!(await isDeviceOnly(home))) return false
  using device = await loadDevice(home, options)
  return device !== undefined && equal(device.linkSigner.publicKey, linkKey)
}

async function mustHaveNoKeys(home: Home): Promise<void> {
  if ((await hasIdentity(home)) || ((await isDeviceOnly(home)) && !(await hasPending(home)))) {
    throw new KithError('IDENTITY_EXISTS', undefined, { details: { path: home.paths.root }, next: 'kith id device add --home DIRECTORY' })
  }
}
