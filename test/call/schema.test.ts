import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { z } from 'zod'
import { defineOperation } from '../../src/call/define.ts'
import { compileSchema, jsonSchema } from '../../src/call/schema.ts'
import { SCHEMA_LIMITS } from '../../src/call/schema-bounds.ts'
import type { JsonSchema } from '../../src/call/types.ts'
import { isKithError } from '../../src/core/errors.ts'

const refuses = (schema: unknown, reason: RegExp): void =>
  assert.throws(
    () => compileSchema(schema as JsonSchema, 'input'),
    (error) => isKithError(error, 'CALL_SCHEMA') && reason.test(error.message),
  )

function nested(levels: number): JsonSchema {
  let schema: JsonSchema = { type: 'number' }
  for (let i = 0; i < levels; i++) schema = { type: 'array', items: schema }
  return schema
}

/** Each level is held against the next one twice. */
function doubling(levels: number): JsonSchema {
  const $defs: Record<string, JsonSchema> = { l0: { type: 'number' } }
  for (let i = 1; i <= levels; i++) $defs[`l${i}`] = { allOf: [{ $ref: `#/$defs/l${i - 1}` }, { $ref: `#/$defs/l${i - 1}` }] }
  return { $ref: `#/$defs/l${levels}`, $defs }
}

describe('schemas', () => {
  it('JSON Schema is compiled strictly: an unknown keyword is a mistake', () => refuses({ type: 'object', propertys: {} }, /unknown keyword/))
  it('what is no schema is refused', () => {
    for (const schema of [null, 1, 'x', []]) refuses(schema, /not taken/)
  })
  it('a schema that doubles its work with each level is refused', () => {
    compileSchema(doubling(8), 'input')
    refuses(doubling(30), /too many steps/)
  })
  it('a schema that refers to itself without end is refused, one that goes down is taken', () => {
    refuses({ $ref: '#' }, /without end/)
    refuses({ allOf: [{ $ref: '#/$defs/a' }], $defs: { a: { anyOf: [{ $ref: '#/$defs/b' }] }, b: { $ref: '#/$defs/a' } } }, /without end/)
    const list = compileSchema(
      { $ref: '#/$defs/n', $defs: { n: { type: 'object', properties: { next: { $ref: '#/$defs/n' } }, additionalProperties: false } } },
      'input',
    )
    assert.equal(list.check({ next: { next: {} } }).ok, true)
    assert.equal(list.check({ next: { next: 1 } }).ok, false)
  })
  it('references out of the schema are refused', () => {
    for (const $ref of ['http://example.com/schema', 'file:///etc/passwd', 'other.json#/a']) refuses({ $ref }, /leads out/)
    refuses({ $ref: '#/$defs/none' }, /leads nowhere/)
    refuses({ $dynamicRef: '#a' }, /not supported/)
  })
  it('depth, parts and length are bounded', () => {
    compileSchema(nested(20), 'input')
    refuses(nested(100), /too deeply/)
    refuses({ enum: ['x'.repeat(SCHEMA_LIMITS.bytes)] }, /too long/)
    refuses({ properties: Object.fromEntries(Array.from({ length: SCHEMA_LIMITS.nodes + 1 }, (_, i) => [`p${i}`, {}])), type: 'object' }, /too many parts/)
  })
  it('patterns that backtrack without end are refused, plain ones are taken', () => {
    for (const pattern of ['(a+)+$', '(a|a)*$', '(.*a){20}', '^(([a-z])+.)+[A-Z]([a-z])+$', '(a)\\1', '(?<x>a)\\k<x>', 'x'.repeat(300), '(']) {
      refuses({ type: 'string', pattern }, /pattern/)
    }
    refuses({ type: 'object', patternProperties: { '(a*)*': true } }, /pattern/)
    for (const pattern of ['^[a-z]+$', '^\\d{4}-\\d{2}$', '^(red|green)$', '^[(+*]+$', '\\(a+\\)+', '^(?:ab)+$'])
      compileSchema({ type: 'string', pattern }, 'input')
  })
  it('pairwise comparison of long lists is refused', () => {
    refuses({ type: 'array', uniqueItems: true }, /maxItems/)
    compileSchema({ type: 'array', items: { type: 'string' }, uniqueItems: true }, 'input')
    compileSchema({ type: 'array', uniqueItems: true, maxItems: 100 }, 'input')
  })
  it('a misfit names the place and the rule, not the value', () => {
    const checked = compileSchema({ type: 'object', properties: { a: { type: 'string', maxLength: 3 } } }, 'input').check({ a: 'secret' })
    assert.deepEqual(checked, { ok: false, misfit: { path: '/a', problem: 'must NOT have more than 3 characters' } })
  })
  it('zod types are published as JSON Schema, each side its own', () => {
    const operation = defineOperation({
      name: 'a/b',
      kind: 'query',
      input: z.object({ n: z.number().default(1) }),
      output: z.object({ n: z.number().default(1) }),
      handler: (input) => input,
    })
    assert.equal((operation.input.json as { required?: string[] }).required, undefined)
    assert.deepEqual((operation.output.json as { required?: string[] }).required, ['n'])
  })
  it('what zod cannot express is published as anything', () => {
    assert.doesNotThrow(() => compileSchema(z.object({ at: z.date() }), 'output').json)
  })
  it('two schemas of one $id do not meet', () => {
    const one = compileSchema({ $id: 'x', type: 'string' }, 'input')
    const two = compileSchema({ $id: 'x', type: 'number' }, 'input')
    assert.deepEqual([one.check('a').ok, two.check('a').ok], [true, false])
  })
  it('a value on the way in is not changed by its schema', () => {
    const value = Object.freeze({ a: 1 })
    assert.deepEqual(compileSchema({ type: 'object', properties: { b: { type: 'number', default: 2 } } }, 'input').check(value), { ok: true, value: { a: 1 } })
  })
  it('a typed JSON Schema is its schema', () => assert.equal(compileSchema(jsonSchema<string>({ type: 'string' }), 'input').check(1).ok, false))
})
