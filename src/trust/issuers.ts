import type { Did } from '../identity/did.ts'

/** Who made edges that are kept here. */
export interface Issuer {
  readonly did: Did
  /** Its vertices, one per layer. */
  readonly vertices: Set<number>
  edges: number
}

/**
 * Issuers in two rows: those this node trusts, who are never dropped, and the others, of whom those go first that were silent longest.
 * An edge of somebody we do not trust counts in no score; it is kept for the day we do.
 */
export class Issuers {
  readonly #trusted: Map<Did, Issuer> = new Map()
  readonly #others: Map<Did, Issuer> = new Map()
  /** Own edges that count, per target. */
  readonly #friends: Map<Did, number> = new Map()

  get size(): number {
    return this.#trusted.size + this.#others.size
  }

  find(did: Did): Issuer | undefined {
    return this.#trusted.get(did) ?? this.#others.get(did)
  }

  /** The issuer, made if need be, as the one heard of last. */
  touch(did: Did): Issuer {
    const issuer = this.find(did) ?? { did, vertices: new Set<number>(), edges: 0 }
    this.#file(issuer)
    return issuer
  }

  delete(did: Did): void {
    this.#trusted.delete(did)
    this.#others.delete(did)
  }

  /** Who is dropped to make room. */
  leastWanted(except: Did): Issuer | undefined {
    for (const issuer of this.#others.values()) if (issuer.did !== except) return issuer
    return undefined
  }

  befriend(did: Did): void {
    const count = this.#friends.get(did) ?? 0
    this.#friends.set(did, count + 1)
    if (count === 0) this.#refile(did)
  }

  unfriend(did: Did): void {
    const count = (this.#friends.get(did) ?? 1) - 1
    if (count > 0) this.#friends.set(did, count)
    else {
      this.#friends.delete(did)
      this.#refile(did)
    }
  }

  #refile(did: Did): void {
    const issuer = this.find(did)
    if (issuer !== undefined) this.#file(issuer)
  }

  #file(issuer: Issuer): void {
    this.delete(issuer.did)
    const row = this.#friends.has(issuer.did) ? this.#trusted : this.#others
    row.set(issuer.did, issuer)
  }
}
