import { Buffer } from 'node:buffer'
import { nextTick } from 'node:process'
import { varintSize } from '../core/codec.ts'
import { type RecordCipher, TAG_BYTES } from '../core/crypto/aead.ts'
import { borrowBuffer, POOLED_BYTES, PREFIX_ROOM, RECORD_BYTES, returnBuffer } from './buffers.ts'
import { writePrefix } from './frame.ts'
import type { Wire } from './wire.ts'

/**
 * # Sending records
 *
 * Whatever is written by one callback of the event loop leaves as one socket write: at once for the first callback of a turn, together at the end of the turn
 * for all that follow, since a write for each of a hundred busy connections would cost more than all else done for them. It is staged in a borrowed buffer,
 * sealed in place, and the buffer goes back to the pool when the socket is done with it; an idle link holds none.
 *
 * ```text
 * staging  | len | sealed record | tag | len | sealed | tag | ___ | open record: headers and small payloads ->          |
 *          ^ from                                             ^ 3 bytes for its length   ^ at
 * ```
 *
 * - A record being filled leaves room for the longest length. A shorter one starts later if it is the first in the buffer, else it is moved down when sealed.
 * - Payloads of 16 KiB and more are sealed from the caller's memory: no copy, and a header of 12 bytes never splits a payload of 64 KiB in two.
 * - `blocked` while more than 512 KiB are on their way or 1 MiB left in this turn: write callbacks of a fast socket follow each other without the loop ever
 *   reading, so after each MiB the loop gets its turn. Written anyway, bytes are sent, never dropped.
 */
const DIRECT_BYTES = 16_384
const SMALL_FLUSH_BYTES = 4_096
const IN_FLIGHT_LIMIT = 524_288
const IN_FLIGHT_LOW = 262_144
const TURN_BUDGET = 1_048_576
const NO_STAGING = Buffer.alloc(0)
/** Where headers go that are written after the end. */
const SINK = Buffer.alloc(64)

export class RecordSender {
  /** Right before what is staged is sealed and sent at the end of a turn. */
  onFlush: () => void = () => undefined
  /** `blocked` has become false. */
  onDrain: () => void = () => undefined
  readonly #wire: Wire
  readonly #recordBytes: number
  #cipher: RecordCipher
  #staging: Buffer | undefined
  #from = 0
  #at = 0
  /** Where the plaintext of the open record starts; -1 when none is open. */
  #open = -1
  #scheduled = false
  /** Something has left in this turn already: what follows waits for its end. */
  #gathering = false
  #flushing = false
  #inFlight = 0
  #turn = 0
  #spent = false
  #blocked = false
  #dead = false

  /** `maxMessageBytes` bounds the plaintext of a record, agreed with the other side. */
  constructor(wire: Wire, cipher: RecordCipher, maxMessageBytes: number) {
    this.#wire = wire
    this.#cipher = cipher
    this.#recordBytes = Math.min(RECORD_BYTES, maxMessageBytes)
  }

  get blocked(): boolean {
    return this.#blocked
  }

  get staging(): Buffer {
    return this.#staging ?? NO_STAGING
  }

