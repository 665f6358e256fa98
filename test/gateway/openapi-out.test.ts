import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { z } from 'zod'
import { ask, defineOperation, openWorld, type World } from './support.ts'

const node = z.object({
  name: z.string(),
  get children() {
    return z.array(node).optional()
  },
})

const operations = [
  defineOperation({
    name: 'tree/find',
    kind: 'query',
    summary: 'Finds it',
    input: z.object({ name: z.string(), depth: z.int().optional(), tags: z.array(z.string()).optional() }),
    output: node,
    errors: { TOO_DEEP: z.object({ limit: z.int() }) },
    access: 'everyone',
    handler: ({ name }) => ({ name }),
  }),
  defineOperation({
    name: 'list/walk',
    kind: 'query',
    input: { $ref: '#/$defs/item', $defs: { item: { type: 'object', properties: { next: { $ref: '#/$defs/item' }, root: { $ref: '#' } } } } },
    output: true,
    access: 'everyone',
    handler: () => null,
  }),
  defineOperation({
    name: 'tree/cut',
    kind: 'mutation',
    input: z.object({ name: z.string() }),
    output: z.null(),
    access: { all: ['write'] },
    handler: () => null,
  }),
  defineOperation({
    name: 'tree/watch',
    kind: 'subscription',
    input: true,
    output: z.string(),
    access: 'everyone',
    resumable: true,
    async *handler() {
      yield 'a'
    },
  }),
]

let world: World
before(async () => {
  world = await openWorld(operations, { title: 'tree', version: '1.2.3' })
})
after(() => world.close())

interface Document {
  readonly openapi: string
  readonly info: { readonly title: string; readonly version: string }
  readonly paths: Record<string, { readonly get?: Item; readonly post?: Item }>
  readonly components: { readonly schemas: Record<string, unknown> }
}
interface Item {
  readonly operationId: string
  readonly parameters: readonly { readonly name: string; readonly in: string; readonly required: boolean }[]
  readonly responses: Record<string, unknown>
}

async function schemaOf(token: string): Promise<{ document: Document; text: string }> {
  const { json, text, status } = await ask(world.port, '/v1/schema', { token })
  assert.equal(status, 200)
  return { document: json as Document, text }
}

test('the schema, asked for by a caller, has what that caller may call and no trace of the rest', async () => {
  const reader = await schemaOf('alk_reader')
  assert.equal(reader.document.openapi, '3.1.0')
  assert.deepEqual(reader.document.info, { title: 'tree', version: '1.2.3' })
  assert.doesNotMatch(reader.text, /cut/)
  const writer = await schemaOf('alk_writer')
  assert.equal(writer.document.paths['/v1/tree/cut']?.post?.operationId, 'tree_cut')
  assert.equal(writer.document.paths['/v1/tree/cut']?.get, undefined)
})

test('an operation, in the schema, has ids, parameters and answers that follow from its name and nothing else', async () => {
  const { document, text } = await schemaOf('alk_reader')
  const find = document.paths['/v1/tree/find']
  assert.equal(find?.get?.operationId, 'get_tree_find')
  assert.deepEqual(
    find?.get?.parameters.filter((parameter) => parameter.in === 'query').map(({ name, required }) => [name, required]),
    [
      ['name', true],
      ['depth', false],
      ['tags', false],
    ],
  )
  assert.deepEqual(Object.keys(find?.post?.responses ?? {}).sort(), ['200', '400', '401', '403', '404', '413', '429', '500', '503', '504', 'default'])
  const again = await openWorld([...operations].reverse(), { title: 'tree', version: '1.2.3' })
  assert.equal((await ask(again.port, '/v1/schema')).text, text)
  await again.close()
})

test('every reference, in the schema, leads to something in it', async () => {
  const { document } = await schemaOf('alk_writer')
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, reference = '']) => reference)
  assert.ok(references.length > 10)
  for (const reference of references) {
    assert.match(reference, /^#\//)
    let here: unknown = document
    for (const step of reference.slice(2).split('/')) here = (here as Record<string, unknown>)[step.replaceAll('~1', '/').replaceAll('~0', '~')]
    assert.notEqual(here, undefined, reference)
  }
})
