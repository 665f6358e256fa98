import { TAG_BYTES } from '../core/crypto/aead.ts'

/**
 * Memory shared by all links of this thread, so that an idle link holds none: pooled buffers, borrowed while something is staged or a partial
 * record waits for its rest, and one buffer that every socket reads into.
 */

/** Most bytes of a record in pipe mode: bigger ones gain nothing, smaller ones cost 10 to 20 % of the rate (docs/benchmarks.md). */
export const RECORD_BYTES = 65_536
/** Room for the length of a record of `RECORD_BYTES`. */
export const PREFIX_ROOM = 3
/** Four full records, each behind a small one that holds a multiplexer's header. */
export const POOLED_BYTES: number = 4 * (RECORD_BYTES + 2 * (PREFIX_ROOM + TAG_BYTES) + 64)
const READ_BYTES = 524_288
/** Free buffers kept for the next borrower: 4 MiB; a burst beyond that is left to the garbage collector. */
const MAX_FREE = 16

const free: Buffer[] = []
let read: Buffer | undefined

export function borrowBuffer(): Buffer {
  return free.pop() ?? Buffer.allocUnsafeSlow(POOLED_BYTES)
}

/** Only for buffers of `borrowBuffer` that nothing refers to any more: not the kernel, not a view. */
export function returnBuffer(buffer: Buffer): void {
  if (free.length < MAX_FREE) free.push(buffer)
}

/** The buffer of one read: valid until the callback of that read returns. */
export function readBuffer(): Buffer {
  read ??= Buffer.allocUnsafeSlow(READ_BYTES)
  return read
}
