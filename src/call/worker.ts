import type { Clock, Timer } from '../core/clock.ts'
import { asKithError, KithError, remoteError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Random } from '../core/random.ts'
import type { LinkStream } from '../transport/types.ts'
import type { AnyOperation } from './define.ts'
import { publishedErrors } from './define.ts'
import { decodeHeadFrame, encodeWorkerFrame, FrameReader, type HeadFrame, isAlias, type OfferedOperation } from './worker-codec.ts'

export interface WorkerOptions {
  /** Opens `icn/worker/1` at the head; dials if needed. */
  readonly open: (signal: AbortSignal) => Promise<LinkStream>
  /** Under which the head offers the operations: 1 to 32 lower-case letters, digits and dashes. */
  readonly alias: string
  /** What is offered now; read at each registration. */
  readonly operations: () => readonly OfferedOperation[]
  /** Calls that run here now, for the head's figures. */
  readonly running?: () => number
  readonly onState?: (state: WorkerState) => void
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

/** `refused`: the head does not take it as it is; it is tried again now and then, because its owner may change that. */
export interface WorkerState {
  readonly phase: 'connecting' | 'registered' | 'refused' | 'draining' | 'closed'
  readonly error: KithError | undefined
}

/** A registration at one head that is kept up until it is closed. */
export interface WorkerSession {
  readonly state: WorkerState
  /** Registers anew, now: what is offered has changed. */
  update(): void
  /** No new calls; resolves when the head says that none of its calls runs here any more, after `ms` at most. */
  drain(ms: number): Promise<void>
  close(): void
}

const FIRST_PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 30_000
const REFUSED_PAUSE_MS = 30_000
const ANSWER_MS = 10_000
const LEAST_BEAT_MS = 1_000

/** Registers at a head and stays registered: beats, comes back after a lost link, registers anew when what is offered changes. @throws TypeError for a bad alias. */
export function createWorkerSession(options: WorkerOptions): WorkerSession {
  if (!isAlias(options.alias)) throw new TypeError('an alias is 1 to 32 lower-case letters, digits and dashes, a letter first')
  const session = new Session(options)
  session.begin()
  return session
}

class Session implements WorkerSession {
  readonly #options: WorkerOptions
  #state: WorkerState = { phase: 'connecting', error: undefined }
  #stream: LinkStream | undefined
  #abort: AbortController | undefined
  #sequence = 0
  #lostMs = ANSWER_MS
  #beatMs = 0
  #pauseMs = FIRST_PAUSE_MS
  #retry: Timer | undefined
  #beat: Timer | undefined
  #silence: Timer | undefined
  #drained: (() => void) | undefined

  constructor(options: WorkerOptions) {
    this.#options = options
  }

  get state(): WorkerState {
    return this.#state
  }

  begin(): void {
    void this.#connect()
  }

