export interface GossipLoad {
  readonly count: number
  readonly size: number
  readonly width: number
}

export interface GossipAnswer {
  readonly delivered: number
  readonly awaited: number
  readonly bytes: number
}

export function circulant(nodes: number): [number, number][]
export function loopbackBytes(): number
export function entryOf(index: number, size: number): Buffer
