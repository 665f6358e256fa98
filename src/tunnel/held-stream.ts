import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { KithError } from '../core/errors.ts'
import { JoinedBytes } from '../core/joined-bytes.ts'
import type { LinkStream } from '../transport/types.ts'
import type { Attempt } from './dial.ts'
import { abortSocket, readLocal } from './local-socket.ts'
import { type Meter, splice } from './splice.ts'

/**
 * A stream whose local end is not there yet: what arrives waits here without credit, so that the window bounds it. Its loss aborts the attempt to make the
 * local end.
 */
export class HeldStream {
  readonly stream: LinkStream
  readonly #waiting = new JoinedBytes()
  #owed = 0
  #ended = false
  #failure: KithError | undefined
  #onChange: (() => void) | undefined

  constructor(stream: LinkStream, attempt: Attempt, early?: Buffer) {
    this.stream = stream
    if (early !== undefined && early.length > 0) this.#waiting.append(early, 0, early.length)
    stream.onData = (data, start, end) => {
      this.#waiting.append(data, start, end)
      this.#owed += end - start
      this.#onChange?.()
    }
    stream.onEnd = () => {
      this.#ended = true
      this.#onChange?.()
    }
    stream.onError = (error) => {
      this.#failure = error
      attempt.abort()
      this.#onChange?.()
    }
  }

  /** Waits for the byte with which the other side says that it is connected. @throws KithError what it reset the stream with. */
  async connected(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        if (this.#failure !== undefined) reject(this.#failure)
        else if (this.#waiting.length > 0) resolve()
        else if (this.#ended) reject(new KithError('FORWARD_UNREACHABLE', 'the other side closed without an answer'))
      }
      this.#onChange = look
      look()
    })
    this.#onChange = undefined
    const first = this.#waiting.take() as Buffer
    if (first[0] !== 0) throw new KithError('WIRE_MALFORMED', 'the answer to a dial is one zero byte')
    // The rest goes back to the front: `take` gives everything in its order.
    const behind: Buffer[] = []
    for (let chunk = this.#waiting.take(); chunk !== undefined; chunk = this.#waiting.take()) behind.push(chunk)
    for (const chunk of [first.subarray(1), ...behind]) if (chunk.length > 0) this.#waiting.append(chunk, 0, chunk.length)
  }

  /** Joins it with its local end, which gets first what has waited. `early` was read of the socket before. */
  pour(socket: Socket, meter: Meter, done: (error: KithError | null) => void, early?: Buffer): void {
    const { stream } = this
    if (this.#failure !== undefined || socket.destroyed) {
      stream.reset(new KithError('ABORTED').number)
      abortSocket(socket)
      done(this.#failure ?? null)
      return
    }
    const joined = splice(socket, stream, { meter, resume: () => socket.resume(), done })
    const more = early === undefined || early.length === 0 || joined.fromLocal(early, early.length)
    if (socket.readableEnded) joined.localEnded()
    else {
      socket.once('end', joined.localEnded)
      readLocal(socket, joined.fromLocal)
      if (!more) socket.pause()
    }
    meter.bytesIn += this.#waiting.length
    for (let chunk = this.#waiting.take(); chunk !== undefined; chunk = this.#waiting.take()) socket.write(chunk)
    stream.consume(this.#owed)
    if (this.#ended) socket.end()
  }

  /** The same as an ordinary stream, for a door inside the node. */
  toDuplex(): Duplex {
    const duplex = this.stream.toDuplex()
    const early: Buffer[] = []
    for (let chunk = this.#waiting.take(); chunk !== undefined; chunk = this.#waiting.take()) early.push(chunk)
    for (const chunk of early.reverse()) duplex.unshift(chunk)
    this.stream.consume(this.#owed)
    if (this.#ended) duplex.push(null)
    return duplex
  }
}
