import { equal, type PublicKey } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { Store } from '../../core/store/types.ts'
import { decodeGrant } from '../../identity/device-grant.ts'
import { type DeviceRequest, MAX_REQUEST_AGE_MS } from '../../identity/device-request.ts'

/**
 * # Renewals that wait for the owner
 *
 * ```text
 * devices/waiting   link key 32 -> u64 since_ms || request       asked, not yet allowed
 * devices/granted   link key 32 -> grant                          allowed, not yet fetched
 * ```
 */
const WAITING_NS = 'devices/waiting'
const GRANTED_NS = 'devices/granted'
const MAX_WAITING = 32
const TIME_BYTES = 8

export class Waiting {
  readonly #store: Store
  readonly #clock: Clock
  readonly #keys: Set<string> = new Set()

  private constructor(store: Store, clock: Clock) {
    this.#store = store
    this.#clock = clock
  }

  /** @throws KithError `STORE_FAILED`. */
  static async open(store: Store, clock: Clock): Promise<Waiting> {
    const waiting = new Waiting(store, clock)
    for await (const { key, value } of store.scan(WAITING_NS)) {
      if (isOld(value, clock.now())) await store.delete(WAITING_NS, key)
      else waiting.#keys.add(nameOf(key))
    }
    return waiting
  }

  get size(): number {
    return this.#keys.size
  }

  has(linkKey: Uint8Array): boolean {
    return this.#keys.has(nameOf(linkKey))
  }

  /** @throws KithError `BUDGET_EXCEEDED`, `STORE_FAILED`. */
  async add(linkKey: PublicKey, request: Uint8Array): Promise<void> {
    if (!this.has(linkKey) && this.#keys.size >= MAX_WAITING) throw new KithError('BUDGET_EXCEEDED')
    const since = Buffer.alloc(TIME_BYTES)
    since.writeBigUInt64BE(BigInt(this.#clock.now()))
    await this.#store.put(WAITING_NS, linkKey, Buffer.concat([since, request]), { durable: true })
    this.#keys.add(nameOf(linkKey))
  }

  async requests(): Promise<readonly Uint8Array[]> {
    const found: Uint8Array[] = []
    for await (const { value } of this.#store.scan(WAITING_NS)) if (!isOld(value, this.#clock.now())) found.push(Uint8Array.from(value.subarray(TIME_BYTES)))
    return found
  }

  async granted(request: DeviceRequest, grant: Uint8Array): Promise<void> {
    await this.#store.put(GRANTED_NS, request.linkKey, grant, { durable: true })
    await this.#drop(request.linkKey)
  }

  /** The answer to exactly this request, as often as it is asked: an answer may be lost. */
  async grantFor(request: DeviceRequest): Promise<Uint8Array | undefined> {
    const grant = await this.#store.get(GRANTED_NS, request.linkKey)
    if (grant === undefined) return undefined
    if (equal(decodeGrant(grant).requestId, request.id)) return Uint8Array.from(grant)
    await this.#store.delete(GRANTED_NS, request.linkKey)
    return undefined
  }

  async remove(linkKey: Uint8Array): Promise<void> {
    await this.#store.delete(GRANTED_NS, linkKey)
    await this.#drop(linkKey)
  }

  async #drop(linkKey: Uint8Array): Promise<void> {
    await this.#store.delete(WAITING_NS, linkKey)
    this.#keys.delete(nameOf(linkKey))
  }
}

function isOld(value: Uint8Array, now: number): boolean {
  return value.length < TIME_BYTES || now - Number(Buffer.from(value).readBigUInt64BE(0)) > MAX_REQUEST_AGE_MS
}

function nameOf(linkKey: Uint8Array): string {
  return Buffer.from(linkKey).toString('latin1')
}
