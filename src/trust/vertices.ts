import { base58Decode } from '../core/base58.ts'
import type { Did } from '../identity/did.ts'
import type { GraphKind } from './types.ts'

/** One graph in one scope. Edges of different layers never meet: their ends are different vertices. */
export interface Layer {
  readonly id: string
  readonly graph: GraphKind
  readonly scope: string | undefined
  readonly vertices: Map<Did, Vertex>
  /** This node in the layer, once it has an edge there. */
  own: Vertex | undefined
  /** Slots of own edges that count, by the target's key. */
  readonly friends: number[]
}

/** What is known of a target's score as long as nothing it was made from changes. */
export interface Standing {
  readonly direct: number
  readonly transitive: number
  /** Best introducer: the largest path share, then the smaller key. */
  readonly introducer: Did | undefined
  /** Expiry of the first of its inputs. */
  readonly untilMs: number
}

/** Most vertices are pointed at and point at nobody. */
const NONE: ReadonlyMap<number, number> = new Map()

/** An identity in one layer. */
export class Vertex {
  readonly id: number
  readonly did: Did
  readonly layer: Layer
  /** Slots of edges to it that count, by the source's key. */
  readonly into: number[] = []
  /** Edges that begin or end here. */
  edges = 0
  standing: Standing | undefined
  #out: Map<number, number> | undefined
  #key: string | undefined

  constructor(id: number, did: Did, layer: Layer) {
    this.id = id
    this.did = did
    this.layer = layer
  }

  /** Target's vertex -> slot; ended edges too. */
  get out(): ReadonlyMap<number, number> {
    return this.#out ?? NONE
  }

  point(target: Vertex, slot: number): void {
    this.#out ??= new Map()
    this.#out.set(target.id, slot)
  }

  unpoint(target: Vertex): void {
    this.#out?.delete(target.id)
  }

  /** The 32 bytes of the DID's key, one per character: compares as bytes do. */
  get key(): string {
    this.#key ??= didOrder(this.did)
    return this.#key
  }
}

function didOrder(did: Did): string {
  const bytes = base58Decode(did.slice('did:icn:z'.length), 32) ?? new Uint8Array()
  return Buffer.from(bytes).toString('latin1')
}

/** DIDs as small numbers per layer; those without edges are forgotten. */
export class Vertices {
  readonly #layers: Map<string, Layer> = new Map()
  readonly #vertices: (Vertex | undefined)[] = []
  readonly #free: number[] = []
  readonly #me: Did

  constructor(me: Did) {
    this.#me = me
  }

  get layers(): number {
    return this.#layers.size
  }

  allLayers(): IterableIterator<Layer> {
    return this.#layers.values()
  }

  layer(graph: GraphKind, scope: string | undefined): Layer | undefined {
    return this.#layers.get(layerId(graph, scope))
  }

  at(id: number): Vertex {
    return this.#vertices[id] as Vertex
  }

  take(did: Did, graph: GraphKind, scope: string | undefined): Vertex {
    const id = layerId(graph, scope)
    let layer = this.#layers.get(id)
    if (layer === undefined) {
      layer = { id, graph, scope, vertices: new Map(), own: undefined, friends: [] }
      this.#layers.set(id, layer)
    }
    const known = layer.vertices.get(did)
    if (known !== undefined) return known
    const vertex = new Vertex(this.#free.pop() ?? this.#vertices.length, did, layer)
    this.#vertices[vertex.id] = vertex
    layer.vertices.set(did, vertex)
    if (did === this.#me) layer.own = vertex
    return vertex
  }

  /** Forgets a vertex that has no edge left, and its layer with the last one. */
  release(vertex: Vertex): void {
    if (vertex.edges > 0) return
    const { layer } = vertex
    layer.vertices.delete(vertex.did)
    if (layer.own === vertex) layer.own = undefined
    if (layer.vertices.size === 0) this.#layers.delete(layer.id)
    this.#vertices[vertex.id] = undefined
    this.#free.push(vertex.id)
  }
}

function layerId(graph: GraphKind, scope: string | undefined): string {
  return scope === undefined ? graph : `${graph} ${scope}`
}
