/** The encrypted stream against node:tls 1.3 (AES-256-GCM, mutual Ed25519): two processes, loopback, both sides of a row in the same round. */
import type { BenchRow, BenchSample } from './harness.ts'
import { stopwatch } from './support/stopwatch.ts'
import { rate, StreamPair, warmUp } from './support/stream-dial.ts'
import { sendOverDuplex, sendOverPipe } from './support/stream-ends.ts'

let started: Promise<StreamPair> | undefined

function pair(): Promise<StreamPair> {
  started ??= StreamPair.start()
  return started
}

export async function close(): Promise<void> {
  await (await started)?.close()
  started = undefined
}

let warm = false

async function handshakes(count: number, width: number, quick: boolean): Promise<BenchSample> {
  const far = await pair()
  const [ours, tls] = [() => far.oneOfOurs(), () => far.oneOfTls()]
  if (!warm) await warmUp(16, quick, ours, tls)
  warm = true
  return { ours: await rate(far.child, count, width, ours), peer: await rate(far.child, count, width, tls) }
}

/** Messages of `size` bytes per second, one way. */
async function messages(size: number, count: number): Promise<BenchSample> {
  const far = await pair()
  const stream = await far.dialOurs()
  const pipe = stream.toPipe()
  const ours = stopwatch(far.child)
  await sendOverPipe(pipe, size, size * count)
  const seconds = ours()
  pipe.onClose = () => undefined
  pipe.close()
  await stream.closed
  const socket = await far.dialTls()
  const peer = stopwatch(far.child)
  await sendOverDuplex(socket, size, size * count)
  const peerSeconds = peer()
  socket.destroy()
  return { ours: count / seconds, peer: count / peerSeconds }
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
    measure: ({ quick }) => handshakes(quick ? 100 : 400, 1, quick),
  },
  {
    name: 'stream: mutual handshake, 16 at once',
    unit: '1/s',
    peer: PEER,
    better: 'higher',
    goal: 2.5,
    aim: 3,
    measure: ({ quick }) => handshakes(quick ? 300 : 1_600, 16, quick),
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
