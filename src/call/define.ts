import type { Caller } from '../access/types.ts'
import type { Logger } from '../core/observe/log.ts'
import { isErrorCode } from './errors.ts'
import { checkOperationName } from './names.ts'
import { type AnySchema, type Checker, compileSchema, type SchemaInput, type SchemaOutput } from './schema.ts'
import type { Authorizable, CallOptions, JsonSchema, OperationAccess, OperationKind, StreamItem, Visibility } from './types.ts'

/** What a handler knows and can do. */
export interface CallContext<In = unknown> {
  /** Who asks; proved by the door, never taken from the input. */
  readonly caller: Caller
  /** Aborts when the caller gave up, its deadline passed or its connection ended. Made when it is first read. */
  readonly signal: AbortSignal
  /** Ms left; null without a deadline. */
  readonly deadlineMs: number | null
  /** 16 bytes in hex: the same for everything that one call sets off. */
  readonly traceId: string
  /** 8 bytes in hex: this call. */
  readonly id: string
  /** The call that this one was made for. */
  readonly parentId: string | undefined
  /** Where a subscription is to be taken up. */
  readonly lastEventId: string | undefined
  /** The call may have been carried out before. */
  readonly repeated: boolean
  /** What the caller sends, one by one, each validated; empty unless the operation declares `clientStream`. Reading slowly holds the caller back. */
  readonly inputs: AsyncIterableIterator<In>
  readonly log: Logger
  /**
   * Calls another operation with the caller's authority and the scopes of this operation's `grants`, never more: same trace, this call as parent, at most the time
   * that is left, ended when this call ends. @throws KithError as `Callee.call`.
   */
  readonly call: (path: string, input?: unknown, options?: CallOptions) => Promise<unknown>
  readonly stream: (path: string, input?: unknown, options?: CallOptions) => AsyncIterableIterator<StreamItem>
}

/** A value of a subscription with the id behind which it can be taken up again. */
export class Event<T> {
  readonly value: T
  readonly id: string

  /** @throws TypeError for an id that is not 1 to 128 visible ASCII characters. */
  constructor(value: T, id: string) {
    if (!/^[\x21-\x7e]{1,128}$/.test(id)) throw new TypeError('the id of an event is 1 to 128 visible ASCII characters')
    this.value = value
    this.id = id
  }
}

type Answer<K extends OperationKind, O> = K extends 'subscription' ? AsyncIterable<O | Event<O>> : O | Promise<O>

export interface OperationSpec<N extends string, K extends OperationKind, I extends AnySchema, O extends AnySchema> {
  /** `service/op`. */
  readonly name: N
  readonly kind: K
  readonly input: I
  /** Of each item, for subscriptions. */
  readonly output: O
  /** Schema of the data by code, for each error that callers may meet besides those every call has. */
  readonly errors?: { readonly [code: string]: AnySchema }
  readonly access?: OperationAccess
  /** Default `hidden`. */
  readonly visibility?: Visibility
  /** Carrying it out twice does no more than once. Default: queries. */
  readonly idempotent?: boolean
  /** Longest time for one call, in ms. Default 30,000, none for subscriptions; null for none. */
  readonly deadlineMs?: number | null
  /** Scopes that calls made by the handler have besides the caller's. */
  readonly grants?: readonly string[]
  /** The caller sends a stream of inputs (`context.inputs`); the handler's first argument is `undefined`. */
  readonly clientStream?: boolean
  /** A subscription that can be taken up behind the last event seen. */
  readonly resumable?: boolean
  readonly summary?: string
  readonly handler: (input: SchemaOutput<I>, context: CallContext<SchemaOutput<I>>) => Answer<K, SchemaInput<O>>
}

declare const types: unique symbol

/** An operation, checked and compiled. */
export interface Operation<N extends string = string, K extends OperationKind = OperationKind, I = unknown, O = unknown> extends Authorizable {
  readonly name: N
  readonly kind: K
  readonly input: Checker
  readonly output: Checker
  readonly errors: ReadonlyMap<string, Checker>
  readonly access?: OperationAccess
  readonly visibility: Visibility
  readonly idempotent: boolean
  readonly deadlineMs: number | null
  readonly grants: readonly string[]
  readonly clientStream: boolean
  readonly resumable: boolean
  readonly summary?: string
  readonly handler: (input: unknown, context: CallContext) => unknown
  /** For clients: what they give and get. Never there. */
  readonly [types]?: { readonly input: I; readonly output: O }
}

