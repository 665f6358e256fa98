import type { Identity } from 'age-encryption'
import { TAG_BYTES } from '../core/crypto/aead.ts'
import { chachaOpen, chachaSeal } from '../core/crypto/chacha.ts'
import { KithError } from '../core/errors.ts'
import type { KeyLease } from '../core/key-slab.ts'
import { type ContainerRecipients, headerEnd, MAX_HEADER_BYTES, openHeader, sealHeader } from './container-header.ts'

/**
 * # The payload of an age file, as a stream (age-encryption.org/v1, STREAM)
 *
 * ```text
 * chunk  ChaCha20-Poly1305(payload key, nonce = u88 number || u8 last, 64 KiB of plaintext)      the last may be shorter
 * ```
 *
 * The library's own stream does about 100 MB/s; libsodium's cipher on buffers that are used again does the speed of the disk. Sixteen chunks are sealed at a
 * time while the sixteen before are being written, so memory stays at a few MiB whatever the size.
 *
 * What we write ends with a full chunk, zeros at the end of the archive making up for it. So a reader tells apart what age alone does not: a file that was cut (what
 * is there opens, and is not the last), one that goes on behind its end (the last one opens, and more follows), and one whose bytes changed.
 */
export const CHUNK_BYTES: number = 64 * 1024
const SEALED_BYTES: number = CHUNK_BYTES + TAG_BYTES
/** Chunks at a time. */
const BATCH = 16

/** Where a stream goes. The bytes are only valid until the promise resolves. */
export type Sink = (bytes: Uint8Array) => Promise<void>

/** Writes one age file; `write` in pieces of any size, `close` once. */
export class SealingStream {
  readonly #key: KeyLease
  readonly #sink: Sink
  readonly #plain: Buffer = Buffer.allocUnsafe(BATCH * CHUNK_BYTES)
  readonly #sealed: readonly [Buffer, Buffer] = [Buffer.allocUnsafe(BATCH * SEALED_BYTES), Buffer.allocUnsafe(BATCH * SEALED_BYTES)]
  readonly #nonce: Buffer = Buffer.alloc(12)
  #filled = 0
  #chunk = 0
  #turn: 0 | 1 = 0
  #writing: Promise<void>
  #written = 0

  private constructor(key: KeyLease, header: Uint8Array, sink: Sink) {
    this.#key = key
    this.#sink = sink
    this.#writing = this.#send(header)
  }

  static async create(recipients: ContainerRecipients, sink: Sink): Promise<SealingStream> {
    const { header, key } = await sealHeader(recipients)
    return new SealingStream(key, header, sink)
  }

  /** Plaintext taken so far. */
  get length(): number {
    return this.#chunk * CHUNK_BYTES + this.#filled
  }

