/** What a link costs that stands there and waits: 1,000 of them, each used once, then left alone. The listening process is measured
 * after its garbage was collected and spare pages were given back, as V8 does once a process rests. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { fromHex } from '../src/core/bytes.ts'
import { parsePublicKey } from '../src/core/crypto/ed25519.ts'
import type { BenchRow } from './harness.ts'
import { echo, greeter, makeDevice, tcpOf } from './support/link-ends.ts'
import { startJson, stop } from './support/processes.ts'

const AT_ONCE = 16
/** Connections that are there before the first reading, so that what is loaded and compiled once is not charged to the rest. */
const BEFORE = 100

interface Figures {
  readonly resident: number
  readonly cpu: number
}

type Ready = Readonly<Record<string, string>> & { readonly port: number; readonly client: { readonly key: string; readonly cert: string } }
/** Connects once more and gives the way to end it. */
type Connect = () => Promise<() => void>

const never = new AbortController().signal

const connects: Readonly<Record<string, (ready: Ready, child: ChildProcess, count: number) => Promise<Connect>>> = {
  async tcp({ address = '', key = '' }) {
    const transport = tcpOf(makeDevice(false))
    const expect = parsePublicKey(fromHex(key))
    return async () => {
      const channel = await transport.dial(address, { expect, signal: never })
      channel.send(Buffer.from('hello'))
      await channel.receive()
      channel.send(Buffer.from('go'))
      const connection = channel.multiplex()
      await echo(connection)
      return () => void connection.close()
    }
  },
  async tls({ port, ca, client }) {
    const options: ConnectionOptions = { ...client, ca: [ca as string], host: '127.0.0.1', port, servername: 'localhost', minVersion: 'TLSv1.3' }
    return async () => {
      const socket = connectTls(options)
      await once(socket, 'secureConnect')
      socket.write('ping')
      await once(socket, 'data')
      return () => socket.destroy()
    }
  },
  async mesh({ address = '', key = '' }, child, count) {
    const expect = parsePublicKey(fromHex(key))
    const devices = Array.from({ length: count }, () => makeDevice(true))
    child.send({ peers: devices.map(({ did }) => did) })
    await once(child, 'message')
    return async () => {
      const device = devices.pop()
      if (device === undefined) throw new RangeError('more links than devices')
      const greet = await greeter(device, { cold: true })
      const link = await greet(await tcpOf(device).dial(address, { expect, signal: never }))
      const connection = link.channel.multiplex()
      return () => void connection.close()
    }
  },
}

/** Bytes of memory and seconds of processor time per link and minute. */
async function measure(kind: string, links: number, restMs: number): Promise<{ bytes: number; cpuPerMinute: number }> {
  const server = join(import.meta.dirname, 'support', 'idle-server.ts')
  const { child, ready } = await startJson<Ready>([...process.execArgv, '--expose-gc', server, kind])
  const ask = async (): Promise<Figures> => {
    child.send({ measure: true })
    const [figures] = (await once(child, 'message')) as [Figures]
    return figures
  }
  const ends: (() => void)[] = []
  try {
    const connect = await (connects[kind] as (typeof connects)[string])(ready, child, links + BEFORE)
    const more = async (count: number): Promise<void> => {
      let left = count
      const worker = async (): Promise<void> => {
        while (left-- > 0) ends.push(await connect())
      }
      await Promise.all(Array.from({ length: AT_ONCE }, worker))
    }
    await more(BEFORE)
    const before = await ask()
    await more(links)
    await sleep(restMs)
    const after = await ask()
    await sleep(restMs)
    const late = await ask()
    return { bytes: (late.resident - before.resident) / links, cpuPerMinute: ((late.cpu - after.cpu) * 60_000) / restMs / (links + BEFORE) }
  } finally {
    for (const end of ends) end()
    await stop(child)
  }
}

/** Each link of a mesh is asked every 15 s whether it is still there. */
const rest = (quick: boolean): number => (quick ? 3_000 : 16_000)
const count = (quick: boolean): number => (quick ? 300 : 1_000)
let meshed: Promise<{ bytes: number; cpuPerMinute: number }> | undefined

export const rows: readonly BenchRow[] = [
  {
    name: 'idle link, resident memory (1,000 links)',
    unit: 'kB',
    peer: 'node:tls 1.3, mutual Ed25519',
    better: 'lower',
    goal: 0.6,
    aim: 0.4,
    measure: async ({ quick }) => ({
      ours: (await measure('tcp', count(quick), 1_000)).bytes / 1e3,
      peer: (await measure('tls', count(quick), 1_000)).bytes / 1e3,
    }),
  },
  {
    name: 'idle link of a mesh, resident memory (1,000 peers with ML-DSA)',
    unit: 'kB',
    peer: '',
    better: 'lower',
    goal: 20,
    rounds: 1,
    async measure({ quick }) {
      meshed ??= measure('mesh', count(quick), rest(quick))
      return { ours: (await meshed).bytes / 1e3 }
    },
  },
  {
    name: 'idle link of a mesh, processor time a minute (1,000 peers)',
    unit: 'ms',
    peer: '',
    better: 'lower',
    rounds: 1,
    async measure({ quick }) {
      meshed ??= measure('mesh', count(quick), rest(quick))
      return { ours: (await meshed).cpuPerMinute * 1e3 }
    },
  },
]
