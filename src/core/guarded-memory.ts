import sodium from 'sodium-native'

/**
 * Pages for secrets: zeroed and unreadable when handed out and when given back.
 *
 * Freed memory goes back to the system only when the garbage collector comes by, and it hardly sees these pages: short-lived secrets would use up the
 * limit of locked memory, then the 65,530 mappings that Linux gives a process, and end it. So pages are never freed but kept for the next secrets: memory
 * follows the highest number of secrets held at once. All lengths up to a page share one class, since each takes a page anyway.
 *
 * ```text
 * | guard page | canary 16 |  unused  | the secret | guard page |        a secret ends where its pages end
 * ```
 */
export interface GuardedMemory {
  readonly length: number
  /** What `sodium_mprotect` is told; zeroed whole. */
  readonly pages: sodium.SecureBuffer
  /** The last `length` bytes of the pages. */
  readonly bytes: Buffer
}

const CANARY_BYTES = 16
/** Capacities; the last one holds the longest secret. */
const CLASSES: readonly number[] = [4_096, 16_384, 65_536, 262_144, 1_048_576 + 4_096].map((bytes) => bytes - CANARY_BYTES)
const spare: Map<number, sodium.SecureBuffer[]> = new Map()
let held = 0

/** Secrets that were made and not wiped, for tests. */
export function guardedSecrets(): number {
  return held
}

export function allocate(length: number): GuardedMemory {
  const capacity = CLASSES.find((bytes) => bytes >= length)
  if (capacity === undefined) throw new TypeError(`${length} bytes are too many for guarded memory`)
  const pages = spare.get(capacity)?.pop() ?? fresh(capacity)
  held++
  return { length, pages, bytes: pages.subarray(capacity - length) }
}

export function release({ pages }: GuardedMemory): void {
  held--
  sodium.sodium_mprotect_readwrite(pages)
  sodium.sodium_memzero(pages)
  sodium.sodium_mprotect_noaccess(pages)
  const kept = spare.get(pages.length) ?? []
  spare.set(pages.length, kept)
  kept.push(pages)
}

function fresh(capacity: number): sodium.SecureBuffer {
  const pages = sodium.sodium_malloc(capacity)
  sodium.sodium_memzero(pages)
  sodium.sodium_mprotect_noaccess(pages)
  return pages
}
