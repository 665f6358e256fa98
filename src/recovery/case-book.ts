import { toHex } from '../core/bytes.ts'
import { KithError } from '../core/errors.ts'
import type { Store } from '../core/store/types.ts'
import { type Did, didPublicKey } from '../identity/did.ts'
import { byWeight, type Case, decodeCase, encodeCase } from './case.ts'

const NAMESPACE = 'recovery/case'
export const MAX_CASES = 256
/** More than a third of 32 trustees, who can hold up one place each. */
export const MAX_CASES_OF_ONE = 16

export interface CaseBookParts {
  /** The identity of this node. */
  readonly did: Did
  readonly store: Store
  /** Whether a person here holds on to this identity. */
  readonly keeps: (did: Did) => boolean
}

/** The recoveries that this node keeps: so many in all, so many of one identity, and the least of them makes room. */
export class CaseBook {
  readonly #parts: CaseBookParts
  readonly #cases: Map<string, Case> = new Map()

  private constructor(parts: CaseBookParts) {
    this.#parts = parts
  }

  /** @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`. */
  static async open(parts: CaseBookParts): Promise<CaseBook> {
    const book = new CaseBook(parts)
    for await (const { value } of parts.store.scan(NAMESPACE)) {
      const one = decodeCase(value)
      book.#cases.set(toHex(one.id), one)
    }
    return book
  }

  get all(): readonly Case[] {
    return [...this.#cases.values()]
  }

  get(id: Uint8Array): Case | undefined {
    return this.#cases.get(toHex(id))
  }

  /** By its id or the beginning of it. @throws KithError `RECOVERY_UNKNOWN`. */
  find(id: string): Case {
    const found = /^[0-9a-f]{4,32}$/.test(id) ? [...this.#cases].filter(([known]) => known.startsWith(id)) : []
    const [first] = found
    if (first === undefined || found.length > 1) {
      throw new KithError('RECOVERY_UNKNOWN', found.length > 1 ? 'More than one recovery begins like this.' : undefined, { next: 'kith recovery status' })
    }
    return first[1]
  }

  /** A place for one more; requests that nobody attested make room first, and one peer holds one of them. */
  async admit(one: Case): Promise<boolean> {
    const { all } = this
    const earlier = one.from === undefined ? undefined : all.find((other) => other.from === one.from && other.attestations.size === 0 && !other.mine)
    if (earlier !== undefined && one.attestations.size === 0) await this.drop(earlier)
    const rest = all.filter((other) => other !== earlier || one.attestations.size > 0)
    const weight = byWeight({ own: this.#parts.did, keeps: this.#parts.keeps, all: [...rest, one] })
    const same = rest.filter((other) => other.entry.did === one.entry.did)
    const crowd = same.length >= MAX_CASES_OF_ONE ? same : this.#cases.size >= MAX_CASES ? rest : []
    const [least] = crowd.sort(weight)
    if (least !== undefined) {
      if (weight(least, one) >= 0) return false
      await this.drop(least)
    }
    this.#cases.set(toHex(one.id), one)
    return true
  }

  async save(one: Case): Promise<void> {
    await this.#parts.store.put(NAMESPACE, keyOf(one), encodeCase(one))
  }

  async drop(one: Case): Promise<void> {
    this.#cases.delete(toHex(one.id))
    await this.#parts.store.delete(NAMESPACE, keyOf(one))
  }
}

function keyOf(one: Case): Uint8Array {
  return Buffer.concat([didPublicKey(one.entry.did), one.id])
}
