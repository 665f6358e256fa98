import type { PublicKey } from '../core/bytes.ts'
import type { Did } from '../identity/did.ts'

/** Somebody who was heard of, nothing of it proved. */
export interface FoundPeer {
  /** Absent when the announcement hides it. */
  readonly did?: Did
  readonly linkKey?: PublicKey
  readonly urls: readonly string[]
  /** What it calls itself. */
  readonly name?: string
  /** It said goodbye, or was not heard again. */
  readonly gone?: boolean
}

/** What this node tells about itself. */
export interface Announcement {
  readonly did: Did
  readonly linkKey: PublicKey
  readonly urls: readonly string[]
  readonly name: string
}

/** A way of finding peers and being found. Found peers are dialled only when they are in the address book. */
export interface Discovery {
  /** Names the source in `network peers`, as `mdns`. */
  readonly name: string
  /** Set before `start`. Must not be called after `stop`. */
  onPeer: (found: FoundPeer) => void
  start(announcement: Announcement): Promise<void>
  /** The addresses or the machine changed. */
  announce(announcement: Announcement): Promise<void>
  /** Says goodbye. Idempotent. */
  stop(): Promise<void>
}
