import type { Duplex } from 'node:stream'
import type { BytePipe } from '../../src/core/pipe.ts'

/**
 * What both ends of the stream rows speak, over kith's pipe and over node:tls alike: one byte of mode, then either one echoed piece ('e') or a count of bytes and as
 * many of length-prefixed messages ('c'), answered by one byte when the last has come.
 */
export const HEAD_BYTES = 9

export function head(mode: 'e' | 'c', bytes: number): Buffer {
  const out = Buffer.alloc(HEAD_BYTES)
  out.write(mode)
  out.writeBigUInt64BE(BigInt(bytes), 1)
  return out
}

/** Walks over messages (u32 length, payload) in whatever pieces they come, touching each header. */
export class MessageCounter {
  messages = 0
  bytes = 0
  #left = 0
  #header = 0
  #seen = 0

  take(data: Buffer, start: number, end: number): void {
    this.bytes += end - start
    let at = start
    while (at < end) {
      if (this.#left > 0) {
        const step = Math.min(this.#left, end - at)
        this.#left -= step
        at += step
      } else if (this.#seen === 0 && end - at >= 4) {
        this.#left = data.readUInt32BE(at)
        this.messages++
        at += 4
      } else {
        this.#header = this.#header * 256 + (data[at++] as number)
        if (++this.#seen === 4) {
          this.#left = this.#header
          this.#header = 0
          this.#seen = 0
          this.messages++
        }
      }
    }
  }
}

/** The answering side: feed it bytes, it says when to answer and with what. */
export function responder(answer: (bytes: Buffer) => void): (data: Buffer, start: number, end: number) => void {
  let begun = Buffer.alloc(0)
  let counter: MessageCounter | undefined
  let total = 0
  return (data, start, end) => {
    if (counter !== undefined) counter.take(data, start, end)
    else {
      begun = Buffer.concat([begun, data.subarray(start, end)])
      if (begun.length < HEAD_BYTES) return
      total = Number(begun.readBigUInt64BE(1))
      if (begun[0] === 0x65) {
        if (begun.length === HEAD_BYTES + total) answer(begun.subarray(HEAD_BYTES))
        return
      }
      counter = new MessageCounter()
      counter.take(begun, HEAD_BYTES, begun.length)
    }
    if (counter.bytes === total) answer(Buffer.from('k'))
  }
}

export function answerPipe(pipe: BytePipe): void {
  pipe.onData = responder((bytes) => pipe.write(bytes, 0, bytes.length))
  pipe.start()
}

export function answerDuplex(duplex: Duplex): void {
  const take = responder((bytes) => duplex.write(bytes))
  duplex.on('data', (data: Buffer) => take(data, 0, data.length))
  duplex.on('end', () => duplex.end())
  duplex.on('error', () => undefined)
}

/** Sends `total` bytes of messages of `size` bytes (4 of them the length). Resolves when the far end has counted them. */
export function sendOverPipe(pipe: BytePipe, size: number, total: number): Promise<void> {
  const payload = Buffer.alloc(size - 4, 7)
  return new Promise((resolve, reject) => {
    let left = total / size
    const pump = (): void => {
      while (left > 0 && !pipe.blocked) {
        left--
        const at = pipe.reserve(4)
        pipe.staging.writeUInt32BE(payload.length, at)
        pipe.write(payload, 0, payload.length)
      }
    }
    pipe.onData = () => resolve()
    pipe.onClose = (error) => reject(error ?? new Error('closed'))
    pipe.onDrain = pump
    pipe.start()
    const begin = head('c', total)
    pipe.write(begin, 0, begin.length)
    pump()
  })
}

/** The same over a Duplex, small messages joined into buffers of 64 KiB as a careful user would. */
export function sendOverDuplex(duplex: Duplex, size: number, total: number): Promise<void> {
  const payload = Buffer.alloc(size - 4, 7)
  const perBuffer = Math.max(1, Math.floor(65_536 / size))
  return new Promise((resolve, reject) => {
    let left = total / size
    const pump = (): void => {
      while (left > 0) {
        const count = Math.min(perBuffer, left)
        left -= count
        const joined = Buffer.allocUnsafeSlow(count * size)
        for (let i = 0, at = 0; i < count; i++, at += size) {
          joined.writeUInt32BE(payload.length, at)
          joined.set(payload, at + 4)
        }
        if (!duplex.write(joined)) {
          duplex.once('drain', pump)
          return
        }
      }
    }
    duplex.on('data', () => resolve())
    duplex.on('error', reject)
    duplex.write(head('c', total))
    pump()
  })
}
