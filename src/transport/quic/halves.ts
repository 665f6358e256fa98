import type { KithError } from '../../core/errors.ts'
import { CHUNK_BYTES, type ChunkPool } from './chunks.ts'
import { fromNative } from './errors.ts'
import type { NativeStream } from './native.ts'
import { nothing } from './nothing.ts'

/**
 * One half of a native stream each, with one native call at a time (the library loses the order of overlapping writes, and a `resetWrite` or
 * `stopRead` waits behind a pending call). What waits is joined: a write of the caller costs a copy, not a native call.
 */
const READ_BYTES = 64 * 1024
/** Received but not consumed bytes above which reading pauses; the peer then runs into the stream's native window. */
const READ_AHEAD_BYTES = 256 * 1024
/** Queued bytes above which `write` asks the caller to wait, and below which it says that it may go on. */
const HIGH_BYTES = 128 * 1024
const LOW_BYTES = 64 * 1024

export class WriteHalf {
  /** Bytes accepted from the caller so far. */
  written = 0
  onDrain: () => void = nothing
  /** The end was handed to the library, after everything queued. */
  onFinished: () => void = nothing
  onError: (error: KithError) => void = nothing
  /** No native call is pending and none will follow. */
  onSettled: () => void = nothing
  readonly #pool: ChunkPool
  #stream: NativeStream | undefined
  #chunks: Buffer[] = []
  /** Bytes used in each chunk; only the last may have room. */
  #lengths: number[] = []
  #queued = 0
  #busy = false
  #scheduled = false
  #waiting = false
  #state: 'open' | 'ending' | 'finished' | 'dropped' = 'open'
  #settled = false

  constructor(pool: ChunkPool, stream?: NativeStream) {
    this.#pool = pool
    this.#stream = stream
  }

  /** Bytes not yet accepted by the library. */
  get queued(): number {
    return this.#queued
  }
  get settled(): boolean {
    return this.#settled
  }

  attach(stream: NativeStream): void {
    this.#stream = stream
    this.#schedule()
  }

