/** The multiplexer over the encrypted stream, two processes on loopback, against what a Node program would use instead. */
import type { ChildProcess } from 'node:child_process'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2'
import { connect as connectTcp, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { promisify } from 'node:util'
import type { LinkStream } from '../src/transport/types.ts'
import { yamuxOver } from '../test/transport/yamux-peer.mjs'
import type { BenchRow, BenchSample } from './harness.ts'
import { duplexFlow, type Flow, leanFlow, type YamuxStream, yamuxFlow } from './support/flows.ts'
import { encrypted, muxOver, secretStream } from './support/mux-ends.ts'
import { besideBulk, bulk, echoes, newStreams } from './support/mux-loads.ts'
import { startJson, stop } from './support/processes.ts'

type Stack = 'lean' | 'duplex' | 'yamux' | 'tls' | 'http2' | 'secret'

interface World {
  readonly child: ChildProcess
  readonly folder: string
  readonly ports: Readonly<Record<Stack, number>>
}

/** One connection of a stack, and how a stream of it is opened. */
interface Link {
  open(): Flow | Promise<Flow>
  close(): void
}

let world: Promise<World> | undefined

async function start(): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'kith-bench-mux-'))
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  const request = ['req', '-x509', '-newkey', 'ed25519', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-out', cert, '-keyout', key]
  await promisify(execFile)('openssl', request)
  const server = join(import.meta.dirname, 'support', 'mux-server.ts')
  const { child, ready } = await startJson<Readonly<Record<Stack, number>>>([...process.execArgv, server, cert, key])
  return { child, folder, ports: ready }
}

export async function close(): Promise<void> {
  if (world === undefined) return
  const { child, folder } = await world
  await stop(child)
  rmSync(folder, { recursive: true, force: true })
}

async function tcp(port: number): Promise<Socket> {
  const socket = connectTcp({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  return socket
}

async function connect(stack: Stack): Promise<Link> {
  world ??= start()
  const port = (await world).ports[stack]
  if (stack === 'tls') {
    const options: ConnectionOptions = { port, host: '127.0.0.1', rejectUnauthorized: false, minVersion: 'TLSv1.3' }
    const socket = connectTls({ ...options, allowHalfOpen: true } as ConnectionOptions)
    await once(socket, 'secureConnect')
    socket.setNoDelay(true)
    return { open: () => duplexFlow(socket), close: () => socket.destroy() }
  }
  if (stack === 'http2') return await http2(port)
  if (stack === 'secret') {
    const stream = secretStream(await tcp(port), true)
    if (stream === undefined) throw new Error('@hyperswarm/secret-stream is not installed: npm ci in bench/')
    await once(stream, 'connect')
    return { open: () => duplexFlow(stream), close: () => stream.destroy() }
  }
  const stream = await encrypted(await tcp(port), 'dialer')
  if (stack === 'yamux') {
    const muxer = yamuxOver(stream.asDuplex(), 'dialer')
    return { open: async () => yamuxFlow((await muxer.createStream()) as unknown as YamuxStream), close: () => void stream.close() }
  }
  const mux = muxOver(stream)
  const wrap = stack === 'lean' ? leanFlow : (opened: LinkStream): Flow => duplexFlow(opened.toDuplex())
  return { open: async () => wrap(await mux.open()), close: () => void mux.close() }
}

async function http2(port: number): Promise<Link> {
  const session: ClientHttp2Session = connectHttp2(`https://127.0.0.1:${port}`, {
    rejectUnauthorized: false,
    settings: { initialWindowSize: 2 ** 20 },
  })
  await once(session, 'connect')
  session.setLocalWindowSize(2 ** 24)
  return { open: () => duplexFlow(session.request({ ':method': 'POST', ':path': '/' })), close: () => session.destroy() }
}

type Measure = (open: Link['open']) => Promise<number>

/** One sample on a fresh connection. */
async function sample(stack: Stack, measure: Measure): Promise<number> {
  const link = await connect(stack)
  try {
    return await measure(link.open)
  } finally {
    link.close()
  }
}

async function compare(ours: Stack, peer: Stack, measure: Measure, peerMeasure: Measure = measure): Promise<BenchSample> {
  return { ours: await sample(ours, measure), peer: await sample(peer, peerMeasure) }
}

const NPM = 'npm yamux, same encrypted stream'
const seconds = (quick: boolean): number => (quick ? 500 : 2000)

/** Warmed up, then measured. */
const requests =
  (quick: boolean, count: number) =>
  async (open: Link['open']): Promise<number> => {
    await newStreams(open, Math.floor(count / 5))
    return await newStreams(open, quick ? Math.floor(count / 5) : count)
  }

export const rows: readonly BenchRow[] = [
  {
    name: 'mux: a new stream per request, 64 in flight, lean',
    unit: '/s',
    peer: NPM,
    better: 'higher',
    goal: 8,
    aim: 14,
    measure: ({ quick }) => compare('lean', 'yamux', requests(quick, 100_000), requests(quick, 15_000)),
  },
  {
    name: 'mux: a new stream per request, 64 in flight, Duplex',
    unit: '/s',
    peer: NPM,
    better: 'higher',
    goal: 3,
    measure: ({ quick }) => compare('duplex', 'yamux', requests(quick, 50_000), requests(quick, 15_000)),
  },
  {
    name: 'mux: 100 streams in parallel, all together',
    unit: 'MB/s',
    peer: NPM,
    better: 'higher',
    goal: 1.3,
    aim: 1.6,
    measure: ({ quick }) => compare('lean', 'yamux', async (open) => (await bulk(open, 100, seconds(quick))).rate),
  },
  {
    name: 'mux: 100 streams in parallel, fairness (at least 0.98)',
    unit: 'Jain',
    peer: NPM,
    better: 'higher',
    measure: ({ quick }) => compare('lean', 'yamux', async (open) => (await bulk(open, 100, seconds(quick))).fairness),
  },
  {
    name: 'mux: 100-byte echo, 64 in flight, one stream',
    unit: '/s',
    peer: 'secret-stream over TCP',
    better: 'higher',
    goal: 1.5,
    aim: 3,
    measure: ({ quick }) => compare('lean', 'secret', (open) => echoes(open, quick ? 50_000 : 300_000)),
  },
  {
    name: 'mux: one stream, 64 KiB writes',
    unit: 'MB/s',
    peer: 'node:tls 1.3, AES-256-GCM',
    better: 'higher',
    goal: 0.85,
    aim: 1.1,
    measure: ({ quick }) => compare('lean', 'tls', async (open) => (await bulk(open, 1, seconds(quick))).rate),
  },
  {
    name: 'mux: 100-byte round trip beside 20 bulk streams, median',
    unit: 'ms',
    peer: 'node:http2 over node:tls',
    better: 'lower',
    goal: 0.4,
    aim: 0.15,
    measure: ({ quick }) => compare('lean', 'http2', async (open) => (await besideBulk(open, seconds(quick))).p50),
  },
  {
    name: 'mux: 100-byte round trip beside 20 bulk streams, 99th percentile',
    unit: 'ms',
    peer: 'node:http2 over node:tls',
    better: 'lower',
    goal: 1,
    measure: ({ quick }) => compare('lean', 'http2', async (open) => (await besideBulk(open, seconds(quick))).p99),
  },
]
