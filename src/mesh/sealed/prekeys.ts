import { concat, equal, type PublicKey, toHex } from '../../core/bytes.ts'
import type { Clock, Timer } from '../../core/clock.ts'
import { bytes, bytesN, type Codec, decode, encode, mapped, struct, uint53 } from '../../core/codec.ts'
import { openOnce, sealOnce, TAG_BYTES } from '../../core/crypto/aead.ts'
import { parsePublicKey } from '../../core/crypto/ed25519.ts'
import { xwingPublicKey } from '../../core/crypto/xwing.ts'
import { asKithError, KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Random } from '../../core/random.ts'
import { Secret } from '../../core/secret.ts'
import type { Store } from '../../core/store/types.ts'
import { FALLBACK_KEM_LABEL } from '../../identity/device.ts'
import type { Device } from '../../identity/types.ts'
import { kidOf, MAX_PREKEY_BYTES, PREKEY_LIFE_MS, signPrekey } from './prekey-codec.ts'
import { MAX_LIFE_MS } from './sealed-codec.ts'
import type { OpeningKeys } from './sealing.ts'

/**
 * # This machine's prekeys (PN-9)
 *
 * ```text
 * day 0        6.5          7                                21
 *  |- published -|- overlap -|- opens what was still on its way -|  wiped
 * ```
 *
 * One is published at a time, a new one every week; the last half day overlaps, so that peers always hold one that is valid. Each secret stands in the store
 * sealed under a key that `device.age` holds, is in memory only while it opens something, and is deleted for good 14 days after its last day: a message lives no
 * longer. So whoever seizes this machine opens what was sealed to it in the last 21 days and nothing older.
 */
const NAMESPACE = 'mail/prekey'
const STORE_LABEL = 'icn/prekey-store/v1'
const HOUR_MS = 3_600_000
const OVERLAP_MS: number = 12 * HOUR_MS
const SEED_BYTES = 32
/** When the store failed, or the clock jumps. */
const RETRY_MS = 1_000
/** A prekey dated further ahead was made under a wrong clock. */
const CLOCK_SLACK_MS = 600_000

interface Row {
  readonly device: PublicKey
  readonly notBeforeMs: number
  readonly notAfterMs: number
  readonly sealedSeed: Uint8Array
  /** As published. */
  readonly signed: Uint8Array
}

const rowCodec: Codec<Row> = struct<Row>({
  device: mapped(bytesN(32), parsePublicKey, (key) => key),
  notBeforeMs: uint53,
  notAfterMs: uint53,
  sealedSeed: bytesN(SEED_BYTES + TAG_BYTES),
  signed: bytes(MAX_PREKEY_BYTES),
})

export interface PrekeyComponents {
  readonly store: Store
  readonly device: () => Device
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** A new prekey is published from now on. */
  readonly onNew: () => void
}

export class Prekeys implements OpeningKeys {
  readonly #components: PrekeyComponents
  /** Everything but the secrets, by kid. */
  readonly #rows: Map<string, Row> = new Map()
  #working: Promise<unknown> = Promise.resolve()
  #timer: Timer | undefined
  #closed = false

  private constructor(components: PrekeyComponents) {
    this.#components = components
  }

  /** Reads what is held, wipes what is over. @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`. */
  static async open(components: PrekeyComponents): Promise<Prekeys> {
    const prekeys = new Prekeys(components)
    for await (const { key, value } of components.store.scan(NAMESPACE)) prekeys.#rows.set(toHex(key), decode(rowCodec, value))
    await prekeys.wipe()
    return prekeys
  }

  /** Keeps the published prekey fresh, and deletes old ones, until closed. */
  start(): void {
    this.#schedule()
  }

  /** The signed prekey to publish now; made when there is none, or the last one ends soon. @throws KithError `STORE_FAILED`, `SECRET_WIPED`. */
  current(): Promise<Uint8Array> {
    return this.#exclusive(async () => (this.#usable() ?? (await this.#make())).signed)
  }

  /** When the prekey that is published now ends, ms since the epoch; 0 without one. */
  get endsMs(): number {
    return this.#usable()?.notAfterMs ?? 0
  }

