import type { JsonSchema } from '../../call/types.ts'

export interface ToolSchema {
  /** Always of an object: the protocol knows no other. */
  readonly schema: { readonly [keyword: string]: unknown }
  /** What the operation takes or gives stands in one property, because it is no object by itself. */
  readonly wrapped: boolean
}

/** A tool takes and gives an object. What is something else is put into one: `input` on the way in, `output` on the way out. */
export function exportSchema(schema: JsonSchema, property: 'input' | 'output'): ToolSchema {
  // Which dialect and which address a schema has is left out: clients that know another dialect refuse the whole list otherwise.
  const { $schema: _dialect, $id: _id, ...plain } = typeof schema === 'object' ? schema : {}
  if (plain.type === 'object') return { schema: withObjects(plain), wrapped: false }
  const { $defs, definitions, ...rest } = plain
  // Definitions move up, where references into them look; a reference to the whole has no place to move to and says nothing then.
  const inner = typeof schema === 'object' ? (JSON.stringify(rest).includes('"$ref":"#"') ? {} : rest) : schema ? {} : { not: {} }
  return {
    schema: {
      type: 'object',
      properties: { [property]: inner },
      required: property === 'output' ? [property] : [],
      additionalProperties: false,
      ...($defs === undefined ? {} : { $defs }),
      ...(definitions === undefined ? {} : { definitions }),
    },
    wrapped: true,
  }
}

/** The protocol wants objects where JSON Schema also takes true and false. */
function withObjects(schema: { readonly [keyword: string]: unknown }): { readonly [keyword: string]: unknown } {
  const { properties } = schema
  if (typeof properties !== 'object' || properties === null || !Object.values(properties).some((property) => typeof property === 'boolean')) return schema
  const named = Object.entries(properties).map(([name, property]) => [name, property === true ? {} : property === false ? { not: {} } : property] as const)
  return { ...schema, properties: Object.fromEntries(named) }
}
