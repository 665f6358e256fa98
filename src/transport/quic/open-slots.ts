import type { KithError } from '../../core/errors.ts'

interface Waiter {
  readonly grant: () => void
  readonly refuse: (reason: unknown) => void
}

/** Lets at most `limit` streams be open at once; those who ask for more wait in order. */
export class OpenSlots {
  readonly #limit: number
  #used = 0
  readonly #waiting: Waiter[] = []
  #closed: KithError | undefined

  constructor(limit: number) {
    this.#limit = limit
  }

  /** @throws the error given to `close`, or the signal's reason. */
  acquire(signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return Promise.reject(signal.reason)
    if (this.#closed !== undefined) return Promise.reject(this.#closed)
    if (this.#used < this.#limit) {
      this.#used++
      return Promise.resolve()
    }
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1)
        reject(signal?.reason)
      }
      const waiter: Waiter = {
        grant: () => {
          signal?.removeEventListener('abort', abort)
          resolve()
        },
        refuse: (reason) => {
          signal?.removeEventListener('abort', abort)
          reject(reason)
        },
      }
      signal?.addEventListener('abort', abort, { once: true })
      this.#waiting.push(waiter)
    })
  }

  release(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#used--
    else next.grant()
  }

  /** Refuses everyone who waits and everyone who comes. */
  close(error: KithError): void {
    this.#closed = error
    for (const waiter of this.#waiting.splice(0)) waiter.refuse(error)
  }
}
