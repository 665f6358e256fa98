import { concat, toHex } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { bytesN, type Codec, constant, decode, encode, list, struct, text, u16, u32, uint53 } from '../../core/codec.ts'
import { KithError } from '../../core/errors.ts'
import type { Store, StoreOp } from '../../core/store/types.ts'
import { type Did, didPublicKey, formatDid } from '../../identity/did.ts'
import { publicKeyCodec } from '../../identity/keys.ts'
import { MAX_RECIPIENTS, MSG_ID_BYTES, type SealedMessage } from '../sealed/sealed-codec.ts'
import type { PeerClass } from '../types.ts'
import { Exclusive } from './exclusive.ts'
import { isAbove, Ledger, type MailboxLimits } from './quotas.ts'
import type { ListAnswer, ListedMessage } from './wire.ts'

/**
 * # What is kept here for others
 *
 * ```text
 * mail/box       owner 32 | msg_id 16 ->  01 | depositor's account | u32 bytes | u64 expires | u64 deposited | devices | u16 gone
 * mail/box-data  owner 32 | msg_id 16 ->  sealed message
 * ```
 *
 * Both rows are one durable batch. The small rows are in memory too; `gone` has a bit for each machine that has deleted its copy, and the message goes with the last.
 */
const INDEX_NS = 'mail/box'
const DATA_NS = 'mail/box-data'
const PURGE_BATCH = 500

interface Row {
  readonly account: string
  readonly bytes: number
  readonly expiresMs: number
  readonly depositedMs: number
  readonly devices: readonly Uint8Array[]
  readonly gone: number
}

const rowCodec: Codec<Row> = struct<Row & { _version?: undefined }>({
  _version: constant(1),
  account: text(200),
  bytes: u32,
  expiresMs: uint53,
  depositedMs: uint53,
  devices: list(bytesN(32), MAX_RECIPIENTS),
  gone: u16,
})

interface Entry extends Row {
  readonly owner: Did
  readonly msgId: Uint8Array
  readonly deviceIds: readonly string[]
  /** Resolves when it is durable. */
  stored: Promise<void> | undefined
  /** Who left it, as far as this run of the node knows. Not stored: a host need not remember who wrote to whom. */
  readonly by: Did | undefined
}

interface Box {
  readonly entries: Map<string, Entry>
  /** Ids in order, made when asked for; may hold some that are gone. */
  order: readonly string[] | undefined
}

/** Who left it, for the quotas. */
export interface Depositor {
  readonly did: Did
  readonly account: string
  readonly class: PeerClass
}

export interface HostedComponents {
  readonly store: Store
  readonly clock: Clock
  readonly limits: MailboxLimits
}

export class Hosted {
  readonly #store: Store
  readonly #clock: Clock
  readonly #limits: MailboxLimits
  readonly #boxes: Map<Did, Box> = new Map()
  readonly #depositors: Ledger = new Ledger()
  readonly #owners: Ledger = new Ledger()
  readonly #total: Ledger = new Ledger()
  readonly #changes: Exclusive = new Exclusive()

  private constructor({ store, clock, limits }: HostedComponents) {
    this.#store = store
    this.#clock = clock
    this.#limits = limits
  }

  /** @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`. */
  static async open(components: HostedComponents): Promise<Hosted> {
    const hosted = new Hosted(components)
    for await (const { key, value } of components.store.scan(INDEX_NS)) {
      const owner = formatDid(decode(publicKeyCodec, key.slice(0, 32)))
      hosted.#add({ ...entryOf(owner, key.slice(32), decode(rowCodec, value)), stored: undefined, by: undefined })
    }
    await hosted.purge()
    return hosted
  }

  get usage(): { readonly messages: number; readonly bytes: number } {
    return this.#total.of('')
  }

