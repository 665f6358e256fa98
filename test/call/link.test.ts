import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { z } from 'zod'
import { defineOperation } from '../../src/call/define.ts'
import { CallError } from '../../src/call/errors.ts'
import { callPair } from './support.ts'

const echo = defineOperation({
  name: 'echo/say',
  kind: 'query',
  access: 'everyone',
  input: z.object({ text: z.string() }),
  output: z.object({ text: z.string() }),
  handler: ({ text }) => ({ text }),
})
const count = defineOperation({
  name: 'echo/count',
  kind: 'subscription',
  access: 'everyone',
  input: z.object({ to: z.number() }),
  output: z.number(),
  handler: async function* ({ to }) {
    for (let i = 0; i < to; i++) yield i
  },
})

describe('calls over a link', () => {
  it('answers one call', async (t) => {
    const pair = await callPair([echo, count])
    t.after(() => pair.close())
    assert.deepEqual(await pair.world.settle(pair.client.call('far', '/echo/say', { text: 'hi' })), { text: 'hi' })
  })

  it('answers many calls at once, each with its own', async (t) => {
    const pair = await callPair([echo, count])
    t.after(() => pair.close())
    const answers = await pair.world.settle(Promise.all(Array.from({ length: 500 }, (_, i) => pair.client.call('far', '/echo/say', { text: String(i) }))))
    assert.deepEqual(
      answers,
      Array.from({ length: 500 }, (_, i) => ({ text: String(i) })),
    )
  })

  it('streams items in order', async (t) => {
    const pair = await callPair([echo, count])
    t.after(() => pair.close())
    const seen: unknown[] = []
    await pair.world.settle(
      (async () => {
        for await (const { value } of pair.client.stream('far', '/echo/count', { to: 50_000 })) seen.push(value)
      })(),
    )
    assert.equal(seen.length, 50_000)
    assert.deepEqual(seen.slice(-2), [49_998, 49_999])
  })

  it('carries long inputs and answers in pieces', async (t) => {
    const pair = await callPair([echo, count])
    t.after(() => pair.close())
    const text = 'ä'.repeat(1_000_000)
    assert.deepEqual(await pair.world.settle(pair.client.call('far', '/echo/say', { text })), { text })
    assert.deepEqual(await pair.world.settle(pair.client.call('far', '/echo/say', { text }, { encoding: 'cbor' })), { text })
  })

  it('hands on declared errors with their data, marked remote', async (t) => {
    const failing = defineOperation({
      name: 'shop/buy',
      kind: 'mutation',
      access: 'everyone',
      input: z.object({}),
      output: z.object({}),
      errors: { OUT_OF_STOCK: z.object({ left: z.number() }) },
      handler: () => {
        throw new CallError('OUT_OF_STOCK', 'none left', { data: { left: 0 } })
      },
    })
    const pair = await callPair([failing])
    t.after(() => pair.close())
    await pair.world.settle(
      assert.rejects(pair.client.call('far', '/shop/buy', {}), (error: unknown) => {
        assert.ok(error instanceof CallError)
        assert.equal(error.reason, 'OUT_OF_STOCK')
        assert.deepEqual(error.data, { left: 0 })
        assert.equal(error.remote, true)
        return true
      }),
    )
  })
})
