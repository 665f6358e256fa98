import type { Did } from '../identity/did.ts'
import { EdgeColumns, ENDED, LIVE } from './edge-columns.ts'
import { Issuers } from './issuers.ts'
import { NoisyOr, pathShare } from './score.ts'
import { SlotHeap } from './slot-heap.ts'
import { MAX_LIFE_MS } from './statement.ts'
import type { GraphKind } from './types.ts'
import { type Layer, type Standing, type Vertex, Vertices } from './vertices.ts'

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

export interface EdgeLimits {
  /** Edges in all, ended ones that are still remembered included. */
  readonly edges: number
  readonly issuers: number
  readonly layers: number
  /** Of one issuer. */
  readonly issuerEdges: number
  readonly issuerLayers: number
  /** Of this node's own; they never wait for room. */
  readonly ownEdges: number
}

/** `expired`: it is remembered, so that nothing older returns, and counts nowhere. */
export type PutOutcome = 'applied' | 'stale' | 'expired' | 'full'

export interface EdgeHooks {
  /** The edge is gone from memory: dropped for room, or too old to be remembered. */
  forgotten(key: EdgeKey): void
  /** The target's score may have changed. */
  changed(target: Did): void
}

/** `me -> via -> target`, both edges counting now. */
export type VisitPath = (via: Vertex, first: number, second: number) => void

const NOBODY: Standing = { direct: 0, transitive: 0, introducer: undefined, untilMs: Number.POSITIVE_INFINITY }

/**
 * # Edges in memory, and scores that follow them (PN-11)
 *
 * ```text
 *   out(m): target -> slot          in(t): slots by the source's key         friends(layer): slots of own edges by the target's key
 *
 *   score of t:  walk the shorter of in(t) and friends, look the other edge up; both are in order of the introducer's key
 *   m -> t changed:   forget standing(t) if me -> m counts
 *   me -> m changed:  forget standing(m) and standing(t) for every t in out(m)
 * ```
 * A standing is kept until one of these happens or the first of its inputs expires. Whatever order statements come in, the one with the highest number
 * stands; between two of one number (their author contradicts itself) the lower weight, then the earlier expiry.
 */
export class EdgeGraph {
  readonly #me: Did
  readonly #limits: EdgeLimits
  readonly #hooks: EdgeHooks
  readonly #vertices: Vertices
  readonly #issuers: Issuers = new Issuers()
  readonly #columns: EdgeColumns = new EdgeColumns()
  /** When a slot must be looked at: the expiry of one that counts, the end of memory of one that ended. */
  readonly #wake: SlotHeap = new SlotHeap()
  #ownEdges = 0
  #generation = 0

  constructor(me: Did, limits: EdgeLimits, hooks: EdgeHooks) {
    this.#me = me
    this.#limits = limits
    this.#hooks = hooks
    this.#vertices = new Vertices(me)
  }

  /** Rises whenever a score may have changed. */
  get generation(): number {
    return this.#generation
  }

  get size(): number {
    return this.#columns.used
  }

  get issuers(): number {
    return this.#issuers.size
  }

  /** When `expire` has something to do. */
  get nextWakeMs(): number | undefined {
    return this.#wake.peek()?.timeMs
  }

