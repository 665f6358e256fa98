import type { Socket } from 'node:net'
import { KithError } from '../../core/errors.ts'

/** What a conversation with a proxy reads and writes; the bytes behind what it read stay for whoever comes next. */
export interface ProxyBytes {
  write(bytes: Uint8Array): void
  /** Exactly so many bytes, at least one. @throws KithError `PROXY_UNREACHABLE` when the connection ends before. */
  read(length: number): Promise<Buffer>
}

/** A socket while its proxies are talked to. What has arrived behind their last word stays in the socket, whose own buffer bounds it. */
export class SocketBytes implements ProxyBytes {
  readonly #socket: Socket
  #over: KithError | undefined
  #wake: () => void = () => {}

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('readable', this.#look)
    socket.on('end', this.#ended)
    socket.on('close', this.#ended)
  }

  write(bytes: Uint8Array): void {
    this.#socket.write(bytes)
  }

  async read(length: number): Promise<Buffer> {
    for (;;) {
      if (this.#over !== undefined) throw this.#over
      const bytes = this.#socket.read(length) as Buffer | null
      if (bytes?.length === length) return bytes
      if (bytes !== null) this.#ended()
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
    }
  }

  /** Ends the wait, and every later one. */
  fail(error: KithError): void {
    this.#over ??= error
    this.#wake()
  }

  /** Gives the socket back as it was: no listeners of ours, flowing for whoever listens next. */
  async release(): Promise<void> {
    this.#socket.off('readable', this.#look)
    this.#socket.off('end', this.#ended)
    this.#socket.off('close', this.#ended)
    // The stream forgets about the listener one tick later.
    await new Promise<void>((resolve) => process.nextTick(resolve))
  }

  #look = (): void => this.#wake()

  #ended = (): void => this.fail(new KithError('PROXY_UNREACHABLE', 'The proxy ended the connection before it answered.', { details: { reason: 'closed' } }))
}