  /**
   * Whether this depositor's message is here already. Ids can be read by everybody who keeps a copy, so one of them could leave something else under the id at the
   * other hosts and have the message itself taken for a repetition.
   * @throws KithError `MAILBOX_TAKEN` when somebody else has left something under its id.
   */
  has(owner: Did, msgId: Uint8Array, { did, account }: Pick<Depositor, 'did' | 'account'>): boolean {
    const present = this.#boxes.get(owner)?.entries.get(toHex(msgId))
    if (present === undefined) return false
    if (present.by === undefined ? present.account !== account : present.by !== did) throw new KithError('MAILBOX_TAKEN')
    return true
  }

  /**
   * Sets room aside for a message that is on its way in.
   * @returns gives it back; call it once the message is kept, or will not be. @throws KithError `MAILBOX_FULL`.
   */
  reserve(owner: Did, ownerClass: PeerClass, { account, class: held }: Depositor, bytes: number): () => void {
    const { depositor, owner: perOwner, total } = this.#limits
    const full =
      isAbove(this.#depositors.of(account), depositor[held], bytes) ||
      isAbove(this.#owners.of(owner), perOwner[ownerClass], bytes) ||
      isAbove(this.#total.of(''), total, bytes)
    if (full) throw new KithError('MAILBOX_FULL')
    const releases = [this.#depositors.charge(account, bytes), this.#owners.charge(owner, bytes), this.#total.charge('', bytes)]
    return () => {
      for (const release of releases) release()
    }
  }

  /** Keeps a message; resolves when it is durable. The same again changes nothing. @throws KithError `MAILBOX_TAKEN`, `STORE_FAILED`. */
  async keep(message: SealedMessage, sealed: Uint8Array, depositor: Pick<Depositor, 'did' | 'account'>): Promise<void> {
    if (this.has(message.to, message.msgId, depositor)) {
      await this.#boxes.get(message.to)?.entries.get(toHex(message.msgId))?.stored
      return
    }
    const { account } = depositor
    const row: Row = {
      account,
      bytes: sealed.length,
      expiresMs: message.expiresMs,
      depositedMs: this.#clock.now(),
      devices: message.blocks.map(({ device }) => device),
      gone: 0,
    }
    const key = keyOf(message.to, message.msgId)
    const stored = this.#store.batch(
      [
        { type: 'put', ns: INDEX_NS, key, value: encode(rowCodec, row) },
        { type: 'put', ns: DATA_NS, key, value: sealed },
      ],
      { durable: true },
    )
    const entry: Entry = { ...entryOf(message.to, message.msgId, row), stored, by: depositor.did }
    this.#add(entry)
    try {
      await stored
      entry.stored = undefined
    } catch (error) {
      this.#remove(entry)
      throw error
    }
  }

  /** What one machine of the owner has not deleted yet, in order of ids. */
  list(owner: Did, device: Uint8Array, after: Uint8Array | undefined, limit: number): ListAnswer {
    const box = this.#boxes.get(owner)
    if (box === undefined) return { messages: [], more: false }
    box.order ??= [...box.entries.keys()].sort()
    const order = box.order
    const now = this.#clock.now()
    const machine = toHex(device)
    const messages: ListedMessage[] = []
    for (let at = after === undefined ? 0 : firstAbove(order, toHex(after)); at < order.length; at++) {
      const entry = box.entries.get(order[at] as string)
      if (entry === undefined || entry.stored !== undefined || entry.expiresMs <= now || !isFor(entry, machine)) continue
      if (messages.length === limit) return { messages, more: true }
      messages.push({ msgId: entry.msgId, expiresMs: entry.expiresMs, bytes: entry.bytes })
    }
    return { messages, more: false }
  }

  /** @throws KithError `NOT_FOUND`, `STORE_FAILED`. */
  async get(owner: Did, device: Uint8Array, msgId: Uint8Array): Promise<Uint8Array> {
    const entry = this.#boxes.get(owner)?.entries.get(toHex(msgId))
    const kept = entry !== undefined && entry.stored === undefined && isFor(entry, toHex(device))
    const sealed = kept ? await this.#store.get(DATA_NS, keyOf(owner, msgId)) : undefined
    if (sealed === undefined) throw new KithError('NOT_FOUND')
    return sealed
  }

  /** One machine of the owner has these. @returns how many of them it had not deleted before. @throws KithError `STORE_FAILED`. */
  delete(owner: Did, device: Uint8Array, msgIds: readonly Uint8Array[]): Promise<number> {
    return this.#changes.run(() => this.#delete(owner, device, msgIds))
  }

  async #delete(owner: Did, device: Uint8Array, msgIds: readonly Uint8Array[]): Promise<number> {
    const machine = toHex(device)
    const entries = this.#boxes.get(owner)?.entries
    const operations: StoreOp[] = []
    const applied: (() => void)[] = []
    for (const id of new Set(msgIds.map(toHex))) {
      const entry = entries?.get(id)
      if (entry === undefined || entry.stored !== undefined || !isFor(entry, machine)) continue
      const gone = entry.gone | (1 << entry.deviceIds.indexOf(machine))
      const key = keyOf(owner, entry.msgId)
      if (gone === (1 << entry.devices.length) - 1) {
        operations.push({ type: 'delete', ns: INDEX_NS, key }, { type: 'delete', ns: DATA_NS, key })
        applied.push(() => this.#remove(entry))
      } else {
        const changed: Entry = { ...entry, gone }
        operations.push({ type: 'put', ns: INDEX_NS, key, value: encode(rowCodec, changed) })
        applied.push(() => entries?.set(id, changed))
      }
    }
    if (operations.length > 0) await this.#store.batch(operations, { durable: true })
    for (const apply of applied) apply()
    return applied.length
  }

  /** Drops what has expired. @returns how many. @throws KithError `STORE_FAILED`. */
  purge(): Promise<number> {
    return this.#changes.run(() => this.#purge())
  }

  async #purge(): Promise<number> {
    const now = this.#clock.now()
    const over = [...this.#boxes.values()].flatMap(({ entries }) =>
      [...entries.values()].filter((entry) => entry.expiresMs <= now && entry.stored === undefined),
    )
    for (let at = 0; at < over.length; at += PURGE_BATCH) {
      const slice = over.slice(at, at + PURGE_BATCH)
      const operations = slice.flatMap(({ owner, msgId }): StoreOp[] => {
        const key = keyOf(owner, msgId)
        return [
          { type: 'delete', ns: INDEX_NS, key },
          { type: 'delete', ns: DATA_NS, key },
        ]
      })
      await this.#store.batch(operations, { durable: false })
      for (const entry of slice) this.#remove(entry)
    }
    return over.length
  }

  #add(entry: Entry): void {
    const box = this.#boxes.get(entry.owner) ?? { entries: new Map(), order: undefined }
    this.#boxes.set(entry.owner, box)
    box.entries.set(toHex(entry.msgId), entry)
    box.order = undefined
    this.#depositors.charge(entry.account, entry.bytes)
    this.#owners.charge(entry.owner, entry.bytes)
    this.#total.charge('', entry.bytes)
  }

  #remove({ owner, msgId, account, bytes }: Entry): void {
    const box = this.#boxes.get(owner)
    if (box?.entries.delete(toHex(msgId)) !== true) return
    if (box.entries.size === 0) this.#boxes.delete(owner)
    this.#depositors.discharge(account, bytes)
    this.#owners.discharge(owner, bytes)
    this.#total.discharge('', bytes)
  }
}

function entryOf(owner: Did, msgId: Uint8Array, row: Row): Omit<Entry, 'stored' | 'by'> {
  return { owner, msgId, ...row, deviceIds: row.devices.map(toHex) }
}

/** Whether it is sealed to this machine, which has not deleted it yet. */
function isFor({ deviceIds, gone }: Entry, machine: string): boolean {
  const at = deviceIds.indexOf(machine)
  return at !== -1 && (gone & (1 << at)) === 0
}

function firstAbove(order: readonly string[], id: string): number {
  let low = 0
  let high = order.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((order[middle] as string) <= id) low = middle + 1
    else high = middle
  }
  return low
}

function keyOf(owner: Did, msgId: Uint8Array): Uint8Array {
  if (msgId.length !== MSG_ID_BYTES) throw new TypeError('a message id has 16 bytes')
  return concat(didPublicKey(owner), msgId)
}
