/** Calls that run, for whoever waits until the last of them has ended. */
export class Running {
  #count = 0
  #waiting: (() => void)[] = []

  async run<T>(call: () => Promise<T>): Promise<T> {
    this.#count += 1
    try {
      return await call()
    } finally {
      this.#count -= 1
      if (this.#count === 0) for (const wake of this.#waiting.splice(0)) wake()
    }
  }

  async ended(): Promise<void> {
    if (this.#count > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }
}
