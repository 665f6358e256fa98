import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'

/**
 * Standard input read straight into the caller's own memory. A stream would read into buffers of the runtime and copy from there: what was typed would
 * stay behind in memory that nobody can clear.
 */
export interface DirectInput {
  /** Waits for bytes and gives their number, 0 at the end. @throws the signal's reason. */
  read(target: Uint8Array, signal: AbortSignal): Promise<number>
  close(): void
}

/** Reads never block: while nothing has come it is asked again after this. */
const LOOK_MS = 20

/** `undefined` for what cannot be opened this way: sockets, and other systems than Linux. */
export function openDirectInput(stdin: NodeJS.ReadStream): DirectInput | undefined {
  const { fd } = stdin as { readonly fd?: unknown }
  if (process.platform !== 'linux' || typeof fd !== 'number') return undefined
  let own: number
  try {
    // A file keeps its place; a terminal or pipe is opened once more, so that not blocking is our affair alone.
    own = fstatSync(fd).isFile() ? fd : openSync(`/proc/self/fd/${fd}`, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  } catch {
    return undefined
  }
  return {
    async read(target, signal) {
      for (;;) {
        signal.throwIfAborted()
        try {
          return readSync(own, target)
        } catch (error) {
          const { code } = error as NodeJS.ErrnoException
          // A terminal that went away ends the input.
          if (code === 'EIO') return 0
          if (code !== 'EAGAIN') throw error
        }
        await pause(signal)
      }
    },
    close() {
      if (own !== fd) closeSync(own)
    },
  }
}

function pause(signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', abort)
      resolve()
    }, LOOK_MS)
    const abort = (): void => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    signal.addEventListener('abort', abort, { once: true })
  })
}