  /** Own edges always replace what was; those of others by their number. */
  put(key: EdgeKey, value: EdgeValue, now: number): PutOutcome {
    const own = key.source === this.#me
    const known = this.#slotOf(key)
    if (known !== undefined) {
      if (!own && !this.#supersedes(known, value)) return 'stale'
      if (!own) this.#issuers.touch(key.source)
      return this.#write(known, value, now)
    }
    if (value.expiresMs <= now && value.createdMs + MAX_LIFE_MS <= now) return 'expired'
    if (!this.#makeRoom(key)) return 'full'
    return this.#write(this.#create(key), value, now)
  }

  /** Whether `put` would answer `stale`. */
  isStale(key: EdgeKey, value: EdgeValue): boolean {
    const slot = this.#slotOf(key)
    return slot !== undefined && !this.#supersedes(slot, value)
  }

  /** What is remembered, counting or ended. */
  find(key: EdgeKey): (EdgeValue & { readonly live: boolean }) | undefined {
    const slot = this.#slotOf(key)
    return slot === undefined ? undefined : this.#read(slot)
  }

  /** Forgets an edge altogether. For own ones, which nobody can bring back. */
  remove(key: EdgeKey): boolean {
    const slot = this.#slotOf(key)
    if (slot === undefined) return false
    this.#forget(slot)
    return true
  }

  /** Ends what has expired and forgets what ended long ago, at most so many; how many it was. */
  expire(now: number, atMost: number): number {
    let done = 0
    for (let top = this.#wake.peek(); top !== undefined && top.timeMs <= now && done < atMost; top = this.#wake.peek(), done++) {
      const slot = top.item
      if (this.#columns.state[slot] === LIVE && this.#columns.source[slot] !== this.#ownIdOf(slot)) this.#settle(slot, now)
      else this.#forget(slot)
    }
    return done
  }

  /** The edges that count, with one end given or without. */
  *edges(filter: Partial<EdgeKey>): IterableIterator<EdgeKey & EdgeValue> {
    for (const layer of this.#vertices.allLayers()) {
      if (filter.graph !== undefined && (layer.graph !== filter.graph || layer.scope !== filter.scope)) continue
      for (const slot of this.#slotsIn(layer, filter)) {
        if (this.#columns.state[slot] === LIVE) yield { ...this.#keyOf(slot), ...this.#read(slot) }
      }
    }
  }

  /** What the target's score is made from. Kept until an input changes or expires. */
  standing(target: Did, graph: GraphKind, scope: string | undefined, now: number): Standing {
    const vertex = this.#vertices.layer(graph, scope)?.vertices.get(target)
    if (vertex === undefined) return NOBODY
    if (vertex.standing !== undefined && now < vertex.standing.untilMs) return vertex.standing
    vertex.standing = this.#compute(vertex, now)
    return vertex.standing
  }

  /** Every path to the target, in order of the introducer's key. */
  paths(target: Did, graph: GraphKind, scope: string | undefined, now: number, visit: VisitPath): void {
    const vertex = this.#vertices.layer(graph, scope)?.vertices.get(target)
    if (vertex !== undefined) this.#walk(vertex, now, visit)
  }

  #compute(target: Vertex, now: number): Standing {
    const { own } = target.layer
    const either = new NoisyOr()
    let introducer: Did | undefined
    let bestShare = 0
    let untilMs = this.#walk(target, now, (via, first, second) => {
      either.add(first, second)
      const share = pathShare(first, second)
      if (share <= bestShare) return
      bestShare = share
      introducer = via.did
    })
    const directSlot = own?.out.get(target.id)
    const direct = directSlot === undefined ? 0 : this.#weightNow(directSlot, now)
    if (direct > 0) untilMs = Math.min(untilMs, this.#columns.expiresMs[directSlot as number] as number)
    return { direct, transitive: either.value, introducer, untilMs }
  }

  /** Answers when the first edge of these paths expires. */
  #walk(target: Vertex, now: number, visit: VisitPath): number {
    const { own, friends } = target.layer
    let untilMs = Number.POSITIVE_INFINITY
    if (own === undefined) return untilMs
    const throughFriends = friends.length < target.into.length
    for (const slot of throughFriends ? friends : target.into) {
      const via = this.#vertices.at((throughFriends ? this.#columns.target : this.#columns.source)[slot] as number)
      const other = throughFriends ? via.out.get(target.id) : own.out.get(via.id)
      if (other === undefined) continue
      const first = this.#weightNow(throughFriends ? slot : other, now)
      const second = this.#weightNow(throughFriends ? other : slot, now)
      if (first === 0 || second === 0) continue
      untilMs = Math.min(untilMs, this.#columns.expiresMs[slot] as number, this.#columns.expiresMs[other] as number)
      visit(via, first, second)
    }
    return untilMs
  }

  #weightNow(slot: number, now: number): number {
    return this.#columns.state[slot] === LIVE && now < (this.#columns.expiresMs[slot] as number) ? (this.#columns.weight[slot] as number) : 0
  }

  // ---- slots

  #slotOf({ source, target, graph, scope }: EdgeKey): number | undefined {
    const vertices = this.#vertices.layer(graph, scope)?.vertices
    const to = vertices?.get(target)
    return to === undefined ? undefined : vertices?.get(source)?.out.get(to.id)
  }

