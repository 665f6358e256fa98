import { z } from 'zod'
import type { Caller } from '../../src/access/types.ts'
import { type AnyOperation, defineOperation } from '../../src/call/define.ts'
import { jsonSchema } from '../../src/call/schema.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { createMesh } from '../../src/mesh/mesh.ts'
import type { Mesh } from '../../src/mesh/mesh-types.ts'
import { makeDevice, tcpOf } from './link-ends.ts'

/** A node without files, on loopback TCP, encrypted as always. `pollUs` as `link.poll_us`. */
export async function callNode(pollUs = 0): Promise<{ mesh: Mesh; url: string }> {
  const device = makeDevice(true)
  const mesh = await createMesh({
    device,
    store: createMemoryStore(),
    transports: [tcpOf(device)],
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    interfaces: () => [],
    config: { pollUs },
  })
  const [url] = await mesh.listen('tcp://127.0.0.1:0')
  await mesh.start()
  return { mesh, url: url as string }
}

/** 100 bytes as JSON. */
export const QUESTION: { readonly id: number; readonly name: string; readonly tags: readonly string[]; readonly note: string } = {
  id: 12_345,
  name: 'temperature',
  tags: ['kitchen', 'north'],
  note: 'as read from the sensor at 07:15',
}
/** 1 KiB as JSON. */
export const ITEM: { readonly seq: number; readonly text: string } = { seq: 100_000, text: 'x'.repeat(1_000) }

const question = z.object({ id: z.number(), name: z.string(), tags: z.array(z.string()), note: z.string() })

export const operations: readonly AnyOperation[] = [
  defineOperation({ name: 'bench/echo', kind: 'query', access: 'everyone', input: question, output: question, handler: (input) => input }),
  defineOperation({
    name: 'bench/items',
    kind: 'subscription',
    access: 'everyone',
    input: z.object({ count: z.number() }),
    output: jsonSchema<typeof ITEM>({ type: 'object', properties: { seq: { type: 'number' }, text: { type: 'string' } }, required: ['seq', 'text'] }),
    handler: async function* ({ count }) {
      for (let i = 0; i < count; i++) yield ITEM
    },
  }),
]

export const callerOf = ({ peer }: { readonly peer: string }): Caller => callers.get(peer) ?? remember(peer)

const callers = new Map<string, Caller>()

function remember(peer: string): Caller {
  const caller: Caller = { id: peer, via: 'link', scopes: new Set(), resources: new Map() }
  callers.set(peer, caller)
  return caller
}
