import assert from 'node:assert/strict'
import fc from 'fast-check'
import { compileSchema } from '../../../src/call/schema.ts'
import type { JsonSchema } from '../../../src/call/types.ts'
import { utf8 } from '../../../src/core/bytes.ts'
import { isKithError } from '../../../src/core/errors.ts'
import { FirstFrameReader } from '../../../src/gateway/first-frame.ts'
import { parseJson } from '../../../src/gateway/json.ts'
import { MAX_DEPTH, MAX_PARAMETERS } from '../../../src/gateway/limits.ts'
import { Components } from '../../../src/gateway/openapi/components.ts'
import { exampleOf } from '../../../src/gateway/openapi/example.ts'
import { planImport } from '../../../src/gateway/openapi/import-plan.ts'
import { queryInput } from '../../../src/gateway/query-input.ts'
import { parseQuery, Targets } from '../../../src/gateway/target.ts'
import type { FuzzTarget } from '../mutate.ts'

const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value))

// ---- a body

const body: FuzzTarget = {
  name: 'gateway-body',
  seeds: [json({ a: [1, 'x', null, { b: true }] }), utf8('"\\u005f\\ud800"'), utf8(`${'['.repeat(40)}1${']'.repeat(40)}`)],
  codes: ['REQUEST_MALFORMED'],
  tokens: ['{', '[', ']', '}', '"', '\\', '\\"', '__proto__', '\\u005f', ':', ',', '\ufeff'].map(utf8),
  arbitrary: fc.json().map((text) => utf8(text)),
  run(input) {
    const value = parseJson(Buffer.from(input))
    assert.ok(depthOf(value) <= MAX_DEPTH)
    assert.deepEqual(value, JSON.parse(Buffer.from(input).toString('utf8')))
    return typeof value
  },
}

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  assert.ok(!Object.hasOwn(value, '__proto__'))
  return 1 + Math.max(0, ...Object.values(value).map(depthOf))
}

// ---- parameters of a GET

const schema: JsonSchema = {
  type: 'object',
  properties: {
    n: { type: 'integer' },
    r: { type: 'number' },
    b: { type: ['boolean', 'null'] },
    s: { type: 'string' },
    l: { type: 'array', items: { $ref: '#/$defs/e' } },
    o: { type: 'object' },
    u: { anyOf: [{ type: 'integer' }, { type: 'string' }] },
  },
  $defs: { e: { enum: ['x', 1, null] } },
}
const typed = queryInput(schema)
const whole = queryInput(true)
const targets = new Targets()

const query: FuzzTarget = {
  name: 'gateway-query',
  seeds: ['n=1&r=-1.5e3&b=null&s=%20+&l=x&l=1&o=%7B%7D&u=7', 'input=%5B1%5D', 'n=9007199254740991', 's=%00'].map(utf8),
  codes: ['REQUEST_MALFORMED'],
  tokens: ['&', '=', '%', '+', '%2', '%00', '__proto__', 'null', 'true', '1e9', '0x1', 'input=', 'l='].map(utf8),
  arbitrary: fc.webQueryParameters().map((text) => utf8(text)),
  run(input) {
    const text = Buffer.from(input).toString('latin1')
    targets.find(`/v1/${text}`)
    const pairs = parseQuery(text)
    if (pairs === undefined) return 'malformed'
    assert.ok(pairs.length <= MAX_PARAMETERS)
    if (text.startsWith('input=')) return typeof whole.read(pairs)
    const value = typed.read(pairs) as Record<string, unknown>
    assert.equal(Object.getPrototypeOf(value), Object.prototype)
    for (const name of Object.keys(value)) assert.ok(typeof schema === 'object' && Object.hasOwn(schema.properties as object, name))
    // Written in digits alone, a number is that number.
    for (const [name, digits] of pairs) if (name === 'n' && /^-?[0-9]+$/.test(digits)) assert.equal(String(value.n), digits.replace(/^-0$/, '0'))
    return Object.keys(value).length
  },
}

// ---- schemas as they are published

