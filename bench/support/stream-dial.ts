import type { ChildProcess } from 'node:child_process'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import { fromHex } from '../../src/core/bytes.ts'
import { systemClock } from '../../src/core/clock.ts'
import { createSigner, randomSeed } from '../../src/core/crypto/ed25519.ts'
import { systemRandom } from '../../src/core/random.ts'
import type { Signer } from '../../src/core/signer.ts'
import { dial } from '../../src/stream/dial.ts'
import type { EncryptedStream } from '../../src/stream/encrypted-stream.ts'
import { connectSocket } from '../../src/stream/socket-reads.ts'
import { startJson, stop } from './processes.ts'
import { stopwatch } from './stopwatch.ts'
import { head } from './stream-ends.ts'

interface Ready {
  readonly port: number
  readonly tlsPort: number
  readonly key: string
  readonly ca: string
  readonly client: { readonly key: string; readonly cert: string }
}

/** The encrypted stream and node:tls 1.3 with mutual Ed25519 to one other process. */
export class StreamPair {
  readonly child: ChildProcess
  readonly #ready: Ready
  readonly #signer: Signer = createSigner('link', randomSeed(systemRandom))

  private constructor(child: ChildProcess, ready: Ready) {
    this.child = child
    this.#ready = ready
  }

  static async start(): Promise<StreamPair> {
    const { child, ready } = await startJson<Ready>([...process.execArgv, new URL('./stream-server.ts', import.meta.url).pathname])
    return new StreamPair(child, ready)
  }

  async close(): Promise<void> {
    await stop(this.child)
  }

  async dialOurs(): Promise<EncryptedStream> {
    const { port, key } = this.#ready
    const socket = connectSocket({ host: '127.0.0.1', port })
    const config = { key: this.#signer, peer: fromHex(key), namespace: 'bench', maxMessageBytes: 65_536 }
    return await dial(socket, { ...config, clock: systemClock, random: systemRandom })
  }

  async dialTls(): Promise<TLSSocket> {
    const { tlsPort, ca, client } = this.#ready
    return await new Promise((resolve, reject) => {
      const options: ConnectionOptions = { ...client, ca: [ca], host: '127.0.0.1', port: tlsPort, servername: 'localhost', minVersion: 'TLSv1.3' }
      const socket = connectTls(options, () => resolve(socket))
      socket.setNoDelay(true)
      socket.on('error', reject)
    })
  }

  /** Connect, mutual handshake, one encrypted echo, close. */
  async oneOfOurs(): Promise<void> {
    const stream = await this.dialOurs()
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

  async oneOfTls(): Promise<void> {
    const socket = await this.dialTls()
    await new Promise<void>((resolve, reject) => {
      socket.on('data', () => resolve())
      socket.on('error', reject)
      socket.write(Buffer.concat([head('e', 4), Buffer.from('ping')]))
    })
    const closed = new Promise((resolve) => socket.on('close', resolve))
    socket.end()
    await closed
  }
}

/** Enough for the JIT of both ends to have seen a connection from its beginning to its end: rates are those of a node that has run for a while. */
export async function warmUp(width: number, quick: boolean, ...sides: ((worker: number) => Promise<void>)[]): Promise<void> {
  for (const once of sides) {
    const until = performance.now() + (quick ? 300 : 2_000)
    const work = async (_: unknown, worker: number): Promise<void> => {
      while (performance.now() < until) await once(worker)
    }
    await Promise.all(Array.from({ length: width }, work))
  }
}

/** Runs per second of `count` runs, `width` at once. `once` is told which of the `width` it is. */
export async function rate(far: ChildProcess, count: number, width: number, once: (worker: number) => Promise<void>): Promise<number> {
  let left = count
  const elapsed = stopwatch(far)
  await Promise.all(
    Array.from({ length: width }, async (_, worker) => {
      while (left-- > 0) await once(worker)
    }),
  )
  return count / elapsed()
}
