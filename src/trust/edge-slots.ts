import type { Did } from '../identity/did.ts'
import { EdgeColumns, LIVE } from './edge-columns.ts'
import type { GraphKind } from './types.ts'
import { type Layer, type Vertex, Vertices } from './vertices.ts'

export interface EdgeKey {
  readonly source: Did
  readonly target: Did
  readonly graph: GraphKind
  readonly scope: string | undefined
}

export interface EdgeValue {
  readonly weight: number
  readonly createdMs: number
  readonly expiresMs: number
  readonly sequence: number
}

/** `me -> via -> target`, both edges counting now. */
export type VisitPath = (via: Vertex, first: number, second: number) => void

/**
 * Edges as slots between vertices, and the lists that find them; no rule of who may replace whom.
 *
 * ```text
 * out(m): target -> slot          into(t): slots by the source's key         friends(layer): slots of own edges by the target's key
 * ```
 * Both lists hold only what counts, in the order in which paths are folded: whichever is walked, the introducers come by their key.
 */
export class EdgeSlots {
  readonly columns: EdgeColumns = new EdgeColumns()
  readonly vertices: Vertices

  constructor(me: Did) {
    this.vertices = new Vertices(me)
  }

  find({ source, target, graph, scope }: EdgeKey): number | undefined {
    const vertices = this.vertices.layer(graph, scope)?.vertices
    const to = vertices?.get(target)
    return to === undefined ? undefined : vertices?.get(source)?.out.get(to.id)
  }

  create(key: EdgeKey): number {
    const source = this.vertices.take(key.source, key.graph, key.scope)
    const target = this.vertices.take(key.target, key.graph, key.scope)
    const slot = this.columns.take(source.id, target.id)
    source.point(target, slot)
    source.edges++
    target.edges++
    return slot
  }

  /** Frees a slot that is in no list any more, and the vertices it leaves without an edge. */
  release(slot: number): void {
    const { source, target } = this.ends(slot)
    source.unpoint(target)
    source.edges--
    target.edges--
    this.columns.release(slot)
    this.vertices.release(source)
    this.vertices.release(target)
  }

  /** Enters an edge that counts from now on. */
  link(slot: number): void {
    const { source, target } = this.ends(slot)
    insert(target.into, slot, this.#sourceKey)
    if (source === source.layer.own) insert(source.layer.friends, slot, this.#targetKey)
  }

  unlink(slot: number): void {
    const { source, target } = this.ends(slot)
    extract(target.into, slot, this.#sourceKey)
    if (source === source.layer.own) extract(source.layer.friends, slot, this.#targetKey)
  }

  ends(slot: number): { readonly source: Vertex; readonly target: Vertex } {
    return { source: this.vertices.at(this.columns.source[slot] as number), target: this.vertices.at(this.columns.target[slot] as number) }
  }

  keyOf(slot: number): EdgeKey {
    const { source, target } = this.ends(slot)
    return { source: source.did, target: target.did, graph: source.layer.graph, scope: source.layer.scope }
  }

  read(slot: number): EdgeValue {
    const { weight, createdMs, expiresMs, sequence } = this.columns
    return {
      weight: weight[slot] as number,
      createdMs: createdMs[slot] as number,
      expiresMs: expiresMs[slot] as number,
      sequence: sequence[slot] as number,
    }
  }

  write(slot: number, value: EdgeValue): void {
    this.columns.weight[slot] = value.weight
    this.columns.createdMs[slot] = value.createdMs
    this.columns.expiresMs[slot] = value.expiresMs
    this.columns.sequence[slot] = value.sequence
  }

  /** What an edge weighs now; 0 when it ended. */
  weightAt(slot: number, now: number): number {
    return this.columns.state[slot] === LIVE && now < (this.columns.expiresMs[slot] as number) ? (this.columns.weight[slot] as number) : 0
  }

  /** Visits every path to the target that counts, in order of the introducer's key; answers when the first edge of them expires. */
  walk(target: Vertex, now: number, visit: VisitPath): number {
    const { own, friends } = target.layer
    let untilMs = Number.POSITIVE_INFINITY
    if (own === undefined) return untilMs
    const throughFriends = friends.length < target.into.length
    for (const slot of throughFriends ? friends : target.into) {
      const via = this.vertices.at((throughFriends ? this.columns.target : this.columns.source)[slot] as number)
      const other = throughFriends ? via.out.get(target.id) : own.out.get(via.id)
      if (other === undefined) continue
      const first = this.weightAt(throughFriends ? slot : other, now)
      const second = this.weightAt(throughFriends ? other : slot, now)
      if (first === 0 || second === 0) continue
      untilMs = Math.min(untilMs, this.columns.expiresMs[slot] as number, this.columns.expiresMs[other] as number)
      visit(via, first, second)
    }
    return untilMs
  }

  /** Slots with the given ends; without a source, only those that count. */
  within(layer: Layer, { source, target }: Partial<EdgeKey>): readonly number[] {
    const from = source === undefined ? undefined : layer.vertices.get(source)
    const to = target === undefined ? undefined : layer.vertices.get(target)
    if ((source !== undefined && from === undefined) || (target !== undefined && to === undefined)) return []
    if (from === undefined) return to?.into ?? [...layer.vertices.values()].flatMap((vertex) => vertex.into)
    if (to === undefined) return [...from.out.values()]
    const slot = from.out.get(to.id)
    return slot === undefined ? [] : [slot]
  }

  readonly #sourceKey = (slot: number): string => this.vertices.at(this.columns.source[slot] as number).key
  readonly #targetKey = (slot: number): string => this.vertices.at(this.columns.target[slot] as number).key
}

/** The first place whose key is not below `key`. */
function lowerBound(slots: readonly number[], key: string, keyOf: (slot: number) => string): number {
  let low = 0
  let high = slots.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (keyOf(slots[middle] as number) < key) low = middle + 1
    else high = middle
  }
  return low
}

function insert(slots: number[], slot: number, keyOf: (slot: number) => string): void {
  slots.splice(lowerBound(slots, keyOf(slot), keyOf), 0, slot)
}

function extract(slots: number[], slot: number, keyOf: (slot: number) => string): void {
  const at = lowerBound(slots, keyOf(slot), keyOf)
  if (slots[at] === slot) slots.splice(at, 1)
}
