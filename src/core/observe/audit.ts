import { concat, equal, toHex, utf8 } from '../bytes.ts'
import type { Clock } from '../clock.ts'
import { decode, encode } from '../codec.ts'
import { isKithError, KithError } from '../errors.ts'
import type { Store, StoreOp } from '../store/types.ts'
import { type AuditHead, auditHash, auditHeadCodec, decodeAuditRow, encodeAuditRow, HASH_BYTES } from './audit-codec.ts'

/**
 * # Audit log
 *
 * What the owner did to peers, rules and trust, and what the node did by itself: one row each, each row naming the hash of the one before.
 *
 * ```text
 * anchor <- row 4 <- row 5 <- row 6          rows and head are written in one durable batch: after a crash both are there or neither
 *                              ^-- head { seq 6, hash }
 * ```
 *
 * One log per store, one writer. Provided: `verify` finds a row that was changed, removed, put elsewhere or added, an end that was cut off while the head stayed, and a head that was taken away.
 * Not provided: protection from one who can write the store and knows this format. Such a thief can compute a whole new chain, or put back an older copy of rows
 * and head together; the hashes are not keyed, because the key would lie beside the log. Whoever needs to notice that keeps the head (`verify` shows it)
 * somewhere else and hands it back as `noted`.
 */
export interface AuditEvent {
  /** A DID, `owner` for the person at this machine, or `node` for the node itself. At most 128 bytes. */
  readonly actor: string
  /** `ban`, `unban`, `pardon`, `quarantine`, `release`, `policy.allow`, `trust.set`, ... At most 32 bytes. */
  readonly action: string
  /** At most 512 bytes. */
  readonly subject: string
  /** At most 1,024 bytes. */
  readonly reason: string
  /** At most 16, names of 32 bytes, texts of 256. Never a secret, never what a name resolved to. */
  readonly details?: Readonly<Record<string, string | number | boolean>>
}

export interface AuditRow extends AuditEvent {
  readonly seq: number
  readonly timeMs: number
  /** Hash of this row; covers the hash of the one before. Hex. */
  readonly hash: string
}

export interface AuditReading {
  /** Rows at most, 1 to 1,000. Default 100. */
  readonly limit?: number
  /** Only rows with a smaller number. */
  readonly before?: number
}

export interface AuditVerdict {
  /** Rows kept that were looked at. */
  readonly rows: number
  /** Number of the first row kept; the ones before it went by retention. */
  readonly first: number
  /** Number and hash of the last row. A log without rows has 0 and zeros. */
  readonly last: number
  readonly head: string
  /** The first row that does not follow, or is missing. */
  readonly brokenAt: number | undefined
}

/** Append-only, hash-chained, durable before the call resolves. */
export interface Audit {
  /** Nothing is cut: @throws TypeError for a field that is too long or has control characters. @throws KithError `STORE_FAILED`. */
  append(event: AuditEvent): Promise<AuditRow>
  /** Newest first. Rows that cannot be read are left out; `verify` names them. @throws TypeError. @throws KithError `STORE_FAILED`. */
  list(options?: AuditReading): Promise<readonly AuditRow[]>
  /**
   * Recomputes the whole chain.
   * @param noted a head that was kept elsewhere: the log must still contain it. @throws KithError `STORE_FAILED`.
   */
  verify(noted?: { readonly seq: number; readonly hash: string }): Promise<AuditVerdict>
}

export interface AuditComponents {
  readonly store: Store
  readonly clock: Clock
  /** Rows kept; beyond that the oldest go and the chain is anchored where they ended. Default 100,000. */
  readonly maxRows?: number
}

const NAMESPACE = 'audit'
const HEAD: Uint8Array = utf8('head')
const ROW: Uint8Array = utf8('row/')
const DEFAULT_ROWS = 100_000
/** After the limit was lowered, rows go this many at a time. */
const TRIM_AT_ONCE = 100
const MAX_LIST = 1_000
const ZERO: Uint8Array = new Uint8Array(HASH_BYTES)
const EMPTY: AuditHead = { seq: 0, hash: ZERO, anchorSeq: 0, anchorHash: ZERO }

/** @throws TypeError when `maxRows` is not a whole number from 1. */
export function createAudit(components: AuditComponents): Audit {
  const maxRows = components.maxRows ?? DEFAULT_ROWS
  if (!Number.isInteger(maxRows) || maxRows < 1) throw new TypeError('maxRows must be a whole number from 1')
  return new ChainedAudit(components.store, components.clock, maxRows)
}

