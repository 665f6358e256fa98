import { utf8 } from '../../core/bytes.ts'
import { bytesN, type Codec, decode, encode, struct, text, u8, u32, uint53, varintSize, Writer } from '../../core/codec.ts'
import { KithError } from '../../core/errors.ts'

/**
 * # The first stream of a QUIC link
 *
 * The dialer's first bidirectional stream carries whole messages: the greeting (PN-5), and after VERDICT the control messages that QUIC's own
 * library cannot: reset, stop and close with a code, drain and ping. It lives as long as the link.
 *
 * ```text
 * frame     varint length || payload                 greeting: at most 64 KiB; control: at most 256 bytes
 *
 * payload   01 RESET   opener || index || code       both directions of the stream end
 *           02 STOP    opener || index || code       the sender of STOP reads no more
 *           03 CLOSE   code || sent || reason        `sent`: payload bytes written on streams that were not cut short
 *           04 CLOSED                                answer to CLOSE: everything it counts has arrived
 *           05 DRAIN                                 no new streams
 *           06 PING    nonce    07 PONG  nonce
 *
 * opener    u8, 0 dialer, 1 listener                 index   u32, counted per opener from 0 (the dialer's 0 is this stream)
 * code      u32, a number of the error table         sent    u64 below 2^53      nonce   8 bytes      reason   text, at most 200 bytes
 * ```
 *
 * Provided: messages in order, each with its limit checked before anything is kept. Not provided: order between this stream and the others;
 * therefore RESET and STOP may overtake data, and CLOSE counts bytes.
 */
export const MESSAGE_BYTES: number = 64 * 1024
export const CONTROL_BYTES: number = 256
export const REASON_BYTES = 200

const TYPE = { reset: 1, stop: 2, close: 3, closed: 4, drain: 5, ping: 6, pong: 7 } as const

interface Bodies {
  reset: { opener: number; index: number; code: number }
  stop: { opener: number; index: number; code: number }
  close: { code: number; sent: number; reason: string }
  closed: object
  drain: object
  ping: { nonce: Uint8Array }
  pong: { nonce: Uint8Array }
}

/** A control message by its type. */
export type Control<T extends keyof Bodies = keyof Bodies> = T extends keyof Bodies ? { readonly type: T } & Bodies[T] : never

const CUT: Codec<Bodies['reset']> = struct({ opener: u8, index: u32, code: u32 })
const NONCE: Codec<Bodies['ping']> = struct({ nonce: bytesN(8) })
const NOTHING: Codec<object> = struct({})
const SCHEMAS: { readonly [T in keyof Bodies]: Codec<Bodies[T]> } = {
  reset: CUT,
  stop: CUT,
  close: struct({ code: u32, sent: uint53, reason: text(REASON_BYTES) }),
  closed: NOTHING,
  drain: NOTHING,
  ping: NONCE,
  pong: NONCE,
}

export function encodeControl(message: Control): Uint8Array {
  const schema = SCHEMAS[message.type] as Codec<object>
  const body = encode(schema, message)
  const out = new Uint8Array(1 + body.length)
  out[0] = TYPE[message.type]
  out.set(body, 1)
  return out
}

const NAMES: ReadonlyMap<number, keyof typeof TYPE> = new Map(Object.entries(TYPE).map(([name, number]) => [number, name as keyof typeof TYPE]))

/** `undefined` for a type of a later version: it is skipped. @throws KithError `WIRE_MALFORMED`. */
export function decodeControl(payload: Uint8Array): Control | undefined {
  const name = NAMES.get(payload[0] ?? 0)
  if (name === undefined) return undefined
  const body = decode(SCHEMAS[name] as Codec<object>, payload.subarray(1))
  return { type: name, ...body } as Control
}

/** varint length || payload. */
export function frame(payload: Uint8Array): Uint8Array {
  const writer = new Writer(varintSize(payload.length) + payload.length)
  writer.varint(payload.length)
  writer.raw(payload)
  return writer.bytes
}

/** Cuts received bytes into payloads. Holds at most one payload. */
export class FrameReader {
  /** Longest payload accepted from now on. */
  limit: number = MESSAGE_BYTES
  #length = 0
  #group = 0
  #payload: Uint8Array | undefined
  #filled = 0

  /**
   * Hands out the payloads that `data` completes, each in memory of its own.
   * @throws KithError `FRAME_TOO_LARGE` as soon as a length is known, `WIRE_MALFORMED` for a length that is not canonical.
   */
  push(data: Uint8Array, hand: (payload: Uint8Array) => void): void {
    let at = 0
    while (at < data.length) {
      if (this.#payload === undefined) {
        if (!this.#header(data[at++] as number)) continue
        this.#payload = new Uint8Array(this.#length)
        this.#filled = 0
      }
      const take = Math.min(this.#payload.length - this.#filled, data.length - at)
      this.#payload.set(data.subarray(at, at + take), this.#filled)
      this.#filled += take
      at += take
      if (this.#filled < this.#payload.length) return
      const payload = this.#payload
      this.#payload = undefined
      this.#length = 0
      this.#group = 0
      hand(payload)
    }
  }

  /** One byte of the length, low group first; true when it is complete. */
  #header(byte: number): boolean {
    if ((byte === 0 && this.#group > 0) || this.#group > 2) throw new KithError('WIRE_MALFORMED', 'malformed bytes: frame length')
    this.#length += (byte & 0x7f) * 2 ** (7 * this.#group++)
    if (byte > 0x7f) return false
    if (this.#length > this.limit) {
      throw new KithError('FRAME_TOO_LARGE', undefined, { details: { length: this.#length, limit: this.limit } })
    }
    return true
  }
}

/** At most `REASON_BYTES` of UTF-8, cut between characters. */
export function trimReason(reason: string): string {
  let trimmed = reason
  while (utf8(trimmed).length > REASON_BYTES) trimmed = [...trimmed].slice(0, -1).join('').slice(0, REASON_BYTES)
  return trimmed
}
