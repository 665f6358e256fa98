import type { LinkStream } from '../transport/types.ts'

/**
 * What one neighbour is to be told, batched: everything of one turn leaves in one write, control frames first. While its stream is full nothing more is written; what
 * waits is bounded: pushes are refused beyond a mark (they are announced instead), and control frames beyond theirs end the stream, because answers would have to be
 * forgotten.
 */
/** Of the neighbour's buffers, for pushes; control frames may take twice as much. */
export const QUEUE_BYTES: number = 4 * 2 ** 20
const CHUNK_BYTES = 64 * 1024

export class Outbox {
  readonly #yieldTurn: () => Promise<void>
  readonly #limit: number
  #stream: LinkStream | undefined
  #control: Uint8Array[] = []
  #controlBytes = 0
  #pushes: Uint8Array[] = []
  #pushBytes = 0
  #scheduled = false
  #full = false
  #rooms: (() => void)[] = []
  /** The neighbour does not take what it must be told. */
  onStuck: () => void = () => undefined

  constructor(yieldTurn: () => Promise<void>, limit: number = QUEUE_BYTES) {
    this.#yieldTurn = yieldTurn
    this.#limit = limit
  }

  /** Goes on with a new stream, without what waited for the last one. */
  attach(stream: LinkStream | undefined): void {
    this.#stream = stream
    this.#control = []
    this.#controlBytes = 0
    this.#pushes = []
    this.#pushBytes = 0
    this.#full = false
    this.#wake()
    if (stream === undefined) return
    stream.onDrain = () => {
      if (this.#stream !== stream) return
      this.#full = false
      this.#flush()
    }
  }

  get open(): boolean {
    return this.#stream !== undefined
  }

  /** Something waits because the neighbour is slow. */
  get congested(): boolean {
    return this.#full
  }

  control(frame: Uint8Array): void {
    if (this.#stream === undefined) return
    this.#control.push(frame)
    this.#controlBytes += frame.length
    if (this.#controlBytes > 2 * this.#limit) {
      this.onStuck()
      return
    }
    this.#schedule()
  }

  /** False when the queue is full: the entry is not sent. */
  push(frame: Uint8Array): boolean {
    if (this.#stream === undefined || this.#pushBytes + frame.length > this.#limit) return false
    this.#pushes.push(frame)
    this.#pushBytes += frame.length
    this.#schedule()
    return true
  }

  /** Resolves once what was written has left this queue, or the stream is gone. For those who answer at length. */
  async room(): Promise<void> {
    if (this.#stream === undefined || (!this.#full && this.#controlBytes + this.#pushBytes < CHUNK_BYTES)) return
    await new Promise<void>((resolve) => this.#rooms.push(resolve))
  }

  #schedule(): void {
    if (this.#scheduled || this.#full) return
    this.#scheduled = true
    void this.#yieldTurn().then(() => {
      this.#scheduled = false
      this.#flush()
    })
  }

  #flush(): void {
    const stream = this.#stream
    while (stream !== undefined && stream === this.#stream && !this.#full) {
      const chunk = this.#take()
      if (chunk === undefined) break
      if (!stream.write(chunk)) this.#full = true
    }
    if (this.#controlBytes + this.#pushBytes < CHUNK_BYTES && !this.#full) this.#wake()
  }

  /** The next frames as one piece. */
  #take(): Uint8Array | undefined {
    const queue = this.#control.length > 0 ? this.#control : this.#pushes
    if (queue.length === 0) return undefined
    let length = 0
    let count = 0
    while (count < queue.length && (count === 0 || length < CHUNK_BYTES)) length += (queue[count++] as Uint8Array).length
    const taken = queue.splice(0, count)
    if (queue === this.#control) this.#controlBytes -= length
    else this.#pushBytes -= length
    return taken.length === 1 ? taken[0] : Buffer.concat(taken, length)
  }

  #wake(): void {
    const rooms = this.#rooms
    this.#rooms = []
    for (const resolve of rooms) resolve()
  }
}
