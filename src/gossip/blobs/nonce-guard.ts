import { toHex } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import type { Did } from '../../identity/did.ts'

export interface NonceGuardLimits {
  /** How long a nonce is remembered, in ms. Default 300,000. */
  readonly ttlMs?: number
  /** Nonces remembered of one peer. Default 2,048. */
  readonly perPeer?: number
  /** Peers remembered. Default 256. */
  readonly peers?: number
}

/**
 * Remembers which requests each peer has made, so that none is answered twice. The same nonce of two peers is two requests.
 *
 * Only requests that would be granted are remembered, so a stranger fills nothing. What is forgotten first is fixed: the oldest nonce of a peer, and of the peers
 * the one that asked longest ago. A repeated request is a counter, never held against anybody (PN-10).
 */
export class NonceGuard {
  readonly #clock: Clock
  readonly #ttlMs: number
  readonly #perPeer: number
  readonly #limit: number
  /** Insertion order is age, of peers by their last request and of nonces by theirs. */
  readonly #peers: Map<Did, Map<string, number>> = new Map()

  constructor(clock: Clock, limits: NonceGuardLimits = {}) {
    this.#clock = clock
    this.#ttlMs = limits.ttlMs ?? 300_000
    this.#perPeer = limits.perPeer ?? 2_048
    this.#limit = limits.peers ?? 256
  }

  /** Whether this request is new, and remembers it. */
  mark(peer: Did, nonce: Uint8Array): boolean {
    const now = this.#clock.monotonic()
    const seen = this.#peers.get(peer) ?? new Map<string, number>()
    for (const [old, at] of seen) {
      if (now - at < this.#ttlMs) break
      seen.delete(old)
    }
    const key = toHex(nonce)
    if (seen.has(key)) return false
    seen.set(key, now)
    if (seen.size > this.#perPeer) deleteFirst(seen)
    this.#peers.delete(peer)
    this.#peers.set(peer, seen)
    if (this.#peers.size > this.#limit) deleteFirst(this.#peers)
    return true
  }

  /** Nonces remembered of a peer, expired ones included until it asks again. */
  count(peer: Did): number {
    return this.#peers.get(peer)?.size ?? 0
  }

  /** Forgets what has run out, of everybody. */
  sweep(): void {
    const oldest = this.#clock.monotonic() - this.#ttlMs
    for (const [peer, seen] of this.#peers) {
      for (const [nonce, at] of seen) {
        if (at > oldest) break
        seen.delete(nonce)
      }
      if (seen.size === 0) this.#peers.delete(peer)
    }
  }
}

function deleteFirst<K>(map: Map<K, unknown>): void {
  for (const key of map.keys()) {
    map.delete(key)
    return
  }
}
