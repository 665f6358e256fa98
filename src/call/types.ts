import type { Caller } from '../access/types.ts'
import type { Cancellation } from './cancellation.ts'
import type { NESTED, Nested } from './depth.ts'

export type OperationKind = 'query' | 'mutation' | 'subscription'

/** JSON Schema 2020-12, as it is published. */
export type JsonSchema = { readonly [keyword: string]: unknown } | boolean

/** Who may call an operation where the owner's rules (`kith allow PEER call service/op`) say nothing. Absent: nobody but the owner. */
export type OperationAccess =
  | 'everyone'
  | {
      /** Scopes that must all be there. */
      readonly all?: readonly string[]
      /** Scopes of which one must be there. */
      readonly any?: readonly string[]
      /** What must stand among the caller's resources. */
      readonly resource?: { readonly type: string; readonly action?: string }
    }

/**
 * Who gets to know of an operation: `hidden` only who may call it, `listed` everybody (who may not call it is told so), `internal` nobody outside: only handlers of
 * this node call it.
 */
export type Visibility = 'hidden' | 'listed' | 'internal'

/** What decides about a call needs to know of the operation. */
export interface Authorizable {
  /** `service/op`. */
  readonly name: string
  readonly access?: OperationAccess
  readonly visibility: Visibility
}

/** `hidden` is answered as if there were no such operation. Asked with the same care for names that do not exist, so that both take the same work. */
export type Authorize = (caller: Caller, operation: Authorizable) => 'allowed' | 'denied' | 'hidden'

/** Whether a call under way may go on. `nested`: a handler of this node makes it. */
export type Holds = (caller: Caller, operation: Authorizable, nested: boolean) => boolean

/** What a list shows of an operation. Names are `service/op`. */
export interface OperationSummary {
  readonly name: string
  readonly kind: OperationKind
  readonly summary?: string
  /** Where it runs: `''` here, else the alias of a worker. */
  readonly node: string
}

export interface OperationDescription extends OperationSummary {
  readonly input: JsonSchema
  readonly output: JsonSchema
  /** Schema of `details` by error code. */
  readonly errors: { readonly [code: string]: JsonSchema }
  readonly idempotent: boolean
  /** Whether the caller may send a stream of inputs. */
  readonly clientStream: boolean
  /** Whether a subscription can be taken up behind the last event seen. */
  readonly resumable: boolean
  /** Milliseconds; the caller's own deadline, when shorter, wins. */
  readonly deadlineMs: number | null
}

export interface CallOptions {
  readonly signal?: AbortSignal
  /** Time left in ms; travels with the call and shrinks on the way. */
  readonly deadlineMs?: number
  /** 16 bytes in hex; a new one when absent. */
  readonly traceId?: string
  /** The call on whose behalf this one is made. */
  readonly parentId?: string
  /** Take up a subscription behind this event. */
  readonly lastEventId?: string
  /** The call may have been carried out before: it is made again because its answer was lost. */
  readonly repeated?: boolean
}

/** A call that a head makes for somebody else. */
export interface ForwardOptions extends CallOptions {
  /** Travels in the opening frame as `encodeStatement(caller)`; the side that serves hands the bytes to its `callerOf`, which decides whom it believes. */
  readonly onBehalfOf?: Caller
  /** Exactly this machine of the peer (hex, as in `LinkStatus`). */
  readonly linkKey?: string
}

/** A call that came in by some door. */
export interface IncomingCall extends CallOptions {
  readonly caller: Caller
  /** `/{node}/{service}/{op}`, or `service/op` for an operation here. */
  readonly path: string
  /** The input, not yet validated; for client streams `inputs` instead. */
  readonly input?: unknown
  readonly inputs?: AsyncIterable<unknown>
  /** Instead of `signal`, by doors that make many calls: an `AbortSignal` is made only when somebody asks for one. */
  readonly cancellation?: Cancellation
  /** Calls of this node that it was made within, however its path is written. Only calls of handlers have it. */
  readonly [NESTED]?: Nested
}

export interface StreamItem {
  readonly value: unknown
  /** Where the stream can be resumed behind this item. */
  readonly id?: string
}

/**
 * What every door calls: the link protocol, raw framing, HTTP, MCP, the SSH door. Checks access, validates, enforces deadlines, routes to workers.
 * An operation that the caller may not know of is answered as one that does not exist.
 */
export interface Callee {
  /** One answer. @throws KithError `CALL_UNKNOWN`, `CALL_DENIED`, `CALL_INPUT`, `CALL_TIMEOUT`, `CALL_FAILED`, `WORKER_LOST`, and codes the operation declares. */
  call(request: IncomingCall): Promise<unknown>
  /** Each item in order, pulled: a slow reader holds the handler back. Ending the iteration aborts the call. */
  stream(request: IncomingCall): AsyncIterableIterator<StreamItem>
  /** Whether a call of this path made now goes on to somebody who reads it: its input may then be handed in, and what it gives may come, as it was on the wire. */
  carries?(path: string): boolean
  /** What this caller may call. */
  list(caller: Caller): Promise<readonly OperationSummary[]>
  /** `undefined` for what the caller may not know of. */
  describe(path: string, caller: Caller): Promise<OperationDescription | undefined>
  /** Calls back when the set of operations may have changed; returns the way to stop. */
  onChange(listener: () => void): () => void
}
