import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Caller } from '../access/types.ts'
import { unknownOperation } from '../call/errors.ts'
import type { JsonSchema, OperationDescription } from '../call/types.ts'
import { KithError } from '../core/errors.ts'
import { jsonOf, sendBytes, sendJson, sendValue } from './answer.ts'
import { bodyAtHand, hasBody, readBody } from './body.ts'
import { Budget } from './budget.ts'
import { Connections, takenBack } from './connections.ts'
import { sendEvents } from './events.ts'
import { type Call, Exchange } from './exchange.ts'
import { bearerOf, checkJsonBody, HostGuard, lastEventIdOf, wantsEvents } from './guards.ts'
import { malformed, parseJson } from './json.ts'
import { DEFAULT_LIMITS, type GatewayLimits } from './limits.ts'
import type { McpDoor } from './mcp/door.ts'
import { openApiDocument } from './openapi/document.ts'
import { presentationOf } from './presentation.ts'
import { type QueryInput, queryInput } from './query-input.ts'
import { refuse } from './refusal.ts'
import { SingleInputs } from './single-input.ts'
import { parseQuery, type Target, Targets } from './target.ts'
import { TraceIds } from './trace.ts'
import type { GatewayOptions } from './types.ts'

/** What came with a head is read by those who read sockets before anything that waits for this goes on. */
const SOON: Promise<void> = Promise.resolve()

/**
 * What happens to a request, in this order, each step refusing for all the later ones:
 *
 * ```text
 * Host, Origin -> room for one more -> method, path -> caller (Bearer) -> its share -> body or parameters -> callee
 * ```
 * Nothing of a body is read before its sender is known. The usual request, a POST with a small body by a caller who was here before, goes through these steps without
 * waiting for a promise in between: that alone would cost more than the steps.
 */
export class RequestDesk {
  readonly #options: GatewayOptions
  readonly #limits: GatewayLimits
  readonly #budget: Budget
  readonly #hosts: HostGuard
  readonly #targets: Targets = new Targets()
  readonly #queries: WeakMap<object, QueryInput> = new WeakMap()
  readonly #connections: Connections = new Connections()
  readonly #singleInputs: SingleInputs = new SingleInputs()
  readonly #stopWatching: () => void
  readonly #ids: TraceIds
  #mcp: Promise<McpDoor> | undefined
  #closed = false

