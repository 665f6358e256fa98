import { toHex } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { bytesN, type Codec, constant, decode, encode, list, malformed, mapped, struct, u8, u16, u32, uint53 } from '../../core/codec.ts'
import { KithError } from '../../core/errors.ts'
import type { Store, StoreOp } from '../../core/store/types.ts'
import type { Did } from '../../identity/did.ts'
import { didCodec } from '../address-book-codec.ts'
import { MSG_ID_BYTES } from '../sealed/sealed-codec.ts'
import { cursorsOf } from './inbox.ts'
import { isAbove, Ledger, type MailboxLimits } from './quotas.ts'
import type { MailPage, OutboxEntry, OutboxState } from './types.ts'

/**
 * # Messages that were told
 *
 * ```text
 * mail/out       u64 cursor ->  01 | msg_id 16 | to 32 | u64 time | u64 expires | u16 type | u32 bytes | u8 forward_secret | u8 settled | list<device 32> | list<host 32>
 * mail/out-data  u64 cursor ->  signed envelope, until it is settled
 * ```
 *
 * Signed once: every resend carries the same envelope, so whoever has it knows it again. A message is settled when every machine of its peer has it, or its time
 * is over; the newest settled ones stay listed.
 */
const INDEX_NS = 'mail/out'
const DATA_NS = 'mail/out-data'
const MAX_ACKED = 64
const MAX_DEPOSITS = 16
const SETTLED_KEPT = 1_000

export interface OutboxRow {
  readonly msgId: Uint8Array
  readonly to: Did
  readonly timeMs: number
  readonly expiresMs: number
  readonly type: number
  /** Of the payload. */
  readonly bytes: number
  readonly forwardSecret: boolean
  readonly settled: boolean
  /** Machines of the peer that have it. */
  readonly acked: readonly Uint8Array[]
  /** Hosts that keep it. */
  readonly hosts: readonly Did[]
}

const flag: Codec<boolean> = mapped(
  u8,
  (value) => {
    if (value > 1) throw malformed('flag')
    return value === 1
  },
  (value) => (value ? 1 : 0),
)
const rowCodec: Codec<OutboxRow> = struct<OutboxRow & { _version?: undefined }>({
  _version: constant(1),
  msgId: bytesN(MSG_ID_BYTES),
  to: didCodec,
  timeMs: uint53,
  expiresMs: uint53,
  type: u16,
  bytes: u32,
  forwardSecret: flag,
  settled: flag,
  acked: list(bytesN(32), MAX_ACKED),
  hosts: list(didCodec, MAX_DEPOSITS),
})

export interface NewMessage extends Pick<OutboxRow, 'msgId' | 'to' | 'timeMs' | 'expiresMs' | 'type' | 'bytes' | 'forwardSecret'> {
  readonly envelope: Uint8Array
}

export type OutboxChange = Partial<Pick<OutboxRow, 'forwardSecret' | 'settled' | 'acked' | 'hosts'>>

export class Outbox {
  readonly #store: Store
  readonly #clock: Clock
  readonly #limits: MailboxLimits
  readonly #rows: Map<number, OutboxRow> = new Map()
  readonly #errors: Map<number, string> = new Map()
  readonly #pending: Ledger = new Ledger()
  #settled = 0
  #next = 1

  private constructor(store: Store, clock: Clock, limits: MailboxLimits) {
    this.#store = store
    this.#clock = clock
    this.#limits = limits
  }

  /** @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`. */
  static async open(store: Store, clock: Clock, limits: MailboxLimits): Promise<Outbox> {
    const outbox = new Outbox(store, clock, limits)
    for await (const { key, value } of store.scan(INDEX_NS)) outbox.#add(decode(uint53, key), decode(rowCodec, value))
    return outbox
  }

  get pending(): number {
    return this.#pending.of('').messages
  }

