/** Calls between two processes over a link of two nodes, encrypted loopback TCP, against gRPC over TLS and NATS request-reply: the same JSON in and out. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CallClient, createCallClient } from '../src/call/link.ts'
import { systemClock } from '../src/core/clock.ts'
import type { BenchRow, BenchSample } from './harness.ts'
import { type BareClient, bareClient } from './support/bare-echo.ts'
import { callNode, ITEM, QUESTION } from './support/call-ends.ts'
import { selfSigned } from './support/certificate.ts'
import { freePort, reachable, startJson, stop } from './support/processes.ts'
import { type GrpcClient, grpcClient, type NatsClient, natsClient } from './support/rpc-client.mjs'
import { type Far, stopwatch } from './support/stopwatch.ts'

const SUPPORT: string = join(import.meta.dirname, 'support')
/** Before anything is counted, of each side: rates are those of programs that have run for a while, and until then most of a short call is the compiler's time. */
const WARM_CALLS = 20_000
const WARM_ITEMS = 100_000
const GRPC = '@grpc/grpc-js 1.14 over TLS'
const NATS = 'nats 2.29, Debian nats-server, no TLS'

interface World {
  readonly client: CallClient
  readonly peer: string
  readonly grpc: GrpcClient
  readonly nats: NatsClient
  readonly bare: BareClient
  readonly ours: readonly Far[]
  readonly grpcFar: readonly Far[]
  readonly natsFar: readonly Far[]
  close(): Promise<void>
}

let world: Promise<World> | undefined

async function open(): Promise<World> {
  const { child: far, ready } = await startJson<{ did: string; url: string; bare: number }>([...process.execArgv, join(SUPPORT, 'call-server.ts')])
  const { mesh } = await callNode()
  await mesh.book.add(ready.did, { name: 'far', urls: [ready.url], class: 'partner' })
  const known = once(far, 'message')
  far.send(mesh.did)
  await known
  await mesh.dial('far')
  const client = createCallClient(mesh, { clock: systemClock })

  const folder = mkdtempSync(join(tmpdir(), 'kith-bench-'))
  const { key, cert } = selfSigned('bench')
  writeFileSync(join(folder, 'key.pem'), key)
  writeFileSync(join(folder, 'cert.pem'), cert)
  const natsPort = await freePort()
  const natsServer: ChildProcess = spawn('nats-server', ['-a', '127.0.0.1', '-p', String(natsPort)], { stdio: 'ignore' })
  await reachable(natsPort)
  const args = [join(SUPPORT, 'rpc-server.mjs'), join(folder, 'cert.pem'), join(folder, 'key.pem'), String(natsPort)]
  const { child: others, ready: rpc } = await startJson<{ port: number }>(args)
  const grpc = grpcClient(rpc.port, Buffer.from(cert))
  const nats = await natsClient(natsPort)
  const bare = await bareClient(ready.bare)
  return {
    client,
    bare,
    peer: ready.did,
    grpc,
    nats,
    ours: [far],
    grpcFar: [others],
    natsFar: [others, natsServer],
    async close() {
      client.close()
      bare.close()
      await mesh.close()
      grpc.close()
      await nats.close()
      for (const child of [far, others, natsServer]) await stop(child)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function ends(): Promise<World> {
  world ??= open()
  return world
}

export async function close(): Promise<void> {
  await (await world)?.close()
}

/** Rate of so many calls, `width` of them under way at any time. */
async function rate(count: number, width: number, far: readonly Far[], call: () => Promise<unknown>): Promise<number> {
  let left = count
  const elapsed = stopwatch(...far)
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (left-- > 0) await call()
    }),
  )
  return count / elapsed()
}

type Side = (world: World) => { readonly far: readonly Far[]; readonly call: () => Promise<unknown> }

const ours: Side = ({ ours: far, client, peer }) => ({ far, call: () => client.call(peer, '/bench/echo', QUESTION) })
const overGrpc: Side = ({ grpcFar: far, grpc }) => ({ far, call: () => grpc.call(QUESTION) })
const overNats: Side = ({ natsFar: far, nats }) => ({ far, call: () => nats.call(QUESTION) })

/** What the machine takes for two messages of that size, whatever is in them. */
const overNothing: Side = ({ ours: far, bare }) => ({ far, call: () => bare.call() })

const warm: Set<Side> = new Set()

async function unary(width: number, quick: boolean, other: Side): Promise<BenchSample> {
  const near = await ends()
  for (const side of [ours, other]) {
    if (warm.has(side)) continue
    warm.add(side)
    const { far, call } = side(near)
    await rate(WARM_CALLS, width, far, call)
  }
  const sides = [ours(near), other(near)]
  const count = (quick ? 2_000 : 10_000) * (width === 1 ? 1 : 3)
  const rates = [0, 0]
  // In turns, since something else may run on the machine; the first round is for what this width does otherwise.
  for (let round = 0; round < 3; round++) {
    for (const [side, { far, call }] of sides.entries()) {
      const one = await rate(count, width, far, call)
      if (round > 0) rates[side] = (rates[side] as number) + one / 2
    }
  }
  return { ours: rates[0] as number, peer: rates[1] as number }
}

async function items(quick: boolean): Promise<BenchSample> {
  const { client, peer, grpc, ours: far, grpcFar } = await ends()
  const mine = async (count: number): Promise<number> => {
    let seen = 0
    for await (const _item of client.stream(peer, '/bench/items', { count })) seen++
    return seen
  }
  const timed = async (ends: readonly Far[], count: number, work: (count: number) => Promise<number>): Promise<number> => {
    const elapsed = stopwatch(...ends)
    const seen = await work(count)
    if (seen !== count) throw new Error(`${seen} of ${count} items came`)
    return count / elapsed()
  }
  let sample: BenchSample = { ours: 0 }
  for (const count of [WARM_ITEMS, quick ? 20_000 : WARM_ITEMS]) {
    sample = { ours: await timed(far, count, mine), peer: await timed(grpcFar, count, (items) => grpc.items(items, ITEM)) }
  }
  return sample
}

export const rows: readonly BenchRow[] = [
  {
    name: 'calls: unary, 100 bytes of JSON, 1 in flight',
    unit: '/s',
    peer: GRPC,
    better: 'higher',
    goal: 3,
    measure: ({ quick }) => unary(1, quick, overGrpc),
  },
  {
    name: 'calls: unary, 100 bytes of JSON, 1 in flight',
    unit: '/s',
    peer: 'node:net, 200 bytes there and back, no more',
    better: 'higher',
    measure: ({ quick }) => unary(1, quick, overNothing),
  },
  {
    name: 'calls: unary, 100 bytes of JSON, 64 in flight',
    unit: '/s',
    peer: GRPC,
    better: 'higher',
    goal: 3,
    measure: ({ quick }) => unary(64, quick, overGrpc),
  },
  {
    name: 'calls: unary, 100 bytes of JSON, 64 in flight',
    unit: '/s',
    peer: NATS,
    better: 'higher',
    goal: 1.5,
    measure: ({ quick }) => unary(64, quick, overNats),
  },
  { name: 'calls: server stream, items of 1 KiB', unit: '/s', peer: GRPC, better: 'higher', goal: 3, measure: ({ quick }) => items(quick) },
]
