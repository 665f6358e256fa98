import type { Clock, Timer } from '../core/clock.ts'
import type { Store } from '../core/store/types.ts'
import { type Did, didPublicKey } from '../identity/did.ts'
import { PEER_CLASSES } from '../mesh/constraints.ts'
import type { PeerBook } from '../mesh/mesh-types.ts'
import type { PeerClass } from '../mesh/types.ts'
import type { TrustGraph } from '../trust/api.ts'
import type { Background } from './background.ts'

/** The own edge that a class in the address book stands for: what an invitation of that class gives. */
export const CLASS_WEIGHT: Readonly<Record<PeerClass, number>> = { isolated: 0, known: 2_500, partner: 5_500, federated: 8_500 }

const NAMESPACE = 'assembly/trust'
/** Edges live for 365 days; what still holds is said again long before. */
const LOOK_MS = 86_400_000
const RENEW_MS = 180 * 86_400_000

export interface BookTrustParts {
  readonly did: Did
  readonly book: Pick<PeerBook, 'list' | 'get' | 'onChange'>
  readonly graph: Pick<TrustGraph, 'set' | 'revoke' | 'edges'>
  readonly store: Store
  readonly clock: Clock
  readonly background: Background
}

/** What an edge was set for. `byHand`: the owner decided it apart from the class, which it stays until the class changes. */
interface Row {
  readonly class: PeerClass
  readonly byHand: boolean
}

/**
 * Keeps the own trust edges in step with the classes of the address book: pairing, `confirm`, `trust set PEER CLASS` set them, `peers forget` takes them back.
 *
 * ```text
 * row of a peer = u8 class || u8 by hand          under its key, durable
 * ```
 */
export class BookTrust {
  readonly #parts: BookTrustParts
  /** One peer at a time, in the order of the changes. */
  #queue: Promise<void> = Promise.resolve()
  #stop: (() => void) | undefined
  #timer: Timer | undefined
  readonly #classes: Map<Did, PeerClass | undefined> = new Map()

  constructor(parts: BookTrustParts) {
    this.#parts = parts
  }

  /** Brings every edge up to date, then follows. */
  async start(): Promise<void> {
    const { book } = this.#parts
    this.#stop = book.onChange((did) => this.#onChange(did))
    await this.#lookAtAll()
    this.#arm()
  }

  /** The owner decided about this peer's edge by itself. */
  async byHand(did: Did): Promise<void> {
    await this.#write(did, { class: this.#parts.book.get(did)?.class ?? 'isolated', byHand: true })
  }

  close(): void {
    this.#stop?.()
    this.#timer?.cancel()
  }

  /** Called for every change of an entry, most of which are not about its class. */
  #onChange(did: Did): void {
    const held = this.#parts.book.get(did)?.class
    if (this.#classes.has(did) && this.#classes.get(did) === held) return
    this.#parts.background.run('an own trust edge was not brought up to date', () => this.#enqueue(did))
  }

  #enqueue(did: Did): Promise<void> {
    const done = this.#queue.then(() => this.#sync(did))
    this.#queue = done.catch(() => undefined)
    return done
  }

  async #sync(did: Did): Promise<void> {
    const { book, graph, store, clock } = this.#parts
    const held = book.get(did)?.class
    if (held === undefined) {
      this.#classes.delete(did)
      await graph.revoke(did)
      await store.delete(NAMESPACE, didPublicKey(did))
      return
    }
    this.#classes.set(did, held)
    const row = await this.#read(did)
    if (row?.class === held && (row.byHand || (await this.#isFresh(did, clock.now())))) return
    if (CLASS_WEIGHT[held] === 0) await graph.revoke(did)
    else await graph.set(did, CLASS_WEIGHT[held])
    await this.#write(did, { class: held, byHand: false })
  }

  async #isFresh(target: Did, now: number): Promise<boolean> {
    const { did, book, graph } = this.#parts
    if (CLASS_WEIGHT[book.get(target)?.class ?? 'isolated'] === 0) return true
    const [edge] = await graph.edges({ source: did, target, graph: 'social', limit: 1 })
    return edge !== undefined && edge.expiresMs - now > RENEW_MS
  }

  async #read(did: Did): Promise<Row | undefined> {
    const bytes = await this.#parts.store.get(NAMESPACE, didPublicKey(did))
    const held = PEER_CLASSES[bytes?.[0] ?? PEER_CLASSES.length]
    return bytes?.length !== 2 || held === undefined ? undefined : { class: held, byHand: bytes[1] === 1 }
  }

  async #write(did: Did, { class: held, byHand }: Row): Promise<void> {
    const value = Uint8Array.of(PEER_CLASSES.indexOf(held), byHand ? 1 : 0)
    await this.#parts.store.put(NAMESPACE, didPublicKey(did), value, { durable: true })
  }

  async #lookAtAll(): Promise<void> {
    for (const { did } of this.#parts.book.list()) await this.#enqueue(did)
  }

  #arm(): void {
    const { clock, background } = this.#parts
    this.#timer = clock.after(LOOK_MS, () => {
      background.run('own trust edges were not renewed', () => this.#lookAtAll())
      this.#arm()
    })
  }
}
