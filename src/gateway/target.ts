import { MAX_PARAMETERS } from './limits.ts'

/** What a request is for. */
export type Target =
  | {
      readonly kind: 'operation'
      /** As a callee takes it: `service/op`, or `/node/service/op`. */
      readonly path: string
    }
  | { readonly kind: 'schema' }
  | { readonly kind: 'mcp' }

/** The alphabet of names; nothing here is decoded, so what is escaped is no name. */
const OPERATION = /^\/v1\/(?:@([A-Za-z0-9][A-Za-z0-9:._-]{0,127})\/)?([A-Za-z][A-Za-z0-9_.-]{0,63})\/([A-Za-z][A-Za-z0-9_.-]{0,63})$/

/** Paths seen before, so that the usual request costs one look-up. Bounded, because anybody with a token can ask for anything. */
const MAX_KNOWN = 1_024

/**
 * ```text
 * /v1/{service}/{op}          an operation here, or at whichever worker serves it
 * /v1/@{node}/{service}/{op}  an operation of that worker
 * /v1/schema                  what the caller may call, as OpenAPI
 * /mcp                        the same as tools
 * ```
 * `schema` is one segment and operations have two, so no operation is hidden behind it.
 */
export class Targets {
  readonly #known: Map<string, Target> = new Map([
    ['/v1/schema', { kind: 'schema' }],
    ['/mcp', { kind: 'mcp' }],
  ])

  find(path: string): Target | undefined {
    const known = this.#known.get(path)
    if (known !== undefined) return known
    const match = OPERATION.exec(path)
    if (match === null) return undefined
    const [, node, service, op] = match
    const target: Target = { kind: 'operation', path: node === undefined ? `${service}/${op}` : `/${node}/${service}/${op}` }
    if (this.#known.size < MAX_KNOWN) this.#known.set(path, target)
    return target
  }
}

/** Names and values in the order they came; `undefined` for more than there may be, or what is not well-formed. */
export function parseQuery(query: string): readonly (readonly [name: string, value: string])[] | undefined {
  if (query === '') return []
  const parts = query.split('&')
  if (parts.length > MAX_PARAMETERS) return undefined
  try {
    return parts.map((part) => {
      const at = part.indexOf('=')
      return at === -1 ? ([decoded(part), ''] as const) : ([decoded(part.slice(0, at)), decoded(part.slice(at + 1))] as const)
    })
  } catch {
    return undefined
  }
}

function decoded(text: string): string {
  return decodeURIComponent(text.replaceAll('+', ' '))
}
