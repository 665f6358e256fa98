// A stream of answers: the caller reads at its own pace, and leaving the loop ends the work on the other machine.
import { createNode } from 'kith'
import { defineOperation } from 'kith/call'
import { z } from 'zod'

const naturals = async function* (): AsyncGenerator<number> {
  for (let n = 1; ; n++) yield n
}
const count = defineOperation({ name: 'numbers/count', kind: 'subscription', input: z.object({}), output: z.number(), handler: naturals })
await using desk = await createNode({ home: `${process.argv[2]}/desk`, listen: ['tcp://127.0.0.1:0'] })
await using laptop = await createNode({ home: `${process.argv[2]}/laptop`, listen: ['tcp://127.0.0.1:0'] })
desk.operation(count)
await laptop.join(await desk.invite())
await desk.policy.allow(laptop.did, 'call', 'numbers/count')
for await (const n of laptop.stream<typeof count>(`/${desk.did}/numbers/count`, {})) {
  console.log(n)
  if (n === 3) break
}
