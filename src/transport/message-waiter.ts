/** Who waits for the next message of a channel: one at a time, who may give up. `settled` is called whenever the waiting ends. */
export class MessageWaiter {
  readonly #settled: () => void
  #waiting: { resolve(message: Uint8Array): void; reject(error: unknown): void } | undefined

  constructor(settled: () => void) {
    this.#settled = settled
  }

  get waiting(): boolean {
    return this.#waiting !== undefined
  }

  /**
   * Waits; `begin` then asks for the message. Rejects with the signal's reason, with `over` when that is an error, with what `reject` is given.
   * @throws TypeError while somebody waits.
   */
  wait(options: { signal?: AbortSignal }, over: Error | undefined, begin: () => void): Promise<Uint8Array> {
    const { signal } = options
    if (this.#waiting !== undefined) throw new TypeError('one receive at a time')
    if (signal?.aborted === true) return Promise.reject(signal.reason)
    if (over !== undefined) return Promise.reject(over)
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        this.#waiting = undefined
        this.#settled()
        signal?.removeEventListener('abort', abort)
      }
      const abort = (): void => this.reject(signal?.reason)
      signal?.addEventListener('abort', abort, { once: true })
      this.#waiting = {
        resolve: (message) => {
          finish()
          resolve(message)
        },
        reject: (error) => {
          finish()
          reject(error)
        },
      }
      begin()
    })
  }

  resolve(message: Uint8Array): void {
    this.#waiting?.resolve(message)
  }

  reject(error: unknown): void {
    this.#waiting?.reject(error)
  }
}
