import { KithError } from '../core/errors.ts'
import type { JsonSchema } from './types.ts'

/** What a schema may be: schemas come from workers and from files too, and a validator is code made from them. */
export const SCHEMA_LIMITS: {
  readonly bytes: number
  readonly depth: number
  readonly nodes: number
  readonly work: number
  readonly patternLength: number
  readonly uniqueItems: number
} = {
  /** As JSON text. */
  bytes: 256 * 1024,
  depth: 32,
  /** Schemas within the schema. */
  nodes: 4_000,
  /** Schemas that one value at one place is held against, references followed: `allOf` of `$ref`s doubles with each level. */
  work: 10_000,
  patternLength: 256,
  /** Objects are compared pair by pair. */
  uniqueItems: 1_000,
}

/** Keywords whose value is a schema, a list of schemas, or schemas by name; `true`: they look at the same value, not at a part of it. */
const ONE: ReadonlyMap<string, boolean> = new Map([
  ['not', true],
  ['if', true],
  ['then', true],
  ['else', true],
  ['items', false],
  ['additionalItems', false],
  ['contains', false],
  ['additionalProperties', false],
  ['unevaluatedItems', false],
  ['unevaluatedProperties', false],
  ['propertyNames', false],
  ['contentSchema', false],
])
const MANY: ReadonlyMap<string, boolean> = new Map([
  ['allOf', true],
  ['anyOf', true],
  ['oneOf', true],
  ['prefixItems', false],
])
const NAMED: ReadonlyMap<string, boolean> = new Map([
  ['dependentSchemas', true],
  ['properties', false],
  ['patternProperties', false],
  ['$defs', false],
  ['definitions', false],
])
const REFUSED = ['$dynamicRef', '$dynamicAnchor', '$recursiveRef', '$recursiveAnchor', '$anchor', '$vocabulary']

type SchemaObject = { readonly [keyword: string]: unknown }

/** @throws KithError `CALL_SCHEMA` for what is no JSON Schema, or would cost out of proportion to compile or to apply. */
export function checkSchemaBounds(schema: JsonSchema): void {
  checkDepth(schema, 0)
  const text = JSON.stringify(schema)
  if (typeof text !== 'string') throw refused('it is no JSON')
  if (text.length > SCHEMA_LIMITS.bytes) throw refused('it is too long', { limit: SCHEMA_LIMITS.bytes })
  const nodes: SchemaObject[] = []
  collect(schema, nodes)
  const work = new Map<SchemaObject, number | null>()
  for (const node of nodes) {
    if (workOf(node, schema, work) > SCHEMA_LIMITS.work) throw refused('applying it to one value takes too many steps', { limit: SCHEMA_LIMITS.work })
  }
}

function refused(reason: string, details: Readonly<Record<string, number | string>> = {}): KithError {
  return new KithError('CALL_SCHEMA', `The schema is not taken: ${reason}.`, { details: { reason, ...details } })
}

function isObject(value: unknown): value is SchemaObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Before anything that walks it by recursion. */
function checkDepth(value: unknown, depth: number): void {
  if (typeof value !== 'object' || value === null) return
  // Each schema within a schema takes up to two levels of JSON.
  if (depth > 2 * SCHEMA_LIMITS.depth) throw refused('it is nested too deeply', { limit: SCHEMA_LIMITS.depth })
  for (const part of Array.isArray(value) ? value : Object.values(value)) checkDepth(part, depth + 1)
}

function collect(schema: unknown, nodes: SchemaObject[]): void {
  if (typeof schema === 'boolean') return
  if (!isObject(schema)) throw refused('a schema is an object or a boolean')
  if (nodes.push(schema) > SCHEMA_LIMITS.nodes) throw refused('it has too many parts', { limit: SCHEMA_LIMITS.nodes })
  checkKeywords(schema)
  for (const child of children(schema)) collect(child.schema, nodes)
}

function checkKeywords(schema: SchemaObject): void {
  for (const keyword of REFUSED) if (Object.hasOwn(schema, keyword)) throw refused(`the keyword ${keyword} is not supported`)
  const { $ref, pattern, patternProperties, uniqueItems, maxItems } = schema
  if ($ref !== undefined && (typeof $ref !== 'string' || !$ref.startsWith('#'))) throw refused('a reference leads out of it')
  if (pattern !== undefined) checkPattern(pattern)
  if (isObject(patternProperties)) for (const name of Object.keys(patternProperties)) checkPattern(name)
  if (uniqueItems === true && !(typeof maxItems === 'number' && maxItems <= SCHEMA_LIMITS.uniqueItems) && !hasScalarItems(schema)) {
    throw refused(`uniqueItems of anything but plain values needs a maxItems of at most ${SCHEMA_LIMITS.uniqueItems}`)
  }
}