  #supersedes(slot: number, { sequence, weight, expiresMs }: EdgeValue): boolean {
    const columns = this.#columns
    if (sequence !== columns.sequence[slot]) return sequence > (columns.sequence[slot] as number)
    if (weight !== columns.weight[slot]) return weight < (columns.weight[slot] as number)
    return expiresMs < (columns.expiresMs[slot] as number)
  }

  #create(key: EdgeKey): number {
    const source = this.#vertices.take(key.source, key.graph, key.scope)
    const target = this.#vertices.take(key.target, key.graph, key.scope)
    const slot = this.#columns.take(source.id, target.id)
    source.point(target, slot)
    source.edges++
    target.edges++
    if (key.source === this.#me) this.#ownEdges++
    else {
      const issuer = this.#issuers.touch(key.source)
      issuer.vertices.add(source.id)
      issuer.edges++
    }
    return slot
  }

  #write(slot: number, value: EdgeValue, now: number): PutOutcome {
    const columns = this.#columns
    columns.weight[slot] = value.weight
    columns.createdMs[slot] = value.createdMs
    columns.expiresMs[slot] = value.expiresMs
    columns.sequence[slot] = value.sequence
    this.#settle(slot, now)
    return value.expiresMs <= now ? 'expired' : 'applied'
  }

  /** Files a slot by what it is now, and forgets the scores it takes part in. */
  #settle(slot: number, now: number): void {
    const columns = this.#columns
    const expiresMs = columns.expiresMs[slot] as number
    const live = (columns.weight[slot] as number) > 0 && now < expiresMs
    if (live && columns.state[slot] !== LIVE) this.#link(slot)
    else if (!live && columns.state[slot] === LIVE) this.#unlink(slot)
    columns.state[slot] = live ? LIVE : ENDED
    this.#wake.set(slot, live ? expiresMs : Math.max(expiresMs, (columns.createdMs[slot] as number) + MAX_LIFE_MS))
    this.#invalidate(slot)
  }

  #link(slot: number): void {
    const { source, target } = this.#ends(slot)
    insert(target.into, slot, (other) => this.#vertices.at(this.#columns.source[other] as number).key)
    if (source !== source.layer.own) return
    insert(source.layer.friends, slot, (other) => this.#vertices.at(this.#columns.target[other] as number).key)
    this.#issuers.befriend(target.did)
  }

  #unlink(slot: number): void {
    const { source, target } = this.#ends(slot)
    extract(target.into, slot, (other) => this.#vertices.at(this.#columns.source[other] as number).key)
    if (source !== source.layer.own) return
    extract(source.layer.friends, slot, (other) => this.#vertices.at(this.#columns.target[other] as number).key)
    this.#issuers.unfriend(target.did)
  }

  #forget(slot: number): void {
    const columns = this.#columns
    const key = this.#keyOf(slot)
    const { source, target } = this.#ends(slot)
    if (columns.state[slot] === LIVE) {
      this.#unlink(slot)
      columns.state[slot] = ENDED
      this.#invalidate(slot)
    }
    this.#wake.delete(slot)
    source.unpoint(target)
    source.edges--
    target.edges--
    columns.release(slot)
    if (key.source === this.#me) this.#ownEdges--
    else this.#uncount(key.source, source)
    this.#vertices.release(source)
    this.#vertices.release(target)
    this.#hooks.forgotten(key)
  }

  #uncount(did: Did, vertex: Vertex): void {
    const issuer = this.#issuers.find(did)
    if (issuer === undefined) return
    issuer.edges--
    if (vertex.out.size === 0) issuer.vertices.delete(vertex.id)
    if (issuer.edges === 0) this.#issuers.delete(did)
  }

  #invalidate(slot: number): void {
    const { source, target } = this.#ends(slot)
    const { own } = source.layer
    if (own === undefined) return
    if (source === own) {
      this.#drop(target)
      for (const [next, edge] of target.out) if (this.#columns.state[edge] === LIVE) this.#drop(this.#vertices.at(next))
    } else {
      const first = own.out.get(source.id)
      if (first !== undefined && this.#columns.state[first] === LIVE) this.#drop(target)
    }
  }

  #drop(vertex: Vertex): void {
    vertex.standing = undefined
    this.#generation++
    this.#hooks.changed(vertex.did)
  }

  // ---- room

  #makeRoom({ source, graph, scope }: EdgeKey): boolean {
    const limits = this.#limits
    const own = source === this.#me
    const issuer = own ? undefined : this.#issuers.find(source)
    if (own && this.#ownEdges >= limits.ownEdges) return false
    if (issuer !== undefined && issuer.edges >= limits.issuerEdges) return false
    const layer = this.#vertices.layer(graph, scope)
    const newHere = (layer?.vertices.get(source)?.out.size ?? 0) === 0
    if (issuer !== undefined && newHere && issuer.vertices.size >= limits.issuerLayers) return false
    const crowded = (): boolean =>
      this.#columns.used >= limits.edges ||
      (issuer === undefined && !own && this.#issuers.size >= limits.issuers) ||
      (this.#vertices.layers >= limits.layers && this.#vertices.layer(graph, scope) === undefined)
    while (crowded()) {
      const unwanted = this.#issuers.leastWanted(source)
      if (unwanted === undefined) return own
      for (const id of [...unwanted.vertices]) for (const slot of [...this.#vertices.at(id).out.values()]) this.#forget(slot)
    }
    return true
  }

  // ---- reading

  #ends(slot: number): { readonly source: Vertex; readonly target: Vertex } {
    return { source: this.#vertices.at(this.#columns.source[slot] as number), target: this.#vertices.at(this.#columns.target[slot] as number) }
  }

  #ownIdOf(slot: number): number | undefined {
    return this.#ends(slot).source.layer.own?.id
  }

  #keyOf(slot: number): EdgeKey {
    const { source, target } = this.#ends(slot)
    return { source: source.did, target: target.did, graph: source.layer.graph, scope: source.layer.scope }
  }

  #read(slot: number): EdgeValue & { readonly live: boolean } {
    const columns = this.#columns
    return {
      weight: columns.weight[slot] as number,
      createdMs: columns.createdMs[slot] as number,
      expiresMs: columns.expiresMs[slot] as number,
      sequence: columns.sequence[slot] as number,
      live: columns.state[slot] === LIVE,
    }
  }

  #slotsIn(layer: Layer, { source, target }: Partial<EdgeKey>): readonly number[] {
    const from = source === undefined ? undefined : layer.vertices.get(source)
    const to = target === undefined ? undefined : layer.vertices.get(target)
    if ((source !== undefined && from === undefined) || (target !== undefined && to === undefined)) return []
    if (from === undefined) return to?.into ?? [...layer.vertices.values()].flatMap((vertex) => vertex.into)
    if (to === undefined) return [...from.out.values()]
    const slot = from.out.get(to.id)
    return slot === undefined ? [] : [slot]
  }
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