  /** Bytes of the file so far. */
  get written(): number {
    return this.#written
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      // The last chunk is marked, so a full buffer waits until there is more.
      if (this.#filled === this.#plain.length) await this.#flush(false)
      const piece = bytes.subarray(at, at + this.#plain.length - this.#filled)
      this.#plain.set(piece, this.#filled)
      this.#filled += piece.length
      at += piece.length
    }
  }

  /** Writes the last chunk. The key is gone afterwards, whatever happens. */
  async close(): Promise<void> {
    try {
      await this.#flush(true)
      await this.#writing
    } finally {
      this.destroy()
    }
  }

  /** Gives up. Idempotent. */
  destroy(): void {
    this.#key.release()
    this.#plain.fill(0)
    this.#writing.catch(() => undefined)
  }

  async #flush(last: boolean): Promise<void> {
    const target = this.#sealed[this.#turn]
    this.#turn = this.#turn === 0 ? 1 : 0
    const chunks = Math.max(1, Math.ceil(this.#filled / CHUNK_BYTES))
    let to = 0
    for (let i = 0; i < chunks; i++) {
      const piece = this.#plain.subarray(i * CHUNK_BYTES, Math.min(this.#filled, (i + 1) * CHUNK_BYTES))
      chachaSeal(this.#key.bytes, this.#nonceOf(last && i === chunks - 1), piece, target.subarray(to))
      to += piece.length + TAG_BYTES
      this.#chunk++
    }
    this.#filled = 0
    // The other buffer is on its way until this resolves.
    await this.#writing
    this.#writing = this.#send(target.subarray(0, to))
  }

  #send(bytes: Uint8Array): Promise<void> {
    this.#written += bytes.length
    const sending = this.#sink(bytes)
    // Looked at by the next flush; until then it is nobody's.
    sending.catch(() => undefined)
    return sending
  }

  #nonceOf(last: boolean): Buffer {
    return writeNonce(this.#nonce, this.#chunk, last)
  }
}

/** Bytes of a file in pieces of any size; each is the reader's only until it asks for the next. */
export type Source = AsyncIterable<Uint8Array>

export interface OpeningOptions {
  readonly source: Source
  /** Tried in order. */
  readonly identities: readonly Identity[]
}

/**
 * The plaintext of an age file, in pieces of at most 1 MiB that are only valid until the next is asked for. What was yielded is authentic; that nothing was
 * cut off is known when it ends without an error.
 * @throws KithError `BACKUP_INVALID`, `BACKUP_KEY_WRONG`, `BACKUP_DAMAGED`, `BACKUP_TRUNCATED`, `BACKUP_TRAILING`, and what an identity throws.
 */
export async function* openStream({ source, identities }: OpeningOptions): AsyncGenerator<Buffer> {
  const pieces = source[Symbol.asyncIterator]()
  let key: KeyLease | undefined
  try {
    const { header, rest } = await readHeader(pieces)
    key = await openHeader(header, identities)
    yield* openChunks(key, rest, pieces)
  } finally {
    key?.release()
    await pieces.return?.()
  }
}

/** The header with its nonce, and what was read beyond it. @throws KithError `BACKUP_INVALID`, `BACKUP_DAMAGED`, `BACKUP_TRUNCATED`. */
export async function readHeader(pieces: AsyncIterator<Uint8Array>): Promise<{ header: Uint8Array; rest: Buffer }> {
  let head: Buffer = Buffer.alloc(0)
  for (;;) {
    const end = headerEnd(head.subarray(0, MAX_HEADER_BYTES))
    if (end !== undefined) return { header: new Uint8Array(head.subarray(0, end)), rest: head.subarray(end) }
    const next = await pieces.next()
    if (next.done === true) throw truncated(0, head.length === 0 ? 'it is empty' : 'it ends within its header')
    head = Buffer.concat([head, next.value])
  }
}

async function* openChunks(key: KeyLease, rest: Buffer, pieces: AsyncIterator<Uint8Array>): AsyncGenerator<Buffer> {
  // One chunk more than is opened at a time: whether it is the last is known when there is nothing behind it.
  const sealed = Buffer.allocUnsafe((BATCH + 1) * SEALED_BYTES)
  const plain = Buffer.allocUnsafe(BATCH * CHUNK_BYTES)
  const nonce = Buffer.alloc(12)
  let filled = 0
  let chunk = 0
  let piece: Uint8Array = rest
  let ended = false
  try {
    while (!ended) {
      while (filled < sealed.length && !ended) {
        if (piece.length === 0) {
          const next = await pieces.next()
          if (next.done === true) ended = true
          else piece = next.value
          continue
        }
        const taken = piece.subarray(0, sealed.length - filled)
        sealed.set(taken, filled)
        filled += taken.length
        piece = piece.subarray(taken.length)
      }
      let from = 0
      let to = 0
      while (filled - from > SEALED_BYTES && to + CHUNK_BYTES <= plain.length) {
        const source = sealed.subarray(from, from + SEALED_BYTES)
        if (!chachaOpen(key.bytes, writeNonce(nonce, chunk, false), source, plain.subarray(to))) {
          if (chachaOpen(key.bytes, writeNonce(nonce, chunk, true), source, plain.subarray(to))) throw trailing(chunk)
          throw damaged(chunk)
        }
        chunk++
        from += SEALED_BYTES
        to += CHUNK_BYTES
      }
      sealed.copyWithin(0, from, filled)
      filled -= from
      if (ended && filled <= SEALED_BYTES && to < plain.length) {
        to += openLast(key, sealed.subarray(0, filled), plain.subarray(to), chunk, nonce)
        filled = 0
      } else if (ended && filled > 0) {
        ended = false
      }
      if (to > 0) yield plain.subarray(0, to)
    }
  } finally {
    plain.fill(0)
  }
}

function openLast(key: KeyLease, sealed: Buffer, target: Buffer, chunk: number, nonce: Buffer): number {
  if (sealed.length > TAG_BYTES || (chunk === 0 && sealed.length === TAG_BYTES)) {
    if (chachaOpen(key.bytes, writeNonce(nonce, chunk, true), sealed, target)) return sealed.length - TAG_BYTES
    const whole = sealed.length === SEALED_BYTES
    if (whole && !chachaOpen(key.bytes, writeNonce(nonce, chunk, false), sealed, target)) throw damaged(chunk)
  }
  throw truncated(chunk, 'its end is missing')
}

/** 11-byte big-endian counter and the mark of the last chunk. */
function writeNonce(nonce: Buffer, chunk: number, last: boolean): Buffer {
  nonce.writeUInt32BE(Math.floor(chunk / 2 ** 32), 3)
  nonce.writeUInt32BE(chunk % 2 ** 32, 7)
  nonce[11] = last ? 1 : 0
  return nonce
}

const ANOTHER_COPY = 'use another copy of the file; the node it came from makes a new one with kith backup'

function truncated(chunk: number, reason: string): KithError {
  return new KithError('BACKUP_TRUNCATED', `the backup was cut: ${reason}`, { details: { reason, chunk }, next: ANOTHER_COPY })
}

function damaged(chunk: number): KithError {
  return new KithError('BACKUP_DAMAGED', `the backup is damaged: chunk ${chunk} does not verify`, { details: { reason: 'chunk', chunk }, next: ANOTHER_COPY })
}

function trailing(chunk: number): KithError {
  return new KithError('BACKUP_TRAILING', `there is something behind the end of the backup, chunk ${chunk}`, {
    details: { chunk },
    next: 'two files were joined, or bytes added: take the file as it was written',
  })
}
