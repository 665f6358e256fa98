import sodium from 'sodium-native'

/**
 * Pages for secrets: zeroed and unreadable when handed out and when given back.
 *
 * Freed memory goes back to the system only when the garbage collector comes by, and it hardly sees these pages: a burst of short-lived secrets
 * would use up the limit of locked memory. So a few are kept, by length, for the next ones.
 */
const MAX_SPARE = 64
const spare: Map<number, sodium.SecureBuffer[]> = new Map()
let spares = 0

export function allocate(length: number): sodium.SecureBuffer {
  const used = spare.get(length)?.pop()
  if (used !== undefined) {
    spares--
    return used
  }
  const memory = sodium.sodium_malloc(length)
  sodium.sodium_memzero(memory)
  sodium.sodium_mprotect_noaccess(memory)
  return memory
}

export function release(memory: sodium.SecureBuffer): void {
  sodium.sodium_mprotect_readwrite(memory)
  sodium.sodium_memzero(memory)
  sodium.sodium_mprotect_noaccess(memory)
  if (spares >= MAX_SPARE) {
    sodium.sodium_free(memory)
    return
  }
  const kept = spare.get(memory.length) ?? []
  kept.push(memory)
  spares++
  spare.set(memory.length, kept)
}
