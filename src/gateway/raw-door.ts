import { once } from 'node:events'
import { chmod } from 'node:fs/promises'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { Caller } from '../access/types.ts'
import { asKithError, KithError } from '../core/errors.ts'
import { removeStaleSocket } from '../core/stale-socket.ts'
import { encodeFrame, type FirstFrame, FirstFrameReader } from './first-frame.ts'
import { presentationOf } from './presentation.ts'
import { isLoopbackHost } from './server.ts'
import type { DoorOptions } from './types.ts'

const AUTH_MS = 10_000
const MAX_CONNECTIONS = 256
/** For the last bytes to leave. */
const LAST_BYTES_MS = 5_000
/** Connections of which it is not known yet whose they are. */
const MAX_UNKNOWN = 64

export interface RawDoorOptions extends Pick<DoorOptions, 'identities' | 'clock' | 'logger'> {
  /** Carries calls once the caller is known (`createEnvelopeSession`). Resolves when it has ended; ends what runs when the caller is revoked. */
  readonly serve: (socket: Socket, caller: Caller) => Promise<unknown>
}

/** Calls in the open form over plain sockets: 4 bytes of length, then JSON. Loopback TCP and a unix socket of this user. */
export interface RawDoor {
  /** @throws KithError `BIND_REFUSED` beyond loopback, or what the system says. */
  listenTcp(host: string, port: number): Promise<{ readonly host: string; readonly port: number }>
  /** A socket file that only this user can use. One that nobody answers on is replaced. @throws KithError `BIND_REFUSED` when something else is there. */
  listenUnix(path: string): Promise<void>
  close(): Promise<void>
}

export function createRawDoor(options: RawDoorOptions): RawDoor {
  return new Door(options)
}

class Door implements RawDoor {
  readonly #options: RawDoorOptions
  readonly #servers: Set<Server> = new Set()
  readonly #sockets: Set<Socket> = new Set()
  #unknown = 0

  constructor(options: RawDoorOptions) {
    this.#options = options
  }

  async listenTcp(host: string, port: number): Promise<{ readonly host: string; readonly port: number }> {
    if (!isLoopbackHost(host)) throw new KithError('BIND_REFUSED', 'Raw framing listens on loopback only: it is not encrypted.', { details: { host } })
    const server = this.#server(false)
    server.listen({ host, port, exclusive: true })
    await once(server, 'listening')
    return { host, port: (server.address() as AddressInfo).port }
  }

  async listenUnix(path: string): Promise<void> {
    await makeWay(path)
    const server = this.#server(true)
    // Never open to others, not even for a moment.
    const mask = process.umask(0o177)
    try {
      server.listen(path)
      await once(server, 'listening')
    } finally {
      process.umask(mask)
    }
    await chmod(path, 0o600)
  }

  async close(): Promise<void> {
    const ended = [...this.#servers].map((server) => new Promise<void>((resolve) => server.close(() => resolve())))
    for (const socket of this.#sockets) socket.destroy()
    await Promise.all(ended)
  }

  #server(owner: boolean): Server {
    const server = createServer({ noDelay: true })
    server.maxConnections = MAX_CONNECTIONS
    server.on('connection', (socket) => void this.#accept(socket, owner))
    this.#servers.add(server)
    return server
  }

  async #accept(socket: Socket, owner: boolean): Promise<void> {
    const { logger, serve, clock } = this.#options
    socket.on('error', ignore)
    if (this.#unknown >= MAX_UNKNOWN) {
      socket.destroy()
      return
    }
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    let caller: Caller | undefined
    this.#unknown += 1
    try {
      caller = await this.#authenticate(socket, owner)
    } catch (error) {
      logger.debug('raw framing refused', { code: asKithError(error, 'INTERNAL').code })
    } finally {
      this.#unknown -= 1
    }
    if (caller === undefined || socket.destroyed) return
    try {
      const ended = serve(socket, caller)
      socket.resume()
      await ended
    } catch (error) {
      logger.debug('raw framing ended', { code: asKithError(error, 'INTERNAL').code })
    } finally {
      // What is written leaves first, but not for ever.
      socket.destroySoon()
      const timer = clock.after(LAST_BYTES_MS, () => socket.destroy())
      socket.once('close', () => timer.cancel())
      if (socket.closed) timer.cancel()
    }
  }

  /** Whoever it is not known of gets one frame that says so, the same whatever was wrong with the token, and nothing more. */
  async #authenticate(socket: Socket, owner: boolean): Promise<Caller> {
    let id = ''
    try {
      const frame = await this.#firstFrame(socket)
      id = frame.id
      const caller = await this.#callerOf(frame, owner)
      if (caller === undefined || caller.revoked?.aborted === true) throw new KithError('GATEWAY_UNAUTHORIZED')
      if (frame.rest.length > 0) socket.unshift(frame.rest)
      socket.write(encodeFrame('auth.ok', id, {}))
      return caller
    } catch (error) {
      const { code, message } = asKithError(error, 'INTERNAL')
      if (!socket.destroyed) socket.end(encodeFrame('auth.error', id, { code, message }), () => socket.destroy())
      throw error
    }
  }

  async #callerOf({ token }: FirstFrame, owner: boolean): Promise<Caller | undefined> {
    const { identities } = this.#options
    if (token !== null) {
      const caller = await identities.resolve(presentationOf(token))
      // Rules with `--via` tell this door from HTTP.
      return caller === undefined ? undefined : { ...caller, door: 'raw' }
    }
    // Only this user can open the socket file.
    return owner ? await identities.resolve({ kind: 'local' }) : undefined
  }

  #firstFrame(socket: Socket): Promise<FirstFrame> {
    const reader = new FirstFrameReader()
    return new Promise((resolve, reject) => {
      const end = (): void => {
        timer.cancel()
        socket.off('data', onData)
        socket.off('close', onClose)
        socket.off('end', onClose)
        // Nothing is read while it is not known for whom.
        socket.pause()
      }
      const timer = this.#options.clock.after(AUTH_MS, () => {
        end()
        reject(new KithError('TIMEOUT', `The first frame comes within ${AUTH_MS / 1_000} s.`))
      })
      const onClose = (): void => {
        end()
        reject(new KithError('CLOSED', 'The connection ended before it was known whose it is.'))
      }
      const onData = (chunk: Buffer): void => {
        try {
          const frame = reader.push(chunk)
          if (frame === undefined) return
          end()
          resolve(frame)
        } catch (error) {
          end()
          reject(error)
        }
      }
      socket.on('data', onData)
      socket.once('close', onClose)
      socket.once('end', onClose)
    })
  }
}

async function makeWay(path: string): Promise<void> {
  const found = await removeStaleSocket(path)
  if (found === undefined) return
  const sentence = found === 'other' ? `${path} is there and is no socket.` : `Another process answers on ${path}.`
  throw new KithError('BIND_REFUSED', sentence, { details: { path } })
}

function ignore(): void {}
