import type { Did } from '../identity/did.ts'
import { ENDED, LIVE } from './edge-columns.ts'
import { type EdgeKey, EdgeSlots, type EdgeValue, type VisitPath } from './edge-slots.ts'
import { Issuers } from './issuers.ts'
import { NoisyOr, pathShare } from './score.ts'
import { SlotHeap } from './slot-heap.ts'
import { MAX_LIFE_MS } from './statement.ts'
import type { GraphKind } from './types.ts'
import type { Standing, Vertex } from './vertices.ts'

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
  readonly #slots: EdgeSlots
  readonly #issuers: Issuers = new Issuers()
  /** When a slot must be looked at: the expiry of one that counts, the end of memory of one that ended. */
  readonly #wake: SlotHeap = new SlotHeap()
  #ownEdges = 0
  #generation = 0

  constructor(me: Did, limits: EdgeLimits, hooks: EdgeHooks) {
    this.#me = me
    this.#limits = limits
    this.#hooks = hooks
    this.#slots = new EdgeSlots(me)
  }

  /** Rises whenever a score may have changed. */
  get generation(): number {
    return this.#generation
  }

  get size(): number {
    return this.#slots.columns.used
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
    const known = this.#slots.find(key)
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
    const slot = this.#slots.find(key)
    return slot !== undefined && !this.#supersedes(slot, value)
  }

  /** What is remembered, counting or ended. */
  find(key: EdgeKey): (EdgeValue & { readonly live: boolean }) | undefined {
    const slot = this.#slots.find(key)
    return slot === undefined ? undefined : { ...this.#slots.read(slot), live: this.#slots.columns.state[slot] === LIVE }
  }

  /** Forgets an edge altogether. For own ones, which nobody can bring back. */
  remove(key: EdgeKey): boolean {
    const slot = this.#slots.find(key)
    if (slot === undefined) return false
    this.#forget(slot)
    return true
  }

  /** Ends what has expired and forgets what ended long ago, at most so many; how many it was. */
  expire(now: number, atMost: number): number {
    let done = 0
    for (let top = this.#wake.peek(); top !== undefined && top.timeMs <= now && done < atMost; top = this.#wake.peek(), done++) {
      const slot = top.item
      const { source } = this.#slots.ends(slot)
      if (this.#slots.columns.state[slot] === LIVE && source.did !== this.#me) this.#settle(slot, now)
      else this.#forget(slot)
    }
    return done
  }

  /** The edges that count, with one end given or without. */
  *edges(filter: Partial<EdgeKey>): IterableIterator<EdgeKey & EdgeValue> {
    for (const layer of this.#slots.vertices.allLayers()) {
      if (filter.graph !== undefined && (layer.graph !== filter.graph || layer.scope !== filter.scope)) continue
      for (const slot of this.#slots.within(layer, filter)) {
        if (this.#slots.columns.state[slot] === LIVE) yield { ...this.#slots.keyOf(slot), ...this.#slots.read(slot) }
      }
    }
  }

  /** What the target's score is made from. Kept until an input changes or expires. */
  standing(target: Did, graph: GraphKind, scope: string | undefined, now: number): Standing {
    const vertex = this.#slots.vertices.layer(graph, scope)?.vertices.get(target)
    if (vertex === undefined) return NOBODY
    if (vertex.standing !== undefined && now < vertex.standing.untilMs) return vertex.standing
    vertex.standing = this.#compute(vertex, now)
    return vertex.standing
  }

  /** Every path to the target, in order of the introducer's key. */
  paths(target: Did, graph: GraphKind, scope: string | undefined, now: number, visit: VisitPath): void {
    const vertex = this.#slots.vertices.layer(graph, scope)?.vertices.get(target)
    if (vertex !== undefined) this.#slots.walk(vertex, now, visit)
  }

  #compute(target: Vertex, now: number): Standing {
    const { own } = target.layer
    const either = new NoisyOr()
    let introducer: Did | undefined
    let bestShare = 0
    let untilMs = this.#slots.walk(target, now, (via, first, second) => {
      either.add(first, second)
      const share = pathShare(first, second)
      if (share <= bestShare) return
      bestShare = share
      introducer = via.did
    })
    const directSlot = own?.out.get(target.id)
    const direct = directSlot === undefined ? 0 : this.#slots.weightAt(directSlot, now)
    if (direct > 0) untilMs = Math.min(untilMs, this.#slots.columns.expiresMs[directSlot as number] as number)
    return { direct, transitive: either.value, introducer, untilMs }
  }

  #supersedes(slot: number, { sequence, weight, expiresMs }: EdgeValue): boolean {
    const columns = this.#slots.columns
    if (sequence !== columns.sequence[slot]) return sequence > (columns.sequence[slot] as number)
    if (weight !== columns.weight[slot]) return weight < (columns.weight[slot] as number)
    return expiresMs < (columns.expiresMs[slot] as number)
  }

  #create(key: EdgeKey): number {
    const slot = this.#slots.create(key)
    if (key.source === this.#me) this.#ownEdges++
    else {
      const issuer = this.#issuers.touch(key.source)
      issuer.vertices.add(this.#slots.ends(slot).source.id)
      issuer.edges++
    }
    return slot
  }

  #write(slot: number, value: EdgeValue, now: number): PutOutcome {
    this.#slots.write(slot, value)
    this.#settle(slot, now)
    return value.expiresMs <= now ? 'expired' : 'applied'
  }

  /** Files a slot by what it is now, and forgets the scores it takes part in. */
  #settle(slot: number, now: number): void {
    const columns = this.#slots.columns
    const expiresMs = columns.expiresMs[slot] as number
    const live = (columns.weight[slot] as number) > 0 && now < expiresMs
    if (live && columns.state[slot] !== LIVE) this.#link(slot)
    else if (!live && columns.state[slot] === LIVE) this.#unlink(slot)
    columns.state[slot] = live ? LIVE : ENDED
    this.#wake.set(slot, live ? expiresMs : Math.max(expiresMs, (columns.createdMs[slot] as number) + MAX_LIFE_MS))
    this.#invalidate(slot)
  }

  #link(slot: number): void {
    const { source, target } = this.#slots.ends(slot)
    this.#slots.link(slot)
    if (source === source.layer.own) this.#issuers.befriend(target.did)
  }

  #unlink(slot: number): void {
    const { source, target } = this.#slots.ends(slot)
    this.#slots.unlink(slot)
    if (source === source.layer.own) this.#issuers.unfriend(target.did)
  }

  #forget(slot: number): void {
    const { columns } = this.#slots
    const key = this.#slots.keyOf(slot)
    const { source } = this.#slots.ends(slot)
    if (columns.state[slot] === LIVE) {
      this.#unlink(slot)
      columns.state[slot] = ENDED
      this.#invalidate(slot)
    }
    this.#wake.delete(slot)
    this.#slots.release(slot)
    if (key.source === this.#me) this.#ownEdges--
    else this.#uncount(key.source, source)
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
    const { source, target } = this.#slots.ends(slot)
    const { own } = source.layer
    if (own === undefined) return
    if (source === own) {
      this.#drop(target)
      for (const [next, edge] of target.out) if (this.#slots.columns.state[edge] === LIVE) this.#drop(this.#slots.vertices.at(next))
    } else {
      const first = own.out.get(source.id)
      if (first !== undefined && this.#slots.columns.state[first] === LIVE) this.#drop(target)
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
    const layer = this.#slots.vertices.layer(graph, scope)
    const newHere = (layer?.vertices.get(source)?.out.size ?? 0) === 0
    if (issuer !== undefined && newHere && issuer.vertices.size >= limits.issuerLayers) return false
    const crowded = (): boolean =>
      this.#slots.columns.used >= limits.edges ||
      (issuer === undefined && !own && this.#issuers.size >= limits.issuers) ||
      (this.#slots.vertices.layers >= limits.layers && this.#slots.vertices.layer(graph, scope) === undefined)
    while (crowded()) {
      const unwanted = this.#issuers.leastWanted(source)
      if (unwanted === undefined) return own
      for (const id of [...unwanted.vertices]) for (const slot of [...this.#slots.vertices.at(id).out.values()]) this.#forget(slot)
    }
    return true
  }
}
