/**
 * Recycled buffers for bytes on their way to a local socket. A forwarder that allocates for every chunk spends a tenth of its time in the garbage
 * collector. Three sizes, by the first piece that goes in; bounded idle stock; what is not returned is simply collected.
 */
interface Size {
  readonly bytes: number
  /** Most that wait for the next borrower. */
  readonly stock: number
  readonly idle: Buffer[]
}

/** The last one holds four full records of a link. */
const SIZES: readonly Size[] = [
  { bytes: 4_096, stock: 64, idle: [] },
  { bytes: 32_768, stock: 32, idle: [] },
  { bytes: 262_144, stock: 16, idle: [] },
]

/** A buffer for a piece of `length` bytes and more, or for the first of a larger one. Its content is undefined. */
export function borrowBuffer(length: number): Buffer {
  const size = SIZES.find(({ bytes }) => length <= bytes) ?? (SIZES.at(-1) as Size)
  return size.idle.pop() ?? Buffer.allocUnsafeSlow(size.bytes)
}

/** Only for buffers of `borrowBuffer` that nothing refers to any more. */
export function returnBuffer(buffer: Buffer): void {
  const size = SIZES.find(({ bytes }) => buffer.length === bytes)
  if (size !== undefined && size.idle.length < size.stock) size.idle.push(buffer)
}
