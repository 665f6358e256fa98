import type { Caller } from '../../access/types.ts'
import type { Callee, JsonSchema, OperationDescription } from '../../call/types.ts'
import { type QueryInput, queryInput } from '../query-input.ts'
import { Components, componentName } from './components.ts'
import { exampleOf } from './example.ts'

interface Info {
  readonly title: string
  readonly version: string
}

type Json = { readonly [name: string]: unknown }

/** The largest description that is made; operations beyond it are left out, by name. */
const MAX_OPERATIONS = 2_000

const ERROR: Json = {
  type: 'object',
  required: ['error'],
  properties: {
    error: {
      type: 'object',
      required: ['code', 'message', 'details'],
      properties: {
        code: { type: 'string', description: 'Stable; programs read this.' },
        message: { type: 'string', description: 'One sentence for people.' },
        details: { type: 'object', additionalProperties: true },
        next: { type: 'string', description: 'What would change the outcome.' },
      },
    },
  },
}

const RESPONSES: Readonly<Record<string, string>> = {
  '400': 'The input does not fit the schema, or the request is not understood.',
  '401': 'No token, or none that is known.',
  '403': 'The caller may not call this.',
  '404': 'There is no such operation, or none that the caller may know of.',
  '413': 'The body is too large.',
  '429': 'Too many requests of this caller are being answered.',
  '500': 'The operation failed.',
  '503': 'What runs the operation is not there; trying again may help.',
  '504': 'The call did not end within its deadline.',
}

/**
 * OpenAPI 3.1 of what this caller may call. Only that: an operation the caller may not know of leaves no trace. The order is that of the names and every id is made
 * of names, so the same operations give the same text, whenever they were registered.
 */
export async function openApiDocument(callee: Callee, caller: Caller, info: Info): Promise<Json> {
  const names = (await callee.list(caller)).map(({ name, node }) => (node === '' ? name : `/${node}/${name}`)).sort()
  const components = new Components()
  const paths: Record<string, Json> = {}
  for (const path of new Set(names.slice(0, MAX_OPERATIONS))) {
    // Whatever was taken away since the list was made is not in it.
    const described = await callee.describe(path, caller)
    if (described === undefined) continue
    paths[urlOf(path)] = pathItem(path, described, components)
  }
  return {
    openapi: '3.1.0',
    info,
    servers: [{ url: '/' }],
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'An API key, or a signed token.' } },
      responses: Object.fromEntries(Object.entries(RESPONSES).map(([status, description]) => [`Error${status}`, errorResponse(description)])),
      headers: { RetryAfter: { description: 'Seconds after which trying again may help.', schema: { type: 'integer', minimum: 0 } } },
      schemas: { Error: ERROR, ...components.schemas },
    },
  }
}

function errorResponse(description: string): Json {
  return {
    description,
    headers: { 'Retry-After': { $ref: '#/components/headers/RetryAfter' } },
    content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
  }
}

/** `service/op` is `/v1/service/op`, `/node/service/op` is `/v1/@node/service/op`. */
function urlOf(path: string): string {
  return path.startsWith('/') ? `/v1/@${path.slice(1)}` : `/v1/${path}`
}

function pathItem(path: string, described: OperationDescription, components: Components): Json {
  const base = componentName(path)
  const input = components.add(`${base}.Input`, described.input)
  const output = components.add(`${base}.Output`, described.output)
  const id = base.replaceAll('.', '_')
  const common = {
    tags: [described.name.split('/')[0]],
    ...(described.summary === undefined ? {} : { summary: described.summary }),
    ...(described.clientStream ? { description: 'Takes a stream of inputs, which HTTP does not carry: call it over a link.' } : {}),
  }
  const responses = { ...successOf(described, output), ...failuresOf(described, base, components) }
  const post = {
    operationId: id,
    ...common,
    parameters: [DEADLINE, ...(described.kind === 'subscription' ? [LAST_EVENT] : [])],
    requestBody: { required: described.input !== true, content: { 'application/json': withExample(input, described.input) } },
    responses,
  }
  if (described.kind === 'mutation') return { post }
  const query = queryInput(described.input)
  const get = {
    operationId: `get_${id}`,
    ...common,
    parameters: [...parametersOf(query, base, described.input, components), DEADLINE, ...(described.kind === 'subscription' ? [LAST_EVENT] : [])],
    responses,
  }
  return { get, post }
}

const DEADLINE: Json = {
  name: 'Kith-Deadline-Ms',
  in: 'header',
  required: false,
  description: 'Time left in ms; the operation’s own, when shorter, wins.',
  schema: { type: 'integer', minimum: 1, maximum: 3_600_000 },
}
const LAST_EVENT: Json = {
  name: 'Last-Event-ID',
  in: 'header',
  required: false,
  description: 'Takes the subscription up behind this event, where the operation offers that.',
  schema: { type: 'string', maxLength: 256 },
}

function parametersOf(query: QueryInput, base: string, root: JsonSchema, components: Components): readonly Json[] {
  return query.parameters.map(({ name, required, schema, style }) => {
    const inner = components.inner(`${base}.Input`, schema, root)
    if (style === 'json') return { name, in: 'query', required, content: { 'application/json': { schema: inner } } }
    return { name, in: 'query', required, schema: inner, ...(style === 'array' ? { style: 'form', explode: true } : {}) }
  })
}

function successOf({ kind, output: schema }: OperationDescription, output: Json): Json {
  if (kind !== 'subscription') return { '200': { description: 'The answer.', content: { 'application/json': withExample(output, schema) } } }
  const description = 'Events: data is one item as JSON; the event "completed" ends the stream, the event "error" says why it broke.'
  return { '200': { description, content: { 'text/event-stream': { schema: { type: 'string' }, 'x-item-schema': output } } } }
}

/** Errors that the operation declares are told by their code in the ordinary shape; their details have schemas of their own. */
function failuresOf({ errors }: OperationDescription, base: string, components: Components): Json {
  const declared = Object.keys(errors)
    .sort()
    .map((code) => {
      const details = components.add(`${base}.Error.${code}`, errors[code] as JsonSchema)
      return { properties: { error: { properties: { code: { const: code }, details } } } }
    })
  const shared = Object.fromEntries(Object.keys(RESPONSES).map((status) => [status, { $ref: `#/components/responses/Error${status}` }]))
  if (declared.length === 0) return shared
  const schema = { allOf: [{ $ref: '#/components/schemas/Error' }, { anyOf: declared }] }
  return { ...shared, default: { description: 'An error that the operation declares.', content: { 'application/json': { schema } } } }
}

function withExample(reference: Json, schema: JsonSchema): Json {
  const example = exampleOf(schema)
  return example === undefined ? { schema: reference } : { schema: reference, example }
}
