import { connect as connectTls, type TLSSocket } from 'node:tls'
import { fromHex } from '../src/core/bytes.ts'
import { systemClock } from '../src/core/clock.ts'
import { createSigner, randomSeed } from '../src/core/crypto/ed25519.ts'
import { systemRandom } from '../src/core/random.ts'
import { dial } from '../src/stream/dial.ts'
import type { EncryptedStream } from '../src/stream/encrypted-stream.ts'
import { connectSocket } from '../src/stream/socket-reads.ts'
import type { BenchRow, BenchSample } from './harness.ts'
import { startJson, stop } from './support/processes.ts'
import { head, sendOverDuplex, sendOverPipe } from './support/stream-ends.ts'

/**
 * The encrypted stream against node:tls 1.3 (AES-256-GCM, mutual Ed25519): two processes, loopback, both sides of a row in the same round.
 */
interface Far {
  port: number
  tlsPort: number
  key: string
  ca: string
  client: { key: string; cert: string }
}

let started: ReturnType<typeof startJson<Far>> | undefined
const signer = createSigner('link', randomSeed(systemRandom))

function far(): Promise<Far> {
  started ??= startJson<Far>([...process.execArgv, new URL('./support/stream-server.ts', import.meta.url).pathname])
  return started.then(({ ready }) => ready)
}

export async function close(): Promise<void> {
  if (started !== undefined) await stop((await started).child)
  started = undefined
}

async function dialOurs(): Promise<EncryptedStream> {
  const { port, key } = await far()
  const socket = connectSocket({ host: '127.0.0.1', port })
  return await dial(socket, { key: signer, peer: fromHex(key), namespace: 'bench', maxMessageBytes: 65_536, clock: systemClock, random: systemRandom })
}

async function dialTls(): Promise<TLSSocket> {
  const { tlsPort, ca, client } = await far()
  return await new Promise((resolve, reject) => {
    const socket = connectTls({ ...client, ca: [ca], host: '127.0.0.1', port: tlsPort, servername: 'localhost', minVersion: 'TLSv1.3' }, () => resolve(socket))
    socket.setNoDelay(true)
    socket.on('error', reject)
  })
}

/** Connect, mutual handshake, one encrypted echo, close. */
async function oneOfOurs(): Promise<void> {
  const stream = await dialOurs()
  const pipe = stream.toPipe()
  await new Promise<void>((resolve, reject) => {
    pipe.onData = () => resolve()
    pipe.onClose = (error) => reject(error ?? new Error('closed'))
    pipe.start()
    const begin = head('e', 4)
    pipe.write(begin, 0, begin.length)
    pipe.write(Buffer.from('ping'), 0, 4)
  })
  pipe.onClose = () => undefined
  pipe.close()
  await stream.closed
}

async function oneOfTls(): Promise<void> {
  const socket = await dialTls()
  await new Promise<void>((resolve, reject) => {
    socket.on('data', () => resolve())
    socket.on('error', reject)
    socket.write(Buffer.concat([head('e', 4), Buffer.from('ping')]))
  })
  const closed = new Promise((resolve) => socket.on('close', resolve))
  socket.end()
  await closed
}

/** Runs per second of `count` runs, `width` at once. */
async function rate(count: number, width: number, once: () => Promise<void>): Promise<number> {
  let left = count
  const begin = performance.now()
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (left-- > 0) await once()
    }),
  )
  return count / ((performance.now() - begin) / 1e3)
}

async function handshakes(count: number, width: number): Promise<BenchSample> {
  await rate(width, width, oneOfOurs)
  await rate(width, width, oneOfTls)
  return { ours: await rate(count, width, oneOfOurs), peer: await rate(count, width, oneOfTls) }
}

async function timed(run: () => Promise<void>): Promise<number> {
  const begin = performance.now()
  await run()
  return (performance.now() - begin) / 1e3
}

/** Messages of `size` bytes per second, one way. */
async function messages(size: number, count: number): Promise<BenchSample> {
  const stream = await dialOurs()
  const pipe = stream.toPipe()
  const ours = await timed(() => sendOverPipe(pipe, size, size * count))
  pipe.onClose = () => undefined
  pipe.close()
  await stream.closed
  const socket = await dialTls()
  const peer = await timed(() => sendOverDuplex(socket, size, size * count))
  socket.destroy()
  return { ours: count / ours, peer: count / peer }
}

const PEER = 'node:tls 1.3, mutual Ed25519, AES-256-GCM'

export const rows: readonly BenchRow[] = [
  {
    name: 'stream: mutual handshake, sequential',
    unit: '1/s',
    peer: PEER,
    better: 'higher',
    goal: 2,
    aim: 3,
    measure: ({ quick }) => handshakes(quick ? 100 : 400, 1),
  },
  {
    name: 'stream: mutual handshake, 16 at once',
    unit: '1/s',
    peer: PEER,
    better: 'higher',
    goal: 2.5,
    aim: 3,
    measure: ({ quick }) => handshakes(quick ? 300 : 1_600, 16),
  },
  {
    name: 'stream: 64 KiB writes, one way',
    unit: 'MB/s',
    peer: PEER,
    better: 'higher',
    goal: 0.85,
    aim: 1.1,
    async measure({ quick }) {
      const { ours, peer = 0 } = await messages(65_536, quick ? 1_000 : 6_000)
      return { ours: ours * 0.065536, peer: peer * 0.065536 }
    },
  },
  {
    name: 'stream: 1 KiB messages, coalesced',
    unit: '1/s',
    peer: `${PEER}, joined into 64 KiB`,
    better: 'higher',
    goal: 0.7,
    aim: 1,
    measure: ({ quick }) => messages(1_024, quick ? 60_000 : 300_000),
  },
  {
    name: 'stream: 100-byte messages, coalesced',
    unit: '1/s',
    peer: `${PEER}, joined into 64 KiB`,
    better: 'higher',
    goal: 0.65,
    aim: 1,
    measure: ({ quick }) => messages(100, quick ? 500_000 : 3_000_000),
  },
]
