import { askRenewal } from '../../assembly/device-renewal.ts'
import type { Assembly } from '../../assembly/types.ts'
import { fromHex } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { parsePublicKey } from '../../core/crypto/ed25519.ts'
import { asKithError, isKithError, KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Random } from '../../core/random.ts'
import { decodeBinding } from '../../identity/binding.ts'
import { takeGrant } from '../../identity/device-grant.ts'
import { createDeviceRequest, type DeviceRequest, readDeviceRequest } from '../../identity/device-request.ts'
import { documentsOf } from '../../identity/device-roster.ts'
import type { Home } from '../../identity/home.ts'
import type { IdentityService } from '../identity/service.ts'
import type { MeshService } from '../mesh-service.ts'
import type { Fellows } from './fellows.ts'
import { linkFellows } from './link-fellows.ts'

/** The same request is asked again for so long, so that the owner's answer finds it. */
const SAME_REQUEST_MS = 7 * 86_400_000
/** Link key -> what this machine asked. */
const ASKED_NS = 'devices/asked'

export interface OwnBindingParts {
  readonly home: Home
  readonly identity: IdentityService
  readonly mesh: MeshService
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly fellows: () => Fellows
}

/** This machine's own binding, where the identity's keys are on another machine: asked for and taken. */
export class OwnBinding {
  readonly #parts: OwnBindingParts

  constructor(parts: OwnBindingParts) {
    this.#parts = parts
  }

  /** Keeps one request until it is answered, over restarts too: the owner may approve it hours later. */
  async question(): Promise<{ readonly encoded: Uint8Array; readonly request: DeviceRequest }> {
    const { identity, clock, random, mesh } = this.#parts
    const { device } = identity
    const now = clock.now()
    const key = device.linkSigner.publicKey
    const stored = await mesh.runningStore.get(ASKED_NS, key)
    const before = stored === undefined ? undefined : readOwn(stored, now)
    if (stored !== undefined && before !== undefined && now - before.timeMs < SAME_REQUEST_MS) return { encoded: stored, request: before }
    const { fallbackKem, capabilities } = decodeBinding(device.binding)
    const options = { did: device.did, name: device.name, capabilities, now, random }
    const encoded = createDeviceRequest(device.signer, fallbackKem === undefined ? options : { ...options, fallbackKem })
    await mesh.runningStore.put(ASKED_NS, key, encoded, { durable: true })
    return { encoded, request: readDeviceRequest(encoded, now) }
  }

  /** Takes a new binding, however it came. @throws KithError as `takeGrant`. */
  async take(grant: Uint8Array): Promise<void> {
    const { identity, clock, home } = this.#parts
    const { device } = identity
    const { request } = await this.question()
    const taken = takeGrant(grant, { request, machine: device.signer, chain: device.chain, minSerial: device.serial + 1, now: clock.now() })
    const { binding, chain, decoded, document } = taken
    await identity.takePapers({ binding, chain, serial: decoded.serial, name: decoded.name })
    await this.#parts.mesh.runningStore.delete(ASKED_NS, device.linkSigner.publicKey)
    if (taken.urls.length > 0) await this.#parts.fellows().note(parsePublicKey(taken.from), { urls: taken.urls })
    if (document !== undefined)
      for (const bytes of documentsOf({ did: device.did, latest: document, others: [], revoked: new Map() })) await this.#assembly.devices.publish(bytes)
    this.#parts.logger.info('binding renewed', { home: home.id, ends: new Date(decoded.notAfterMs).toISOString() })
  }

  /** Asks each machine of this identity that is linked, when a binding is due or `now`. @returns whether there is a new one. @throws what the last one answered when `now`. */
  async askOthers(now: boolean, signal: AbortSignal): Promise<boolean> {
    const { identity, clock, logger } = this.#parts
    const { device } = identity
    if (!now && !device.renewalDue(clock.now())) return false
    const { mesh } = this.#assembly
    if (now) await linkFellows(this.#parts, this.#parts.fellows(), signal)
    const linked = mesh.links().filter(({ did, state }) => did === device.did && state === 'connected')
    let last: KithError | undefined
    for (const { linkKey } of linked) {
      try {
        const { encoded } = await this.question()
        const to = parsePublicKey(fromHex(linkKey))
        await this.take(await askRenewal({ mesh, did: device.did, linkKey: to, request: encoded, urls: mesh.addresses, clock, signal }))
        return true
      } catch (thrown) {
        const error = asKithError(thrown, 'INTERNAL')
        logger.debug('no binding from this machine', { device: linkKey, code: error.code })
        if (last === undefined || error.code === 'RENEWAL_WAITING') last = error
      }
    }
    if (!now) return false
    throw last?.code === 'RENEWAL_WAITING'
      ? new KithError('RENEWAL_WAITING', undefined, { next: 'kith id device approve --renewals (on the machine that holds the identity)', cause: last })
      : (last ?? new KithError('PEER_UNREACHABLE', 'No other machine of this identity is linked.', { next: 'kith id device renew --request FILE' }))
  }

  get #assembly(): Assembly {
    return this.#parts.mesh.runningAssembly
  }
}

/** A request of this machine's own; one that has grown old is made anew. */
function readOwn(stored: Uint8Array, now: number): DeviceRequest | undefined {
  try {
    return readDeviceRequest(stored, now)
  } catch (error) {
    if (isKithError(error)) return undefined
    throw error
  }
}