class ChainedAudit implements Audit {
  readonly #store: Store
  readonly #clock: Clock
  readonly #maxRows: number
  #head: AuditHead | undefined
  /** One row at a time: each needs the hash of the one before. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(store: Store, clock: Clock, maxRows: number) {
    this.#store = store
    this.#clock = clock
    this.#maxRows = maxRows
  }

  append(event: AuditEvent): Promise<AuditRow> {
    // The caller's mistakes show at once, and never hold up the rows behind.
    encodeAuditRow(event, 0, 0)
    const appended = this.#last.then(() => this.#append(event))
    this.#last = appended.catch(() => undefined)
    return appended
  }

  async list(options: AuditReading = {}): Promise<readonly AuditRow[]> {
    const { limit = 100, before } = options
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIST) throw new TypeError(`limit must be a whole number from 1 to ${MAX_LIST}`)
    if (before !== undefined && !(Number.isSafeInteger(before) && before >= 0)) throw new TypeError('before must be the number of a row')
    const rows: AuditRow[] = []
    for await (const { value } of this.#store.scan(NAMESPACE, { prefix: ROW, reverse: true, ...(before === undefined ? {} : { to: keyOf(before) }) })) {
      const row = readable(value)
      if (row !== undefined) rows.push(row)
      if (rows.length === limit) break
    }
    return rows
  }

  verify(noted?: { readonly seq: number; readonly hash: string }): Promise<AuditVerdict> {
    // Between two rows, so that neither a new one nor retention looks like a break.
    const verified = this.#last.then(() => this.#verify(noted))
    this.#last = verified.catch(() => undefined)
    return verified
  }

  async #verify(noted: { readonly seq: number; readonly hash: string } | undefined): Promise<AuditVerdict> {
    const { head: stored, broken } = await this.#readHead()
    const head = stored ?? EMPTY
    let [at, hash, rows] = [head.anchorSeq, head.anchorHash, 0]
    let brokenAt: number | undefined = broken ? 1 : undefined
    const compare = (): void => {
      if (noted?.seq === at && noted.hash !== toHex(hash)) brokenAt ??= at
    }
    compare()
    for await (const { key, value } of this.#store.scan(NAMESPACE, { prefix: ROW })) {
      const row = value.subarray(HASH_BYTES)
      const next = value.slice(0, HASH_BYTES)
      const follows = equal(key, keyOf(at + 1)) && equal(auditHash(hash, row), next) && readable(value)?.seq === at + 1
      if (!follows) brokenAt ??= at + 1
      at = seqOf(key)
      hash = next
      rows++
      compare()
    }
    if (stored !== undefined && (stored.seq !== at || !equal(stored.hash, hash))) brokenAt ??= Math.min(stored.seq, at) + 1
    if (noted !== undefined && noted.seq > at) brokenAt ??= at + 1
    return { rows, first: head.anchorSeq + 1, last: at, head: toHex(hash), brokenAt }
  }

  async #append(event: AuditEvent): Promise<AuditRow> {
    this.#head ??= await this.#openHead()
    const head = this.#head
    const seq = head.seq + 1
    const timeMs = Math.max(0, Math.floor(this.#clock.now()))
    const row = encodeAuditRow(event, seq, timeMs)
    const hash = auditHash(head.hash, row)
    const { anchor, operations } = await this.#trim(head, seq)
    const next: AuditHead = { seq, hash, ...anchor }
    operations.push({ type: 'put', ns: NAMESPACE, key: keyOf(seq), value: concat(hash, row) })
    operations.push({ type: 'put', ns: NAMESPACE, key: HEAD, value: encode(auditHeadCodec, { _version: undefined, ...next }) })
    try {
      await this.#store.batch(operations, { durable: true })
    } catch (error) {
      // Whether it was written is not known: the head is read again before the next row.
      this.#head = undefined
      throw error
    }
    this.#head = next
    return { ...event, seq, timeMs, hash: toHex(hash) }
  }

  /** The oldest rows beyond the limit, with the anchor that takes their place. */
  async #trim(head: AuditHead, seq: number): Promise<{ anchor: Pick<AuditHead, 'anchorSeq' | 'anchorHash'>; operations: StoreOp[] }> {
    const operations: StoreOp[] = []
    let { anchorSeq, anchorHash } = head
    while (seq - anchorSeq > this.#maxRows && operations.length < TRIM_AT_ONCE) {
      const oldest = await this.#store.get(NAMESPACE, keyOf(anchorSeq + 1))
      anchorSeq++
      // A row that somebody removed leaves its gap visible: what follows it does not follow the anchor.
      if (oldest !== undefined) anchorHash = oldest.slice(0, HASH_BYTES)
      operations.push({ type: 'delete', ns: NAMESPACE, key: keyOf(anchorSeq) })
    }
    return { anchor: { anchorSeq, anchorHash }, operations }
  }

  /** Where to go on. Rows whose head is gone are gone on from with a break that stays visible. */
  async #openHead(): Promise<AuditHead> {
    const { head } = await this.#readHead()
    if (head !== undefined) return head
    for await (const { key } of this.#store.scan(NAMESPACE, { prefix: ROW, reverse: true, limit: 1 })) {
      return { ...EMPTY, seq: seqOf(key) }
    }
    return EMPTY
  }

  async #readHead(): Promise<{ head: AuditHead | undefined; broken: boolean }> {
    const bytes = await this.#store.get(NAMESPACE, HEAD)
    try {
      if (bytes !== undefined) return { head: decode(auditHeadCodec, bytes), broken: false }
    } catch (error) {
      if (!isKithError(error, 'WIRE_MALFORMED')) throw error
      return { head: undefined, broken: true }
    }
    for await (const _ of this.#store.scan(NAMESPACE, { prefix: ROW, limit: 1 })) return { head: undefined, broken: true }
    return { head: undefined, broken: false }
  }
}

function keyOf(seq: number): Uint8Array {
  const key = Buffer.alloc(ROW.length + 8)
  key.set(ROW)
  key.writeBigUInt64BE(BigInt(seq), ROW.length)
  return key
}

function seqOf(key: Uint8Array): number {
  return Number(Buffer.from(key.subarray(ROW.length)).readBigUInt64BE())
}

function readable(stored: Uint8Array): AuditRow | undefined {
  try {
    const { seq, timeMs, actor, action, subject, reason, details } = decodeAuditRow(stored.subarray(HASH_BYTES))
    const base = { seq, timeMs, actor, action, subject, reason, hash: toHex(stored.subarray(0, HASH_BYTES)) }
    return details.length === 0 ? base : { ...base, details: Object.fromEntries(details.map(({ name, value }) => [name, value])) }
  } catch (error) {
    if (error instanceof KithError) return undefined
    throw error
  }
}
