import type { PublicKey } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import type { Did } from '../../identity/did.ts'
import { textOf } from './directory-index.ts'
import { ReplayWindow } from './replay-window.ts'

/** A message of a link that ended this recently is still taken (PN-7). */
export const SESSION_GRACE_MS = 60_000
/** How far a live message's date may be from the sender's clock as its greeting showed it. */
export const LIVE_SKEW_MS = 300_000
const MAX_ENDED = 4_096

/** One connection as live messages name it. */
export interface Session {
  /** 16 bytes. */
  readonly id: Uint8Array
  readonly did: Did
  readonly device: PublicKey
  /** The other side's clock minus ours, as its greeting showed it. */
  readonly offsetMs: number
  readonly window: ReplayWindow
  /** By the monotonic clock. */
  endedMs: number | undefined
}

/**
 * Sessions of links that are open or ended a moment ago. A restart of either side makes new ones, so nothing of an older run is accepted and nothing of a new run is
 * refused. What is forgotten is refused from then on, never accepted anew.
 */
export class Sessions {
  readonly #clock: Clock
  readonly #sessions: Map<string, Session> = new Map()
  /** In the order of their ends. */
  readonly #ended: Set<string> = new Set()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  open(facts: Pick<Session, 'id' | 'did' | 'device' | 'offsetMs'>): Session {
    const session: Session = { ...facts, window: new ReplayWindow(), endedMs: undefined }
    this.#sessions.set(textOf(facts.id), session)
    return session
  }

  end(session: Session): void {
    const key = textOf(session.id)
    if (session.endedMs !== undefined || this.#sessions.get(key) !== session) return
    session.endedMs = this.#clock.monotonic()
    this.#ended.add(key)
    for (const oldest of this.#ended) {
      const ended = this.#sessions.get(oldest)
      if (ended !== undefined && this.usable(ended) && this.#ended.size <= MAX_ENDED) break
      this.#ended.delete(oldest)
      this.#sessions.delete(oldest)
    }
  }

  get(id: Uint8Array): Session | undefined {
    return this.#sessions.get(textOf(id))
  }

  usable(session: Session): boolean {
    return session.endedMs === undefined || this.#clock.monotonic() - session.endedMs < SESSION_GRACE_MS
  }

  get size(): number {
    return this.#sessions.size
  }
}
