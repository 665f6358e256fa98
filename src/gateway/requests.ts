import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Caller } from '../access/types.ts'
import { Cancellation } from '../call/cancellation.ts'
import { unknownOperation } from '../call/errors.ts'
import type { IncomingCall, JsonSchema, OperationDescription } from '../call/types.ts'
import { KithError } from '../core/errors.ts'
import { errorHeaders, errorText, jsonOf, outward, sendBytes, sendJson, statusOf } from './answer.ts'
import { bodyAtHand, hasBody, linger, readBody } from './body.ts'
import { Budget } from './budget.ts'
import { sendEvents } from './events.ts'
import { bearerOf, checkJsonBody, deadlineOf, HostGuard, lastEventIdOf, traceOf, wantsEvents } from './guards.ts'
import { malformed, parseJson } from './json.ts'
import { DEFAULT_LIMITS, type GatewayLimits } from './limits.ts'
import type { McpDoor } from './mcp/door.ts'
import { openApiDocument } from './openapi/document.ts'
import { presentationOf } from './presentation.ts'
import { type QueryInput, queryInput } from './query-input.ts'
import { Revocations } from './revocations.ts'
import { parseQuery, Targets } from './target.ts'
import { TraceIds } from './trace.ts'
import type { GatewayOptions } from './types.ts'

/** Operations of which it is remembered what they take. */
const MAX_REMEMBERED = 4_096

/** One request on its way. */
interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** Waits to be told to send the body. */
  readonly expects: boolean
  readonly ending: Cancellation
  readonly query: string
  /** Names and values that every answer to it carries. */
  headers: readonly string[]
}

/** Filled as the request is read; made once, for one call. */
type Call = { -readonly [K in keyof IncomingCall]: IncomingCall[K] }

/**
 * What happens to a request, in this order, each step refusing for all the later ones:
 *
 * ```text
 * Host, Origin -> room for one more -> method, path -> caller (Bearer) -> its share -> body or parameters -> callee
 * ```
 * Nothing of a body is read before its sender is known.
 */
export class RequestDesk {
  readonly #options: GatewayOptions
  readonly #limits: GatewayLimits
  readonly #budget: Budget
  readonly #hosts: HostGuard
  readonly #targets: Targets = new Targets()
  readonly #queries: WeakMap<object, QueryInput> = new WeakMap()
  readonly #running: Set<Cancellation> = new Set()
  readonly #takesOne: Set<string> = new Set()
  readonly #stopWatching: () => void
  readonly #revocations: Revocations = new Revocations()
  readonly #ids: TraceIds
  #mcp: Promise<McpDoor> | undefined
  #closed = false

