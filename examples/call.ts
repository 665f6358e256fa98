// An operation that one machine offers and another calls: the compiler knows input and answer, and nothing unvalidated reaches the handler.
import { createNode } from 'kith'
import { defineOperation } from 'kith/call'
import { z } from 'zod'

const add = defineOperation({
  name: 'sums/add',
  kind: 'query',
  input: z.object({ a: z.number(), b: z.number() }),
  output: z.number(),
  handler: ({ a, b }) => a + b,
})
await using desk = await createNode({ home: `${process.argv[2]}/desk`, listen: ['tcp://127.0.0.1:0'] })
await using laptop = await createNode({ home: `${process.argv[2]}/laptop`, listen: ['tcp://127.0.0.1:0'] })
desk.operation(add)
await laptop.join(await desk.invite())
await desk.policy.allow(laptop.did, 'call', 'sums/add')
const sum: number = await laptop.call<typeof add>(`/${desk.did}/sums/add`, { a: 2, b: 3 })
console.log(sum)
