import type { Duplex } from 'node:stream'
import { type Clock, systemClock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import { FrameReader, frame } from './frame.ts'
import { Wire } from './wire.ts'

/**
 * Locate (protocol.md, PN-2): the frame that may stand in place of a handshake's first one, to learn which key answers at an address.
 *
 * ```text
 * asker     4b 10 01 | nonce 16 | tag 32 | have_index 4      55 bytes; a handshake's first frame has 32
 * answerer  one frame of at most 96 KiB, then the end
 * ```
 *
 * This file tells the frames apart and carries them; what they say is decided above.
 */
export const LOCATE_REQUEST_BYTES = 55
export const MAX_LOCATE_ANSWER_BYTES = 98_304

export function isLocateRequest(payload: Uint8Array): boolean {
  return payload.length === LOCATE_REQUEST_BYTES && payload[0] === 0x4b && payload[1] === 0x10 && payload[2] === 0x01
}

export interface LocateOptions {
  readonly signal?: AbortSignal
  /** The answer must come within, in ms. Default 5,000. */
  readonly timeoutMs?: number
  readonly clock?: Clock
}

/**
 * Sends `request` over a fresh `duplex` and returns the one answer, unverified. The duplex is destroyed in any case.
 * @throws KithError `LOCATE_FAILED` when there is no answer, `FRAME_TOO_LARGE`, `TIMEOUT`; the signal's reason; TypeError for bytes that are not a request.
 */
export async function requestLocate(duplex: Duplex, request: Uint8Array, options: LocateOptions = {}): Promise<Uint8Array> {
  const { signal, timeoutMs = 5_000, clock = systemClock } = options
  const reader = new FrameReader()
  const answer: PromiseWithResolvers<Uint8Array> = Promise.withResolvers()
  const abort = (): void => answer.reject(signal?.reason)
  const lost = (): void => answer.reject(new KithError('LOCATE_FAILED', 'the connection ended without an answer'))
  try {
    if (!isLocateRequest(request)) throw new TypeError('not a locate request')
    signal?.throwIfAborted()
    if (!Wire.open(duplex)) throw new KithError('LOCATE_FAILED', 'the connection has ended')
    signal?.addEventListener('abort', abort, { once: true })
    reader.limit = MAX_LOCATE_ANSWER_BYTES
    reader.onViolation = (error) => answer.reject(error)
    reader.onFrame = (buffer, start, end) => {
      answer.resolve(Uint8Array.from(buffer.subarray(start, end)))
      return false
    }
    reader.hold()
    const wire = new Wire(duplex, reader)
    wire.onEnd = lost
    wire.onClose = lost
    const deadline = clock.after(timeoutMs, () => answer.reject(new KithError('TIMEOUT')))
    try {
      wire.write(frame(request), () => undefined)
      reader.resume()
      return await answer.promise
    } finally {
      deadline.cancel()
      wire.destroy()
    }
  } finally {
    signal?.removeEventListener('abort', abort)
    duplex.destroy()
  }
}
