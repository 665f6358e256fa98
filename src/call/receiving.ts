import { malformed } from '../core/codec.ts'
import { JoinedBytes } from '../core/joined-bytes.ts'
import { INITIAL_CREDIT, KIND_CREDIT, violation } from './frames.ts'
import type { Outbox } from './outbox.ts'

/** What a call may have on its way here once it turned out to be a stream that is read. */
const STREAM_WINDOW: number = 512 * 1024

/** What all calls of one stream may hold together beyond their first windows. */
export class Budget {
  readonly #limit: number
  #used = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  reserve(bytes: number): boolean {
    if (this.#used + bytes > this.#limit) return false
    this.#used += bytes
    return true
  }

  free(bytes: number): void {
    this.#used -= bytes
  }
}

/** A payload that comes in pieces. */
interface Assembly {
  readonly kind: number
  readonly form: number
  readonly id: string | undefined
  readonly total: number
  readonly bytes: JoinedBytes
  /** Pieces for which no credit was given back yet. */
  held: number
}

export interface Assembled {
  readonly kind: number
  readonly form: number
  readonly id: string | undefined
  readonly data: Buffer
  /** What is to be given back when it has been read. */
  readonly cost: number
}

/** What one side hears of one call: counts what comes against the credit it gave, joins pieces, and gives credit back as the reader reads. */
export class Receiving {
  readonly #outbox: Outbox
  readonly #call: number
  readonly #budget: Budget
  /** What the other side may still send. */
  #left: number = INITIAL_CREDIT
  #window: number = INITIAL_CREDIT
  #owed = 0
  #reserved = 0
  #assembly: Assembly | undefined
  /** Whether items wait for the reader: then the next long one comes no further than its credit. */
  waiting = false

  constructor(outbox: Outbox, call: number, budget: Budget) {
    this.#outbox = outbox
    this.#call = call
    this.#budget = budget
  }

  get assembling(): boolean {
    return this.#assembly !== undefined
  }

  /** Payload came. @throws KithError `WIRE_MALFORMED` for more than there was credit for. */
  charge(bytes: number): void {
    this.#left -= bytes
    if (this.#left < 0) throw violation('more than the credit')
    if (this.#assembly !== undefined) throw violation('a message inside another')
  }

  /** The first piece of a long payload; false when there is no room for all of it. */
  begin(kind: number, form: number, id: string | undefined, total: number, data: Buffer, at: number, end: number): boolean {
    if (!this.#budget.reserve(total)) return false
    this.#reserved += total
    this.#assembly = { kind, form, id, total, bytes: new JoinedBytes(), held: 0 }
    this.#add(this.#assembly, data, at, end)
    return true
  }

  /** A further piece; the whole with the last one. @throws KithError `WIRE_MALFORMED` */
  chunk(more: number, data: Buffer, at: number, end: number): Assembled | undefined {
    const assembly = this.#assembly
    if (assembly === undefined) throw violation('a piece of nothing')
    if (more > 1 || at === end) throw malformed('form of a piece')
    this.#left -= end - at
    if (this.#left < 0) throw violation('more than the credit')
    this.#add(assembly, data, at, end)
    const { length } = assembly.bytes
    if (length > assembly.total || (length === assembly.total) !== (more === 0)) throw malformed('length of a whole')
    if (more === 1) return undefined
    this.#assembly = undefined
    this.#budget.free(assembly.total)
    this.#reserved -= assembly.total
    const parts: Buffer[] = []
    for (let part = assembly.bytes.take(); part !== undefined; part = assembly.bytes.take()) parts.push(part)
    return { kind: assembly.kind, form: assembly.form, id: assembly.id, data: Buffer.concat(parts, assembly.total), cost: assembly.held }
  }

  /** The reader has taken so much, or has taken everything (`all`). */
  consumed(bytes: number, all = false): void {
    this.#owed += bytes
    if (all) {
      this.waiting = false
      if (this.#assembly !== undefined) {
        this.#owed += this.#assembly.held
        this.#assembly.held = 0
      }
    }
    if (2 * this.#owed < this.#window) return
    let granted = this.#owed
    const growth = STREAM_WINDOW - this.#window
    if (growth > 0 && this.#budget.reserve(growth)) {
      this.#reserved += growth
      this.#window = STREAM_WINDOW
      granted += growth
    }
    this.#owed = 0
    this.#left += granted
    this.#outbox.small(KIND_CREDIT, this.#call, granted, 4)
  }

  /** The call is over. */
  close(): void {
    this.#budget.free(this.#reserved)
    this.#reserved = 0
    this.#assembly = undefined
  }

  #add(assembly: Assembly, data: Buffer, at: number, end: number): void {
    assembly.bytes.append(data, at, end)
    if (this.waiting) assembly.held += end - at
    else this.consumed(end - at)
  }
}
