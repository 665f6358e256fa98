import type { Clock, Timer } from '../core/clock.ts'
import { asKithError, KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { LinkStream } from '../transport/types.ts'
import type { WorkerTable } from './head-table.ts'
import type { HeadLimits, OwnWorker, WorkerEvent, WorkerIdentity } from './head-types.ts'
import type { Worker } from './head-worker.ts'
import { decodeWorkerFrame, encodeHeadFrame, FrameReader, type HeadFrame, type Registration } from './worker-codec.ts'

export interface RegistrationParts {
  readonly table: WorkerTable
  readonly limits: HeadLimits
  readonly clock: Clock
  readonly logger: Logger
  readonly onEvent: (event: WorkerEvent) => void
  readonly ended: () => void
  readonly own?: OwnWorker
}

/** Registrations on one stream may follow each other this often in one time between beats; more is no worker that restarts. */
const MAX_REGISTRATIONS_PER_BEAT = 20

export interface ServedRegistration {
  /** Ends the stream and what is registered on it. */
  stop(): void
  /** The head took this worker out: when it was registered on this stream, its machine is told why, and may ask again. */
  removed(worker: Worker): void
}

/** Head's side of `icn/worker/1` on one stream. What is registered lives as long as the stream. */
export function serveRegistration(stream: LinkStream, identity: WorkerIdentity, parts: RegistrationParts): ServedRegistration {
  return new Served(stream, identity, parts)
}

class Served implements ServedRegistration {
  readonly #stream: LinkStream
  readonly #identity: WorkerIdentity
  readonly #parts: RegistrationParts
  readonly #reader: FrameReader = new FrameReader()
  #worker: Worker | undefined
  #silence: Timer | undefined
  #registrations = 0
  #over = false

  constructor(stream: LinkStream, identity: WorkerIdentity, parts: RegistrationParts) {
    this.#stream = stream
    this.#identity = identity
    this.#parts = parts
    stream.onData = (data, start, end) => this.#received(data.subarray(start, end))
    stream.onEnd = () => this.#end(undefined)
    stream.onError = (error) => this.#end(error, false)
    this.#wait(parts.limits.registerMs)
  }

  stop(): void {
    this.#end(new KithError('GOING_AWAY'))
  }

  removed(worker: Worker): void {
    if (this.#worker === worker) this.#end(new KithError('WORKER_DENIED'))
  }

  /** Ends the registration; with an error, the stream is reset with its number. */
  #end(error: KithError | undefined, tell = true): void {
    if (this.#over) return
    this.#over = true
    this.#silence?.cancel()
    this.#stream.onData = (_data, start, end) => this.#stream.consume(end - start)
    this.#stream.onEnd = () => undefined
    this.#stream.onError = () => undefined
    if (error === undefined) this.#stream.end()
    else if (tell) this.#stream.reset(error.number)
    const worker = this.#worker
    this.#worker = undefined
    if (worker !== undefined && this.#parts.table.remove(worker)) this.#tell('removed', worker.alias, worker.operations.size, error?.code)
    this.#parts.own?.onRegistration(undefined)
    this.#parts.ended()
  }

  #received(chunk: Uint8Array): void {
    this.#stream.consume(chunk.length)
    try {
      for (const payload of this.#reader.push(chunk)) {
        if (this.#over) return
        const frame = decodeWorkerFrame(payload)
        if (frame.kind === 'register') this.#register(frame.sequence, frame.registration)
        else if (frame.kind === 'beat') this.#beat()
        else this.#drain()
      }
    } catch (error) {
      this.#end(asKithError(error, 'INTERNAL'))
    }
  }

  #register(sequence: number, registration: Registration): void {
    const { table, limits } = this.#parts
    if (++this.#registrations > MAX_REGISTRATIONS_PER_BEAT) {
      this.#end(new KithError('BUDGET_EXCEEDED'))
      return
    }
    const before = this.#worker
    try {
      this.#worker = table.register(registration, this.#identity, this.#worker, this.#parts.own?.calls)
    } catch (error) {
      const refusal = asKithError(error, 'INTERNAL')
      const detail = typeof refusal.details.target === 'string' ? refusal.details.target : ''
      this.#send({ kind: 'refused', sequence, number: refusal.number, detail })
      this.#tell('refused', registration.alias, registration.operations.length, refusal.code)
      return
    }
    this.#parts.own?.onRegistration(registration)
    this.#wait(limits.lostMs)
    this.#send({ kind: 'accepted', sequence, beatMs: limits.beatMs, lostMs: limits.lostMs })
    this.#tell(this.#worker === before ? 'replaced' : 'registered', registration.alias, registration.operations.length)
  }

  #beat(): void {
    this.#registrations = 0
    // Before a registration nothing is kept alive by beats.
    if (this.#worker === undefined) return
    this.#wait(this.#parts.limits.lostMs)
    this.#send({ kind: 'beaten' })
  }

  #drain(): void {
    const worker = this.#worker
    void Promise.all([worker?.drain(), this.#parts.own?.drain()]).then(() => {
      if (!this.#over && this.#worker === worker) this.#send({ kind: 'drained' })
    })
  }

  #wait(ms: number): void {
    this.#silence?.cancel()
    this.#silence = this.#parts.clock.after(ms, () => this.#end(new KithError('TIMEOUT')))
  }

  #send(frame: HeadFrame): void {
    this.#stream.write(encodeHeadFrame(frame))
  }

  #tell(type: WorkerEvent['type'], alias: string, operations: number, reason?: string): void {
    this.#parts.onEvent({ type, alias, operations, ...this.#identity, ...(reason === undefined ? {} : { reason }) })
  }
}
