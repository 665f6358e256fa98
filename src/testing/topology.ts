import type { Random } from '../core/random.ts'

/** Two names that know each other. */
export type Edge = readonly [string, string]

/** Each with the next one, the last with the first. */
export function ring(names: readonly string[]): Edge[] {
  if (names.length < 3) return full(names)
  return names.map((name, at) => [name, names[(at + 1) % names.length] as string] as const)
}

/** Each with the next one. */
export function line(names: readonly string[]): Edge[] {
  return names.slice(1).map((name, at) => [names[at] as string, name] as const)
}

/** The first with everybody else. */
export function star(names: readonly string[]): Edge[] {
  const [centre, ...others] = names
  return centre === undefined ? [] : others.map((name) => [centre, name] as const)
}

/** Everybody with everybody. */
export function full(names: readonly string[]): Edge[] {
  return names.flatMap((name, at) => names.slice(at + 1).map((other) => [name, other] as const))
}

/**
 * A random graph in which everybody has `degree` neighbours (even, below the number of names), always in one piece: `degree / 2` rings through all names in
 * random order, without an edge that is there already.
 */
export function randomRegular(names: readonly string[], degree: number, random: Random): Edge[] {
  if (!Number.isInteger(degree) || degree < 2 || degree % 2 !== 0) throw new TypeError('degree must be an even number, 2 or more')
  if (degree >= names.length) return full(names)
  const seen = new Set<string>()
  const edges: Edge[] = []
  const key = (a: string, b: string): string => (a < b ? `${a} ${b}` : `${b} ${a}`)
  for (let rings = 0; rings < degree / 2; rings++) {
    const one = freshRing(names, random, (a, b) => !seen.has(key(a, b)))
    if (one === undefined) return randomRegular(names, degree, random)
    for (const [a, b] of one) seen.add(key(a, b))
    edges.push(...one)
  }
  return edges
}

const RING_TRIES = 50

/** A ring of free edges, or nothing when chance does not give one: a name whose edge is taken changes places with a later one. */
function freshRing(names: readonly string[], random: Random, free: (a: string, b: string) => boolean): Edge[] | undefined {
  for (let tries = 0; tries < RING_TRIES; tries++) {
    const order = shuffled(names, random)
    let stuck = false
    for (let at = 1; at < order.length && !stuck; at++) {
      const before = order[at - 1] as string
      const next = order.findIndex((name, place) => place >= at && free(before, name))
      if (next === -1) stuck = true
      else [order[at], order[next]] = [order[next] as string, order[at] as string]
    }
    if (!stuck && free(order.at(-1) as string, order[0] as string)) return ring(order)
  }
  return undefined
}

export function shuffled<T>(items: readonly T[], random: Random): T[] {
  const out = [...items]
  for (let at = out.length - 1; at > 0; at--) {
    const other = Math.floor(random.unit() * (at + 1))
    const item = out[at] as T
    out[at] = out[other] as T
    out[other] = item
  }
  return out
}
