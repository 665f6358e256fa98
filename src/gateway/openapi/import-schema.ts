import type { JsonSchema } from '../../call/types.ts'

type Keywords = { readonly [keyword: string]: unknown }

/** What one operation's schema may gather from the document. */
const MAX_NODES = 4_000
const MAX_DEPTH = 24
const MAX_DEFINITIONS = 128
const PREFIX = '#/components/schemas/'

/** Keywords of OpenAPI that say nothing about which values fit. */
const IGNORED: ReadonlySet<string> = new Set([
  'example',
  'examples',
  'xml',
  'externalDocs',
  'discriminator',
  'deprecated',
  'readOnly',
  'writeOnly',
  'title',
  '$comment',
  '$schema',
  '$id',
])
const DATA: ReadonlySet<string> = new Set(['const', 'enum', 'default', 'required', 'description', 'type', 'pattern', 'format'])
const BY_NAME: ReadonlySet<string> = new Set(['properties', 'patternProperties', 'dependentSchemas'])

/** A schema of the document that cannot be taken over. */
export class UnfitSchema extends Error {}

/**
 * Takes schemas out of a document: each of `components.schemas` that is referred to, however indirectly, becomes a definition of the operation's own schema, once.
 * References stay references, so a schema that names itself ten times over stays as small as it is written.
 */
export class SchemaImport {
  readonly #components: Keywords
  readonly #old: boolean
  readonly #definitions: Map<string, unknown> = new Map()
  #left = MAX_NODES

  /** `old`: of OpenAPI 3.0, whose schemas are not quite JSON Schema. */
  constructor(components: unknown, old: boolean) {
    this.#components = isKeywords(components) ? components : {}
    this.#old = old
  }

  /** @throws UnfitSchema */
  take(schema: unknown, depth = 0): JsonSchema {
    if (schema === undefined) return true
    return this.#walk(schema, depth) as JsonSchema
  }

  /** What `take` gathered; goes beside the schemas that it gave. */
  definitions(): Keywords {
    return this.#definitions.size === 0 ? {} : { $defs: Object.fromEntries(this.#definitions) }
  }

  #walk(node: unknown, depth: number): unknown {
    this.#left -= 1
    if (this.#left < 0 || depth > MAX_DEPTH) throw new UnfitSchema('a schema is too large')
    if (Array.isArray(node)) return node.map((item) => this.#walk(item, depth + 1))
    if (!isKeywords(node)) return node
    if (typeof node.$ref === 'string') {
      const referred = this.#refer(node.$ref)
      // Beside a reference 3.0 means nothing else.
      if (this.#old) return referred
      const { $ref: _reference, ...rest } = node
      return { ...(this.#keywords(rest, depth) as Keywords), ...referred }
    }
    return this.#keywords(node, depth)
  }

  #keywords(node: Keywords, depth: number): unknown {
    const out: Record<string, unknown> = {}
    for (const [keyword, value] of Object.entries(node)) {
      if (IGNORED.has(keyword) || keyword.startsWith('x-')) continue
      if (DATA.has(keyword)) out[keyword] = value
      else if (BY_NAME.has(keyword) && isKeywords(value)) {
        out[keyword] = Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, this.#walk(inner, depth + 1)]))
      } else out[keyword] = this.#walk(value, depth + 1)
    }
    return this.#old ? modern(out) : out
  }

  #refer(reference: string): Keywords {
    if (!reference.startsWith(PREFIX)) throw new UnfitSchema('a reference leads out of components.schemas')
    const name = reference.slice(PREFIX.length).replaceAll('~1', '/').replaceAll('~0', '~')
    if (!Object.hasOwn(this.#components, name)) throw new UnfitSchema('a reference leads nowhere')
    const key = name.replaceAll(/[^A-Za-z0-9._-]/g, (character) => `_${character.codePointAt(0)?.toString(16)}_`)
    if (!this.#definitions.has(key)) {
      if (this.#definitions.size >= MAX_DEFINITIONS) throw new UnfitSchema('an operation refers to too many schemas')
      // Set first: a schema may refer to itself.
      this.#definitions.set(key, true)
      this.#definitions.set(key, this.#walk(this.#components[name], 1))
    }
    return { $ref: `#/$defs/${key}` }
  }
}

/** What 3.0 writes in its own way. */
function modern(schema: Record<string, unknown>): Keywords {
  const { nullable, exclusiveMinimum, exclusiveMaximum, ...rest } = schema
  const out: Record<string, unknown> = rest
  if (exclusiveMinimum === true) {
    out.exclusiveMinimum = out.minimum
    delete out.minimum
  } else if (typeof exclusiveMinimum === 'number') out.exclusiveMinimum = exclusiveMinimum
  if (exclusiveMaximum === true) {
    out.exclusiveMaximum = out.maximum
    delete out.maximum
  } else if (typeof exclusiveMaximum === 'number') out.exclusiveMaximum = exclusiveMaximum
  if (nullable !== true) return out
  if (typeof out.type === 'string') {
    return { ...out, type: [out.type, 'null'], ...(Array.isArray(out.enum) ? { enum: [...out.enum, null] } : {}) }
  }
  return { anyOf: [out, { type: 'null' }] }
}

function isKeywords(value: unknown): value is Keywords {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
