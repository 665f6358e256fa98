/**
 * Recycled buffers for bytes on their way to a local socket. A forwarder that allocates for every chunk spends a tenth of its time in the garbage
 * collector. Two sizes, bounded idle stock; what is not returned is simply collected.
 */
export const POOLED_BYTES = 65_536
const SMALL_BYTES = 4_096
const MAX_IDLE = 64

const large: Buffer[] = []
const small: Buffer[] = []

/** A buffer of at least `length` bytes, `length` at most `POOLED_BYTES`. Its content is undefined. */
export function borrowBuffer(length: number): Buffer {
  if (length <= SMALL_BYTES) return small.pop() ?? Buffer.allocUnsafeSlow(SMALL_BYTES)
  return large.pop() ?? Buffer.allocUnsafeSlow(POOLED_BYTES)
}

export function returnBuffer(buffer: Buffer): void {
  const stock = buffer.length === SMALL_BYTES ? small : large
  if (stock.length < MAX_IDLE) stock.push(buffer)
}
