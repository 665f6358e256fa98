import type { Clock } from '../core/clock.ts'
import { asKithError, KithError } from '../core/errors.ts'
import type { LinkStream } from '../transport/types.ts'

/** How a request is taken off the front of what arrived. */
export interface Take<T> {
  /** `undefined`: more is needed. @throws KithError `WIRE_MALFORMED`. */
  take(bytes: Uint8Array): { request: T; rest: number } | undefined
  readonly maxBytes: number
}

/** How long the opener may take to send its request. */
const REQUEST_TIMEOUT_MS = 10_000

/** Waits for the request at the front of a stream; one that is slow, malformed or cut short resets it. */
export function receiveRequest<T>(stream: LinkStream, clock: Clock, { take, maxBytes }: Take<T>, serve: (request: T, rest: Buffer) => void): void {
  let early: Buffer = Buffer.alloc(0)
  let over = false
  const fail = (error: KithError): void => {
    if (over) return
    over = true
    timer.cancel()
    stream.reset(error.number)
  }
  const timer = clock.after(REQUEST_TIMEOUT_MS, () => fail(new KithError('TIMEOUT')))
  stream.onEnd = () => fail(new KithError('WIRE_MALFORMED'))
  stream.onError = () => {
    over = true
    timer.cancel()
  }
  stream.onData = (data, start, end) => {
    stream.consume(end - start)
    if (over) return
    const arrived = data.subarray(start, end)
    const all = early.length === 0 ? arrived : Buffer.concat([early, arrived])
    try {
      const taken = take(all)
      if (taken === undefined) {
        if (all.length > maxBytes) fail(new KithError('WIRE_MALFORMED'))
        else early = Buffer.from(all)
        return
      }
      over = true
      timer.cancel()
      serve(taken.request, Buffer.from(all.subarray(taken.rest)))
    } catch (error) {
      fail(asKithError(error, 'WIRE_MALFORMED'))
    }
  }
}
