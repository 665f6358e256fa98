import type { Caller } from '../access/types.ts'
import type { AnyOperation, InputOf, Operation, OutputOf } from './define.ts'
import type { CallTarget } from './link.ts'
import type { LinkCallOptions } from './link-client.ts'
import type { Callee, StreamItem } from './types.ts'

/** Operations as a list, or by any names. */
export type Operations = readonly AnyOperation[] | { readonly [name: string]: AnyOperation }

type Each<O> = O extends readonly (infer T)[] ? T : O[keyof O]
type Named<O, N> = Extract<Each<O>, { readonly name: N }>
type NamesOf<O, K> = Each<O> extends infer T ? (T extends Operation<infer N, infer Kind, unknown, unknown> ? (Kind extends K ? N : never) : never) : never

/** Calls as the definitions say: names, inputs and answers are checked by the compiler. */
export interface TypedClient<O extends Operations> {
  /** @throws KithError as `CallClient.call` */
  call<N extends NamesOf<O, 'query' | 'mutation'>>(name: N, input: InputOf<Named<O, N>>, options?: LinkCallOptions): Promise<OutputOf<Named<O, N>>>
  stream<N extends NamesOf<O, 'subscription'>>(
    name: N,
    input: InputOf<Named<O, N>>,
    options?: LinkCallOptions,
  ): AsyncIterableIterator<StreamItem & { readonly value: OutputOf<Named<O, N>> }>
}

/**
 * A client of operations whose definitions are at hand: `createTypedClient<typeof operations>(calls.to('laptop'))`. Only their types are used.
 * @param options node: the alias of a worker, where the target is its head.
 */
export function createTypedClient<O extends Operations>(target: CallTarget, options: { readonly node?: string } = {}): TypedClient<O> {
  const prefix = options.node === undefined ? '/' : `/${options.node}/`
  return {
    call: (name, input, given) => target.call(prefix + name, input, given) as never,
    stream: (name, input, given) => target.stream(prefix + name, input, given) as never,
  }
}

/** Calls of one caller to a callee of this process, without a link. */
export function calleeTarget(callee: Callee, caller: Caller): CallTarget {
  return {
    call: (path, input, options) => callee.call({ ...options, caller, path, input }),
    stream: (path, input, options) => callee.stream({ ...options, caller, path, input }),
  }
}
