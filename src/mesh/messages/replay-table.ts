import { concat } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { bytesN, type Codec, decode, encode, struct, u8, uint53 } from '../../core/codec.ts'
import { KithError } from '../../core/errors.ts'
import { MAX_BATCH_OPERATIONS, type Store, type StoreOp } from '../../core/store/types.ts'
import { textOf } from './directory-index.ts'

/**
 * # Stored messages that were taken in (PN-7, class 2)
 *
 * ```text
 * mesh/replay      device 32 | msg_id 16           -> did 32 | u64 until_ms | u8 stranger
 * mesh/replay-due  u64 until_ms | device | msg_id  -> (empty)                        the same in the order of their ends
 * mesh/self        replay-horizon                  -> u64 ms
 * ```
 *
 * A message counts until 600 s after its expiry; then no copy of it is accepted for its date alone, and its row goes. `horizon` is the latest end of which rows may have
 * gone: nothing that ends before it is accepted again, whatever the clock says later.
 *
 * The table is bounded and never forgets to make room: what does not fit is refused, and may come again. One identity has a sixteenth of it, all identities that nobody
 * keeps together a quarter, so that those cannot keep the others' messages out.
 */
export const REPLAY_SLACK_MS = 600_000
const REPLAY_NS = 'mesh/replay'
const DUE_NS = 'mesh/replay-due'
const SELF_NS = 'mesh/self'
const HORIZON_KEY: Uint8Array = Buffer.from('replay-horizon')
const NOTHING = new Uint8Array(0)
const PURGE_EVERY_MS = 60_000
const PURGE_ROWS: number = Math.floor(MAX_BATCH_OPERATIONS / 4)

interface Row {
  readonly did: Uint8Array
  readonly untilMs: number
  /** 1 when nobody kept its identity as it came. */
  readonly stranger: number
}

const row: Codec<Row> = struct<Row>({ did: bytesN(32), untilMs: uint53, stranger: u8 })

export interface ReplayTableComponents {
  readonly store: Store
  readonly clock: Clock
  /** Default 100,000. */
  readonly capacity?: number
}

/** What names a stored message, and when it stops to count. */
export interface StoredKey {
  readonly did: Uint8Array
  readonly device: Uint8Array
  readonly msgId: Uint8Array
  readonly expiresMs: number
  /** Nobody keeps its identity. */
  readonly stranger: boolean
}

export interface Reservation {
  readonly operations: readonly StoreOp[]
  commit(): void
  release(): void
}

const DEFAULT_CAPACITY = 100_000

export class ReplayTable {
  readonly #components: ReplayTableComponents
  readonly #capacity: number
  /** Rows and reservations of each identity, by its key as text. */
  readonly #counts: Map<string, number> = new Map()
  /** Messages that are being taken in. */
  readonly #pending: Set<string> = new Set()
  #size = 0
  #strangers = 0
  #horizonMs = 0
  /** By the monotonic clock. */
  #purgedMs: number = Number.NEGATIVE_INFINITY
  #purging: Promise<void> | undefined

  private constructor(components: ReplayTableComponents) {
    this.#components = components
    this.#capacity = components.capacity ?? DEFAULT_CAPACITY
  }

  /** @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`. */
  static async open(components: ReplayTableComponents): Promise<ReplayTable> {
    const table = new ReplayTable(components)
    const horizon = await components.store.get(SELF_NS, HORIZON_KEY)
    if (horizon !== undefined) table.#horizonMs = decode(uint53, horizon)
    for await (const { value } of components.store.scan(REPLAY_NS)) table.#count(decode(row, value), 1)
    return table
  }

  get size(): number {
    return this.#size
  }

  /**
   * Holds the place of a message that was not taken in yet, until it is decided: a second copy is refused meanwhile.
   * @throws KithError `MESSAGE_EXPIRED`, `REPLAYED`, `REPLAY_PENDING`, `REPLAY_FULL`, `STORE_FAILED`.
   */
  async claim({ did, device, msgId, expiresMs, stranger }: StoredKey): Promise<Reservation> {
    const { store, clock } = this.#components
    await this.#purge()
    const untilMs = expiresMs + REPLAY_SLACK_MS
    if (untilMs <= this.#horizonMs || clock.now() >= untilMs) throw new KithError('MESSAGE_EXPIRED')
    const id = concat(device, msgId)
    const text = textOf(id)
    if (this.#pending.has(text)) throw new KithError('REPLAY_PENDING')
    const kept: Row = { did, untilMs, stranger: stranger ? 1 : 0 }
    // Before the store is asked, so that nobody slips in while it answers.
    this.#pending.add(text)
    this.#count(kept, 1)
    let open = true
    const settle = (accepted: boolean): void => {
      if (!open) return
      open = false
      this.#pending.delete(text)
      if (!accepted) this.#count(kept, -1)
    }
    try {
      if ((await store.get(REPLAY_NS, id)) !== undefined) throw new KithError('REPLAYED')
      this.#checkRoom(kept)
    } catch (error) {
      settle(false)
      throw error
    }
    return {
      operations: [
        { type: 'put', ns: REPLAY_NS, key: id, value: encode(row, kept) },
        { type: 'put', ns: DUE_NS, key: concat(encode(uint53, untilMs), id), value: NOTHING },
      ],
      commit: () => settle(true),
      release: () => settle(false),
    }
  }

  /** The message itself is counted already. */
  #checkRoom({ did, stranger }: Row): void {
    const share = Math.max(1, Math.floor(this.#capacity / 16))
    const strangers = Math.max(1, Math.floor(this.#capacity / 4))
    const full = this.#size > this.#capacity || (this.#counts.get(textOf(did)) ?? 0) > share || (stranger === 1 && this.#strangers > strangers)
    if (full) throw new KithError('REPLAY_FULL')
  }

  #count({ did, stranger }: Row, change: 1 | -1): void {
    const text = textOf(did)
    const count = (this.#counts.get(text) ?? 0) + change
    if (count === 0) this.#counts.delete(text)
    else this.#counts.set(text, count)
    this.#size += change
    if (stranger === 1) this.#strangers += change
  }

  /** Removes rows that ended. The machine's clock may have jumped and jump back, so the horizon is written with them. */
  async #purge(): Promise<void> {
    if (this.#components.clock.monotonic() - this.#purgedMs < PURGE_EVERY_MS) return
    this.#purging ??= this.#purgeAll().finally(() => {
      this.#purging = undefined
    })
    await this.#purging
  }

  async #purgeAll(): Promise<void> {
    const { store, clock } = this.#components
    const to = encode(uint53, clock.now() + 1)
    for (;;) {
      const operations: StoreOp[] = []
      const gone: Row[] = []
      for await (const { key } of store.scan(DUE_NS, { to, limit: PURGE_ROWS })) {
        const id = key.subarray(8)
        const value = await store.get(REPLAY_NS, id)
        if (value !== undefined) gone.push(decode(row, value))
        operations.push({ type: 'delete', ns: DUE_NS, key }, { type: 'delete', ns: REPLAY_NS, key: id })
        // Raised before they go: should the write fail, refusing is safe, and the next message tries again.
        this.#horizonMs = Math.max(this.#horizonMs, decode(uint53, key.subarray(0, 8)))
      }
      if (operations.length === 0) break
      await store.batch([...operations, { type: 'put', ns: SELF_NS, key: HORIZON_KEY, value: encode(uint53, this.#horizonMs) }])
      for (const ended of gone) this.#count(ended, -1)
    }
    this.#purgedMs = clock.monotonic()
  }
}
