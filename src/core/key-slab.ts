import sodium from 'sodium-native'

/**
 * Session keys of links. A guarded page per key would use up the limit of locked memory at 2,048 keys, and changing its protection around every
 * record costs two thirds of the record rate; so keys are slices of shared locked pages that stay readable.
 *
 * ```text
 * page (4,096 bytes, locked, guard pages around)   | key | key | free | key | free | ...        slots of one size per page
 * ```
 *
 * A slot is zeroed when released and handed out again; pages are kept for the next links, so memory follows the highest number of keys held at once.
 */
const PAGE_BYTES = 4096
const SLOT_BYTES = 32
const MAX_KEY_BYTES = 256

export interface KeyLease {
  /** Zeroed at first. Must not be touched after `release`: the memory may be another link's key by then. */
  readonly bytes: Buffer
  /** Zeroes the key and gives the memory back. Idempotent. */
  release(): void
}

interface Slot {
  readonly page: Buffer
  readonly at: number
}

const free: Map<number, Slot[]> = new Map()
let leased = 0
let pages = 0

/** Leases `length` (1..256) bytes of locked memory. */
export function leaseKey(length = 32): KeyLease {
  if (!Number.isInteger(length) || length < 1 || length > MAX_KEY_BYTES) throw new TypeError(`a key has 1 to ${MAX_KEY_BYTES} bytes, not ${length}`)
  const size = Math.ceil(length / SLOT_BYTES) * SLOT_BYTES
  const slots = free.get(size) ?? []
  free.set(size, slots)
  const slot = slots.pop() ?? addPage(size, slots)
  leased++
  const bytes = slot.page.subarray(slot.at, slot.at + length)
  let held = true
  return {
    bytes,
    release(): void {
      if (!held) return
      held = false
      leased--
      sodium.sodium_memzero(bytes)
      slots.push(slot)
    },
  }
}

/** Keys leased and pages held, for `doctor` and tests. */
export function keySlabUse(): { leased: number; pages: number } {
  return { leased, pages }
}

function addPage(size: number, slots: Slot[]): Slot {
  const page = sodium.sodium_malloc(PAGE_BYTES)
  sodium.sodium_memzero(page)
  pages++
  for (let at = size; at + size <= PAGE_BYTES; at += size) slots.push({ page, at })
  return { page, at: 0 }
}
