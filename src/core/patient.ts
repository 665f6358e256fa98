import type { Clock, Timer } from './clock.ts'

/** Waits for long work and says, every `everyMs`, that it goes on; the next time only when that was taken. What was being said has been said when this returns. */
export async function patient<T>(clock: Clock, everyMs: number, say: () => Promise<unknown>, work: Promise<T>): Promise<T> {
  let saying: Promise<void> = Promise.resolve()
  let over = false
  const arm = (): Timer =>
    clock.after(everyMs, () => {
      saying = say().then(
        () => {
          if (!over) timer = arm()
        },
        // Whoever has gone is noticed at the next read or write.
        () => undefined,
      )
    })
  let timer = arm()
  try {
    return await work
  } finally {
    over = true
    timer.cancel()
    await saying
  }
}