  constructor(options: GatewayOptions) {
    this.#options = options
    this.#ids = new TraceIds(options.random)
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits }
    this.#budget = new Budget(this.#limits)
    this.#hosts = new HostGuard(options.hosts ?? [])
    this.#stopWatching = options.callee.onChange(() => this.#singleInputs.clear())
  }

  get inFlight(): number {
    return this.#budget.total
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#stopWatching()
    this.#connections.close()
    await (await this.#mcp?.catch(() => undefined))?.close()
  }

  serve(request: IncomingMessage, response: ServerResponse, expects: boolean): void {
    const connection = this.#connections.of(request.socket)
    const exchange = new Exchange(request, response, expects, connection, this.#ids)
    connection.add(exchange)
    try {
      this.#hosts.check(request.headers)
      if (this.#closed) throw new KithError('GATEWAY_BUSY', 'The gateway closes.')
      this.#budget.enter(connection.address)
      exchange.entered = true
      const target = this.#targets.find(exchange.path)
      // Told apart only for whoever has a name here: 401 comes before 404.
      this.#identify(exchange, target)
    } catch (error) {
      this.#fail(exchange, error)
    }
  }

  #identify(exchange: Exchange, target: Target | undefined): void {
    const text = bearerOf(exchange.request.headers)
    if (text === undefined) throw unauthorized()
    const presentation = presentationOf(text)
    const { identities } = this.#options
    const known = identities.resolveNow?.(presentation)
    if (known !== undefined) this.#admit(exchange, target, known)
    else
      identities
        .resolve(presentation)
        .then((caller) => this.#admit(exchange, target, caller))
        .catch((error: unknown) => this.#fail(exchange, error))
  }

  #admit(exchange: Exchange, target: Target | undefined, caller: Caller | undefined): void {
    if (caller === undefined) throw unauthorized()
    this.#budget.enterCaller(caller.id)
    exchange.caller = caller
    const { revoked } = caller
    if (revoked !== undefined) {
      this.#connections.watch(revoked)
      if (revoked.aborted) exchange.ending.cancel(takenBack())
    }
    if (target === undefined) throw unknownOperation()
    if (target.kind === 'schema') this.#whenDone(exchange, this.#sendSchema(exchange, caller))
    else if (target.kind === 'mcp') this.#whenDone(exchange, this.#serveMcp(exchange, caller))
    else {
      const call = exchange.callOf(caller, target.path)
      const { method, headers } = exchange.request
      if (method === 'POST' && exchange.query === '' && !wantsEvents(headers) && this.#singleInputs.has(call.path, caller.id)) this.#post(exchange, call)
      else this.#whenDone(exchange, this.#operation(exchange, call))
    }
  }

  /** The usual request: nothing has to be asked about the operation. */
  #post(exchange: Exchange, call: Call): void {
    if (hasBody(exchange.request)) SOON.then(() => this.#continue(exchange, call))
    else this.#call(exchange, call)
  }

  #continue(exchange: Exchange, call: Call): void {
    try {
      if (this.#takeBody(exchange.request, call)) this.#call(exchange, call)
      else this.#whenDone(exchange, this.#operation(exchange, call))
    } catch (error) {
      this.#fail(exchange, error)
    }
  }

  #call(exchange: Exchange, call: Call): void {
    this.#options.callee.call(call).then(
      (value) => this.#answer(exchange, value),
      (error: unknown) => this.#fail(exchange, error),
    )
  }

  #answer(exchange: Exchange, value: unknown): void {
    try {
      this.#send(exchange, value)
      this.#leave(exchange)
    } catch (error) {
      this.#fail(exchange, error)
    }
  }

  #send({ response, ending, span, traceparent }: Exchange, value: unknown): void {
    if (ending.error !== undefined) throw ending.error
    if (value instanceof Uint8Array) sendBytes(response, value, ['request-id', span, 'traceparent', traceparent])
    else sendValue(response, jsonOf(value), span, traceparent)
  }

  #whenDone(exchange: Exchange, done: Promise<void>): void {
    // What other code writes may fail after it was given up.
    exchange.response.on('error', ignore)
    done.then(
      () => this.#leave(exchange),
      (error: unknown) => this.#fail(exchange, error),
    )
  }

  #fail(exchange: Exchange, error: unknown): void {
    this.#leave(exchange)
    SOON.then(() => refuse(exchange, error, this.#options.logger)).catch(() => exchange.response.destroy())
  }

  /** Gives back the places that it took. */
  #leave(exchange: Exchange): void {
    const { connection, caller } = exchange
    connection.delete(exchange)
    if (caller !== undefined) this.#budget.leaveCaller(caller.id)
    exchange.caller = undefined
    if (exchange.entered) this.#budget.leave(connection.address)
    exchange.entered = false
  }

  async #operation(exchange: Exchange, call: Call): Promise<void> {
    const { request } = exchange
    const events = wantsEvents(request.headers)
    if (request.method === 'POST') {
      if (exchange.query !== '') throw malformed('The input of a POST is its body.')
      if (!this.#singleInputs.has(call.path, call.caller.id)) await this.#refuseClientStream(call)
      if (hasBody(request) && !this.#takeBody(request, call)) call.input = await this.#body(exchange)
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

  /** HTTP carries one input. Whether an operation takes a stream of them is asked once by each caller, until the operations change. @throws KithError `UNSUPPORTED`. */
  async #refuseClientStream(call: Call): Promise<void> {
    const { path, caller } = call
    const described = await this.#options.callee.describe(path, caller)
    // What the caller may not know of is refused by the call itself.
    if (described === undefined) return
    if (!described.clientStream) this.#singleInputs.add(path, caller.id)
    if (described.clientStream)
      throw new KithError('UNSUPPORTED', 'The operation takes a stream of inputs, which HTTP does not carry.', {
        next: 'call it over a link',
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

  /** @returns whether the body is there already, and taken. @throws KithError `REQUEST_MALFORMED`. */
  #takeBody(request: IncomingMessage, call: Call): boolean {
    checkJsonBody(request.headers)
    const bytes = bodyAtHand(request, this.#limits.bodyBytes)
    if (bytes === undefined) return false
    call.input = parseJson(bytes)
    return true
  }

  async #body(exchange: Exchange): Promise<unknown> {
    const { request, response, expects } = exchange
    checkJsonBody(request.headers)
    const announced = Number(request.headers['content-length'] ?? 0)
    if (expects && announced <= this.#limits.bodyBytes) response.writeContinue()
    const bytes = await readBody(request, this.#limits.bodyBytes, this.#budget)
    return bytes.length === 0 ? undefined : parseJson(bytes)
  }

  async #once(exchange: Exchange, call: Call): Promise<void> {
    this.#send(exchange, await this.#options.callee.call(call))
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
}

function unauthorized(): KithError {
  return new KithError('GATEWAY_UNAUTHORIZED', 'A token is needed: Authorization: Bearer TOKEN.')
}

function wrongMethod(allow: string): KithError {
  return new KithError('METHOD_REFUSED', `This takes ${allow}.`, { details: { allow } })
}

function ignore(): void {}
