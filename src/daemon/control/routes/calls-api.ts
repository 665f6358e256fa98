import type { OperationDescription, OperationKind } from '../../../call/types.ts'
import type { WorkerPhase } from '../../services/worker-registrations.ts'
import type { Json, Lines, Nothing } from '../route.ts'

/** `path`: `service/op` here, `/alias/service/op` of a worker here, `/peer/service/op` or `/peer/alias/service/op` elsewhere. `repeated` is for a caller who lost the answer. */
export interface CallInput {
  readonly path: string
  readonly input?: unknown
  /** Default: what the operation allows. */
  readonly deadline_ms?: number
  readonly last_event_id?: string
}

/** `value` is null where there is none. `bytes` instead of it for what is not JSON, in base64. */
export interface CallResult {
  readonly value: unknown
  readonly bytes?: string
}

export interface CallItem extends CallResult {
  readonly id: string | null
}

export interface OperationListed {
  /** As it is called from here. */
  readonly path: string
  readonly name: string
  readonly kind: OperationKind
  readonly summary: string | null
  /** The alias of the worker that runs it; null for the node itself. */
  readonly node: string | null
}

export interface WorkerListed {
  readonly alias: string
  readonly did: string
  readonly name: string | null
  readonly state: 'serving' | 'draining' | 'ejected'
  readonly operations: number
  readonly services: readonly string[]
  readonly running: number
  readonly calls: number
  readonly failures: number
  readonly since: string
}

/** Where operations of this node are registered. */
export interface HeadListed {
  readonly did: string
  readonly name: string | null
  readonly alias: string
  readonly phase: WorkerPhase
  readonly error: string | null
}

/** Calls of the owner, and what can be called. A stream ends when its reader goes away. */
export interface CallsApi {
  'POST /v1/call': Json<CallInput, CallResult>
  'POST /v1/call/stream': Lines<CallInput, CallItem>
  'GET /v1/operations': Json<{ readonly peer?: string }, { readonly operations: readonly OperationListed[] }>
  'GET /v1/operations/schema': Json<{ readonly path: string }, OperationDescription>
  'GET /v1/workers': Json<Nothing, { readonly workers: readonly WorkerListed[]; readonly heads: readonly HeadListed[] }>
}
