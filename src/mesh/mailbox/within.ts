import type { Clock } from '../../core/clock.ts'

/** Waits for something, but no longer than so many ms, nor beyond the signal. Leaves no timer behind. */
export async function within(promise: Promise<unknown>, ms: number, clock: Clock, signal: AbortSignal | undefined): Promise<void> {
  if (signal?.aborted === true) return
  await new Promise<void>((resolve, reject) => {
    const timer = clock.after(ms, () => end())
    const end = (): void => {
      timer.cancel()
      signal?.removeEventListener('abort', end)
      resolve()
    }
    signal?.addEventListener('abort', end, { once: true })
    promise.then(end, (error: unknown) => {
      end()
      reject(error)
    })
  })
}
