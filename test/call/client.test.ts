import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { z } from 'zod'
import { calleeTarget, createTypedClient } from '../../src/call/client.ts'
import { defineOperation } from '../../src/call/define.ts'
import { jsonSchema } from '../../src/call/schema.ts'
import { callPair, localWorld, owner } from './support.ts'

const operations = [
  defineOperation({
    name: 'echo/say',
    kind: 'query',
    access: 'everyone',
    input: z.object({ text: z.string(), times: z.number().default(1) }),
    output: z.object({ text: z.string() }),
    handler: ({ text, times }) => ({ text: text.repeat(times) }),
  }),
  defineOperation({
    name: 'feed/count',
    kind: 'subscription',
    access: 'everyone',
    input: jsonSchema<{ to: number }>({ type: 'object', properties: { to: { type: 'number' } }, required: ['to'] }),
    output: z.number(),
    handler: async function* ({ to }) {
      for (let i = 0; i < to; i++) yield i
    },
  }),
] as const

describe('typed clients', () => {
  it('calls by name, with the types of the definitions', async (t) => {
    const pair = await callPair(operations)
    t.after(() => pair.close())
    const client = createTypedClient<typeof operations>(pair.client.to('far'))
    const { text } = await pair.world.settle(client.call('echo/say', { text: 'ab', times: 2 }))
    assert.equal(text.toUpperCase(), 'ABAB')
    let sum = 0
    await pair.world.settle(
      (async () => {
        for await (const { value } of client.stream('feed/count', { to: 4 })) sum += value
      })(),
    )
    assert.equal(sum, 6)
  })

  it('the compiler refuses other names, inputs and kinds', async () => {
    const client = createTypedClient<typeof operations>(calleeTarget(localWorld(operations).callee, owner))
    // @ts-expect-error no such operation
    await assert.rejects(client.call('echo/shout', { text: 'a' }))
    // @ts-expect-error the input is no number
    await assert.rejects(client.call('echo/say', { text: 1 }))
    // @ts-expect-error a subscription is streamed
    assert.equal(await client.call('feed/count', { to: 1 }), 0)
    // @ts-expect-error the answer has no such field
    assert.equal((await client.call('echo/say', { text: 'a' })).other, undefined)
  })

  it('names a worker of a head in the path', async () => {
    const asked: string[] = []
    const target = { ...calleeTarget(localWorld(operations).callee, owner), call: async (path: string) => void asked.push(path) }
    await createTypedClient<typeof operations>(target, { node: 'dev1' }).call('echo/say', { text: 'a' })
    assert.deepEqual(asked, ['/dev1/echo/say'])
  })
})
