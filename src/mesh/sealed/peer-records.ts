import { compare, concat, equal, toHex } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { decode } from '../../core/codec.ts'
import { isXwingPublicKey } from '../../core/crypto/xwing.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Store } from '../../core/store/types.ts'
import { type Did, didPublicKey, formatDid } from '../../identity/did.ts'
import { publicKeyCodec } from '../../identity/keys.ts'
import { type Carrier, type DeviceKeys, MESSAGE_TYPE, type Messages, type RecordMessage } from '../messages/types.ts'
import { decodePeerRecord, MAX_RECORD_BYTES, type PeerRecord, RECORD_TOPIC } from './peer-record-codec.ts'
import { decodePrekey, kidOf, type Prekey, verifyPrekey } from './prekey-codec.ts'
import { MAX_RECIPIENTS } from './sealed-codec.ts'
import type { SealTarget } from './sealing.ts'

/**
 * # Peer records: what others published about reaching them
 *
 * The newest per machine, by (epoch, seq), as it was signed; kept until its expiry, within bounds. Strangers' make room for one another, those of peers in the
 * address book stay.
 */
const RECORD_NS = 'mail/record'
const SEEN_NS = 'mail/pq'
const PREKEY_SLACK_MS = 600_000
/** Nobody plans further ahead than this. */
const MAX_RECORD_LIFE_MS: number = 60 * 86_400_000
const YES = Uint8Array.of(1)

export interface RecordLimits {
  /** Records of all identities. */
  readonly records: number
  readonly perIdentity: number
}

export const RECORD_LIMITS: RecordLimits = { records: 4_096, perIdentity: MAX_RECIPIENTS }

export interface RecordComponents {
  readonly store: Store
  readonly messages: Pick<Messages, 'directory' | 'verifyRecord' | 'restoreRecord' | 'readRecord'>
  readonly clock: Clock
  readonly logger: Logger
  /** Whether a person holds on to this identity. */
  readonly keeps: (did: Did) => boolean
  readonly limits?: Partial<RecordLimits>
}

export interface KnownRecord {
  readonly did: Did
  readonly device: Uint8Array
  readonly epoch: number
  readonly seq: number
  readonly prekey: Prekey | undefined
  readonly hosts: readonly Did[]
  readonly expiresMs: number
}

/** What a message to somebody can be sealed to now. */
export interface Recipients {
  readonly targets: readonly SealTarget[]
  /** False when a machine is sealed to without a prekey: whoever takes that machine's keys later can open it. */
  readonly forwardSecret: boolean
  /** Machines without any key to seal to. */
  readonly unreachable: number
}

export class PeerRecords {
  readonly #components: RecordComponents
  readonly #limits: RecordLimits
  /** Identities in the order in which something of them came last. */
  readonly #known: Map<Did, Map<string, KnownRecord>> = new Map()
  readonly #seen: Set<Did> = new Set()
  #count = 0

  private constructor(components: RecordComponents) {
    this.#components = components
    this.#limits = { ...RECORD_LIMITS, ...components.limits }
  }

  /** @throws KithError `STORE_FAILED`. */
  static async open(components: RecordComponents): Promise<PeerRecords> {
    const records = new PeerRecords(components)
    const { store, messages, clock, logger } = components
    for await (const { key, value } of store.scan(RECORD_NS)) {
      const record = restored(messages, value)
      if (record !== undefined && record.expiresMs > clock.now()) records.#keep(record)
      else {
        if (record === undefined) logger.warn('a stored peer record is not readable')
        await store.delete(RECORD_NS, key, { durable: false })
      }
    }
    for await (const { key } of store.scan(SEEN_NS)) records.#seen.add(formatDid(decode(publicKeyCodec, key)))
    return records
  }

  get size(): number {
    return this.#count
  }