  update(): void {
    const { phase } = this.#state
    if (phase === 'closed' || phase === 'draining') return
    if (this.#stream !== undefined && this.#options.operations().length > 0) this.#register()
    else this.#reconnect(0)
  }

  drain(ms: number): Promise<void> {
    const { phase } = this.#state
    if (phase !== 'registered') {
      this.close()
      return Promise.resolve()
    }
    this.#move('draining')
    this.#stream?.write(encodeWorkerFrame({ kind: 'drain' }))
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(ms, () => this.close(), { keepAlive: true })
      this.#drained = () => {
        timer.cancel()
        resolve()
      }
    })
  }

  close(): void {
    if (this.#state.phase === 'closed') return
    this.#move('closed')
    this.#disconnect(undefined)
    this.#retry?.cancel()
    this.#drained?.()
  }

  async #connect(): Promise<void> {
    this.#retry?.cancel()
    if (this.#options.operations().length === 0) {
      this.#move('connecting')
      return
    }
    const abort = new AbortController()
    this.#abort = abort
    try {
      const stream = await this.#options.open(abort.signal)
      if (abort.signal.aborted) {
        stream.reset(new KithError('CLOSED').number)
        return
      }
      this.#attach(stream)
    } catch (error) {
      if (!abort.signal.aborted) this.#lost(asKithError(error, 'LINK_LOST'))
    }
  }

  #attach(stream: LinkStream): void {
    const reader = new FrameReader()
    this.#stream = stream
    stream.onData = (data, start, end) => {
      stream.consume(end - start)
      try {
        for (const payload of reader.push(data.subarray(start, end))) if (this.#stream === stream) this.#received(decodeHeadFrame(payload))
      } catch (error) {
        if (this.#stream === stream) this.#lost(asKithError(error, 'WIRE_MALFORMED'))
      }
    }
    const gone = (error: KithError): void => {
      if (this.#stream === stream) this.#lost(error)
    }
    stream.onEnd = () => gone(new KithError('GOING_AWAY'))
    stream.onError = (error) => gone(error)
    this.#lostMs = ANSWER_MS
    this.#register()
  }

  #register(): void {
    try {
      const operations = this.#options.operations()
      this.#stream?.write(encodeWorkerFrame({ kind: 'register', sequence: ++this.#sequence, registration: { alias: this.#options.alias, operations } }))
      this.#listen()
    } catch (error) {
      // What does not fit in a registration fits in no later one either.
      const reason =
        error instanceof TypeError
          ? new KithError('BUDGET_EXCEEDED', `The operations do not fit in a registration: ${error.message}.`, { cause: error })
          : error
      this.#refused(asKithError(reason, 'INTERNAL'))
    }
  }

  #received(frame: HeadFrame): void {
    this.#listen()
    if (frame.kind === 'accepted' && frame.sequence === this.#sequence) {
      this.#pauseMs = FIRST_PAUSE_MS
      this.#lostMs = Math.max(frame.lostMs, 2 * LEAST_BEAT_MS)
      this.#beatMs = Math.max(frame.beatMs, LEAST_BEAT_MS)
      this.#listen()
      this.#beatLater()
      if (this.#state.phase !== 'draining') this.#move('registered')
    } else if (frame.kind === 'refused' && frame.sequence === this.#sequence) {
      const { target } = { target: frame.detail }
      const known = remoteError(frame.number)
      this.#refused(new KithError(known.code, known.message, { remote: true, details: target === '' ? {} : { target } }))
    } else if (frame.kind === 'drained' && this.#state.phase === 'draining') this.close()
  }

  #refused(error: KithError): void {
    this.#disconnect(error)
    this.#move('refused', error)
    this.#reconnect(REFUSED_PAUSE_MS)
  }

  #lost(error: KithError): void {
    this.#disconnect(error)
    if (this.#state.phase === 'closed') return
    if (this.#state.phase === 'draining') {
      this.close()
      return
    }
    this.#move('connecting', error)
    const pause = this.#pauseMs * (0.5 + this.#options.random.unit() / 2)
    this.#pauseMs = Math.min(LONGEST_PAUSE_MS, this.#pauseMs * 2)
    this.#reconnect(pause)
  }

  #reconnect(ms: number): void {
    this.#retry?.cancel()
    this.#disconnect(undefined)
    this.#retry = this.#options.clock.after(ms, () => void this.#connect())
  }

  #disconnect(error: KithError | undefined): void {
    this.#abort?.abort(new KithError('CLOSED'))
    this.#abort = undefined
    this.#beat?.cancel()
    this.#silence?.cancel()
    const stream = this.#stream
    this.#stream = undefined
    if (stream === undefined) return
    stream.onData = (_data, start, end) => stream.consume(end - start)
    stream.onEnd = () => undefined
    stream.onError = () => undefined
    if (error === undefined || error.remote) stream.end()
    else stream.reset(error.number)
  }

  #beatLater(): void {
    this.#beat?.cancel()
    this.#beat = this.#options.clock.after(this.#beatMs, () => {
      this.#stream?.write(encodeWorkerFrame({ kind: 'beat', running: this.#options.running?.() ?? 0 }))
      this.#beatLater()
    })
  }

  /** A head that says nothing for so long is gone. */
  #listen(): void {
    this.#silence?.cancel()
    this.#silence = this.#options.clock.after(this.#lostMs, () => this.#lost(new KithError('TIMEOUT')))
  }

  #move(phase: WorkerState['phase'], error?: KithError): void {
    if (this.#state.phase === phase && this.#state.error?.code === error?.code) return
    this.#state = { phase, error }
    this.#options.logger.debug('worker', { phase, code: error?.code })
    this.#options.onState?.(this.#state)
  }
}

/** An operation as a head is told of it. Those that only handlers may call are offered to nobody. */
export function offeredOperations(operations: readonly AnyOperation[]): readonly OfferedOperation[] {
  return operations
    .filter(({ visibility }) => visibility !== 'internal')
    .map((operation) => {
      const { name, kind, summary, access, visibility, idempotent, clientStream, resumable, deadlineMs, input, output } = operation
      return {
        name,
        kind,
        ...(summary === undefined ? {} : { summary }),
        ...(access === undefined ? {} : { access }),
        listed: visibility === 'listed',
        idempotent,
        clientStream,
        resumable,
        deadlineMs: deadlineMs === null ? null : Math.ceil(deadlineMs),
        input: input.json,
        output: output.json,
        errors: publishedErrors(operation),
      }
    })
}
