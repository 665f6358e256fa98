import type { Duplex } from 'node:stream'
import type { Clock } from '../core/clock.ts'
import type { ServerConnection } from './library.ts'

/** Exchanges that a connection may have had besides what its time and its bytes account for. */
const FREE = 16
/** One more for each of these: no client changes keys as often by itself (OpenSSH: a gigabyte, or what `RekeyLimit` says, in bytes or seconds). */
const BYTES_EACH = 1_048_576
const MS_EACH = 10_000

export interface RekeyingOptions {
  readonly clock: Clock
  /** Bytes with one set of keys (RFC 4253, section 9). */
  readonly limit: number
}

/**
 * When keys are exchanged anew: by this side after so many bytes, by the client as often as its time and its bytes account for. Each exchange costs this side a
 * signature and two agreements, and the client nothing that it could not save.
 */
export class Rekeying {
  readonly #clock: Clock
  readonly #limit: number
  #left: number
  #bytes = 0
  #began: number
  #exchanges = 0
  #stop: (() => void) | undefined

  constructor({ clock, limit }: RekeyingOptions) {
    this.#clock = clock
    this.#limit = limit
    this.#left = limit
    this.#began = clock.monotonic()
  }

  /** Counts an exchange of somebody who is logged in; false: it is one too many. */
  exchanged(): boolean {
    this.#exchanges++
    const time = (this.#clock.monotonic() - this.#began) / MS_EACH
    return this.#exchanges <= FREE + time + this.#bytes / BYTES_EACH
  }

  /** Counts the bytes of a connection until `stop`. */
  watch(connection: ServerConnection, socket: Duplex): void {
    const counted = (chunk: Buffer): void => {
      this.#bytes += chunk.length
      this.#left -= chunk.length
      if (this.#left > 0) return
      this.#left = this.#limit
      // Never from inside a write: the cipher would be used again before it has counted the packet that is being written.
      setImmediate(() => {
        if (!socket.destroyed && connection._protocol._destruct !== undefined) connection.rekey()
      })
    }
    socket.on('data', counted)
    const write = socket.write
    socket.write = function (this: Duplex, ...args: Parameters<Duplex['write']>) {
      counted(args[0] as Buffer)
      return write.apply(socket, args)
    } as Duplex['write']
    this.#stop = () => {
      socket.off('data', counted)
      socket.write = write
    }
  }

  stop(): void {
    this.#stop?.()
  }
}