export type AnyOperation = Operation<string, OperationKind>

/** What a caller gives to an operation, and gets from it. */
export type InputOf<T> = T extends Operation<string, OperationKind, infer I, unknown> ? I : never
export type OutputOf<T> = T extends Operation<string, OperationKind, unknown, infer O> ? O : never

export const DEFAULT_DEADLINE_MS = 30_000
const MAX_DEADLINE_MS: number = 24 * 60 * 60 * 1000
const MAX_SUMMARY = 500
const SCOPE = /^[\x21-\x7e]{1,128}$/

/**
 * Declares an operation. Inputs are validated before the handler runs, answers before they leave.
 * @throws TypeError for a bad name or option. @throws KithError `CALL_SCHEMA` for a schema that is not taken.
 */
export function defineOperation<const N extends string, const K extends OperationKind, I extends AnySchema, O extends AnySchema>(
  spec: OperationSpec<N, K, I, O>,
): Operation<N, K, SchemaInput<I>, SchemaOutput<O>> {
  checkOperationName(spec.name)
  checkSpec(spec)
  const errors = new Map<string, Checker>()
  for (const [code, schema] of Object.entries(spec.errors ?? {})) {
    if (!isErrorCode(code)) throw new TypeError(`${spec.name}: an error code is 2 to 64 upper-case letters, digits and _`)
    errors.set(code, compileSchema(schema, 'output'))
  }
  return {
    name: spec.name,
    kind: spec.kind,
    input: compileSchema(spec.input, 'input'),
    output: compileSchema(spec.output, 'output'),
    errors,
    ...(spec.access === undefined ? {} : { access: spec.access }),
    visibility: spec.visibility ?? 'hidden',
    idempotent: spec.idempotent ?? spec.kind === 'query',
    deadlineMs: spec.deadlineMs === undefined ? (spec.kind === 'subscription' ? null : DEFAULT_DEADLINE_MS) : spec.deadlineMs,
    grants: spec.grants ?? [],
    clientStream: spec.clientStream ?? false,
    resumable: spec.resumable ?? false,
    ...(spec.summary === undefined ? {} : { summary: spec.summary }),
    handler: spec.handler as (input: unknown, context: CallContext) => unknown,
  }
}

function checkSpec(spec: OperationSpec<string, OperationKind, AnySchema, AnySchema>): void {
  const { name, kind, visibility, deadlineMs, grants = [], summary = '', resumable, access } = spec
  if (!['query', 'mutation', 'subscription'].includes(kind)) throw new TypeError(`${name}: a kind is query, mutation or subscription`)
  if (visibility !== undefined && !['hidden', 'listed', 'internal'].includes(visibility))
    throw new TypeError(`${name}: visibility is hidden, listed or internal`)
  if (typeof deadlineMs === 'number' && !(deadlineMs > 0 && deadlineMs <= MAX_DEADLINE_MS)) throw new TypeError(`${name}: a deadline is 1 ms to a day`)
  if (!grants.every((scope) => SCOPE.test(scope))) throw new TypeError(`${name}: a scope is 1 to 128 visible ASCII characters`)
  if (summary.length > MAX_SUMMARY) throw new TypeError(`${name}: a summary is at most ${MAX_SUMMARY} characters`)
  if (resumable === true && kind !== 'subscription') throw new TypeError(`${name}: only subscriptions are resumable`)
  if (typeof spec.handler !== 'function') throw new TypeError(`${name}: there is no handler`)
  if (typeof access === 'object' && ![...(access.all ?? []), ...(access.any ?? [])].every((scope) => SCOPE.test(scope))) {
    throw new TypeError(`${name}: a scope is 1 to 128 visible ASCII characters`)
  }
}

/** As it is published. */
export function publishedErrors(operation: AnyOperation): { readonly [code: string]: JsonSchema } {
  return Object.fromEntries([...operation.errors].map(([code, { json }]) => [code, json]))
}
