/** How many connections a front holds. */
export interface FrontLimits {
  /** All of them. Default 4,096. */
  readonly connections?: number
  /** From one IPv4 address or one IPv6 /64. Default 128. */
  readonly perSource?: number
}

/** Counts connections by where they come from, so that one source cannot take every place. */
export class FrontGuard {
  readonly #total: number
  readonly #perSource: number
  readonly #sources: Map<string, number> = new Map()
  #held = 0

  constructor(limits: FrontLimits = {}) {
    this.#total = limits.connections ?? 4_096
    this.#perSource = limits.perSource ?? 128
  }

  get held(): number {
    return this.#held
  }

  /** A place for a connection from this IP address, or undefined when there is none. `release` may be called more than once. */
  admit(host: string): { release(): void } | undefined {
    const source = sourceOf(host)
    const held = this.#sources.get(source) ?? 0
    if (this.#held >= this.#total || held >= this.#perSource) return undefined
    this.#held++
    this.#sources.set(source, held + 1)
    let open = true
    return {
      release: () => {
        if (!open) return
        open = false
        this.#held--
        const left = (this.#sources.get(source) ?? 1) - 1
        if (left > 0) this.#sources.set(source, left)
        else this.#sources.delete(source)
      },
    }
  }
}

/** One household has a whole /64. */
function sourceOf(host: string): string {
  if (!host.includes(':')) return host
  const [head = '', tail] = host.split('%')[0]?.split('::') ?? []
  const groups = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    const after = tail === '' ? [] : tail.split(':')
    while (groups.length + after.length < 8) groups.push('0')
    groups.push(...after)
  }
  return groups.slice(0, 4).join(':')
}