  /** Bytes as they are, before any record: the last frame of a handshake, which waits for the code behind the handshake's promise to add its first data. */
  prepend(bytes: Uint8Array): void {
    this.#ensure(bytes.length)
    this.staging.set(bytes, this.#at)
    this.#at += bytes.length
    this.#scheduled = true
    queueMicrotask(() => nextTick(this.#tick))
  }

  /** From the next record on. The old cipher is wiped. */
  rekey(cipher: RecordCipher): void {
    this.#sealOpen()
    this.#cipher.wipe()
    if (this.#dead) cipher.wipe()
    this.#cipher = cipher
  }

  /** Room for `length` bytes of a header in the open record; their offset in `staging`. */
  reserve(length: number): number {
    if (this.#dead) {
      this.#staging = SINK
      return 0
    }
    if (this.#open < 0 || this.#at - this.#open + length > this.#recordBytes) this.#openRecord()
    const at = this.#at
    this.#at += length
    this.#schedule()
    return at
  }

  /** Appends bytes; boundaries are lost. */
  write(data: Uint8Array, start: number, end: number): void {
    if (this.#dead) return
    if (end - start >= DIRECT_BYTES) {
      this.#sealOpen()
      for (let from = start; from < end; from += this.#recordBytes) this.#sealFrom(data, from, Math.min(end, from + this.#recordBytes))
    } else {
      let from = start
      while (from < end) {
        if (this.#open < 0 || this.#at - this.#open === this.#recordBytes) this.#openRecord()
        const to = Math.min(end, from + this.#recordBytes - (this.#at - this.#open))
        this.staging.set(from === 0 && to === data.length ? data : data.subarray(from, to), this.#at)
        this.#at += to - from
        from = to
      }
    }
    this.#schedule()
  }

  /** One message as one record of its own. Sealed before it returns. */
  message(message: Uint8Array): void {
    if (this.#dead) return
    this.#sealOpen()
    this.#sealFrom(message, 0, message.length)
    this.#schedule()
  }

  /** Sends everything staged. */
  flush(): void {
    if (this.#flushing || this.#dead) return
    this.#flushing = true
    this.onFlush()
    this.#flushing = false
    this.#sealOpen()
    this.#ship()
    const staging = this.#staging
    this.#staging = undefined
    if (staging !== undefined) returnBuffer(staging)
  }

  /** Sends everything staged; what is written later is dropped. Wipes the key. */
  finish(): void {
    this.flush()
    this.destroy()
  }

  /** Drops what is staged and all that is written later. Wipes the key. */
  destroy(): void {
    if (this.#dead) return
    this.#dead = true
    this.#cipher.wipe()
    this.#open = -1
    if (this.#staging !== undefined) returnBuffer(this.#staging)
    this.#staging = undefined
  }

  #tick = (): void => {
    this.#scheduled = false
    this.flush()
    // Only a socket is shared by callbacks of one turn; a duplex made of code keeps its own order.
    if (this.#gathering || !this.#wire.releasesMemory) return
    this.#gathering = true
    setImmediate(this.#endOfTurn)
  }

  #endOfTurn = (): void => {
    this.#gathering = false
    if (this.#scheduled) this.#tick()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    if (!this.#gathering) nextTick(this.#tick)
  }

  #openRecord(): void {
    this.#sealOpen()
    this.#ensure(PREFIX_ROOM + this.#recordBytes + TAG_BYTES)
    this.#open = this.#at + PREFIX_ROOM
    this.#at = this.#open
  }

  #sealOpen(): void {
    const open = this.#open
    if (open < 0) return
    this.#open = -1
    const length = this.#at - open
    const staging = this.staging
    if (length === 0) {
      this.#at = open - PREFIX_ROOM
      return
    }
    const gap = PREFIX_ROOM - varintSize(length + TAG_BYTES)
    let body = open
    if (gap > 0 && open - PREFIX_ROOM === this.#from) {
      this.#from += gap
    } else if (gap > 0) {
      body = open - gap
      staging.copyWithin(body, open, this.#at)
    }
    writePrefix(staging, body - PREFIX_ROOM + gap, length + TAG_BYTES)
    this.#cipher.seal(staging, body, staging, body, body + length)
    this.#at = body + length + TAG_BYTES
  }

  /** A whole record straight from the caller's memory. */
  #sealFrom(data: Uint8Array, start: number, end: number): void {
    const length = end - start + TAG_BYTES
    const size = varintSize(length) + length
    if (size > POOLED_BYTES) {
      this.#ship()
      const record = Buffer.allocUnsafeSlow(size)
      this.#cipher.seal(record, writePrefix(record, 0, length), data, start, end)
      this.#send(record, undefined)
      return
    }
    this.#ensure(size)
    const staging = this.staging
    const body = writePrefix(staging, this.#at, length)
    this.#cipher.seal(staging, body, data, start, end)
    this.#at = body + length
  }

  /** A buffer with room for `length` more bytes. */
  #ensure(length: number): void {
    if (this.#staging !== undefined && this.#at + length > this.#staging.length) this.#ship()
    if (this.#staging !== undefined) return
    this.#staging = borrowBuffer()
    this.#from = 0
    this.#at = 0
  }

  /** Hands what is sealed to the socket. A small flush is copied, so that the buffer is free at once. */
  #ship(): void {
    const staging = this.#staging
    const length = this.#at - this.#from
    if (staging === undefined || length === 0) return
    const bytes = staging.subarray(this.#from, this.#at)
    this.#from = 0
    this.#at = 0
    if (length <= SMALL_FLUSH_BYTES || !this.#wire.releasesMemory) {
      this.#send(Buffer.from(bytes), undefined)
    } else {
      this.#staging = undefined
      this.#send(bytes, staging)
    }
  }

  #send(bytes: Buffer, borrowed: Buffer | undefined): void {
    const length = bytes.length
    this.#inFlight += length
    this.#turn += length
    if (this.#turn >= TURN_BUDGET && !this.#spent) {
      this.#spent = true
      setImmediate(this.#nextTurn)
    }
    if (this.#spent || this.#inFlight > IN_FLIGHT_LIMIT) this.#blocked = true
    this.#wire.write(bytes, () => {
      if (borrowed !== undefined) returnBuffer(borrowed)
      this.#inFlight -= length
      this.#unblock()
    })
  }

  #nextTurn = (): void => {
    this.#spent = false
    this.#turn = 0
    this.#unblock()
  }

  #unblock(): void {
    if (!this.#blocked || this.#spent || this.#inFlight > IN_FLIGHT_LOW) return
    this.#blocked = false
    this.onDrain()
  }
}
