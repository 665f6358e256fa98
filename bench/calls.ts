/** Calls between two processes over a link of two nodes, encrypted loopback TCP, against gRPC over TLS and NATS request-reply: the same JSON in and out. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BenchRow, BenchSample } from './harness.ts'
import { selfSigned } from './support/certificate.ts'
import { type Contender, contender, inTurns, introduce } from './support/contender.ts'
import { freePort, reachable, startJson, stop } from './support/processes.ts'

const SUPPORT: string = join(import.meta.dirname, 'support')
/** `link.poll_us` of the nodes that poll. */
const POLL_US = 200
const GRPC = '@grpc/grpc-js 1.14 over TLS'
const NATS = 'nats 2.29, Debian nats-server, no TLS'

interface World {
  readonly kith: Contender
  /** The same between two nodes that poll for what comes. */
  readonly polling: Contender
  readonly grpc: Contender
  readonly nats: Contender
  /** What the machine takes for two messages of that size, whatever is in them. */
  readonly bare: Contender
  close(): Promise<void>
}

let world: Promise<World> | undefined

async function open(): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'kith-bench-'))
  const { key, cert } = selfSigned('bench')
  writeFileSync(join(folder, 'key.pem'), key)
  writeFileSync(join(folder, 'cert.pem'), cert)
  const natsPort = await freePort()
  const natsServer: ChildProcess = spawn('nats-server', ['-a', '127.0.0.1', '-p', String(natsPort)], { stdio: 'ignore' })
  await reachable(natsPort)

  const pair = async (pollUs: number): Promise<{ child: ChildProcess; near: Contender }> => {
    const { child, ready } = await startJson<{ did: string; url: string }>([...process.execArgv, join(SUPPORT, 'call-server.ts'), String(pollUs)])
    const near = await contender({ kind: 'kith', peer: ready.did, url: ready.url, path: '/bench/echo', pollUs }, [child])
    await introduce(child, near)
    return { child, near }
  }
  const kith = await pair(0)
  const polling = await pair(POLL_US)
  const echo = await startJson<{ port: number }>([...process.execArgv, join(SUPPORT, 'bare-server.ts')])
  const grpcServer = await startJson<{ port: number }>([join(SUPPORT, 'grpc-server.mjs'), join(folder, 'cert.pem'), join(folder, 'key.pem')])
  const responder = await startJson<object>([join(SUPPORT, 'nats-responder.mjs'), String(natsPort)])
  const servers = [kith.child, polling.child, echo.child, grpcServer.child, responder.child, natsServer]

  const grpc = await contender({ kind: 'grpc', port: grpcServer.ready.port, certificate: cert }, [grpcServer.child])
  const nats = await contender({ kind: 'nats', port: natsPort }, [responder.child, natsServer])
  const bare = await contender({ kind: 'bare', port: echo.ready.port }, [echo.child])
  return {
    kith: kith.near,
    polling: polling.near,
    grpc,
    nats,
    bare,
    async close() {
      for (const near of [kith.near, polling.near, grpc, nats, bare]) await near.close()
      for (const child of servers) await stop(child)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

export async function close(): Promise<void> {
  await (await world)?.close()
}

async function unary(
  width: number,
  quick: boolean,
  peer: (world: World) => Contender,
  ours: (world: World) => Contender = ({ kith }) => kith,
): Promise<BenchSample> {
  world ??= open()
  const ends = await world
  return await inTurns(ours(ends), peer(ends), (quick ? 1_000 : 6_000) * (width === 1 ? 1 : 5), width)
}

async function items(quick: boolean): Promise<BenchSample> {
  world ??= open()
  const { kith, grpc } = await world
  return await inTurns(kith, grpc, quick ? 10_000 : 50_000, 'stream')
}

export const rows: readonly BenchRow[] = [
  {
    name: 'calls: unary, 100 bytes of JSON, 1 in flight',
    unit: '/s',
    peer: GRPC,
    better: 'higher',
    goal: 3,
    measure: ({ quick }) => unary(1, quick, ({ grpc }) => grpc),
  },
  {
    name: 'calls: unary, 100 bytes of JSON, 1 in flight',
    unit: '/s',
    peer: 'node:net, 200 bytes there and back, no more',
    better: 'higher',
    measure: ({ quick }) => unary(1, quick, ({ bare }) => bare),
  },
  {
    name: 'calls: unary, 100 bytes of JSON, 1 in flight, link.poll_us 200',
    unit: '/s',
    peer: GRPC,
    better: 'higher',
    goal: 3,
    measure: ({ quick }) =>
      unary(
        1,
        quick,
        ({ grpc }) => grpc,
        ({ polling }) => polling,
      ),
  },
  {
    name: 'calls: unary, 100 bytes of JSON, 64 in flight',
    unit: '/s',
    peer: GRPC,
    better: 'higher',
    goal: 3,
    measure: ({ quick }) => unary(64, quick, ({ grpc }) => grpc),
  },
  {
    name: 'calls: unary, 100 bytes of JSON, 64 in flight',
    unit: '/s',
    peer: NATS,
    better: 'higher',
    goal: 1.5,
    measure: ({ quick }) => unary(64, quick, ({ nats }) => nats),
  },
  { name: 'calls: server stream, items of 1 KiB', unit: '/s', peer: GRPC, better: 'higher', goal: 3, measure: ({ quick }) => items(quick) },
]
