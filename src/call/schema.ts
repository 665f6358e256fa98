import { Ajv2020, type ErrorObject } from 'ajv/dist/2020.js'
import { z } from 'zod'
import { KithError } from '../core/errors.ts'
import { checkSchemaBounds } from './schema-bounds.ts'
import type { JsonSchema } from './types.ts'

declare const typed: unique symbol

/** A JSON Schema that says which TypeScript type it describes; made by `jsonSchema`. */
export interface TypedSchema<T> {
  readonly schema: JsonSchema
  readonly [typed]?: T
}

/** What an operation is declared with: a zod type, a JSON Schema (2020-12), or one that carries its type. */
export type AnySchema = z.ZodType | TypedSchema<unknown> | JsonSchema

/** What a caller gives, before defaults and transformations. */
export type SchemaInput<S> = S extends z.ZodType ? z.input<S> : S extends TypedSchema<infer T> ? T : unknown
/** What a handler gets, or a caller gets back. */
export type SchemaOutput<S> = S extends z.ZodType ? z.output<S> : S extends TypedSchema<infer T> ? T : unknown

/** A JSON Schema with its type: `jsonSchema<{ text: string }>({ type: 'object', ... })`. */
export function jsonSchema<T>(schema: JsonSchema): TypedSchema<T> {
  return new Typed<T>(schema)
}

class Typed<T> implements TypedSchema<T> {
  readonly schema: JsonSchema
  declare readonly [typed]?: T

  constructor(schema: JsonSchema) {
    this.schema = schema
  }
}

/** Where a value does not fit: the place, and the rule in words. Never the value. */
export interface Misfit {
  readonly path: string
  readonly problem: string
}

export type Checked = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly misfit: Misfit }

/** A schema ready for use. */
export interface Checker {
  /** As it is published. */
  readonly json: JsonSchema
  check(value: unknown): Checked
}

const MAX_TEXT = 200

/** @param side which side of a zod type is published: of inputs what callers give, of outputs what they get. @throws KithError `CALL_SCHEMA` */
export function compileSchema(schema: AnySchema, side: 'input' | 'output'): Checker {
  if (schema instanceof z.ZodType) return compileZod(schema, side)
  return compileJson(schema instanceof Typed ? schema.schema : (schema as JsonSchema))
}

function compileZod(schema: z.ZodType, side: 'input' | 'output'): Checker {
  let json: JsonSchema | undefined
  return {
    get json() {
      // What zod cannot express (a `Date`, a function) is published as anything.
      json ??= z.toJSONSchema(schema, { io: side, unrepresentable: 'any' }) as JsonSchema
      return json
    },
    check(value) {
      const result = schema.safeParse(value)
      return result.success ? { ok: true, value: result.data } : { ok: false, misfit: misfitOfZod(result.error) }
    },
  }
}

function misfitOfZod(error: z.ZodError): Misfit {
  const issue = error.issues[0]
  return { path: shortened(issue === undefined ? '' : issue.path.map((step) => `/${String(step)}`).join('')), problem: shortened(issue?.message ?? 'invalid') }
}

function compileJson(json: JsonSchema): Checker {
  checkSchemaBounds(json)
  let validate: ReturnType<Ajv2020['compile']>
  try {
    // One instance per schema: nothing is shared, and nothing is kept when the operation goes. `$id`s cannot meet.
    validate = new Ajv2020({
      strict: true,
      strictRequired: false,
      strictTypes: false,
      allErrors: false,
      validateFormats: false,
      inlineRefs: false,
      logger: false,
    }).compile(json as { readonly [keyword: string]: unknown })
  } catch (cause) {
    throw new KithError('CALL_SCHEMA', `The schema is not taken: ${shortened(cause instanceof Error ? cause.message : 'it does not compile')}`, { cause })
  }
  if (validate.length !== 1 && '$async' in validate) throw new KithError('CALL_SCHEMA', 'The schema is not taken: it is asynchronous.')
  return {
    json,
    check(value) {
      if (validate(value) === true) return { ok: true, value }
      const first = validate.errors?.[0]
      return { ok: false, misfit: { path: shortened(first?.instancePath ?? ''), problem: shortened(first === undefined ? 'invalid' : inWords(first)) } }
    },
  }
}

/** With the name that is too much, and the values there are: the rule alone does not say them. */
function inWords({ keyword, message = 'invalid', params }: ErrorObject): string {
  const { additionalProperty, allowedValues } = params as { readonly additionalProperty?: unknown; readonly allowedValues?: unknown }
  if (keyword === 'additionalProperties') return `${message}: '${String(additionalProperty)}'`
  return keyword === 'enum' ? `${message}: ${JSON.stringify(allowedValues)}` : message
}

function shortened(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT)}...`
}
