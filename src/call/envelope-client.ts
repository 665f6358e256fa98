import type { Duplex } from 'node:stream'
import type { Clock } from '../core/clock.ts'
import { asKithError, KithError } from '../core/errors.ts'
import { onAbort } from './cancellation.ts'
import { Deadlines, type Expiring } from './deadlines.ts'
import { DEFAULT_ENVELOPE_BYTES, type Envelope, EnvelopeReader, encodeEnvelope, errorOfOpen, isRecord } from './envelope.ts'
import type { EnvelopeLimits } from './envelope-session.ts'
import { ItemQueue, type ItemSource } from './item-queue.ts'
import type { CallTarget } from './link.ts'
import type { CallOptions, StreamItem } from './types.ts'

export interface EnvelopeClient extends CallTarget {
  /** Ends the connection and the calls under way. */
  close(): void
}

export interface EnvelopeClientOptions {
  readonly clock: Clock
  readonly limits?: EnvelopeLimits
}

/** Items that may wait for a slow reader before nothing more is read from the connection. */
const MAX_WAITING = 256

/** Calls in the open form over any duplex. The connection is the client's from here on. */
export function createEnvelopeClient(duplex: Duplex, options: EnvelopeClientOptions): EnvelopeClient {
  return new Client(duplex, options)
}

class Client implements EnvelopeClient {
  readonly #duplex: Duplex
  readonly #clock: Clock
  readonly #limit: number
  readonly #reader: EnvelopeReader
  readonly #deadlines: Deadlines
  readonly #calls: Map<string, Asked> = new Map()
  #last = 0
  #held = 0
  #error: KithError | undefined

  constructor(duplex: Duplex, { clock, limits }: EnvelopeClientOptions) {
    this.#duplex = duplex
    this.#clock = clock
    this.#limit = limits?.frameBytes ?? DEFAULT_ENVELOPE_BYTES
    this.#reader = new EnvelopeReader(this.#limit)
    this.#deadlines = new Deadlines(clock)
    duplex.on('data', (chunk: Buffer) => {
      try {
        this.#reader.push(chunk, this.#onEnvelope)
      } catch (error) {
        this.#end(asKithError(error, 'WIRE_MALFORMED'))
      }
    })
    duplex.on('error', (error) => this.#end(new KithError('LINK_LOST', undefined, { cause: error })))
    duplex.on('end', () => this.#end(new KithError('LINK_LOST')))
    duplex.on('close', () => this.#end(new KithError('LINK_LOST')))
  }

  async call(path: string, input?: unknown, options: CallOptions = {}): Promise<unknown> {
    for await (const { value } of this.stream(path, input, options)) return value
    throw new KithError('CALL_FAILED', 'The call ended without an answer.', { remote: true })
  }

  stream(path: string, input?: unknown, options: CallOptions = {}): AsyncIterableIterator<StreamItem> {
    const { signal, deadlineMs, traceId, lastEventId } = options
    const call = new Asked(this, String(++this.#last), deadlineMs === undefined ? Number.POSITIVE_INFINITY : this.#clock.monotonic() + deadlineMs)
    if (this.#error !== undefined) {
      call.items.end(this.#error)
      return call.items
    }
    const deadline = deadlineMs === undefined ? undefined : Math.ceil(this.#clock.now() + deadlineMs)
    const bytes = encodeEnvelope({ type: 'call.requested', id: call.id, payload: { operationId: path, input, deadline, traceId, lastEventId } }, this.#limit)
    this.#calls.set(call.id, call)
    this.#duplex.write(bytes)
    this.#deadlines.add(call)
    if (signal !== undefined) call.stopListening = onAbort(signal, call)
    return call.items
  }

  close(): void {
    this.#end(new KithError('CLOSED'))
  }

  /** A call is over on this side. */
  forget(call: Asked, tell: boolean): void {
    if (!this.#calls.delete(call.id)) return
    this.#deadlines.delete(call)
    call.stopListening?.()
    if (tell) this.#duplex.write(encodeEnvelope({ type: 'call.aborted', id: call.id, payload: {} }))
  }

  /** Items wait for their readers: one slow reader holds back the whole connection, which has no credit per call. */
  hold(change: number): void {
    this.#held += change
    if (this.#held >= MAX_WAITING) this.#duplex.pause()
    else if (change < 0 && this.#duplex.isPaused()) this.#duplex.resume()
  }

  readonly #onEnvelope = ({ type, id, payload }: Envelope): void => {
    // What belongs to no call of ours may be about one that was given up.
    const call = this.#calls.get(id)
    if (call === undefined) return
    if (type === 'call.responded') {
      const { output, eventId } = isRecord(payload) ? payload : ({} as Readonly<Record<string, unknown>>)
      call.push(typeof eventId === 'string' ? { value: output, id: eventId } : { value: output })
    } else if (type === 'call.completed') call.finish(undefined)
    else if (type === 'call.error') call.finish(errorOfOpen(payload))
    else if (type === 'call.aborted') call.finish(new KithError('ABORTED', 'The other side ended the call.', { remote: true }))
  }

  #end(error: KithError): void {
    if (this.#error !== undefined) return
    this.#error = error
    const calls = [...this.#calls.values()]
    this.#calls.clear()
    this.#deadlines.close()
    for (const call of calls) call.finish(error)
    this.#duplex.destroy()
  }
}

class Asked implements ItemSource, Expiring {
  readonly id: string
  earlier: Expiring | undefined
  later: Expiring | undefined
  readonly expiresAt: number
  readonly items: ItemQueue<StreamItem> = new ItemQueue<StreamItem>(this)
  stopListening: (() => void) | undefined
  readonly #client: Client
  #held = 0

  constructor(client: Client, id: string, expiresAt: number) {
    this.#client = client
    this.id = id
    this.expiresAt = expiresAt
  }

  push(item: StreamItem): void {
    this.#held++
    this.#client.hold(1)
    this.items.push(item, 1)
  }

  taken(count: number): void {
    this.#held -= count
    this.#client.hold(-count)
  }

  /** What still waits does not hold the others back any more. */
  finish(error: KithError | undefined): void {
    this.#client.forget(this, false)
    this.items.end(error)
    this.#client.hold(-this.#held)
    this.#held = 0
  }

  stopped(): void {
    this.cancelled(undefined)
  }

  cancelled(error: KithError | undefined): void {
    this.#client.forget(this, true)
    this.items.end(error)
    this.#client.hold(-this.#held)
    this.#held = 0
  }

  expire(): void {
    this.cancelled(new KithError('CALL_TIMEOUT'))
  }
}
