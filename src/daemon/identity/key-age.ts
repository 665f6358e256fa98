import type { LocalDevice } from '../../identity/device.ts'
import type { ChainEntry, ChainState } from '../../identity/types.ts'

const DAY_MS = 86_400_000

export interface KeyAges {
  /** Since when the identity signs with its keys, and this machine with its link key; ms since the epoch. */
  readonly identitySinceMs: number
  readonly linkSinceMs: number
}

/** From the files alone. */
export function keyAges({ chain, content }: Pick<LocalDevice, 'chain' | 'content'>): KeyAges {
  return { identitySinceMs: keysSinceMs(chain), linkSinceMs: content.createdMs }
}

/** Since when an identity has its keys. The first ones carry no date in their entry: their age counts from when this machine got them. */
export function keysSinceMs(chain: ChainState): number {
  const head = chain.entries[chain.index] as ChainEntry
  return head.timeMs > 0 ? head.timeMs : (chain.adoptedMs[chain.index] ?? 0)
}

/** Whole days; a clock that was set back makes nothing older. */
export function daysSince(sinceMs: number, now: number): number {
  return Math.max(0, Math.floor((now - sinceMs) / DAY_MS))
}

/** Whether something is due after so many days; 0 days: never. */
export function isDue(sinceMs: number, now: number, days: number): boolean {
  return days > 0 && daysSince(sinceMs, now) >= days
}
