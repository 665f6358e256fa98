import type { JsonSchema } from '../call/types.ts'

/** What a schema says at its top, as far as parameters need it: a view, never a verdict. Validation is the callee's. */
export interface SchemaShape {
  /** JSON types that may stand there; empty: any. */
  readonly types: ReadonlySet<string>
  /** `undefined`: not named one by one. */
  readonly properties: ReadonlyMap<string, JsonSchema> | undefined
  readonly required: ReadonlySet<string>
  readonly items: JsonSchema | undefined
}

const MAX_STEPS = 64
const NOTHING: SchemaShape = { types: new Set(), properties: undefined, required: new Set(), items: undefined }

type Keywords = { readonly [keyword: string]: unknown }

/** Looks through local references, `allOf`, `anyOf` and `oneOf`, at most `MAX_STEPS` schemas far. */
export function shapeOf(schema: JsonSchema, root: JsonSchema): SchemaShape {
  const budget = { left: MAX_STEPS }
  return look(schema, root, budget)
}

function look(schema: unknown, root: JsonSchema, budget: { left: number }): SchemaShape {
  budget.left -= 1
  if (budget.left < 0 || !isKeywords(schema)) return NOTHING
  const target = typeof schema.$ref === 'string' ? resolve(schema.$ref, root) : undefined
  const parts: SchemaShape[] = target === undefined ? [] : [look(target, root, budget)]
  for (const part of listOf(schema.allOf)) parts.push(look(part, root, budget))
  const branches = [...listOf(schema.anyOf), ...listOf(schema.oneOf)].map((part) => look(part, root, budget))
  if (branches.length > 0) parts.push(unite(branches))
  return parts.reduce(merge, own(schema))
}

function own(schema: Keywords): SchemaShape {
  const properties = isKeywords(schema.properties) ? new Map(Object.entries(schema.properties) as [string, JsonSchema][]) : undefined
  return {
    types: new Set(typesOf(schema)),
    properties: properties ?? (schema.type === 'object' && schema.additionalProperties === false ? new Map() : undefined),
    required: new Set(listOf(schema.required).filter((name) => typeof name === 'string')),
    items: isKeywords(schema.items) ? schema.items : undefined,
  }
}

function typesOf({ type, enum: values, const: value }: Keywords): readonly string[] {
  if (typeof type === 'string') return [type]
  if (Array.isArray(type)) return type.filter((name) => typeof name === 'string')
  const known = Array.isArray(values) ? values : value === undefined ? [] : [value]
  return known.map((one) => (one === null ? 'null' : Array.isArray(one) ? 'array' : typeof one))
}

/** All of several hold. */
function merge(a: SchemaShape, b: SchemaShape): SchemaShape {
  return {
    types: a.types.size === 0 ? b.types : b.types.size === 0 ? a.types : new Set([...a.types].filter((type) => b.types.has(type))),
    properties: a.properties === undefined ? b.properties : b.properties === undefined ? a.properties : new Map([...a.properties, ...b.properties]),
    required: new Set([...a.required, ...b.required]),
    items: a.items ?? b.items,
  }
}

/** One of several holds. */
function unite(branches: readonly SchemaShape[]): SchemaShape {
  const any = branches.some(({ types }) => types.size === 0)
  return {
    types: any ? new Set() : new Set(branches.flatMap(({ types }) => [...types])),
    // Which properties there are depends on the branch: such an input comes whole.
    properties: undefined,
    required: new Set(),
    items: branches.length === 1 ? branches[0]?.items : undefined,
  }
}

/** A reference inside the same schema: `#`, or a JSON pointer (RFC 6901). */
function resolve(reference: string, root: JsonSchema): unknown {
  if (reference !== '#' && !reference.startsWith('#/')) return undefined
  let here: unknown = root
  for (const step of reference.slice(2).split('/')) {
    if (step === '' && reference === '#') break
    const name = step.replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, name)) return undefined
    here = (here as Keywords)[name]
  }
  return here
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value.slice(0, MAX_STEPS) : []
}

function isKeywords(value: unknown): value is Keywords & { readonly [keyword: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
