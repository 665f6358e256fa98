import { KithError } from '../core/errors.ts'
import type { BytePipe } from '../core/pipe.ts'
import type { Session } from './session.ts'

const nothing = (): void => undefined

/** The byte face of a session: boundaries of writes and records mean nothing. */
export class RecordPipe implements BytePipe {
  onData: (data: Buffer, start: number, end: number) => void = nothing
  onFlush: () => void = nothing
  onDrain: () => void = nothing
  onClose: (error: KithError | null) => void = nothing
  readonly #session: Session
  #started = false

  constructor(session: Session) {
    this.#session = session
    session.hold()
    session.sender.onFlush = () => this.onFlush()
    session.sender.onDrain = () => this.onDrain()
    session.onEnd = () => session.close()
    session.onClose = (error) => this.onClose(error)
    const outcome = session.outcome
    if (outcome !== undefined) queueMicrotask(() => this.onClose(outcome))
  }

  get blocked(): boolean {
    return this.#session.sender.blocked
  }

  get staging(): Buffer {
    return this.#session.sender.staging
  }

  reserve(length: number): number {
    return this.#session.sender.reserve(length)
  }

  write(data: Uint8Array, start: number, end: number): void {
    this.#session.sender.write(data, start, end)
  }

  flush(): void {
    this.#session.sender.flush()
  }

  start(): void {
    if (this.#started) return
    this.#started = true
    this.#session.onRecord = (buffer, start, end) => {
      if (end > start) this.onData(buffer, start, end)
      return true
    }
    this.#session.resume()
  }

  close(): void {
    this.#session.close()
  }

  destroy(error: KithError): void {
    this.#session.destroy(error instanceof KithError ? error : new KithError('LINK_CLOSED', undefined, { cause: error }))
  }
}
