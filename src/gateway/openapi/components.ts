import type { JsonSchema } from '../../call/types.ts'

type Keywords = { readonly [keyword: string]: unknown }

/** Of one schema; what is deeper becomes "anything". */
const MAX_NODES = 20_000
const MAX_DEPTH = 100

/** `service/op` is `service.op`; only the characters that a component may be named with. */
export function componentName(path: string): string {
  return path
    .replace(/^\//, '')
    .replaceAll('/', '.')
    .replaceAll(/[^A-Za-z0-9._-]/g, '_')
}

/**
 * The schemas of a document. A schema is a document of its own with references into itself (`#/$defs/Item`); inside another those would point elsewhere, so each is
 * put under a name and its references are written anew. Definitions get names of their own, because generators make types of what has one.
 */
export class Components {
  readonly schemas: Record<string, unknown> = {}

  /** Puts the schema under this name and gives the reference to it. */
  add(name: string, schema: JsonSchema): Keywords {
    if (!Object.hasOwn(this.schemas, name)) {
      this.schemas[name] = rewrite(schema, name)
      if (isKeywords(schema)) {
        for (const [key, definitions] of Object.entries({ $defs: schema.$defs, definitions: schema.definitions })) {
          if (!isKeywords(definitions)) continue
          for (const [inner, definition] of Object.entries(definitions)) this.schemas[definitionName(name, key, inner)] = rewrite(definition, name)
        }
      }
    }
    return { $ref: `#/components/schemas/${name}` }
  }

  /** A part of the schema that was put under this name. */
  inner(name: string, part: JsonSchema, root: JsonSchema): unknown {
    return part === root ? { $ref: `#/components/schemas/${name}` } : rewrite(part, name)
  }
}

function definitionName(name: string, key: string, inner: string): string {
  return `${name}.${key === 'definitions' ? 'def.' : ''}${inner.replaceAll(/[^A-Za-z0-9._-]/g, '_')}`
}

/** Keywords that say where a schema lives, which is elsewhere now. */
const PLACE: ReadonlySet<string> = new Set(['$schema', '$id', '$anchor', '$dynamicAnchor', '$defs', 'definitions', '$vocabulary', '$comment'])
/** Keywords whose values are data and not schemas. */
const DATA: ReadonlySet<string> = new Set(['const', 'enum', 'default', 'example', 'examples', 'required'])
/** Keywords whose values are schemas by name: the names mean nothing. */
const BY_NAME: ReadonlySet<string> = new Set(['properties', 'patternProperties', 'dependentSchemas'])

function rewrite(schema: unknown, name: string): unknown {
  const budget = { nodes: MAX_NODES }
  const walk = (node: unknown, depth: number): unknown => {
    budget.nodes -= 1
    if (budget.nodes < 0 || depth > MAX_DEPTH) return true
    if (Array.isArray(node)) return node.map((item) => walk(item, depth + 1))
    if (!isKeywords(node)) return node
    const out: Record<string, unknown> = {}
    for (const [keyword, value] of Object.entries(node)) {
      if (PLACE.has(keyword)) continue
      if (keyword === '$ref') Object.assign(out, referenceOf(value, name))
      else if (keyword === '$dynamicRef') continue
      else if (DATA.has(keyword)) out[keyword] = value
      else if (BY_NAME.has(keyword) && isKeywords(value)) out[keyword] = mapped(value, (inner) => walk(inner, depth + 2))
      else out[keyword] = walk(value, depth + 1)
    }
    return out
  }
  return walk(schema, 0)
}

function mapped(named: Keywords, map: (value: unknown) => unknown): Keywords {
  return Object.fromEntries(Object.entries(named).map(([key, value]) => [key, map(value)]))
}

/** A reference to elsewhere means nothing here, and nobody is sent to fetch it. */
function referenceOf(reference: unknown, name: string): Keywords {
  if (reference === '#') return { $ref: `#/components/schemas/${name}` }
  const match = typeof reference === 'string' ? /^#\/(\$defs|definitions)\/([^/]+)(\/.*)?$/.exec(reference) : null
  if (match !== null) {
    const [, key = '', inner = '', rest = ''] = match
    return { $ref: `#/components/schemas/${definitionName(name, key, unescaped(inner))}${rest}` }
  }
  return typeof reference === 'string' && reference.startsWith('#/') ? { $ref: `#/components/schemas/${name}${reference.slice(1)}` } : {}
}

function unescaped(step: string): string {
  return step.replaceAll('~1', '/').replaceAll('~0', '~')
}

function isKeywords(value: unknown): value is Keywords {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
