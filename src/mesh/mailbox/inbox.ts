import { parseUtf8, toHex, utf8 } from '../../core/bytes.ts'
import { bytesN, type Codec, constant, decode, encode, mapped, option, struct, text, u8, u16, u32, uint53 } from '../../core/codec.ts'
import { KithError } from '../../core/errors.ts'
import type { Store, StoreOp } from '../../core/store/types.ts'
import type { Did } from '../../identity/did.ts'
import { didCodec } from '../address-book-codec.ts'
import { MESSAGE_TYPE, type StoredMessage } from '../messages/types.ts'
import { MSG_ID_BYTES } from '../sealed/sealed-codec.ts'
import type { PeerClass } from '../types.ts'
import { Exclusive } from './exclusive.ts'
import { isAbove, Ledger, type MailboxLimits } from './quotas.ts'
import type { InboxEntry, MailPage } from './types.ts'

/**
 * # Messages that came
 *
 * ```text
 * mail/in       u64 cursor ->  01 | msg_id 16 | from 32 | account | u64 time | u64 received | u16 type | u32 bytes | u8 read | option<via 32>
 * mail/in-data  u64 cursor ->  payload
 * ```
 *
 * Both rows and the mark that refuses the message a second time (PN-7) are one durable batch: whatever happens, a message is in the inbox once or not at all.
 */
const INDEX_NS = 'mail/in'
const DATA_NS = 'mail/in-data'
const SELF_NS = 'mail/self'
/** The next cursor, where no row that is left tells it: a reader's `after` stays right. */
const NEXT_KEY = utf8('inbox-next')
const MAX_PAGE = 1_000
const DEFAULT_PAGE = 100

interface Row {
  readonly msgId: Uint8Array
  readonly from: Did
  readonly account: string
  readonly timeMs: number
  readonly receivedMs: number
  readonly type: number
  readonly bytes: number
  readonly read: number
  readonly via: Did | undefined
}

const rowCodec: Codec<Row> = struct<Row & { _version?: undefined }>({
  _version: constant(1),
  msgId: bytesN(MSG_ID_BYTES),
  from: didCodec,
  account: text(200),
  timeMs: uint53,
  receivedMs: uint53,
  type: u16,
  bytes: u32,
  read: mapped(
    u8,
    (value) => Math.min(value, 1),
    (value) => value,
  ),
  via: option(didCodec),
})

/** What is to be written together with the message's mark. */
export interface InboxWrite {
  readonly operations: readonly StoreOp[]
  readonly entry: InboxEntry
  /** The batch is in the store. */
  commit(): void
}

export class Inbox {
  readonly #store: Store
  readonly #limits: MailboxLimits
  readonly #rows: Map<number, Row> = new Map()
  readonly #accounts: Ledger = new Ledger()
  readonly #total: Ledger = new Ledger()
  readonly #changes: Exclusive = new Exclusive()
  #next = 1
  #unread = 0

  private constructor(store: Store, limits: MailboxLimits) {
    this.#store = store
    this.#limits = limits
  }

  /** @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`. */
  static async open(store: Store, limits: MailboxLimits): Promise<Inbox> {
    const inbox = new Inbox(store, limits)
    for await (const { key, value } of store.scan(INDEX_NS)) inbox.#add(decode(uint53, key), decode(rowCodec, value))
    const next = await store.get(SELF_NS, NEXT_KEY)
    if (next !== undefined) inbox.#next = Math.max(inbox.#next, decode(uint53, next))
    return inbox
  }

