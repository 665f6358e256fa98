import type { Clock } from '../core/clock.ts'
import type { PeerClass } from '../mesh/types.ts'
import type { EventHub } from './events.ts'

/** A pairing of this run: the words are compared by two people, so they stay to be looked at for a while. */
export interface PairingStatus {
  readonly did: string
  readonly name: string
  readonly words: string
  readonly class: PeerClass
  readonly pending: PeerClass | null
  readonly time: string
}

export interface Pairings {
  /** Newest first. */
  recent(): readonly PairingStatus[]
}

const MAX_KEPT = 16
const KEEP_MS = 3_600_000

export function createPairings(events: EventHub, clock: Clock): Pairings {
  let kept: (PairingStatus & { readonly at: number })[] = []
  events.on((event) => {
    if (event.type !== 'paired') return
    const { peer, name, words, pending } = event
    const entry = { did: peer, name, words, class: event.class, pending, time: new Date(clock.now()).toISOString(), at: clock.monotonic() }
    kept = [entry, ...kept.filter(({ did }) => did !== peer)].slice(0, MAX_KEPT)
  })
  return {
    recent() {
      kept = kept.filter(({ at }) => clock.monotonic() - at < KEEP_MS)
      return kept.map(({ at: _at, ...pairing }) => pairing)
    },
  }
}
