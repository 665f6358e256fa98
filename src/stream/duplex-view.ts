import { Duplex } from 'node:stream'
import { KithError } from '../core/errors.ts'
import type { Session } from './session.ts'

/** A `Duplex` over a session. Half-open is allowed as far as the duplex underneath allows it; destroying one ends the other at once. */
export function duplexView(session: Session): Duplex {
  let blocked: (() => void) | undefined
  const view = new Duplex({
    allowHalfOpen: true,
    read() {
      session.resume()
    },
    write(chunk: Uint8Array, _encoding, done) {
      session.sender.write(chunk, 0, chunk.length)
      if (session.sender.blocked && !session.finished) blocked = done
      else done()
    },
    final(done) {
      session.end(() => done())
    },
    destroy(error, done) {
      release()
      if (error === null && view.writableFinished) session.close()
      else session.destroy(error instanceof KithError ? error : error === null ? null : new KithError('LINK_CLOSED', undefined, { cause: error }))
      done(error)
    },
  })
  const release = (): void => {
    const done = blocked
    blocked = undefined
    done?.()
  }
  session.sender.onDrain = release
  session.onRecord = (buffer, start, end) => view.push(Buffer.from(buffer.subarray(start, end)))
  session.onEnd = () => {
    view.push(null)
  }
  session.onClose = (error) => {
    if (error !== null) view.destroy(error)
    else if (!view.readableEnded) view.push(null)
    release()
  }
  const outcome = session.outcome
  if (outcome instanceof KithError) view.destroy(outcome)
  return view
}
