/**
 * The near end of the rows of calls, a process of its own for each program compared, as its user would have it: `kith`, `grpc`, `nats` or `bare`. Prints one JSON
 * line when it can call, and does what it is told over the channel to its parent, one load after the other.
 */
import { type CallClient, createCallClient } from '../../src/call/link.ts'
import { systemClock } from '../../src/core/clock.ts'
import { bareClient } from './bare-client.ts'
import { callNode, ITEM, QUESTION } from './call-ends.ts'
import { grpcClient, natsClient } from './rpc-client.mjs'
import { stopwatch } from './stopwatch.ts'

/** Where the other end is, by what calls it. */
export type FarEnd =
  | { readonly kind: 'kith'; readonly peer: string; readonly url: string; readonly path: string; readonly pollUs?: number }
  | { readonly kind: 'grpc'; readonly port: number; readonly certificate: string }
  | { readonly kind: 'nats' | 'bare'; readonly port: number }

/** `width` calls under way at any time until there were `count`, or one stream of so many items. */
export interface Load {
  readonly count: number
  readonly width: number | 'stream'
  /** Processes whose time counts with `--cpu`, besides this one. */
  readonly far: readonly number[]
}

export interface NearReady {
  /** Of a kith node: whom the other end has to know before the first load. */
  readonly did?: string
}

interface Caller {
  readonly did?: string
  call(): Promise<unknown>
  /** How many items came. */
  items?(count: number): Promise<number>
}

async function kithCaller(end: FarEnd & { kind: 'kith' }): Promise<Caller> {
  const { mesh } = await callNode(end.pollUs)
  await mesh.book.add(end.peer, { name: 'far', urls: [end.url], class: 'partner' })
  const client: CallClient = createCallClient(mesh, { clock: systemClock })
  return {
    did: mesh.did,
    call: () => client.call(end.peer, end.path, QUESTION),
    async items(count) {
      let seen = 0
      for await (const _item of client.stream(end.peer, '/bench/items', { count })) seen++
      return seen
    },
  }
}

async function callerTo(end: FarEnd): Promise<Caller> {
  switch (end.kind) {
    case 'kith':
      return await kithCaller(end)
    case 'grpc': {
      const client = grpcClient(end.port, Buffer.from(end.certificate))
      return { call: () => client.call(QUESTION), items: (count) => client.items(count, ITEM) }
    }
    case 'nats': {
      const client = await natsClient(end.port)
      return { call: () => client.call(QUESTION) }
    }
    case 'bare':
      return await bareClient(end.port)
  }
}

const caller = await callerTo(JSON.parse(process.argv[2] as string) as FarEnd)

/** Seconds it took. */
async function carry({ count, width, far }: Load): Promise<number> {
  const elapsed = stopwatch(...far)
  if (width === 'stream') {
    const seen = await caller.items?.(count)
    if (seen !== count) throw new Error(`${seen} of ${count} items came`)
    return elapsed()
  }
  let left = count
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (left-- > 0) await caller.call()
    }),
  )
  return elapsed()
}

process.on('message', (load: Load) => {
  carry(load).then(
    (seconds) => process.send?.({ seconds }),
    (error: unknown) => process.send?.({ error: String(error) }),
  )
})
process.on('disconnect', () => process.exit(0))
const ready: NearReady = caller.did === undefined ? {} : { did: caller.did }
process.stdout.write(`${JSON.stringify(ready)}\n`)