  /** Identities that something waits for, in the order in which they were told. */
  get waitingFor(): ReadonlySet<Did> {
    const found = new Set<Did>()
    for (const row of this.#rows.values()) if (!row.settled) found.add(row.to)
    return found
  }

  /** Durable when it resolves. @throws KithError `OUTBOX_FULL`, `STORE_FAILED`. */
  async add({ envelope, ...message }: NewMessage): Promise<number> {
    if (isAbove(this.#pending.of(''), this.#limits.outbox, message.bytes)) throw new KithError('OUTBOX_FULL', undefined, { next: 'kith tell --list' })
    const cursor = this.#next++
    const row: OutboxRow = { ...message, settled: false, acked: [], hosts: [] }
    const key = encode(uint53, cursor)
    await this.#store.batch(
      [
        { type: 'put', ns: INDEX_NS, key, value: encode(rowCodec, row) },
        { type: 'put', ns: DATA_NS, key, value: envelope },
      ],
      { durable: true },
    )
    this.#add(cursor, row)
    return cursor
  }

  get(cursor: number): OutboxRow | undefined {
    return this.#rows.get(cursor)
  }

  /** What is still to be brought to a peer, oldest first. */
  unsettled(to: Did): readonly number[] {
    return [...this.#rows].filter(([, row]) => row.to === to && !row.settled).map(([cursor]) => cursor)
  }

  /** @throws KithError `STORE_FAILED`. */
  async envelope(cursor: number): Promise<Uint8Array | undefined> {
    return await this.#store.get(DATA_NS, encode(uint53, cursor))
  }

  /** Notes how far a message came. Lost with the machine it is found out again, so it need not be durable. @throws KithError `STORE_FAILED`. */
  async change(cursor: number, change: OutboxChange): Promise<void> {
    const row = this.#rows.get(cursor)
    if (row === undefined || row.settled) return
    const changed: OutboxRow = {
      ...row,
      ...change,
      acked: (change.acked ?? row.acked).slice(0, MAX_ACKED),
      hosts: (change.hosts ?? row.hosts).slice(0, MAX_DEPOSITS),
    }
    const key = encode(uint53, cursor)
    this.#rows.set(cursor, changed)
    this.#errors.delete(cursor)
    const operations: StoreOp[] = [{ type: 'put', ns: INDEX_NS, key, value: encode(rowCodec, changed) }]
    if (changed.settled) {
      this.#pending.discharge('', row.bytes)
      this.#settled++
      operations.push({ type: 'delete', ns: DATA_NS, key })
    }
    await this.#store.batch([...operations, ...this.#surplus()], { durable: false })
  }

  failed(cursor: number, code: string): void {
    if (this.#rows.get(cursor)?.settled === false) this.#errors.set(cursor, code)
  }

  /** Settles what ran out of time. @returns the peers it was for. @throws KithError `STORE_FAILED`. */
  async expire(): Promise<readonly Did[]> {
    const now = this.#clock.now()
    const over = [...this.#rows].filter(([, row]) => !row.settled && row.expiresMs <= now)
    for (const [cursor] of over) await this.change(cursor, { settled: true })
    return over.filter(([, row]) => stateOf(row, now) === 'expired').map(([, { to }]) => to)
  }

  list(page: MailPage): readonly OutboxEntry[] {
    const found: OutboxEntry[] = []
    for (const cursor of cursorsOf(this.#rows, page)) {
      const row = this.#rows.get(cursor) as OutboxRow
      const { to, timeMs, expiresMs, type, bytes, forwardSecret, hosts } = row
      const lastError = this.#errors.get(cursor)
      found.push({ cursor, id: toHex(row.msgId), to, timeMs, expiresMs, type, bytes, state: this.state(cursor), forwardSecret, hosts, lastError })
    }
    return found
  }

  state(cursor: number): OutboxState {
    const row = this.#rows.get(cursor)
    return row === undefined ? 'expired' : stateOf(row, this.#clock.now())
  }

  #add(cursor: number, row: OutboxRow): void {
    this.#rows.set(cursor, row)
    this.#next = Math.max(this.#next, cursor + 1)
    if (row.settled) this.#settled++
    else this.#pending.charge('', row.bytes)
  }

  #surplus(): StoreOp[] {
    const operations: StoreOp[] = []
    for (const [cursor, { settled }] of this.#rows) {
      if (this.#settled <= SETTLED_KEPT) break
      if (!settled) continue
      this.#rows.delete(cursor)
      this.#settled--
      operations.push({ type: 'delete', ns: INDEX_NS, key: encode(uint53, cursor) })
    }
    return operations
  }
}

function stateOf({ acked, hosts, expiresMs }: OutboxRow, now: number): OutboxState {
  if (acked.length > 0) return 'delivered'
  if (expiresMs <= now) return 'expired'
  return hosts.length > 0 ? 'deposited' : 'waiting'
}
