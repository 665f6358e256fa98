import type { Native, NativeClient, NativeConnection, NativeQuinnConfig } from './native.ts'

interface Shared {
  readonly client: NativeClient
  users: number
}

/**
 * The sockets that dials leave from: one per address family, opened by the first dial and closed with the last connection, so that a
 * process ends by itself. The library cannot abort a single dial: one that nobody waits for any more ends its connection when it comes, or
 * goes with the socket.
 */
export class Clients {
  readonly #native: Native
  readonly #config: NativeQuinnConfig
  readonly #open = new Map<4 | 6, Shared>()

  constructor(native: Native, config: NativeQuinnConfig) {
    this.#native = native
    this.#config = config
  }

  /** A connection; its socket stays open until it has ended. Rejects with the library's error, or with the signal's reason at once. */
  connect(ip: string, port: number, family: 4 | 6, signal: AbortSignal): Promise<NativeConnection> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const shared = this.#take(family)
      const abort = (): void => {
        this.#release(family, shared)
        reject(signal.reason)
      }
      signal.addEventListener('abort', abort, { once: true })
      shared.client.outboundConnection(ip, port).then(
        (connection) => {
          if (signal.aborted) return connection.abort()
          signal.removeEventListener('abort', abort)
          const release = (): void => this.#release(family, shared)
          connection.closed().then(release, release)
          resolve(connection)
        },
        (error: unknown) => {
          if (signal.aborted) return
          signal.removeEventListener('abort', abort)
          this.#release(family, shared)
          reject(error)
        },
      )
    })
  }

  #take(family: 4 | 6): Shared {
    const shared = this.#open.get(family) ?? { client: new this.#native.Client(this.#config, family === 6 ? 1 : 0), users: 0 }
    this.#open.set(family, shared)
    shared.users++
    return shared
  }

  #release(family: 4 | 6, shared: Shared): void {
    if (--shared.users > 0) return
    if (this.#open.get(family) === shared) this.#open.delete(family)
    shared.client.abort()
  }
}