const published: FuzzTarget = {
  name: 'gateway-schema',
  seeds: [
    json(schema),
    json({ $ref: '#/$defs/a', $defs: { a: { type: 'array', items: { $ref: '#/$defs/a' } } } }),
    json({ oneOf: [{ type: 'string' }, { const: 1 }] }),
    json({ type: 'object', properties: { a: { type: 'string', minLength: 2 } }, required: ['a'] }),
  ],
  codes: ['CALL_SCHEMA', 'REQUEST_MALFORMED'],
  tokens: ['"$ref"', '"#"', '"#/$defs/a"', '"$defs"', '"properties"', '"type"', '"object"', '"__proto__"', 'true', '"allOf"'].map(utf8),
  run(input) {
    const given = parseJson(Buffer.from(input)) as JsonSchema
    const { json: taken } = compileSchema(given, 'input')
    const parameters = queryInput(taken)
    exampleOf(taken)
    const components = new Components()
    components.add('a.b.Input', taken)
    for (const name of Object.keys(components.schemas)) assert.match(name, /^[A-Za-z0-9._-]+$/)
    return `${parameters.whole} ${Math.min(parameters.parameters.length, 3)} ${Math.min(Object.keys(components.schemas).length, 3)}`
  },
  iterations: 5_000,
}

// ---- an OpenAPI file

const item = { type: 'object', properties: { id: { type: 'integer', nullable: true }, next: { $ref: '#/components/schemas/Item' } } }
const file = {
  openapi: '3.0.3',
  paths: {
    '/items/{id}': {
      parameters: [{ name: 'id', in: 'path', required: true, schema: { type: 'string' } }],
      get: { operationId: 'get', parameters: [{ $ref: '#/components/parameters/q' }], responses: { 200: { $ref: '#/components/responses/Item' } } },
      put: { requestBody: { required: true, content: { 'application/json': { schema: { $ref: '#/components/schemas/Item' } } } }, responses: { '2XX': {} } },
    },
  },
  components: {
    schemas: { Item: item },
    parameters: { q: { name: 'q', in: 'query', schema: { type: 'array', items: {} }, explode: false } },
    responses: { Item: { content: { 'application/json': { schema: { $ref: '#/components/schemas/Item' } } } } },
  },
}

const openapi: FuzzTarget = {
  name: 'openapi-file',
  seeds: [json(file), json({ ...file, openapi: '3.1.0' }), json({ openapi: '3.1.0', paths: {} })],
  codes: ['REQUEST_MALFORMED', 'OPENAPI_INVALID'],
  tokens: ['"$ref"', '"#/components/schemas/Item"', '"get"', '"in"', '"header"', '"cookie"', '"{id}"', '"..\u002f"', '"__proto__"', 'null', '[]'].map(utf8),
  run(input) {
    const { operations, skipped } = planImport(parseJson(Buffer.from(input)), 'svc')
    for (const { name, path, parameters, input: taken } of operations) {
      assert.match(name, /^svc\/[A-Za-z][A-Za-z0-9_.-]{0,63}$/)
      assert.ok(path.startsWith('/') && !/\/\.{1,2}(\/|$)/.test(path))
      for (const parameter of parameters) if (parameter.in === 'header') assert.doesNotMatch(parameter.name, /^(authorization|host|cookie|content-.*)$/i)
      try {
        compileSchema(taken, 'input')
      } catch (error) {
        assert.ok(isKithError(error, 'CALL_SCHEMA'))
      }
    }
    return `${operations.length} ${skipped.map(({ reason }) => reason).join(' ')}`
  },
  iterations: 5_000,
}

// ---- the first frame of raw framing

function frame(value: unknown): Uint8Array {
  const text = Buffer.from(JSON.stringify(value))
  const header = Buffer.alloc(4)
  header.writeUInt32BE(text.length)
  return Buffer.concat([header, text])
}

const firstFrame: FuzzTarget = {
  name: 'gateway-first-frame',
  seeds: [
    frame({ type: 'auth', id: 'auth-1', payload: 'alk_token' }),
    frame({ type: 'auth', id: '', payload: null }),
    Buffer.concat([frame({ type: 'auth', id: 'a', payload: 'x' }), frame({ type: 'call.requested', id: '1', payload: {} })]),
  ],
  codes: ['REQUEST_MALFORMED'],
  tokens: ['"type"', '"auth"', '"id"', '"payload"', 'null', '{', '['].map(utf8),
  run(input) {
    const read = new FirstFrameReader().push(Buffer.from(input))
    // Cut anywhere, it is the same frame.
    const cut = new FirstFrameReader()
    const half = input.length >> 1
    const first = cut.push(Buffer.from(input.subarray(0, half)))
    const parts = first === undefined ? cut.push(Buffer.from(input.subarray(half))) : { ...first, rest: Buffer.concat([first.rest, input.subarray(half)]) }
    assert.deepEqual(parts, read)
    if (read === undefined) return 'more'
    assert.ok(read.token === null || (read.token.length > 0 && read.token.length <= 4_096))
    return `${read.token === null} ${Math.min(read.rest.length, 1)}`
  },
}

export const gatewayTargets: readonly FuzzTarget[] = [body, query, published, openapi, firstFrame]
