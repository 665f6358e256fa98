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
