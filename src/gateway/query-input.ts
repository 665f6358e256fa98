import type { JsonSchema } from '../call/types.ts'
import { malformed, parseJson } from './json.ts'
import { MAX_PARAMETERS } from './limits.ts'
import { type SchemaShape, shapeOf } from './schema-shape.ts'

/**
 * How the parameters of a GET become the input of a query. What the schema says decides what a text means, once for all requests:
 *
 * | the schema says | `?name=` |
 * |---|---|
 * | string | the text, whatever it looks like |
 * | number, integer, boolean, null | that value, in its JSON spelling |
 * | several of those | the first that fits: null, boolean, number, string |
 * | array of those | the parameter as often as there are items; none: no parameter |
 * | object, or anything | JSON |
 *
 * An input that is no object, or has properties the schema does not name one by one, comes whole as JSON in `input`. The result is validated like any other input.
 */
export interface QueryInput {
  readonly parameters: readonly QueryParameter[]
  /** The whole input as JSON in `input`, because there are no properties to name. */
  readonly whole: boolean
  /** @throws KithError `REQUEST_MALFORMED` for a text that cannot be what the schema wants, and for parameters it has no name for. */
  read(pairs: readonly (readonly [name: string, value: string])[]): unknown
}

export interface QueryParameter {
  readonly name: string
  readonly required: boolean
  readonly schema: JsonSchema
  readonly style: 'plain' | 'array' | 'json'
}

/** What a client may not name: JavaScript gives it a meaning of its own. */
const MAGIC = '__proto__'
const NUMBER = /^-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?$/

type Reader = (texts: readonly string[], name: string) => unknown

export function queryInput(schema: JsonSchema): QueryInput {
  const shape = shapeOf(schema, schema)
  const properties = shape.properties
  if (properties === undefined || properties.size > MAX_PARAMETERS || (shape.types.size > 0 && !shape.types.has('object'))) return wholeInput(schema)
  const readers = new Map<string, Reader>()
  const parameters: QueryParameter[] = []
  for (const [name, property] of properties) {
    if (name === MAGIC) continue
    const { style, read } = readerOf(shapeOf(property, schema), schema)
    readers.set(name, read)
    parameters.push({ name, required: shape.required.has(name), schema: property, style })
  }
  return {
    parameters,
    whole: false,
    read(pairs) {
      const texts = new Map<string, string[]>()
      for (const [name, value] of pairs) {
        const known = texts.get(name)
        if (known === undefined) texts.set(name, [value])
        else known.push(value)
      }
      const input: Record<string, unknown> = {}
      for (const [name, values] of texts) {
        const read = readers.get(name)
        if (read === undefined) throw malformed('The operation has no parameter of that name.')
        input[name] = read(values, name)
      }
      return input
    },
  }
}

function wholeInput(schema: JsonSchema): QueryInput {
  return {
    parameters: [{ name: 'input', required: false, schema, style: 'json' }],
    whole: true,
    read(pairs) {
      const [first, ...more] = pairs
      if (first === undefined) return undefined
      if (first[0] !== 'input' || more.length > 0) throw malformed('The input of this operation comes whole, as JSON, in the parameter input.')
      return parseJson(Buffer.from(first[1]))
    },
  }
}

function readerOf(shape: SchemaShape, root: JsonSchema): { readonly style: QueryParameter['style']; readonly read: Reader } {
  if (shape.types.size === 1 && shape.types.has('array')) {
    const item = shape.items === undefined ? undefined : scalarReader(shapeOf(shape.items, root))
    if (item !== undefined) return { style: 'array', read: (texts, name) => texts.map((text) => item(text, name)) }
  }
  const scalar = scalarReader(shape)
  if (scalar !== undefined) return { style: 'plain', read: (texts, name) => scalar(only(texts, name), name) }
  return { style: 'json', read: (texts, name) => parseJson(Buffer.from(only(texts, name))) }
}

function only(texts: readonly string[], name: string): string {
  if (texts.length > 1) throw malformed(`The parameter ${name} comes more than once.`)
  return texts[0] as string
}

/** `undefined` when something else than a scalar may stand there. */
function scalarReader({ types }: SchemaShape): ((text: string, name: string) => unknown) | undefined {
  if (types.size === 0 || types.has('array') || types.has('object')) return undefined
  const number = types.has('number') || types.has('integer')
  return (text, name) => {
    if (types.has('null') && text === 'null') return null
    if (types.has('boolean') && (text === 'true' || text === 'false')) return text === 'true'
    if (number && NUMBER.test(text)) {
      const value = Number(text)
      // A whole number beyond 2^53 would become another one.
      if (Number.isFinite(value) && (/[.eE]/.test(text) || Number.isSafeInteger(value))) return value
    }
    if (types.has('string')) return text
    throw malformed(`The parameter ${name} is not what the operation takes.`)
  }
}
