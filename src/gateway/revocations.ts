import type { Cancellation } from '../call/cancellation.ts'
import { KithError } from '../core/errors.ts'

/**
 * What has to end when a caller's credential is taken back. All that came in by one credential share a signal, and listening to a signal costs more than a small call,
 * so each signal is listened to once, for as long as it lives.
 */
export class Revocations {
  readonly #running: WeakMap<AbortSignal, Set<Cancellation>> = new WeakMap()

  add(signal: AbortSignal, ending: Cancellation): void {
    let running = this.#running.get(signal)
    if (running === undefined) {
      const made = new Set<Cancellation>()
      running = made
      this.#running.set(signal, made)
      signal.addEventListener('abort', () => end(made), { once: true })
    }
    running.add(ending)
    if (signal.aborted) end(running)
  }

  delete(signal: AbortSignal, ending: Cancellation): void {
    this.#running.get(signal)?.delete(ending)
  }
}

function end(running: Set<Cancellation>): void {
  for (const ending of [...running]) ending.cancel(new KithError('GATEWAY_UNAUTHORIZED', 'What the caller showed is not valid any more.'))
}
