/** What stays open for clients of SFTP: sessions, files and directories. Each takes descriptors of the process, which are few. */
export interface HandleLimits {
  /** Of one caller, over all its connections. */
  readonly sessions: number
  readonly handles: number
  /** Of everybody. */
  readonly allHandles: number
}

const DEFAULT_HANDLE_LIMITS: HandleLimits = { sessions: 32, handles: 256, allHandles: 1_024 }

interface Held {
  sessions: number
  handles: number
}

/** Counts by caller: whoever opens another connection, or channel, has no more for it. */
export class OpenHandles {
  readonly #limits: HandleLimits
  readonly #held: Map<string, Held> = new Map()
  #all = 0

  constructor(limits: HandleLimits = DEFAULT_HANDLE_LIMITS) {
    this.#limits = limits
  }

  /** Whether a session may begin; it is given back by `leave`. */
  enter(caller: string): boolean {
    const held = this.#held.get(caller) ?? { sessions: 0, handles: 0 }
    if (held.sessions >= this.#limits.sessions) return false
    held.sessions++
    this.#held.set(caller, held)
    return true
  }

  leave(caller: string): void {
    const held = this.#held.get(caller)
    if (held === undefined) return
    held.sessions--
    if (held.sessions === 0 && held.handles === 0) this.#held.delete(caller)
  }

  /** Whether a session that has entered may open something more; it is given back by `give`. */
  take(caller: string): boolean {
    const held = this.#held.get(caller)
    if (held === undefined || held.handles >= this.#limits.handles || this.#all >= this.#limits.allHandles) return false
    held.handles++
    this.#all++
    return true
  }

  give(caller: string): void {
    const held = this.#held.get(caller)
    if (held === undefined) return
    held.handles--
    this.#all--
    if (held.sessions === 0 && held.handles === 0) this.#held.delete(caller)
  }
}
