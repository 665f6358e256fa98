import type { Clock, Timer } from '../core/clock.ts'
import { asKithError, KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Random } from '../core/random.ts'
import type { Service, ServiceState, ServiceStatus, Trouble } from './service.ts'

/** First pause before a failed service is started again; doubles up to the longest, with full jitter. */
const FIRST_PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 60_000
/** A service that does not stop in this time is left behind, so that it cannot keep the others from stopping. */
const STOP_MS = 15_000

export interface SupervisorOptions {
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly stopMs?: number
}

interface Entry {
  readonly service: Service
  state: ServiceState
  error: KithError | undefined
  attempts: number
  timer: Timer | undefined
  abort: AbortController
}

/**
 * Ordered start and stop of services. A service that cannot start does not take the node down: it is reported, tried again when trying can
 * help, and services that need it wait. All operations run one after the other.
 */
export class Supervisor {
  readonly #clock: Clock
  readonly #random: Random
  readonly #logger: Logger
  readonly #stopMs: number
  readonly #entries: Entry[] = []
  readonly #listeners = new Set<() => void>()
  #queue: Promise<void> = Promise.resolve()
  #running = false

  constructor(options: SupervisorOptions) {
    this.#clock = options.clock
    this.#random = options.random
    this.#logger = options.logger
    this.#stopMs = options.stopMs ?? STOP_MS
  }

  /** @throws TypeError when the name is taken or a needed service is not there yet. */
  add(service: Service): void {
    if (this.#entries.some((entry) => entry.service.name === service.name)) throw new TypeError(`service ${service.name} exists`)
    for (const need of service.needs ?? []) {
      if (!this.#entries.some((entry) => entry.service.name === need))
        throw new TypeError(`service ${service.name} needs ${need}, which was not added before it`)
    }
    this.#entries.push({ service, state: 'stopped', error: undefined, attempts: 0, timer: undefined, abort: new AbortController() })
  }

  /** Resolves when every service runs, waits or has failed; which of these is in `troubles()`. */
  start(): Promise<void> {
    this.#running = true
    return this.#enqueue(() => this.#startAll())
  }

  /** Starts a service that waits or failed, at once, and those that need it. */
  retry(name: string): Promise<void> {
    const entry = this.#find(name)
    return this.#enqueue(async () => {
      if (entry.state === 'failed' || entry.state === 'waiting') {
        entry.attempts = 0
        this.#clear(entry)
        entry.state = 'stopped'
      }
      await this.#startAll()
    })
  }

