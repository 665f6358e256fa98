import { createSigner, randomSeed } from '../../src/core/crypto/ed25519.ts'
import type { KithError } from '../../src/core/errors.ts'
import { type ManualClock, manualClock } from '../../src/core/manual-clock.ts'
import type { BytePipe } from '../../src/core/pipe.ts'
import { systemRandom } from '../../src/core/random.ts'
import { multiplex } from '../../src/transport/mux/connection.ts'
import type { Connection, MultiplexOptions } from '../../src/transport/types.ts'

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly id: number
  readonly length: number
  readonly payload: Buffer
}

export const SYN = 1
export const ACK = 2
export const FIN = 4
export const RST = 8
export const STOP = 16

/** A pipe played by hand: what the multiplexer writes is collected as frames, what it reads is given byte for byte, and time is virtual. */
export class ScriptPipe implements BytePipe {
  onData: (data: Buffer, start: number, end: number) => void = () => {}
  onFlush: () => void = () => {}
  onDrain: () => void = () => {}
  onClose: (error: KithError | null) => void = () => {}
  blocked = false
  staging: Buffer = Buffer.alloc(1024)
  started = false
  ended: KithError | null | undefined
  readonly #parts: Buffer[] = []
  #staged = 0

  reserve(length: number): number {
    this.flush()
    this.staging = Buffer.alloc(length)
    this.#staged = length
    return 0
  }
  write(data: Uint8Array, start: number, end: number): void {
    this.flush()
    this.#parts.push(Buffer.from(data.subarray(start, end)))
  }
  flush(): void {
    if (this.#staged > 0) this.#parts.push(this.staging)
    this.#staged = 0
  }
  start(): void {
    this.started = true
  }
  close(): void {
    this.destroyed(null)
  }
  destroy(error: KithError): void {
    this.destroyed(error)
  }
  destroyed(error: KithError | null): void {
    if (this.ended !== undefined) return
    this.ended = error
    this.onClose(error)
  }

  unblock(): void {
    this.blocked = false
    this.onDrain()
  }

  feed(...parts: Buffer[]): void {
    const bytes = Buffer.concat(parts)
    if (this.ended === undefined) this.onData(bytes, 0, bytes.length)
  }

  /** The frames written since the last call. */
  take(): Frame[] {
    this.flush()
    const frames = framesIn(Buffer.concat(this.#parts))
    this.#parts.length = 0
    return frames
  }
}

export function framesIn(bytes: Buffer): Frame[] {
  const frames: Frame[] = []
  let at = 0
  while (at < bytes.length) {
    const [type, flags] = [bytes.readUInt8(at + 1), bytes.readUInt16BE(at + 2)]
    const [id, length] = [bytes.readUInt32BE(at + 4), bytes.readUInt32BE(at + 8)]
    at += 12
    const payload = type === 0 ? bytes.subarray(at, at + length) : Buffer.alloc(0)
    at += payload.length
    frames.push({ type, flags, id, length, payload })
  }
  return frames
}

export function frame(type: number, flags: number, id: number, length: number): Buffer {
  const header = Buffer.alloc(12)
  header.writeUInt8(type, 1)
  header.writeUInt16BE(flags, 2)
  header.writeUInt32BE(id, 4)
  header.writeUInt32BE(length, 8)
  return header
}

export function data(flags: number, id: number, payload: string | Buffer): Buffer {
  const bytes = Buffer.from(payload)
  return Buffer.concat([frame(0, flags, id, bytes.length), bytes])
}

export function credit(flags: number, id: number, length: number): Buffer {
  return frame(1, flags, id, length)
}

export interface Scripted {
  readonly pipe: ScriptPipe
  readonly mux: Connection
  readonly clock: ManualClock
}

const KEY = createSigner('link', randomSeed(systemRandom)).publicKey

export function scripted(role: 'dialer' | 'listener', options: MultiplexOptions = { keepAliveMs: 0 }): Scripted {
  const pipe = new ScriptPipe()
  const clock = manualClock()
  const path = { scheme: 'memory', address: 'memory://script', direct: true }
  const mux = multiplex(pipe, { role, localKey: KEY, remoteKey: KEY, path, postQuantum: false }, clock, options)
  return { pipe, mux, clock }
}
