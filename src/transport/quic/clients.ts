import type { Native, NativeClient, NativeConnection, NativeQuinnConfig } from './native.ts'

/**
 * The sockets that dials leave from: one per address family, opened by the first dial and closed with the last connection, so that a
 * process ends by itself. The library cannot abort a single dial; one that nobody waits for any more ends its connection when it comes.
 */
export class Clients {
  readonly #native: Native
  readonly #config: NativeQuinnConfig
  readonly #open = new Map<4 | 6, { readonly client: NativeClient; users: number }>()

  constructor(native: Native, config: NativeQuinnConfig) {
    this.#native = native
    this.#config = config
  }

  /** A connection; its socket stays open until it has ended. Rejects with the library's error. */
  async connect(ip: string, port: number, family: 4 | 6): Promise<NativeConnection> {
    const shared = this.#take(family)
    try {
      const connection = await shared.client.outboundConnection(ip, port)
      const release = (): void => this.#release(family)
      connection.closed().then(release, release)
      return connection
    } catch (error) {
      this.#release(family)
      throw error
    }
  }

  #take(family: 4 | 6): { readonly client: NativeClient; users: number } {
    const shared = this.#open.get(family) ?? { client: new this.#native.Client(this.#config, family === 6 ? 1 : 0), users: 0 }
    this.#open.set(family, shared)
    shared.users++
    return shared
  }

  #release(family: 4 | 6): void {
    const shared = this.#open.get(family)
    if (shared === undefined || --shared.users > 0) return
    this.#open.delete(family)
    shared.client.abort()
  }
}
