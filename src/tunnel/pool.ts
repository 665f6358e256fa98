/**
 * Recycled buffers for bytes on their way to a local socket. A forwarder that allocates for every chunk spends a tenth of its time in the garbage
 * collector. Three sizes, by the first piece that goes in; bounded idle stock; what is not returned is simply collected.
 */
const SMALL_BYTES = 4_096
const MIDDLE_BYTES = 32_768
/** Four full records of a link. */
const LARGE_BYTES = 262_144
/** Most buffers of a size that wait for the next borrower: 5 MiB in all. */
const MAX_SMALL = 64
const MAX_MIDDLE = 32
const MAX_LARGE = 16

const small: Buffer[] = []
const middle: Buffer[] = []
const large: Buffer[] = []

/** A buffer for a piece of `length` bytes and more, or for the first of a larger one. Its content is undefined. */
export function borrowBuffer(length: number): Buffer {
  if (length <= SMALL_BYTES) return small.pop() ?? Buffer.allocUnsafeSlow(SMALL_BYTES)
  if (length <= MIDDLE_BYTES) return middle.pop() ?? Buffer.allocUnsafeSlow(MIDDLE_BYTES)
  return large.pop() ?? Buffer.allocUnsafeSlow(LARGE_BYTES)
}

/** Only for buffers of `borrowBuffer` that nothing refers to any more. */
export function returnBuffer(buffer: Buffer): void {
  if (buffer.length === SMALL_BYTES) {
    if (small.length < MAX_SMALL) small.push(buffer)
  } else if (buffer.length === MIDDLE_BYTES) {
    if (middle.length < MAX_MIDDLE) middle.push(buffer)
  } else if (large.length < MAX_LARGE) large.push(buffer)
}
