import type { ErrorCode, KithError } from '../core/errors.ts'

/** Something that is wrong and what to do about it; the entries of `degraded` in `kith status --json`. */
export interface Trouble {
  readonly service: string
  readonly code: ErrorCode
  readonly message: string
  readonly next: string | null
}

/**
 * A part of the node with a life of its own: identity, mesh, forwards, inbox. The supervisor starts services in the order they were added
 * and stops them in reverse; it never runs two operations of one service at a time.
 */
export interface Service {
  readonly name: string
  /** Services that must run first. They were added earlier. */
  readonly needs?: readonly string[]
  /**
   * Resolves when the service works. `signal` aborts an unfinished start. `failed` is how a running service reports that it can no
   * longer work: it is stopped and started again after a pause. A `KithError` that is not retryable keeps the service down until `retry`.
   */
  start(signal: AbortSignal, failed: (error: KithError) => void): Promise<void>
  /** Ends everything that `start` began, also when `start` failed half-way. Idempotent. */
  stop(): Promise<void>
  /** What does not work although the service runs. Asked often: answers from memory. */
  health(): readonly Omit<Trouble, 'service'>[]
}

export type ServiceState = 'stopped' | 'waiting' | 'starting' | 'running' | 'failed' | 'stopping'

export interface ServiceStatus {
  readonly name: string
  readonly state: ServiceState
}
