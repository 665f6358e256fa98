interface Waiter {
  resolve(message: Uint8Array | undefined): void
  reject(reason: unknown): void
  settled(): void
}

/** What a message takes besides its bytes: the other side chooses how small they are, and empty ones would never end. */
const MESSAGE_BYTES = 128

/** Messages that arrived, for readers that come sooner or later. Order is kept on both sides. */
export class Inbox {
  /** What the waiting messages take. */
  bytes = 0
  #messages: Buffer[] = []
  #first = 0
  readonly #waiters: Set<Waiter> = new Set()
  #end: { error: unknown } | undefined

  /** Whether somebody waits for a message. */
  get wanted(): boolean {
    return this.#waiters.size > 0
  }

  get empty(): boolean {
    return this.#first === this.#messages.length
  }

  /** Takes ownership of the message. */
  push(message: Buffer): void {
    for (const waiter of this.#waiters) {
      this.#waiters.delete(waiter)
      waiter.settled()
      waiter.resolve(message)
      return
    }
    this.#messages.push(message)
    this.bytes += message.length + MESSAGE_BYTES
  }

  /** No more messages: readers get what is there, then `undefined`, or the error. The first call decides. */
  end(error: unknown): void {
    if (this.#end !== undefined) return
    this.#end = { error }
    for (const waiter of this.#waiters) {
      waiter.settled()
      if (error === null) waiter.resolve(undefined)
      else waiter.reject(error)
    }
    this.#waiters.clear()
  }

  /** The next message, or `undefined` at the end. Rejects with the error that ended the inbox, or with the signal's reason. */
  take(signal?: AbortSignal): Promise<Uint8Array | undefined> {
    if (signal?.aborted === true) return Promise.reject(signal.reason)
    if (!this.empty) return Promise.resolve(this.#shift())
    if (this.#end !== undefined) return this.#end.error === null ? Promise.resolve(undefined) : Promise.reject(this.#end.error)
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#waiters.delete(waiter)
        reject(signal?.reason)
      }
      const waiter: Waiter = { resolve, reject, settled: () => signal?.removeEventListener('abort', abort) }
      this.#waiters.add(waiter)
      signal?.addEventListener('abort', abort, { once: true })
    })
  }

  /** Everything that waits, for another owner. */
  drain(): Buffer[] {
    const messages = this.#messages.slice(this.#first)
    this.#messages = []
    this.#first = 0
    this.bytes = 0
    return messages
  }

  #shift(): Buffer {
    const message = this.#messages[this.#first++] as Buffer
    this.bytes -= message.length + MESSAGE_BYTES
    if (this.empty) {
      this.#messages = []
      this.#first = 0
    } else if (this.#first > 1_024 && this.#first * 2 > this.#messages.length) {
      this.#messages = this.#messages.slice(this.#first)
      this.#first = 0
    }
    return message
  }
}
