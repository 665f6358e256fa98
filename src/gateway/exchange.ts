import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Caller } from '../access/types.ts'
import { Cancellation } from '../call/cancellation.ts'
import type { IncomingCall } from '../call/types.ts'
import type { Connection } from './connections.ts'
import { deadlineOf, traceOf } from './guards.ts'
import type { TraceIds } from './trace.ts'

/** Filled as the request is read; made once, for one call. */
export type Call = { -readonly [K in keyof IncomingCall]: IncomingCall[K] }

/** One request on its way. */
export class Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** Waits to be told to send the body. */
  readonly expects: boolean
  readonly connection: Connection
  readonly path: string
  /** What stands behind the first question mark. */
  readonly query: string
  readonly ending: Cancellation = new Cancellation()
  readonly span: string
  readonly traceId: string
  readonly parentId: string | undefined
  /** It takes one of the places that there are. */
  entered = false
  /** Who asks, once that is known and they have a place of their share. */
  caller: Caller | undefined

  constructor(request: IncomingMessage, response: ServerResponse, expects: boolean, connection: Connection, ids: TraceIds) {
    this.request = request
    this.response = response
    this.expects = expects
    this.connection = connection
    const url = request.url ?? ''
    const mark = url.indexOf('?')
    this.path = mark === -1 ? url : url.slice(0, mark)
    this.query = mark === -1 ? '' : url.slice(mark + 1)
    const trace = traceOf(request.headers)
    this.span = ids.span()
    this.traceId = trace?.traceId ?? ids.trace()
    this.parentId = trace?.parentId
  }

  get traceparent(): string {
    return `00-${this.traceId}-${this.span}-01`
  }

  /** Names and values that every answer to it carries. */
  get headers(): readonly string[] {
    return ['request-id', this.span, 'traceparent', this.traceparent]
  }

  /** @throws KithError `REQUEST_MALFORMED` for a deadline that is none. */
  callOf(caller: Caller, path: string): Call {
    const call: Call = { caller, path, cancellation: this.ending, traceId: this.traceId, input: undefined }
    const deadlineMs = deadlineOf(this.request.headers)
    if (deadlineMs !== undefined) call.deadlineMs = deadlineMs
    if (this.parentId !== undefined) call.parentId = this.parentId
    return call
  }
}
