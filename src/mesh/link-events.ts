import type { Logger } from '../core/observe/log.ts'
import type { LinkEvent } from './types.ts'

/** Tells listeners what happens. One that throws is logged and harms nobody. */
export class LinkEvents {
  readonly #listeners: Set<(event: LinkEvent) => void> = new Set()
  readonly #logger: Logger

  constructor(logger: Logger) {
    this.#logger = logger
  }

  on(listener: (event: LinkEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  emit(event: LinkEvent): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(event)
      } catch (error) {
        this.#logger.error('event listener failed', { event: event.type, error })
      }
    }
  }

  clear(): void {
    this.#listeners.clear()
  }
}
