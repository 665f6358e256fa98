/** One QUIC stream, two processes on loopback: kith against the library's native classes used directly. */
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { fromHex } from '../src/core/bytes.ts'
import { parsePublicKey } from '../src/core/crypto/ed25519.ts'
import type { BenchRow } from './harness.ts'
import { startJson, stop } from './support/processes.ts'
import { BLOCK, kithQuic, READ_BYTES, rawQuic } from './support/quic-ends.ts'
import { stopwatch } from './support/stopwatch.ts'

interface Ready {
  readonly address: string
  readonly key: string
  readonly port: number
}

interface World {
  readonly child: ChildProcess
  readonly ready: Ready
}

let world: Promise<World> | undefined

export async function close(): Promise<void> {
  if (world !== undefined) await stop((await world).child)
}

async function ours({ child, ready: { address, key } }: World, blocks: number): Promise<number> {
  const { transport } = kithQuic()
  const channel = await transport.dial(address, { expect: parsePublicKey(fromHex(key)), signal: AbortSignal.timeout(60_000) })
  channel.send(Buffer.from('hello'))
  await channel.receive()
  const connection = channel.multiplex()
  const stream = await connection.open()
  const elapsed = stopwatch(child)
  const answer = new Promise<string>((resolve, reject) => {
    let text = ''
    stream.onError = reject
    stream.onEnd = () => resolve(text)
    stream.onData = (data, start, end) => {
      text += data.toString('latin1', start, end)
      stream.consume(end - start)
    }
  })
  let left = blocks
  const more = (): void => {
    while (left-- > 0) if (!stream.write(BLOCK)) return
    stream.end()
  }
  stream.onDrain = more
  more()
  check(await answer, blocks)
  const result = (blocks * BLOCK.length) / 1e6 / elapsed()
  await connection.close()
  return result
}

async function raw({ child, ready: { port } }: World, blocks: number): Promise<number> {
  const { native, config } = rawQuic()
  const client = new native.Client(config, 0)
  const connection = await client.outboundConnection('127.0.0.1', port)
  const stream = await connection.outboundStream()
  const elapsed = stopwatch(child)
  for (let i = 0; i < blocks; i++) await stream.write(BLOCK)
  await stream.finishWrite()
  check(Buffer.from((await stream.read(READ_BYTES)) ?? []).toString('latin1'), blocks)
  const result = (blocks * BLOCK.length) / 1e6 / elapsed()
  client.abort()
  return result
}

function check(answer: string, blocks: number): void {
  if (Number(answer) !== blocks * BLOCK.length) throw new Error(`the far end counted '${answer}' of ${blocks * BLOCK.length}`)
}

export const rows: readonly BenchRow[] = [
  {
    name: 'quic, one stream, 64 KiB writes',
    unit: 'MB/s',
    peer: 'libp2p-quic native classes',
    better: 'higher',
    goal: 0.9,
    async measure({ quick }) {
      world ??= startJson<Ready>([...process.execArgv, join(import.meta.dirname, 'support', 'quic-server.ts')])
      const ends = await world
      const blocks = quick ? 1_024 : 4_096
      return { ours: await ours(ends, blocks), peer: await raw(ends, blocks) }
    },
  },
]
