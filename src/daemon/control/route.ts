import type { z } from 'zod'
import { KithError } from '../../core/errors.ts'
import type { Secret } from '../../core/secret.ts'
import type { NodeContext } from '../context.ts'

export type Method = 'GET' | 'POST'
/** A route's name: its method and path, as in `GET /v1/status`. */
export type RouteKey = `${Method} /v1/${string}`

export interface CallContext {
  /** Aborted when the client went away. */
  readonly signal: AbortSignal
}

/** Input as query (GET) or JSON body, one JSON value as answer. */
export interface JsonRoute<O = unknown> {
  readonly kind: 'json'
  run(context: NodeContext, input: unknown, call: CallContext): Promise<O>
}

/** Input as query (GET) or JSON body, answer as newline-delimited JSON for as long as both sides want. */
export interface LinesRoute<O = unknown> {
  readonly kind: 'lines'
  run(context: NodeContext, input: unknown, call: CallContext): AsyncIterable<O>
}

/** The body is a sealed passphrase (`sealing.ts`); other input is in the query. An empty body is no passphrase. */
export interface SecretRoute<O = unknown> {
  readonly kind: 'secret'
  run(context: NodeContext, input: unknown, secret: Secret | undefined, call: CallContext): Promise<O>
}

export type AnyRoute = JsonRoute | LinesRoute | SecretRoute
export type RouteTable = { readonly [key: RouteKey]: AnyRoute }

/** Rows of an interface that describes routes for the client: what goes in, what comes out. */
export interface Json<I, O> {
  readonly kind: 'json'
  readonly input: I
  readonly output: O
}
export interface Lines<I, O> {
  readonly kind: 'lines'
  readonly input: I
  readonly output: O
}
export interface WithSecret<I, O> {
  readonly kind: 'secret'
  readonly input: I
  readonly output: O
}
export type Nothing = { readonly [name in never]: never }

/** The routes that an interface of such rows promises. */
export type RoutesOf<Api> = {
  readonly [K in keyof Api]: Api[K] extends Json<unknown, infer O>
    ? JsonRoute<O>
    : Api[K] extends Lines<unknown, infer O>
      ? LinesRoute<O>
      : Api[K] extends WithSecret<unknown, infer O>
        ? SecretRoute<O>
        : never
}

export function json<I, O>(schema: z.ZodType<I>, handle: (context: NodeContext, input: I, call: CallContext) => O | Promise<O>): JsonRoute<O> {
  return { kind: 'json', run: async (context, input, call) => await handle(context, parseInput(schema, input), call) }
}

export function lines<I, O>(schema: z.ZodType<I>, handle: (context: NodeContext, input: I, call: CallContext) => AsyncIterable<O>): LinesRoute<O> {
  return { kind: 'lines', run: (context, input, call) => handle(context, parseInput(schema, input), call) }
}

export function withSecret<I, O>(
  schema: z.ZodType<I>,
  handle: (context: NodeContext, input: I, secret: Secret | undefined, call: CallContext) => O | Promise<O>,
): SecretRoute<O> {
  return { kind: 'secret', run: async (context, input, secret, call) => await handle(context, parseInput(schema, input), secret, call) }
}

function parseInput<I>(schema: z.ZodType<I>, value: unknown): I {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const steps = issue?.path ?? []
  const path = steps.join('.')
  // Of a list people gave the whole: "via", not "via.0".
  const name = (typeof steps.at(-1) === 'number' ? steps.slice(0, -1) : steps).join('.')
  throw new KithError('USAGE', `${name === '' ? 'The request' : name} is not valid: ${issue?.message ?? 'wrong value'}.`, { details: { path } })
}

/** Runs something that throws a `TypeError` for what its caller got wrong: here the caller is the person behind the command line. */
export async function callersWords<T>(run: () => T | Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    if (error instanceof TypeError) throw new KithError('USAGE', `${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}.`, { cause: error })
    throw error
  }
}
