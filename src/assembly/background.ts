import { asKithError, isKithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'

/** Work that nobody waits for: its failures are logged, and closing waits for it. */
export class Background {
  readonly #logger: Logger
  readonly #running: Set<Promise<void>> = new Set()
  readonly #abort: AbortController = new AbortController()

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /** Aborted when closing begins. */
  get signal(): AbortSignal {
    return this.#abort.signal
  }

  run(what: string, work: () => Promise<unknown>): void {
    if (this.#abort.signal.aborted) return
    const running = work().then(
      () => undefined,
      (error: unknown) => this.failed(what, error),
    )
    this.#running.add(running)
    void running.finally(() => this.#running.delete(running))
  }

  /** Logs why something was not done; that closing kept it from being done is no failure. */
  failed(what: string, error: unknown): void {
    if (isKithError(error, 'ABORTED') || isKithError(error, 'CLOSED')) return
    const { code, message } = asKithError(error, 'INTERNAL')
    this.#logger.warn(what, { code, message })
  }

  /** Takes no more, aborts what can be aborted, and waits for the rest. */
  async close(): Promise<void> {
    this.#abort.abort()
    while (this.#running.size > 0) await Promise.all(this.#running)
  }
}
