import type { Caller } from '../access/types.ts'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Metrics } from '../core/observe/metrics.ts'
import type { Did } from '../identity/did.ts'
import type { LinkStream } from '../transport/types.ts'
import type { Cancellation } from './cancellation.ts'
import type { Authorize, Callee, CallOptions, Holds, StreamItem } from './types.ts'
import type { Registration } from './worker-codec.ts'

/** How a head calls one worker. */
export interface WorkerCalls {
  /** Takes inputs that nobody read here, and then gives what comes likewise. */
  readonly undecoded?: boolean
  /** @throws KithError what the operation answered, or what became of the link. */
  call(worker: WorkerIdentity, name: string, input: unknown, options: WorkerCallOptions): Promise<unknown>
  /** Ending the iteration ends the call there. */
  stream(worker: WorkerIdentity, name: string, input: unknown, options: WorkerCallOptions): AsyncIterableIterator<StreamItem>
}

export interface WorkerCallOptions extends Omit<CallOptions, 'signal'> {
  readonly caller: Caller
  readonly cancellation: Cancellation
  /** Instead of the input. */
  readonly inputs?: AsyncIterable<unknown>
}

/** Who a registration came from: proved by the link. */
export interface WorkerIdentity {
  readonly peer: Did
  /** Of the machine, in hex. */
  readonly linkKey: string
}

export interface HeadComponents {
  /** What answers for the operations of this node. */
  readonly local: Callee
  /** Whether this node itself has an operation of that name: it goes before workers. */
  readonly hasLocal: (name: string) => boolean
  /** Whether a first segment means this node. */
  readonly isHere?: (node: string) => boolean
  readonly client: WorkerCalls
  /** Asked with `alias/service/op` for operations of workers. */
  readonly authorize: Authorize
  /** Whether the machine may offer the service under the alias. Nobody may whom the owner did not name. */
  readonly mayOffer: (worker: Did, target: string) => boolean
  /** An alias that is kept for somebody else, such as the name of another peer. */
  readonly isReserved?: (alias: string, worker: Did) => boolean
  /** Told of registrations that began, changed and ended. */
  readonly onWorker?: (event: WorkerEvent) => void
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics?: Metrics
  readonly limits?: Partial<HeadLimits>
}

export interface WorkerEvent extends WorkerIdentity {
  readonly type: 'registered' | 'replaced' | 'removed' | 'refused'
  readonly alias: string
  readonly operations: number
  /** Why it ended or was refused: an error code. */
  readonly reason?: string
}

export interface HeadLimits {
  /** Workers of all peers. */
  readonly workers: number
  /** Aliases of one identity. */
  readonly workersPerPeer: number
  /** Operations of all workers together. */
  readonly operations: number
  /** Calls that run at one worker at a time. */
  readonly callsPerWorker: number
  /** Ms between the beats of a worker, and after how much silence it is given up. */
  readonly beatMs: number
  readonly lostMs: number
  /** How long a stream may take to its first registration. */
  readonly registerMs: number
}

export const HEAD_LIMITS: HeadLimits = {
  workers: 256,
  workersPerPeer: 16,
  operations: 8_192,
  callsPerWorker: 1_024,
  beatMs: 30_000,
  lostMs: 90_000,
  registerMs: 10_000,
}

export interface WorkerStatus {
  readonly alias: string
  readonly did: Did
  readonly linkKey: string
  readonly state: 'serving' | 'draining' | 'ejected'
  readonly operations: number
  readonly services: readonly string[]
  /** Calls of this head that run there now. */
  readonly running: number
  readonly calls: number
  readonly failures: number
  /** Wall time. */
  readonly sinceMs: number
}

/** The callee of a node with the operations of its workers. */
export interface Head extends Callee {
  /** Serves the protocol of workers on a stream that a peer opened. */
  accept(stream: LinkStream, worker: WorkerIdentity, own?: OwnWorker): void
  /**
   * Registers a worker of this node itself, as a process beside it: its operations are named in rules without the alias.
   * @throws KithError `WORKER_CONFLICT`, `CALL_CONFLICT` for an operation that the node has itself, `BUDGET_EXCEEDED`.
   */
  attach(registration: Registration, calls: WorkerCalls, worker: WorkerIdentity): AttachedWorker
  workers(): readonly WorkerStatus[]
  /** Ends those that may not be there any more by the rules. */
  recheck(): void
  /** Ends the calls at workers that may not go on. */
  recheckCalls(holds: Holds): void
  /** Takes no new calls for workers; resolves when those that run have ended, at most after `ms`. */
  drain(ms: number): Promise<void>
  /** Ends all registrations; calls that still run end with `WORKER_LOST`. */
  close(): void
}

/** A process of this node's own that speaks the protocol of workers. */
export interface OwnWorker {
  readonly calls: WorkerCalls
  /** What it offers now; `undefined` when it is gone. */
  readonly onRegistration: (registration: Registration | undefined) => void
  /** Whatever else calls it takes no new calls either; resolves when theirs have ended. */
  readonly drain: () => Promise<void>
}

export interface AttachedWorker {
  /** Another set of operations, as a whole. @throws as `attach`. */
  replace(registration: Registration): void
  /** Takes no new calls; resolves when none runs any more. */
  drain(): Promise<void>
  /** Calls that run end with `WORKER_LOST`. */
  close(): void
}
