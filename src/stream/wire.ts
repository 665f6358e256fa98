import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { FrameReader } from './frame.ts'
import { readIntoMemory } from './socket-reads.ts'

/**
 * The bytes of a `Duplex`: fed to a frame reader in the cheapest way the duplex offers, written with a callback when the memory is free again.
 */
export class Wire {
  /** Whether a duplex is still open both ways. */
  static open(duplex: Duplex): boolean {
    return !duplex.destroyed && !duplex.readableEnded && !duplex.writableEnded
  }

  /** A plain socket has copied or sent a chunk when its write callback runs; any other duplex may still hold on to the chunk. */
  readonly releasesMemory: boolean
  /** The other side ended its half. Once. */
  onEnd: () => void = () => undefined
  /** The duplex closed. Once, after `onEnd` if that came; `error` when there was one. */
  onClose: (error: Error | undefined) => void = () => undefined
  readonly #duplex: Duplex
  readonly #reader: FrameReader
  #error: Error | undefined
  #closed = false
  #finishing = false
  #finished = false
  #ended = false

  /** @throws TypeError when the duplex cannot carry bytes both ways or is read by somebody else. */
  constructor(duplex: Duplex, reader: FrameReader) {
    if (duplex.readableObjectMode || duplex.writableObjectMode || duplex.readableEncoding !== null) throw new TypeError('the duplex must carry bytes')
    this.#duplex = duplex
    this.#reader = reader
    this.releasesMemory = duplex instanceof Socket && !('encrypted' in duplex)
    reader.onPause = (paused) => {
      if (paused) duplex.pause()
      else duplex.resume()
    }
    duplex.on('error', (error) => {
      this.#error ??= error
      this.destroy()
    })
    duplex.on('end', () => this.#end())
    duplex.on('close', () => this.#close())
    if (duplex instanceof Socket) duplex.setNoDelay(true)
    if (!readIntoMemory(duplex, { target: () => reader.target(), take: (buffer, length) => reader.feed(buffer, 0, length) })) this.#readEvents()
  }

  /** `done` runs when the chunk has left or never will. */
  write(chunk: Buffer, done: () => void): void {
    if (this.releasesMemory) this.#write(chunk, done)
    else this.#outside(() => this.#write(chunk, done))
  }

  /** Ends our half after everything written; `done` runs when that has left or never will. Only the first call counts. */
  end(done: () => void = () => undefined): void {
    if (this.#closed || this.#finishing) {
      done()
      return
    }
    this.#finishing = true
    this.#outside(() => {
      this.#duplex.end(() => {
        this.#finished = true
        if (this.#ended) this.#release()
        done()
      })
    })
  }

  /** Closes at once. Idempotent. */
  destroy(): void {
    if (this.#closed) return
    this.#reader.stop()
    this.#duplex.destroy()
    this.#close()
  }

  #write(chunk: Buffer, done: () => void): void {
    if (this.#closed || this.#duplex.writableEnded) done()
    else this.#duplex.write(chunk, done)
  }

  /** A duplex made of code may answer within `write`; a socket never does. What writes here is in no state to be called back. */
  #outside(act: () => void): void {
    if (this.releasesMemory) act()
    else process.nextTick(act)
  }

  /** Chunks of a plain socket are nobody else's; other duplexes may hand out memory that their writer still holds, and frames are opened in place. */
  #readEvents(): void {
    this.#duplex.on('data', (chunk: Buffer) => {
      const own = this.releasesMemory ? chunk : Buffer.from(chunk)
      this.#reader.feed(own, 0, own.length)
    })
    this.#duplex.resume()
  }

  #end(): void {
    if (this.#ended || this.#closed) return
    this.#ended = true
    this.onEnd()
    if (this.#finished) this.#release()
  }

  /** Both halves have ended: what the reader still holds is not lost. */
  #release(): void {
    if (this.#closed) return
    this.#duplex.destroy()
    this.#close()
  }

  /** After a clean end the reader keeps what it holds: it may be read later. */
  #close(): void {
    if (this.#closed) return
    this.#closed = true
    if (!this.#ended) this.#reader.stop()
    this.onClose(this.#error)
  }
}