  async find(device: PublicKey, kid: Uint8Array): Promise<Secret | undefined> {
    const row = this.#rows.get(toHex(kid))
    if (row === undefined || !equal(row.device, device)) return this.#fallback(device, kid)
    // Kept beyond its time by a store that failed, or a process that slept: over all the same.
    if (this.#isOver(row)) return undefined
    using key = this.#components.device().deriveSecret(STORE_LABEL, kid)
    const seed = openOnce(key, associated(kid, row), row.sealedSeed)
    if (seed === undefined) throw new KithError('STORE_FAILED', 'a prekey in the store does not open with the key of this device')
    return Secret.take(seed)
  }

  /** Deletes what nothing on its way can need any more. @throws KithError `STORE_FAILED`. */
  wipe(): Promise<void> {
    return this.#exclusive(async () => {
      for (const [kid, row] of [...this.#rows]) {
        if (!this.#isOver(row)) continue
        await this.#components.store.delete(NAMESPACE, Buffer.from(kid, 'hex'), { durable: true })
        this.#rows.delete(kid)
      }
    })
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  #usable(): Row | undefined {
    const now = this.#components.clock.now()
    const device = this.#components.device().linkSigner.publicKey
    for (const row of this.#rows.values()) {
      if (equal(row.device, device) && row.notBeforeMs <= now + CLOCK_SLACK_MS && row.notAfterMs - now > OVERLAP_MS) return row
    }
    return undefined
  }

  #isOver({ notBeforeMs, notAfterMs }: Row): boolean {
    const now = this.#components.clock.now()
    return now >= notAfterMs + MAX_LIFE_MS || notBeforeMs > now + PREKEY_LIFE_MS
  }

  async #make(): Promise<Row> {
    const { store, clock, random, onNew } = this.#components
    const device = this.#components.device()
    const notBeforeMs = clock.now()
    const notAfterMs = notBeforeMs + PREKEY_LIFE_MS
    using seed = Secret.random(SEED_BYTES, random)
    const key = xwingPublicKey(seed)
    const kid = kidOf(key)
    const linkKey = device.linkSigner.publicKey
    const signer = { ed25519: device.linkSigner, mldsa: device.mldsaSigner }
    const signed = signPrekey({ did: device.did, device: linkKey, kid, key, notBeforeMs, notAfterMs }, signer)
    const dates = { device: linkKey, notBeforeMs, notAfterMs }
    using storeKey = device.deriveSecret(STORE_LABEL, kid)
    const row: Row = { ...dates, sealedSeed: seed.use((bytes) => sealOnce(storeKey, associated(kid, dates), bytes)), signed }
    // Nobody may seal to a key that a crash would lose.
    await store.put(NAMESPACE, kid, encode(rowCodec, row), { durable: true })
    this.#rows.set(toHex(kid), row)
    onNew()
    return row
  }

  /** The seed of the binding's own KEM, when that is what was sealed to. */
  #fallback(device: PublicKey, kid: Uint8Array): Secret | undefined {
    const own = this.#components.device()
    if (!equal(device, own.linkSigner.publicKey)) return undefined
    const seed = own.deriveSecret(FALLBACK_KEM_LABEL, device)
    if (equal(kidOf(xwingPublicKey(seed)), kid)) return seed
    seed.wipe()
    return undefined
  }

  #schedule(): void {
    if (this.#closed) return
    const { clock } = this.#components
    // A secret goes the moment its time is over, not at the next look.
    const due = Math.min(...[...this.#rows.values()].map(({ notAfterMs }) => notAfterMs + MAX_LIFE_MS - clock.now()), HOUR_MS)
    this.#timer = clock.after(Math.max(due, RETRY_MS), () => {
      void (async () => {
        try {
          await this.wipe()
          await this.current()
        } catch (error) {
          this.#components.logger.error('prekeys not renewed', { code: asKithError(error, 'INTERNAL').code })
        }
        this.#schedule()
      })()
    })
  }

  #exclusive<T>(run: () => Promise<T>): Promise<T> {
    const running = this.#working.then(run)
    this.#working = running.catch(() => undefined)
    return running
  }
}

function associated(kid: Uint8Array, { device, notBeforeMs, notAfterMs }: Pick<Row, 'device' | 'notBeforeMs' | 'notAfterMs'>): Uint8Array {
  return concat(kid, device, encode(uint53, notBeforeMs), encode(uint53, notAfterMs))
}
