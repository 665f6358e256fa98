import type { ServerResponse } from 'node:http'
import type { StreamItem } from '../call/types.ts'
import type { Clock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import { errorText, eventHeaders, jsonOf, outward } from './answer.ts'
import type { GatewayLimits } from './limits.ts'

export interface EventsOptions {
  readonly clock: Clock
  readonly limits: GatewayLimits
  readonly signal: AbortSignal
  readonly headers: readonly string[]
}

/**
 * A subscription as Server-Sent Events (the HTML standard, section 9.2), no faster than the client reads:
 *
 * ```text
 * id: 17\n                     where the operation gives places to resume from
 * data: {"any":"value"}\n\n    one JSON value, which has no line breaks
 * event: completed\ndata: {}\n\n
 * event: error\ndata: {"error":{...}}\n\n
 * : \n\n                       nothing, every 15 s
 * ```
 *
 * An error before the first item is an ordinary answer with its status, so the first item is waited for before anything is sent, but not longer than a keep-alive.
 */
export async function sendEvents(response: ServerResponse, items: AsyncIterableIterator<StreamItem>, options: EventsOptions): Promise<void> {
  const { clock, limits, signal } = options
  const writer = new EventWriter(response, options)
  let timer = clock.after(limits.keepAliveMs, beat)
  function beat(): void {
    writer.beat()
    timer = clock.after(limits.keepAliveMs, beat)
  }
  try {
    for (;;) {
      const { value, done } = await items.next()
      signal.throwIfAborted()
      if (done === true) break
      await writer.send(textOf(value))
    }
    await writer.send('event: completed\ndata: {}\n\n')
  } catch (error) {
    if (!response.headersSent) throw signal.aborted ? signal.reason : error
    if (signal.aborted) return
    // A reader that takes nothing is not told why.
    if (!writer.stalled) response.write(`event: error\ndata: ${errorText(outward(error))}\n\n`)
  } finally {
    timer.cancel()
    await items.return?.().then(undefined, () => undefined)
    if (writer.stalled) response.destroy()
    else if (response.headersSent) response.end()
  }
}

function textOf({ id, value }: StreamItem): string {
  const data = `data: ${jsonOf(value)}\n\n`
  // An id is one line, and may not be empty or hold NUL; one that is not would say something else.
  return id === undefined || !/^[^\r\n\0]{1,256}$/.test(id) ? data : `id: ${id}\n${data}`
}

class EventWriter {
  readonly #response: ServerResponse
  readonly #options: EventsOptions
  stalled = false

  constructor(response: ServerResponse, options: EventsOptions) {
    this.#response = response
    this.#options = options
  }

  /** Resolves when there is room for more. @throws KithError `TIMEOUT` when the client takes nothing for too long, or the signal's reason. */
  async send(text: string): Promise<void> {
    this.#begin()
    if (!this.#response.write(text)) await this.#room()
  }

  /** A comment, unless something waits to be read anyway. */
  beat(): void {
    this.#begin()
    if (!this.#response.writableNeedDrain) this.#response.write(':\n\n')
  }

  #begin(): void {
    if (this.#response.headersSent) return
    this.#response.writeHead(200, eventHeaders(this.#options.headers))
    this.#response.flushHeaders()
  }

  #room(): Promise<void> {
    const { clock, limits, signal } = this.#options
    const response = this.#response
    return new Promise((resolve, reject) => {
      const end = (error?: unknown): void => {
        timer.cancel()
        response.off('drain', onDrain)
        signal.removeEventListener('abort', onAbort)
        if (error === undefined) resolve()
        else reject(error)
      }
      const onDrain = (): void => end()
      const onAbort = (): void => end(signal.reason)
      const timer = clock.after(limits.stallMs, () => {
        this.stalled = true
        end(new KithError('TIMEOUT', 'The client reads nothing.'))
      })
      if (signal.aborted) return onAbort()
      response.on('drain', onDrain)
      signal.addEventListener('abort', onAbort, { once: true })
    })
  }
}