  constructor(options: GatewayOptions) {
    this.#options = options
    this.#ids = new TraceIds(options.random)
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits }
    this.#budget = new Budget(this.#limits)
    this.#hosts = new HostGuard(options.hosts ?? [])
    this.#stopWatching = options.callee.onChange(() => this.#takesOne.clear())
  }

  get inFlight(): number {
    return this.#budget.total
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#stopWatching()
    for (const ending of this.#running) ending.cancel(new KithError('CLOSED', 'The gateway closes.'))
    await (await this.#mcp?.catch(() => undefined))?.close()
  }

  serve(request: IncomingMessage, response: ServerResponse, expects: boolean): void {
    const ending = new Cancellation()
    const url = request.url ?? ''
    const mark = url.indexOf('?')
    const exchange: Exchange = { request, response, expects, ending, query: mark === -1 ? '' : url.slice(mark + 1), headers: [] }
    this.#running.add(ending)
    response.on('close', () => {
      this.#running.delete(ending)
      if (!response.writableFinished) ending.cancel(new KithError('ABORTED', 'The client went away.'))
    })
    response.on('error', ignore)
    this.#serve(exchange, mark === -1 ? url : url.slice(0, mark))
      .catch((error: unknown) => this.#refuse(exchange, error))
      .catch(() => response.destroy())
  }

  async #serve(exchange: Exchange, path: string): Promise<void> {
    const { request } = exchange
    const trace = traceOf(request.headers)
    const span = this.#ids.span()
    const traceId = trace?.traceId ?? this.#ids.trace()
    exchange.headers = ['request-id', span, 'traceparent', `00-${traceId}-${span}-01`]
    this.#hosts.check(request.headers)
    if (this.#closed) throw new KithError('GATEWAY_BUSY', 'The gateway closes.')
    const address = request.socket.remoteAddress ?? ''
    this.#budget.enter(address)
    try {
      const target = this.#targets.find(path)
      // Told apart only for whoever has a name here: 401 comes before 404.
      const caller = await this.#callerOf(request)
      this.#budget.enterCaller(caller.id)
      try {
        if (caller.revoked !== undefined) this.#revocations.add(caller.revoked, exchange.ending)
        try {
          if (target === undefined) throw unknownOperation()
          if (target.kind === 'schema') await this.#sendSchema(exchange, caller)
          else if (target.kind === 'mcp') await this.#serveMcp(exchange, caller)
          else await this.#operation(exchange, callOf(exchange, caller, target.path, traceId, trace?.parentId))
        } finally {
          if (caller.revoked !== undefined) this.#revocations.delete(caller.revoked, exchange.ending)
        }
      } finally {
        this.#budget.leaveCaller(caller.id)
      }
    } finally {
      this.#budget.leave(address)
    }
  }

  async #callerOf({ headers }: IncomingMessage): Promise<Caller> {
    const text = bearerOf(headers)
    const caller = text === undefined ? undefined : await this.#options.identities.resolve(presentationOf(text))
    if (caller === undefined) throw new KithError('GATEWAY_UNAUTHORIZED', 'A token is needed: Authorization: Bearer TOKEN.')
    return caller
  }

  async #operation(exchange: Exchange, call: Call): Promise<void> {
    const { request } = exchange
    const events = wantsEvents(request.headers)
    if (request.method === 'POST') {
      if (exchange.query !== '') throw malformed('The input of a POST is its body.')
      if (!this.#takesOne.has(knownAs(call))) await this.#refuseClientStream(call)
      if (hasBody(request)) {
        const ready = this.#bodyAtHand(request)
        call.input = ready === undefined ? await this.#body(exchange) : ready.value
      }
      return await (events ? this.#stream(exchange, call) : this.#once(exchange, call))
    }
    if (request.method !== 'GET') throw wrongMethod('GET, POST')
    if (hasBody(request)) throw malformed('A GET has no body.')
    const described = await this.#describe(call)
    if (described.clientStream) await this.#refuseClientStream(call)
    // Asking for a page must change nothing, whoever makes a browser ask for it.
    if (described.kind === 'mutation') throw wrongMethod('POST')
    if (described.kind === 'subscription' && !events) throw new KithError('REQUEST_MALFORMED', 'A subscription is asked for with Accept: text/event-stream.')
    const pairs = parseQuery(exchange.query)
    if (pairs === undefined) throw malformed('The parameters are not understood.')
    call.input = this.#queryOf(described.input).read(pairs)
    await (described.kind === 'subscription' ? this.#stream(exchange, call) : this.#once(exchange, call))
  }

  /** @throws KithError `CALL_UNKNOWN` for what the caller may not know of. */
  async #describe({ path, caller }: Call): Promise<OperationDescription> {
    const described = await this.#options.callee.describe(path, caller)
    if (described === undefined) throw unknownOperation()
    return described
  }

  /** HTTP carries one input. Whether an operation takes a stream of them is asked once by each caller, until the operations change:
   * what one knows of it makes no difference to another. @throws KithError `UNSUPPORTED`. */
  async #refuseClientStream(call: Call): Promise<void> {
    const { path, caller } = call
    const described = await this.#options.callee.describe(path, caller)
    // What the caller may not know of is refused by the call itself.
    if (described === undefined) return
    if (!described.clientStream && this.#takesOne.size < MAX_REMEMBERED) this.#takesOne.add(knownAs(call))
    if (described.clientStream)
      throw new KithError('UNSUPPORTED', 'The operation takes a stream of inputs, which HTTP does not carry.', {
        next: 'call it over a link or by raw framing',
      })
  }

  #queryOf(schema: JsonSchema): QueryInput {
    if (typeof schema === 'boolean') return queryInput(schema)
    const known = this.#queries.get(schema)
    if (known !== undefined) return known
    const made = queryInput(schema)
    this.#queries.set(schema, made)
    return made
  }

  #bodyAtHand(request: IncomingMessage): { readonly value: unknown } | undefined {
    checkJsonBody(request.headers)
    const bytes = bodyAtHand(request, this.#limits.bodyBytes)
    return bytes === undefined ? undefined : { value: parseJson(bytes) }
  }

  async #body(exchange: Exchange): Promise<unknown> {
    const { request, response, expects } = exchange
    checkJsonBody(request.headers)
    const announced = Number(request.headers['content-length'] ?? 0)
    if (expects && announced <= this.#limits.bodyBytes) response.writeContinue()
    const bytes = await readBody(request, this.#limits.bodyBytes, this.#budget)
    return bytes.length === 0 ? undefined : parseJson(bytes)
  }

  async #once({ response, headers, ending }: Exchange, call: Call): Promise<void> {
    const value = await this.#options.callee.call(call)
    if (ending.error !== undefined) throw ending.error
    if (value instanceof Uint8Array) sendBytes(response, value, headers)
    else sendJson(response, 200, jsonOf(value), headers)
  }

  async #stream(exchange: Exchange, call: Call): Promise<void> {
    const { request, response, headers, ending } = exchange
    const lastEventId = lastEventIdOf(request.headers)
    this.#budget.enterStream(call.caller.id)
    try {
      if (lastEventId !== undefined) call.lastEventId = lastEventId
      const items = this.#options.callee.stream(call)
      await sendEvents(response, items, { clock: this.#options.clock, limits: this.#limits, signal: ending.signal, headers })
    } finally {
      this.#budget.leaveStream(call.caller.id)
    }
  }

  async #sendSchema({ request, response, headers, query }: Exchange, caller: Caller): Promise<void> {
    if (request.method !== 'GET') throw wrongMethod('GET')
    if (query !== '') throw malformed('The schema takes no parameters.')
    const { callee, title = 'kith', version = '0.0.0' } = this.#options
    sendJson(response, 200, JSON.stringify(await openApiDocument(callee, caller, { title, version })), headers)
  }

  async #serveMcp(exchange: Exchange, caller: Caller): Promise<void> {
    const { request, response, headers } = exchange
    // What speaks this protocol is large, so it is loaded when the first client comes.
    this.#mcp ??= import('./mcp/door.ts').then(({ openMcpDoor }) => openMcpDoor(this.#options))
    const door = await this.#mcp
    const body = request.method === 'POST' && hasBody(request) ? await this.#body(exchange) : undefined
    await door.serve(request, response, { caller, signal: exchange.ending.signal, headers, body })
  }

  async #refuse(exchange: Exchange, error: unknown): Promise<void> {
    const { request, response, headers } = exchange
    const known = outward(error)
    if (known.code === 'INTERNAL')
      this.#options.logger.error('gateway request failed', { message: known.cause instanceof Error ? known.cause.message : 'unknown' })
    if (response.headersSent || response.destroyed) {
      response.destroy()
      return
    }
    const unread = hasBody(request) && !request.complete
    // Who waits to be asked for the body is not asked.
    if (unread && !exchange.expects) await linger(request)
    if (response.destroyed) return
    const close = unread && !request.complete ? ['connection', 'close'] : []
    sendJson(response, statusOf(known.code), errorText(known), [...headers, ...errorHeaders(known), ...close])
  }
}

function callOf({ request, ending }: Exchange, caller: Caller, path: string, traceId: string, parentId: string | undefined): Call {
  const call: Call = { caller, path, cancellation: ending, traceId, input: undefined }
  const deadlineMs = deadlineOf(request.headers)
  if (deadlineMs !== undefined) call.deadlineMs = deadlineMs
  if (parentId !== undefined) call.parentId = parentId
  return call
}

/** No id has a line break in it. */
function knownAs({ caller, path }: Call): string {
  return `${caller.id}\n${path}`
}

function wrongMethod(allow: string): KithError {
  return new KithError('METHOD_REFUSED', `This takes ${allow}.`, { details: { allow } })
}

function ignore(): void {}
