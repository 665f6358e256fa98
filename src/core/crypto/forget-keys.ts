import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/**
 * OpenSSL clears a private key when `node:crypto` frees it, and that happens when the garbage collector comes by: perhaps never in a quiet process.
 * So whoever drops a key asks for a collection at the end of this turn of the event loop. It takes a few milliseconds and is rare: keys are dropped
 * when an identity was opened, a device was replaced, a node stops.
 */
let asked = false
let collect: (() => void) | undefined

export function forgetKeysSoon(): void {
  if (asked) return
  asked = true
  // The next turn: what called this may still hold the key on its stack.
  setImmediate(() => {
    asked = false
    collect ??= collector()
    collect()
  })
}

function collector(): () => void {
  setFlagsFromString('--expose-gc')
  const gc: unknown = runInNewContext('gc')
  // Set back, or compiled code that is kept for the next start would not fit it.
  setFlagsFromString('--no-expose-gc')
  return typeof gc === 'function' ? () => void gc() : () => undefined
}

/**
 * Overwrites what native code that was given a key may have left on this thread's stack, where nothing clears it until something else happens to lie there.
 * JavaScript's frames are on the same stack, below those of the caller; a thousand of them are more than a library's own.
 */
export function scrubStack(depth = 1_000): number {
  const [a, b, c, d] = [depth, depth + 1, depth + 2, depth + 3]
  return depth === 0 ? 0 : scrubStack(depth - 1) + a - b + c - d
}