  /** Copies the bytes. False when the queue is above its mark. */
  append(data: Uint8Array, start: number, end: number): boolean {
    if (this.#state !== 'open') return true
    let at = start
    while (at < end) {
      let last = this.#chunks.length - 1
      if (last < 0 || (this.#lengths[last] as number) === (this.#chunks[last] as Buffer).length) {
        this.#chunks.push(this.#pool.take(last < 0 ? end - at : CHUNK_BYTES))
        this.#lengths.push(0)
        last++
      }
      const chunk = this.#chunks[last] as Buffer
      const used = this.#lengths[last] as number
      const take = Math.min(chunk.length - used, end - at)
      chunk.set(data.subarray(at, at + take), used)
      this.#lengths[last] = used + take
      at += take
    }
    this.#queued += end - start
    this.written += end - start
    this.#schedule()
    if (this.#queued < HIGH_BYTES) return true
    this.#waiting = true
    return false
  }

  finish(): void {
    if (this.#state !== 'open') return
    this.#state = 'ending'
    this.#schedule()
  }

  /** Throws away what is queued and resets natively, now or when the pending call ends. */
  drop(): void {
    if (this.#state === 'dropped' || this.#settled) return
    this.#state = 'dropped'
    for (const chunk of this.#chunks) this.#pool.give(chunk)
    this.#chunks = []
    this.#lengths = []
    this.#queued = 0
    if (!this.#busy) this.#reset()
  }

  #schedule(): void {
    if (this.#busy || this.#scheduled || this.#stream === undefined) return
    this.#scheduled = true
    queueMicrotask(this.#pump)
  }

  readonly #pump = (): void => {
    this.#scheduled = false
    const stream = this.#stream
    if (this.#busy || stream === undefined || this.#state === 'dropped' || this.#state === 'finished') return
    const chunk = this.#chunks.shift()
    if (chunk === undefined) {
      if (this.#state === 'ending') this.#finish(stream)
      return
    }
    const length = this.#lengths.shift() as number
    this.#busy = true
    stream.write(length === chunk.length ? chunk : chunk.subarray(0, length)).then(
      () => {
        this.#busy = false
        this.#pool.give(chunk)
        if (this.#state === 'dropped') return this.#reset()
        this.#queued -= length
        this.#pump()
        if (this.#waiting && this.#queued <= LOW_BYTES) {
          this.#waiting = false
          this.onDrain()
        }
      },
      (error: unknown) => this.#fail(error),
    )
  }

  #finish(stream: NativeStream): void {
    this.#busy = true
    stream.finishWrite().then(
      () => {
        this.#busy = false
        if (this.#state === 'dropped') return this.#reset()
        this.#state = 'finished'
        this.onFinished()
        this.#settle()
      },
      (error: unknown) => this.#fail(error),
    )
  }

  #fail(error: unknown): void {
    this.#busy = false
    const told = this.#state === 'dropped'
    this.drop()
    if (told) this.#reset()
    else this.onError(fromNative(error))
  }

  #reset(): void {
    if (this.#stream === undefined) {
      this.#settle()
      return
    }
    this.#busy = true
    const settled = (): void => {
      this.#busy = false
      this.#settle()
    }
    this.#stream.resetWrite().then(settled, settled)
  }

  #settle(): void {
    if (this.#settled) return
    this.#settled = true
    this.onSettled()
  }
}

export class ReadHalf {
  /** Bytes handed out so far. */
  received = 0
  /** The bytes belong to the callee. */
  onData: (data: Buffer) => void = nothing
  onEnd: () => void = nothing
  onError: (error: KithError) => void = nothing
  onSettled: () => void = nothing
  #stream: NativeStream | undefined
  #held = 0
  #started = false
  #busy = false
  #state: 'open' | 'ended' | 'stopped' = 'open'
  #settled = false

  constructor(stream?: NativeStream) {
    this.#stream = stream
  }

  get settled(): boolean {
    return this.#settled
  }

  attach(stream: NativeStream): void {
    this.#stream = stream
    this.#pump()
  }

  start(): void {
    this.#started = true
    this.#pump()
  }

  /** Stops reading until `start`; a native read that is under way still delivers. */
  pause(): void {
    this.#started = false
  }

  /** Returns credit for bytes handed out. */
  consume(length: number): void {
    this.#held = Math.max(0, this.#held - length)
    this.#pump()
  }

  /** Delivers no more and stops natively, now or when the pending read ends. */
  stop(): void {
    if (this.#state !== 'open') return
    this.#state = 'stopped'
    if (!this.#busy) this.#stop()
  }

  #pump(): void {
    const stream = this.#stream
    if (!this.#started || this.#busy || stream === undefined || this.#state !== 'open' || this.#held >= READ_AHEAD_BYTES) return
    this.#busy = true
    stream.read(READ_BYTES).then(
      (data) => {
        this.#busy = false
        if (this.#state === 'stopped') return data === null ? this.#settle() : this.#stop()
        if (data === null) {
          this.#state = 'ended'
          this.#settle()
          return this.onEnd()
        }
        this.received += data.length
        this.#held += data.length
        this.onData(Buffer.from(data.buffer, data.byteOffset, data.length))
        this.#pump()
      },
      (error: unknown) => {
        this.#busy = false
        const told = this.#state === 'stopped'
        this.#state = 'stopped'
        this.#settle()
        if (!told) this.onError(fromNative(error))
      },
    )
  }

  #stop(): void {
    if (this.#stream === undefined) {
      this.#settle()
      return
    }
    this.#busy = true
    const settled = (): void => {
      this.#busy = false
      this.#settle()
    }
    this.#stream.stopRead().then(settled, settled)
  }

  #settle(): void {
    if (this.#settled) return
    this.#settled = true
    this.onSettled()
  }
}
