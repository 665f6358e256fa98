import type { JsonSchema } from '../../call/types.ts'

type Keywords = { readonly [keyword: string]: unknown }

const MAX_DEPTH = 4
const MAX_PROPERTIES = 20

/** One value as the schema describes it: what its author gave as an example, else the plainest one. `undefined` where that would be guessing. */
export function exampleOf(schema: JsonSchema | unknown, depth = 0): unknown {
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema) || depth > MAX_DEPTH) return undefined
  const keywords = schema as Keywords
  if (Array.isArray(keywords.examples) && keywords.examples.length > 0) return keywords.examples[0]
  if ('example' in keywords) return keywords.example
  if ('default' in keywords) return keywords.default
  if ('const' in keywords) return keywords.const
  if (Array.isArray(keywords.enum)) return keywords.enum[0]
  if ('$ref' in keywords || 'allOf' in keywords || 'anyOf' in keywords || 'oneOf' in keywords || 'not' in keywords) return undefined
  switch (keywords.type) {
    case 'object':
      return objectOf(keywords, depth)
    case 'array':
      return arrayOf(keywords, depth)
    case 'string':
      return keywords.pattern === undefined && keywords.format === undefined && (keywords.minLength === undefined || Number(keywords.minLength) <= 4)
        ? 'text'.slice(0, numberOr(keywords.maxLength, 4))
        : undefined
    case 'integer':
    case 'number':
      return 'multipleOf' in keywords || 'exclusiveMinimum' in keywords || 'exclusiveMaximum' in keywords
        ? undefined
        : Math.min(numberOr(keywords.maximum, 1), Math.max(numberOr(keywords.minimum, 1), 1))
    case 'boolean':
      return true
    case 'null':
      return null
    default:
      return undefined
  }
}

function objectOf({ properties, required }: Keywords, depth: number): unknown {
  const named = typeof properties === 'object' && properties !== null ? Object.entries(properties) : []
  const needed = new Set(Array.isArray(required) ? required : [])
  const out: Record<string, unknown> = {}
  for (const [name, property] of named.slice(0, MAX_PROPERTIES)) {
    const value = name === '__proto__' ? undefined : exampleOf(property, depth + 1)
    if (value !== undefined) out[name] = value
    else if (needed.has(name)) return undefined
  }
  return [...needed].every((name) => typeof name === 'string' && Object.hasOwn(out, name)) ? out : undefined
}

function arrayOf({ items, minItems }: Keywords, depth: number): unknown {
  if (minItems !== undefined && minItems !== 0 && minItems !== 1) return undefined
  const item = exampleOf(items, depth + 1)
  return item === undefined ? (minItems === 1 ? undefined : []) : [item]
}

function numberOr(value: unknown, fallback: number): number {
  return typeof value === 'number' ? value : fallback
}
