import type { Duplex } from 'node:stream'
import type { Channel } from 'ssh2'
import type { Protocol, ServerConnection } from './library.ts'

/** Above this, sources wait: the library itself writes on however much is waiting. */
const FULL = 1_048_576
/** Packets that the library keeps back while keys are exchanged anew. */
const HELD = 32

/** The one way out of a connection, shared by its channels: tells sources when to wait. */
export class Outlet {
  readonly #socket: Duplex
  readonly #protocol: Protocol
  #waiting: (() => void)[] = []

  constructor(socket: Duplex, connection: ServerConnection) {
    this.#socket = socket
    this.#protocol = connection._protocol
    const wake = (): void => {
      const waiting = this.#waiting
      this.#waiting = []
      for (const run of waiting) run()
    }
    socket.on('drain', wake)
    socket.on('close', wake)
    connection.on('handshake', wake)
  }

  get full(): boolean {
    const held = this.#protocol._queue?.length ?? 0
    return (this.#socket.writableLength > FULL || held > HELD) && !this.#socket.destroyed
  }

  /** Runs once, when there is room again or the connection is gone. */
  whenFree(run: () => void): void {
    if (this.full) this.#waiting.push(run)
    else run()
  }
}

/** Holds the writers of a channel back while the way out is full; the library lets them go on as long as the client's window has room, which the client chooses. */
export function heldBack<C extends Channel>(channel: C, outlet: Outlet): C {
  const write = channel._write
  channel._write = (data, encoding, done) => write.call(channel, data, encoding, (error) => outlet.whenFree(() => done(error)))
  return channel
}