  /** Stops all services, last one first, each within its bound. Idempotent. */
  stop(): Promise<void> {
    this.#running = false
    for (const entry of this.#entries) if (entry.state === 'starting') entry.abort.abort(new KithError('CLOSED', 'The node is stopping.'))
    return this.#enqueue(async () => {
      for (const entry of [...this.#entries].reverse()) await this.#stopOne(entry)
    })
  }

  services(): readonly ServiceStatus[] {
    return this.#entries.map((entry) => ({ name: entry.service.name, state: entry.state }))
  }

  /** Everything that keeps the node from working fully. Services that only wait for another one are not listed: the cause is. */
  troubles(): readonly Trouble[] {
    return this.#entries.flatMap((entry): Trouble[] => {
      const service = entry.service.name
      if (entry.state === 'running') return entry.service.health().map((trouble) => ({ service, ...trouble }))
      if (entry.state !== 'failed' || entry.error === undefined) return []
      return [{ service, code: entry.error.code, message: entry.error.message, next: entry.error.next ?? null }]
    })
  }

  isRunning(name: string): boolean {
    return this.#find(name).state === 'running'
  }

  /** The error a caller gets who asks for something that `name` would do. */
  errorOf(name: string): KithError | undefined {
    const entry = this.#find(name)
    if (entry.state === 'running') return undefined
    for (const need of entry.service.needs ?? []) {
      const error = this.errorOf(need)
      if (error !== undefined) return error
    }
    return entry.error ?? new KithError('DEGRADED', `The node's ${name} is not running.`, { next: 'kith status' })
  }

  /** Called after every change of state; returns the way to stop. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #find(name: string): Entry {
    const entry = this.#entries.find((candidate) => candidate.service.name === name)
    if (entry === undefined) throw new TypeError(`no service ${name}`)
    return entry
  }

  #enqueue(run: () => Promise<void>): Promise<void> {
    const result = this.#queue.then(run)
    // The chain goes on whatever one operation does; its caller gets the error.
    this.#queue = result.catch(() => {})
    return result
  }

  async #startAll(): Promise<void> {
    for (const entry of this.#entries) {
      if (!this.#running) return
      if (entry.state !== 'stopped' && entry.state !== 'waiting') continue
      if ((entry.service.needs ?? []).every((need) => this.isRunning(need))) await this.#startOne(entry)
      else this.#move(entry, 'waiting')
    }
  }

  async #startOne(entry: Entry): Promise<void> {
    entry.abort = new AbortController()
    entry.error = undefined
    this.#move(entry, 'starting')
    const { abort } = entry
    try {
      await entry.service.start(abort.signal, (error) => {
        if (entry.abort === abort) this.#failed(entry, error)
      })
      entry.attempts = 0
      this.#move(entry, 'running')
    } catch (cause) {
      await this.#bounded(entry)
      this.#fail(entry, asKithError(cause, 'INTERNAL'))
    }
  }

  /** A running service gave up: it is stopped with those that need it, then started again after a pause. */
  #failed(entry: Entry, error: KithError): void {
    void this.#enqueue(async () => {
      if (entry.state !== 'running') return
      for (const other of [...this.#entries].reverse()) {
        if (other.service.needs?.includes(entry.service.name) === true && other.state === 'running') {
          await this.#stopOne(other)
          this.#move(other, 'waiting')
        }
      }
      await this.#stopOne(entry)
      this.#fail(entry, error)
    })
  }

  #fail(entry: Entry, error: KithError): void {
    entry.error = error
    this.#move(entry, 'failed')
    this.#logger.warn('service failed', { service: entry.service.name, code: error.code, message: error.message })
    if (!error.retryable || !this.#running) return
    const ceiling = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** entry.attempts)
    entry.attempts += 1
    entry.timer = this.#clock.after(ceiling * (0.5 + this.#random.unit() / 2), () => {
      if (entry.state !== 'failed' || !this.#running) return
      entry.state = 'stopped'
      void this.#enqueue(() => this.#startAll())
    })
  }

  async #stopOne(entry: Entry): Promise<void> {
    this.#clear(entry)
    if (entry.state === 'stopped') return
    if (entry.state === 'waiting' || entry.state === 'failed') return this.#move(entry, 'stopped')
    this.#move(entry, 'stopping')
    entry.abort.abort(new KithError('CLOSED', 'The node is stopping.'))
    await this.#bounded(entry)
    this.#move(entry, 'stopped')
  }

  /** Stops one service within the bound; its errors are logged, because stopping must go on. */
  async #bounded(entry: Entry): Promise<void> {
    let timer: Timer | undefined
    const late = new Promise<'late'>((resolve) => {
      timer = this.#clock.after(this.#stopMs, () => resolve('late'), { keepAlive: true })
    })
    try {
      const outcome = await Promise.race([entry.service.stop(), late])
      if (outcome === 'late') this.#logger.warn('service did not stop in time', { service: entry.service.name })
    } catch (error) {
      this.#logger.warn('service failed to stop', { service: entry.service.name, message: error instanceof Error ? error.message : 'unknown' })
    } finally {
      timer?.cancel()
    }
  }

  #clear(entry: Entry): void {
    entry.timer?.cancel()
    entry.timer = undefined
  }

  #move(entry: Entry, state: ServiceState): void {
    if (entry.state === state) return
    entry.state = state
    this.#logger.debug('service', { service: entry.service.name, state })
    for (const listener of this.#listeners) listener()
  }
}