  get usage(): { readonly messages: number; readonly unread: number; readonly bytes: number } {
    return { ...this.#total.of(''), unread: this.#unread }
  }

  /** Whether so many bytes of this account still fit. @throws KithError `INBOX_FULL`. */
  admit(account: string, held: PeerClass, bytes: number): void {
    const { inbox, inboxTotal } = this.#limits
    if (isAbove(this.#accounts.of(account), inbox[held], bytes) || isAbove(this.#total.of(''), inboxTotal, bytes)) throw new KithError('INBOX_FULL')
  }

  /** One at a time: the next is prepared when this one was committed, or given up. */
  prepare(message: StoredMessage, details: { readonly account: string; readonly receivedMs: number; readonly via: Did | undefined }): InboxWrite {
    const cursor = this.#next
    const { msgId, from, timeMs, type, payload } = message
    const row: Row = { msgId, from, timeMs, type, bytes: payload.length, read: 0, ...details }
    const key = encode(uint53, cursor)
    return {
      operations: [
        { type: 'put', ns: INDEX_NS, key, value: encode(rowCodec, row) },
        { type: 'put', ns: DATA_NS, key, value: payload },
      ],
      entry: shown(cursor, row, payload),
      commit: () => this.#add(cursor, row),
    }
  }

  /** @throws KithError `STORE_FAILED`. */
  async list(page: MailPage): Promise<readonly InboxEntry[]> {
    const found: InboxEntry[] = []
    for (const cursor of cursorsOf(this.#rows, page)) {
      const payload = await this.#store.get(DATA_NS, encode(uint53, cursor))
      const row = this.#rows.get(cursor)
      // Deleted while the page was being read.
      if (payload !== undefined && row !== undefined) found.push(shown(cursor, row, payload))
    }
    return found
  }

  /** Cursors of the messages whose id begins so. */
  find(prefix: string): readonly number[] {
    return [...this.#rows].filter(([, { msgId }]) => toHex(msgId).startsWith(prefix)).map(([cursor]) => cursor)
  }

  /** @throws KithError `NOT_FOUND`, `STORE_FAILED`. */
  markRead(cursor: number): Promise<void> {
    return this.#changes.run(async () => {
      const row = this.#at(cursor)
      if (row.read === 1) return
      const changed: Row = { ...row, read: 1 }
      await this.#store.put(INDEX_NS, encode(uint53, cursor), encode(rowCodec, changed), { durable: false })
      this.#rows.set(cursor, changed)
      this.#unread--
    })
  }

  /** @throws KithError `NOT_FOUND`, `STORE_FAILED`. */
  delete(cursor: number): Promise<void> {
    return this.#changes.run(async () => {
      const row = this.#at(cursor)
      const key = encode(uint53, cursor)
      await this.#store.batch([
        { type: 'delete', ns: INDEX_NS, key },
        { type: 'delete', ns: DATA_NS, key },
        { type: 'put', ns: SELF_NS, key: NEXT_KEY, value: encode(uint53, this.#next) },
      ])
      this.#rows.delete(cursor)
      this.#accounts.discharge(row.account, row.bytes)
      this.#total.discharge('', row.bytes)
      if (row.read === 0) this.#unread--
    })
  }

  #at(cursor: number): Row {
    const row = this.#rows.get(cursor)
    if (row === undefined) throw new KithError('NOT_FOUND', 'there is no such message in the inbox', { details: { cursor } })
    return row
  }

  #add(cursor: number, row: Row): void {
    this.#rows.set(cursor, row)
    this.#next = Math.max(this.#next, cursor + 1)
    this.#accounts.charge(row.account, row.bytes)
    this.#total.charge('', row.bytes)
    if (row.read === 0) this.#unread++
  }
}

/** The cursors of a page, of rows in the order of their cursors. @throws TypeError */
export function cursorsOf(rows: ReadonlyMap<number, unknown>, { after, before, limit = DEFAULT_PAGE }: MailPage): readonly number[] {
  for (const cursor of [after, before])
    if (cursor !== undefined && (!Number.isSafeInteger(cursor) || cursor < 0)) throw new TypeError('not a cursor of the list')
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE) throw new TypeError(`limit is a whole number from 1 to ${MAX_PAGE}`)
  const inside = [...rows.keys()].filter((cursor) => cursor > (after ?? 0) && cursor < (before ?? Number.POSITIVE_INFINITY))
  return before === undefined ? inside.slice(0, limit) : inside.slice(-limit).reverse()
}

function shown(cursor: number, row: Row, payload: Uint8Array): InboxEntry {
  const { msgId, from, timeMs, receivedMs, type, read, via } = row
  const words = type === MESSAGE_TYPE.text ? parseUtf8(payload) : undefined
  return { cursor, id: toHex(msgId), from, timeMs, receivedMs, type, payload, text: words, read: read === 1, via }
}
