/**
 * # Multiplexer: the yamux wire protocol, with codes
 *
 * ## Design
 *
 * Many streams over one ordered pipe of bytes. Every frame begins with twelve bytes, integers big-endian; only `DATA` carries a payload.
 *
 * ```text
 *  0         1         2                 4                         8                        12
 * +---------+---------+-----------------+-------------------------+-------------------------+
 * | version | type    | flags           | stream                  | length                  |  || payload (DATA only)
 * | 0       | u8      | u16             | u32                     | u32                     |
 * +---------+---------+-----------------+-------------------------+-------------------------+
 *
 *  type            stream         length                          flags
 *  0 DATA          > 0            bytes of payload                SYN ACK FIN RST
 *  1 WINDOW_UPDATE > 0            bytes granted; with RST or STOP SYN ACK FIN RST STOP
 *                                 the number of the error
 *  2 PING          0              opaque, echoed                  SYN = question, ACK = answer
 *  3 GO_AWAY       0              number of the error, 0 = none   FIN = the connection ends
 *
 *  flags: SYN 0x01 opens, ACK 0x02 accepts, FIN 0x04 ends this direction, RST 0x08 ends both, STOP 0x10 asks the receiver to stop sending
 * ```
 *
 * The dialer numbers its streams 1, 3, 5, ..., the listener 2, 4, 6, ...; numbers only rise. `SYN` rides on the first frame of a stream, whatever it is.
 * Each direction of a stream starts with a window of 256 KiB, the constant of yamux; a receiver that turns out to receive much announces the rest of
 * its window with the first credit it returns.
 *
 * ## What is ours
 *
 * yamux has neither numbers on resets nor a half-side stop nor a close that can be told from an idle session. All three are added in bytes that other
 * implementations read past:
 *
 * - `WINDOW_UPDATE | RST` with the number in `length`. Others write 0 there and add whatever they find to the send window of a stream that no longer exists.
 * - `WINDOW_UPDATE | STOP` with the number in `length`: the receiver throws away what it has queued, answers `FIN`, and goes on reading. A peer that does not
 *   know the flag takes it for credit and goes on sending: what arrives is discarded and credited.
 * - `GO_AWAY | FIN` ends the connection with the number in `length`; the receiver answers by ending the pipe. Without `FIN`, 0 means "no new streams, let
 *   the old ones run"; any other number ends the connection too.
 *
 * `FIN` always travels in a frame of its own: @chainsafe/libp2p-yamux acts on it before it looks at the payload of the same frame.
 * Received, `FIN` beside a payload ends the direction after the payload.
 *
 * ## Requirements
 *
 * An ordered, reliable, authenticated pipe (`core/pipe.ts`), and a peer that keeps to 100 streams opened by it at a time (yamux cannot announce the limit:
 * both sides know it; the opener waits).
 *
 * ## Provided
 *
 * Flow control per stream and a bound for the link as a whole; round robin with 16 KiB quanta among streams that wait; numbers on resets, stops and closes;
 * ends after everything written; a lost pipe reported as `LINK_LOST`, a peer that breaks the rules as `MUX_PROTOCOL`, one that goes beyond them as `MUX_LIMIT`.
 *
 * ## Not provided
 *
 * Priorities; resumption; secrecy or integrity (the pipe's); delivery receipts.
 */
export const HEADER_BYTES = 12

export const TYPE_DATA = 0
export const TYPE_WINDOW_UPDATE = 1
export const TYPE_PING = 2
export const TYPE_GO_AWAY = 3

export const FLAG_SYN = 0x01
export const FLAG_ACK = 0x02
export const FLAG_FIN = 0x04
export const FLAG_RST = 0x08
export const FLAG_STOP = 0x10

/** Writes one header at `at`, byte by byte: no view and no object per frame. */
export function writeHeader(buffer: Buffer, at: number, type: number, flags: number, stream: number, length: number): void {
  buffer[at] = 0
  buffer[at + 1] = type
  buffer[at + 2] = 0
  buffer[at + 3] = flags
  buffer[at + 4] = stream >>> 24
  buffer[at + 5] = stream >>> 16
  buffer[at + 6] = stream >>> 8
  buffer[at + 7] = stream
  buffer[at + 8] = length >>> 24
  buffer[at + 9] = length >>> 16
  buffer[at + 10] = length >>> 8
  buffer[at + 11] = length
}

/** Unsigned, unlike the shift operators. */
export function readU32(buffer: Buffer, at: number): number {
  return (((buffer[at] as number) << 24) | ((buffer[at + 1] as number) << 16) | ((buffer[at + 2] as number) << 8) | (buffer[at + 3] as number)) >>> 0
}
