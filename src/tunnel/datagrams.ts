import { isIP } from 'node:net'
import { malformed } from '../core/codec.ts'
import { type ForwardTarget, isTarget } from './target.ts'

/**
 * # Datagrams over a stream
 *
 * After the request of kind `datagrams` (wire.ts) and its answer, both directions are a row of frames, one for each UDP datagram:
 *
 * ```text
 * u16 n || u8 h || h bytes host (ASCII) || u16 port || payload              n = everything after itself, 4 to 65,535
 *
 * opener -> acceptor   where the datagram goes: a name or an address, decided by policy as action `datagram`
 * acceptor -> opener   where it came from: always an address
 * ```
 *
 * A datagram that does not fit, finds its queue full or is refused is dropped without a word, as networks do.
 */
export interface Datagram extends ForwardTarget {
  /** Valid only during the call that hands it out. */
  readonly payload: Buffer
}

/** Largest payload of a UDP datagram over IPv4. */
export const MAX_PAYLOAD_BYTES = 65_507
const MAX_FRAME_BYTES = 65_535
const LEAST_FRAME_BYTES = 4
/** Pieces of a byte each take more memory than what they hold. */
const MAX_PIECES = 4_096

/** A frame, or `undefined` when the datagram does not fit into one. */
export function encodeDatagram({ host, port }: ForwardTarget, payload: Uint8Array): Buffer | undefined {
  const length = 1 + host.length + 2 + payload.length
  if (length > MAX_FRAME_BYTES || payload.length > MAX_PAYLOAD_BYTES) return undefined
  const frame = Buffer.allocUnsafe(2 + length)
  frame.writeUInt16BE(length, 0)
  frame[2] = host.length
  frame.write(host, 3, 'latin1')
  frame.writeUInt16BE(port, 3 + host.length)
  frame.set(payload, 5 + host.length)
  return frame
}

/** Cuts what arrives into datagrams. Holds one unfinished frame at most, its pieces as they came: they are joined once, however small they are. */
export class DatagramReader {
  readonly #take: (datagram: Datagram) => void
  #pieces: Buffer[] = []
  #held = 0
  /** As many bytes have to be there before it is worth to look again. */
  #wanted = 2

  constructor(take: (datagram: Datagram) => void) {
    this.#take = take
  }

  /** @throws KithError `WIRE_MALFORMED`. */
  push(data: Buffer): void {
    if (this.#held + data.length < this.#wanted) {
      if (data.length === 0) return
      this.#pieces.push(Buffer.from(data))
      this.#held += data.length
      if (this.#pieces.length >= MAX_PIECES) this.#pieces = [Buffer.concat(this.#pieces)]
      return
    }
    let rest = this.#held === 0 ? data : Buffer.concat([...this.#pieces, data])
    this.#pieces = []
    this.#wanted = 2
    while (rest.length >= 2) {
      const length = rest.readUInt16BE(0)
      if (length < LEAST_FRAME_BYTES) throw malformed('length of a datagram', { length })
      this.#wanted = 2 + length
      if (rest.length < this.#wanted) break
      this.#take(parseDatagram(rest.subarray(2, this.#wanted)))
      rest = rest.subarray(this.#wanted)
      this.#wanted = 2
    }
    this.#held = rest.length
    if (rest.length > 0) this.#pieces.push(Buffer.from(rest))
  }
}

function parseDatagram(frame: Buffer): Datagram {
  const length = frame[0] as number
  if (frame.length < 1 + length + 2) throw malformed('host of a datagram')
  const host = frame.toString('latin1', 1, 1 + length)
  const port = frame.readUInt16BE(1 + length)
  if (port === 0 || !isTarget({ host, port })) throw malformed('target of a datagram')
  return { host, port, payload: frame.subarray(3 + length) }
}

/** Where a datagram came from; for frames that an opener receives. */
export function isSource({ host, port }: ForwardTarget): boolean {
  return isIP(host) !== 0 && port > 0
}