function hasScalarItems({ items }: SchemaObject): boolean {
  return isObject(items) && ['string', 'number', 'integer', 'boolean', 'null'].includes(String(items.type))
}

/**
 * Patterns run on what callers send, in an engine that backtracks: a repeated group that itself holds a repetition or a choice, and a reference back, can take
 * exponential time. Refused are also harmless ones of that form; `format` and `enum` serve instead.
 */
function checkPattern(pattern: unknown): void {
  if (typeof pattern !== 'string') throw refused('a pattern is text')
  if (pattern.length > SCHEMA_LIMITS.patternLength) throw refused('a pattern is too long', { limit: SCHEMA_LIMITS.patternLength })
  try {
    new RegExp(pattern, 'u')
  } catch {
    throw refused('a pattern is no regular expression')
  }
  if (/\\[1-9]|\\k</.test(pattern) || repeatsWithin(pattern)) throw refused('a pattern could take exponential time', { pattern })
}

/** Whether a group that is repeated without a small bound holds a repetition or a choice. */
function repeatsWithin(pattern: string): boolean {
  const bare = pattern.replace(/\\(?:[pP]\{[^}]*\}|u\{[^}]*\}|.)/gu, 'x').replace(/\[[^\]]*\]/gu, 'x')
  const open: { risky: boolean }[] = []
  for (let at = 0; at < bare.length; at++) {
    const sign = bare[at] as string
    const last = open.at(-1)
    if (sign === '(') open.push({ risky: false })
    else if (sign === '|' && last !== undefined) last.risky = true
    else if ((sign === '*' || sign === '+' || sign === '{') && last !== undefined) last.risky = true
    else if (sign === ')') {
      const group = open.pop()
      const next = bare[at + 1]
      const repeated = next === '*' || next === '+' || next === '{'
      if (group?.risky === true && repeated) return true
      const outer = open.at(-1)
      if (outer !== undefined && (group?.risky === true || repeated)) outer.risky = true
    }
  }
  return false
}

function* children(schema: SchemaObject): Generator<{ schema: unknown; samePlace: boolean }> {
  for (const [keyword, value] of Object.entries(schema)) {
    const one = ONE.get(keyword)
    const many = MANY.get(keyword)
    const named = NAMED.get(keyword)
    if (one !== undefined) yield { schema: value, samePlace: one }
    else if (many !== undefined && Array.isArray(value)) for (const part of value) yield { schema: part, samePlace: many }
    else if (named !== undefined && isObject(value)) for (const part of Object.values(value)) yield { schema: part, samePlace: named }
  }
}

/** How many schemas a value meets at the place of `node`; `null` in the map while it is being counted. */
function workOf(node: SchemaObject, root: JsonSchema, known: Map<SchemaObject, number | null>): number {
  const before = known.get(node)
  if (before === null) throw refused('it refers to itself without end')
  if (before !== undefined) return before
  known.set(node, null)
  let work = 1
  if (typeof node.$ref === 'string') work += workOfSchema(resolve(node.$ref, root), root, known)
  for (const { schema, samePlace } of children(node)) if (samePlace) work += workOfSchema(schema, root, known)
  known.set(node, work)
  return work
}

function workOfSchema(schema: unknown, root: JsonSchema, known: Map<SchemaObject, number | null>): number {
  return isObject(schema) ? workOf(schema, root, known) : 1
}

function resolve(reference: string, root: JsonSchema): unknown {
  let at: unknown = root
  for (const step of reference.split('/').slice(1)) {
    const name = decode(step)
    if (Array.isArray(at)) at = at[Number(name)]
    else at = isObject(at) && Object.hasOwn(at, name) ? at[name] : undefined
    if (at === undefined) throw refused('a reference leads nowhere')
  }
  return at
}

function decode(step: string): string {
  try {
    return decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~')
  } catch {
    throw refused('a reference leads nowhere')
  }
}
