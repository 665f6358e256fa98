/**
 * A whole link: TCP, handshake, post-quantum step, Hello with both proofs, multiplexer, one echo on a stream, close; against a connection of node:tls with an echo.
 * Both sides have met before, as when a node comes back, unless the row says otherwise. Two processes, loopback.
 */
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { fromHex } from '../src/core/bytes.ts'
import { parsePublicKey } from '../src/core/crypto/ed25519.ts'
import type { AuthenticatedLink } from '../src/mesh/hello-types.ts'
import type { Channel, Transport } from '../src/transport/types.ts'
import type { BenchRow, BenchSample } from './harness.ts'
import { leanFlow } from './support/flows.ts'
import { echo, greeter, makeDevice, tcpOf, tlsEnd } from './support/link-ends.ts'
import { MuxPair } from './support/mux-dial.ts'
import { bulk } from './support/mux-loads.ts'
import { startJson, stop } from './support/processes.ts'
import { rate, StreamPair, warmUp } from './support/stream-dial.ts'

type Kind = 'hybrid' | 'classical' | 'hybrid-cold' | 'classical-cold' | 'tls' | 'tls-bulk'

interface Dialing {
  readonly transport: Transport
  readonly greet: (channel: Channel) => Promise<AuthenticatedLink>
}

interface World {
  readonly child: ChildProcess
  readonly far: Readonly<Record<Kind, { readonly address: string; readonly key: string }>>
  readonly near: Readonly<Record<Kind, Dialing>>
  readonly tls: StreamPair
}

let world: Promise<World> | undefined
/** A bare connection of node:tls for the row of bulk. */
let plain: Promise<MuxPair> | undefined

async function start(): Promise<World> {
  const { child, ready } = await startJson<World['far']>([...process.execArgv, join(import.meta.dirname, 'support', 'link-server.ts')])
  const dialing = async (mldsa: boolean, cold: boolean): Promise<Dialing> => {
    const device = makeDevice(mldsa)
    return { transport: tcpOf(device), greet: await greeter(device, { cold }) }
  }
  const tls = tlsEnd()
  const overTls = { transport: tls.transport, greet: await greeter(tls.device, { cold: false }) }
  const near = {
    tls: overTls,
    'tls-bulk': overTls,
    hybrid: await dialing(true, false),
    classical: await dialing(false, false),
    'hybrid-cold': await dialing(true, true),
    'classical-cold': await dialing(false, true),
  }
  return { child, far: ready, near, tls: await StreamPair.start() }
}

export async function close(): Promise<void> {
  const ends = await world
  if (ends === undefined) return
  await stop(ends.child)
  await ends.tls.close()
  await (await plain)?.close()
}

const never = new AbortController().signal

const warm: Set<Kind> = new Set()

async function setUps(kind: Kind, count: number, width: number, quick: boolean): Promise<BenchSample> {
  world ??= start()
  const { child, far, near, tls } = await world
  const { transport, greet } = near[kind]
  const { address, key } = far[kind]
  const expect = parsePublicKey(fromHex(key))
  const ours = async (): Promise<void> => {
    const link = await greet(await transport.dial(address, { expect, signal: never }))
    const connection = link.channel.multiplex()
    await echo(connection)
    await connection.close()
  }
  const theirs = () => tls.oneOfTls()
  if (!warm.has(kind)) await warmUp(16, quick, ours, ...(warm.size === 0 ? [theirs] : []))
  warm.add(kind)
  return { ours: await rate(child, count, width, ours), peer: await rate(tls.child, count, width, theirs) }
}

/** One stream of a link over TLS beside a bare connection of node:tls. */
async function bulkOverTls(ms: number): Promise<BenchSample> {
  world ??= start()
  plain ??= MuxPair.start()
  const { child, far, near } = await world
  const pair = await plain
  const { transport, greet } = near['tls-bulk']
  const { address, key } = far['tls-bulk']
  const link = await greet(await transport.dial(address, { expect: parsePublicKey(fromHex(key)), signal: never }))
  const connection = link.channel.multiplex()
  const { rate: ours } = await bulk(async () => leanFlow(await connection.open()), 1, ms, child)
  await connection.close()
  return { ours, peer: await pair.sample('tls', async (open) => (await bulk(open, 1, ms, pair.child)).rate) }
}

function row(name: string, kind: Kind, width: number, figures: Pick<BenchRow, 'goal' | 'aim'> = {}): BenchRow {
  const count = width === 1 ? 200 : 640
  return {
    name: `link: ${name}, ${width === 1 ? 'sequential' : `${width} at once`}`,
    unit: '1/s',
    peer: 'node:tls 1.3, mutual Ed25519',
    better: 'higher',
    ...figures,
    measure: ({ quick }) => setUps(kind, quick ? count / 4 : count, width, quick),
  }
}

export const rows: readonly BenchRow[] = [
  row('set-up with ML-DSA', 'hybrid', 1, { goal: 0.5, aim: 1 }),
  row('set-up with ML-DSA', 'hybrid', 16, { goal: 0.5, aim: 1 }),
  row('set-up without ML-DSA', 'classical', 1, { goal: 1, aim: 1.5 }),
  row('set-up without ML-DSA', 'classical', 16, { goal: 1, aim: 1.5 }),
  row('first meeting with ML-DSA', 'hybrid-cold', 16),
  row('first meeting without ML-DSA', 'classical-cold', 16),
  row('set-up over tls://, without ML-DSA', 'tls', 1),
  row('set-up over tls://, without ML-DSA', 'tls', 16),
  {
    name: 'link: one stream over tls://, 64 KiB writes',
    unit: 'MB/s',
    peer: 'node:tls 1.3, AES-256-GCM',
    better: 'higher',
    measure: ({ quick }) => bulkOverTls(quick ? 500 : 2_000),
  },
]