  /**
   * Verifies a record and keeps it when it is newer than the one known.
   * @returns whether it is news.
   * @throws KithError as `Messages.verifyRecord`; `WIRE_MALFORMED`, `KEY_INVALID`, `SIGNATURE_INVALID` for what is inside.
   */
  async learn(bytes: Uint8Array, carrier: Carrier | undefined): Promise<boolean> {
    const { messages } = this.#components
    if (bytes.length > MAX_RECORD_BYTES) throw new KithError('WIRE_MALFORMED', 'the record is too long', { details: { length: bytes.length } })
    const head = messages.readRecord(bytes)
    const known = this.#known.get(head.from)?.get(toHex(head.device))
    if (known !== undefined && !isNewer(head, known)) return false
    return await this.adopt(await messages.verifyRecord(bytes, RECORD_TOPIC, carrier))
  }

  /** The same for a record whose envelope was verified already. @throws as `learn`. */
  async adopt(message: RecordMessage): Promise<boolean> {
    const { messages, clock, store } = this.#components
    const { from: did, device, epoch, seq } = message
    if (message.type !== MESSAGE_TYPE.peerRecord) return false
    const record = decodePeerRecord(message.payload)
    const prekey = record.prekey === undefined ? undefined : await this.#checked(record.prekey, message, messages.directory)
    const now = clock.now()
    const found: KnownRecord = { did, device, epoch, seq, prekey, hosts: hostsOf(record, did), expiresMs: record.expiresMs }
    if (record.expiresMs <= now || record.expiresMs > now + MAX_RECORD_LIFE_MS) return false
    const known = this.#known.get(did)?.get(toHex(device))
    if (known !== undefined && !isNewer(found, known)) return false
    this.#keep(found)
    if (prekey !== undefined && this.#components.keeps(did)) await this.#note(did)
    await store.put(RECORD_NS, keyOf(found), message.bytes, { durable: false })
    await this.#trim(did)
    return true
  }

  /** What is known of an identity's machines and has not expired. */
  of(did: Did): readonly KnownRecord[] {
    const now = this.#components.clock.now()
    return [...(this.#known.get(did)?.values() ?? [])].filter(({ expiresMs }) => expiresMs > now)
  }

  /** Whom a peer lets keep its messages, each once. */
  hostsOf(did: Did): readonly Did[] {
    return [...new Set(this.of(did).flatMap(({ hosts }) => hosts))]
  }

  /** Whether a machine's prekey is at hand and good for at least so long. */
  hasPrekey(did: Did, device: Uint8Array, forMs = 0): boolean {
    const prekey = this.#known.get(did)?.get(toHex(device))?.prekey
    return prekey !== undefined && isCurrent(prekey, this.#components.clock.now()) && prekey.notAfterMs > this.#components.clock.now() + forMs
  }

  /** Record envelopes to pass on. @throws KithError `STORE_FAILED`. */
  async envelopes(did: Did): Promise<readonly Uint8Array[]> {
    const found: Uint8Array[] = []
    for (const record of this.of(did)) {
      const bytes = await this.#components.store.get(RECORD_NS, keyOf(record))
      if (bytes !== undefined) found.push(bytes)
    }
    return found
  }

  /**
   * The keys that a message to this identity is sealed to: each machine's prekey, else its binding's fallback.
   * @throws KithError `DOWNGRADE_REFUSED` when it has machines, none has a key, and it had one before; `STORE_FAILED`.
   */
  async recipients(did: Did): Promise<Recipients> {
    const now = this.#components.clock.now()
    const devices = await this.#components.messages.directory.devicesOf(did)
    const newest = [...devices].sort((a, b) => b.notBeforeMs - a.notBeforeMs || compare(a.device, b.device)).slice(0, MAX_RECIPIENTS)
    const targets: SealTarget[] = []
    let forwardSecret = true
    for (const device of newest) {
      const prekey = this.#known.get(did)?.get(toHex(device.device))?.prekey
      const target = prekey !== undefined && isCurrent(prekey, now) ? prekey : fallbackOf(device)
      if (target === undefined) continue
      targets.push({ device: device.device, kid: target.kid, key: target.key })
      if (target !== prekey) forwardSecret = false
    }
    if (targets.length > 0) await this.#note(did)
    else if (newest.length > 0 && this.#seen.has(did)) {
      throw new KithError('DOWNGRADE_REFUSED', 'the peer had post-quantum keys to seal to before and now shows none', { details: { did } })
    }
    return { targets, forwardSecret, unreachable: newest.length - targets.length }
  }

  /** What this machine published does not count any more. @throws KithError `STORE_FAILED`. */
  async forget(did: Did, device: Uint8Array): Promise<void> {
    const record = this.#known.get(did)?.get(toHex(device))
    if (record !== undefined) await this.#drop(record)
  }

  async #checked(encoded: Uint8Array, { from, device }: RecordMessage, directory: Messages['directory']): Promise<Prekey> {
    const keys = await directory.keys(from, device)
    if (keys === undefined) throw new KithError('DEVICE_UNKNOWN')
    const prekey = verifyPrekey(encoded, keys.key)
    if (prekey.did !== from || !equal(prekey.device, device)) throw new KithError('SIGNATURE_INVALID', 'a record carries the prekey of another machine')
    return prekey
  }

  #keep(record: KnownRecord): void {
    const { did } = record
    const machines = this.#known.get(did) ?? new Map<string, KnownRecord>()
    if (!machines.has(toHex(record.device))) this.#count++
    machines.set(toHex(record.device), record)
    this.#known.delete(did)
    this.#known.set(did, machines)
  }

  async #note(did: Did): Promise<void> {
    if (this.#seen.has(did)) return
    this.#seen.add(did)
    await this.#components.store.put(SEEN_NS, didPublicKey(did), YES, { durable: true })
  }

  async #trim(latest: Did): Promise<void> {
    const machines = this.#known.get(latest)
    if (machines !== undefined && machines.size > this.#limits.perIdentity) {
      const [oldest] = [...machines.values()].sort((a, b) => a.expiresMs - b.expiresMs || compare(a.device, b.device))
      if (oldest !== undefined) await this.#drop(oldest)
    }
    if (this.#count <= this.#limits.records) return
    for (const [did, records] of this.#known) {
      if (did === latest || this.#components.keeps(did)) continue
      for (const record of [...records.values()]) await this.#drop(record)
      return
    }
    // Everybody else is kept: the newcomer has to go.
    for (const record of [...(this.#known.get(latest)?.values() ?? [])]) await this.#drop(record)
  }

  async #drop(record: KnownRecord): Promise<void> {
    const machines = this.#known.get(record.did)
    if (machines?.delete(toHex(record.device)) === true) this.#count--
    if (machines?.size === 0) this.#known.delete(record.did)
    await this.#components.store.delete(RECORD_NS, keyOf(record), { durable: false })
  }
}

function isNewer(a: { readonly epoch: number; readonly seq: number }, b: { readonly epoch: number; readonly seq: number }): boolean {
  return a.epoch > b.epoch || (a.epoch === b.epoch && a.seq > b.seq)
}

function isCurrent({ notBeforeMs, notAfterMs }: Prekey, now: number): boolean {
  return notBeforeMs - PREKEY_SLACK_MS <= now && now < notAfterMs
}

function fallbackOf({ fallbackKem }: DeviceKeys): { readonly kid: Uint8Array; readonly key: Uint8Array } | undefined {
  return fallbackKem !== undefined && isXwingPublicKey(fallbackKem) ? { kid: kidOf(fallbackKem), key: fallbackKem } : undefined
}

/** A peer is no host of its own. */
function hostsOf({ hosts }: PeerRecord, did: Did): readonly Did[] {
  return hosts.filter((host) => host !== did)
}

function keyOf({ did, device }: Pick<KnownRecord, 'did' | 'device'>): Uint8Array {
  return concat(didPublicKey(did), device)
}

function restored(messages: Pick<Messages, 'restoreRecord'>, bytes: Uint8Array): KnownRecord | undefined {
  try {
    const { from: did, device, epoch, seq, payload } = messages.restoreRecord(bytes)
    const record = decodePeerRecord(payload)
    const prekey = record.prekey === undefined ? undefined : decodePrekey(record.prekey)
    return { did, device, epoch, seq, prekey, hosts: hostsOf(record, did), expiresMs: record.expiresMs }
  } catch (error) {
    if (isKithError(error)) return undefined
    throw error
  }
}
