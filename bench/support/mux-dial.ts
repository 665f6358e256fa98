import { type ChildProcess, execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2'
import { connect as connectTcp, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { promisify } from 'node:util'
import type { LinkStream } from '../../src/transport/types.ts'
import { yamuxOver } from '../../test/transport/yamux-peer.mjs'
import { duplexFlow, type Flow, leanFlow, type YamuxStream, yamuxFlow } from './flows.ts'
import { encrypted, muxOver, secretStream } from './mux-ends.ts'
import { startJson, stop } from './processes.ts'

export type Stack = 'lean' | 'duplex' | 'yamux' | 'tls' | 'http2' | 'secret'
type Ports = Readonly<Record<Stack, number>>

/** One connection of a stack, and how a stream of it is opened. */
interface Link {
  open(): Flow | Promise<Flow>
  close(): void
}

/** Every stack of the multiplexer's rows to one other process. */
export class MuxPair {
  readonly child: ChildProcess
  readonly #ports: Ports
  readonly #folder: string

  private constructor(child: ChildProcess, ports: Ports, folder: string) {
    this.child = child
    this.#ports = ports
    this.#folder = folder
  }

  static async start(): Promise<MuxPair> {
    const folder = mkdtempSync(join(tmpdir(), 'kith-bench-mux-'))
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
    const request = ['req', '-x509', '-newkey', 'ed25519', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-out', cert, '-keyout', key]
    await promisify(execFile)('openssl', request)
    const { child, ready } = await startJson<Ports>([...process.execArgv, join(import.meta.dirname, 'mux-server.ts'), cert, key])
    return new MuxPair(child, ready, folder)
  }

  async close(): Promise<void> {
    await stop(this.child)
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** One sample on a fresh connection. */
  async sample(stack: Stack, measure: (open: Link['open']) => Promise<number>): Promise<number> {
    const link = await this.#connect(stack)
    try {
      return await measure(link.open)
    } finally {
      link.close()
    }
  }

  async #connect(stack: Stack): Promise<Link> {
    const port = this.#ports[stack]
    if (stack === 'tls') return await tls(port)
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
}

async function tcp(port: number): Promise<Socket> {
  const socket = connectTcp({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  return socket
}

async function tls(port: number): Promise<Link> {
  const options: ConnectionOptions = { port, host: '127.0.0.1', rejectUnauthorized: false, minVersion: 'TLSv1.3' }
  const socket = connectTls({ ...options, allowHalfOpen: true } as ConnectionOptions)
  await once(socket, 'secureConnect')
  socket.setNoDelay(true)
  return { open: () => duplexFlow(socket), close: () => socket.destroy() }
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
