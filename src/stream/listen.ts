import type { Duplex } from 'node:stream'
import { equal, toHex } from '../core/bytes.ts'
import { KithError } from '../core/errors.ts'
import { Attempt } from './attempt.ts'
import { type ListenConfig, type Settings, settle } from './config.ts'
import { handshakeInput } from './dial.ts'
import type { EncryptedStream } from './encrypted-stream.ts'
import { frame } from './frame.ts'
import { ACK_BYTES, abandon, KEY_FRAME_BYTES, listenEnd, listenStart, SYN_BYTES } from './handshake.ts'
import { isLocateRequest, LOCATE_REQUEST_BYTES, MAX_LOCATE_ANSWER_BYTES } from './locate.ts'

/**
 * Answers a dialer over `duplex`, which belongs to the stream from now on and is destroyed on any failure. The other side is never told why.
 * @throws KithError `PEER_REJECTED`, `SELF_DIAL`, `HANDSHAKE_FAILED`, `HANDSHAKE_TIMESTAMP`, `HANDSHAKE_TIMEOUT`, `FRAME_TOO_LARGE`; `CLOSED` with the detail
 * `locate: true` when the other side only asked who is here; the signal's reason; TypeError for a bad configuration.
 */
export async function listen(duplex: Duplex, config: ListenConfig): Promise<EncryptedStream> {
  let settings: Settings | undefined
  try {
    settings = settle(config)
    if (typeof config.admit !== 'function') throw new TypeError('admit is a function')
    return await begin(duplex, settings, config).result
  } catch (error) {
    settings?.release()
    duplex.destroy()
    throw error
  }
}

function begin(duplex: Duplex, settings: Settings, config: ListenConfig): Attempt {
  const attempt = new Attempt(duplex, settings)
  const { onLocate } = config
  attempt.expect(onLocate === undefined ? KEY_FRAME_BYTES : LOCATE_REQUEST_BYTES, (payload) => {
    if (onLocate !== undefined && isLocateRequest(payload)) return answerLocate(attempt, onLocate(Uint8Array.from(payload)))
    if (payload.length > KEY_FRAME_BYTES) {
      throw new KithError('FRAME_TOO_LARGE', undefined, { details: { length: payload.length, limit: KEY_FRAME_BYTES } })
    }
    if (payload.length < KEY_FRAME_BYTES) throw new KithError('HANDSHAKE_FAILED')
    return askBouncer(attempt, settings, config, Uint8Array.from(payload))
  })
  attempt.start()
  return attempt
}

function askBouncer(attempt: Attempt, settings: Settings, config: ListenConfig, peer: Uint8Array): boolean {
  if (equal(peer, settings.signer.publicKey)) throw new KithError('SELF_DIAL')
  attempt.expect(SYN_BYTES, (payload) => takeSyn(attempt, settings, peer, payload))
  let verdict: boolean | Promise<boolean>
  try {
    verdict = config.admit(Uint8Array.from(peer))
  } catch (cause) {
    throw rejection(peer, cause)
  }
  if (verdict === true) return true
  if (!(verdict instanceof Promise)) throw rejection(peer)
  verdict.then(
    (admitted) => {
      if (admitted === true && !attempt.over) attempt.reader.resume()
      else attempt.fail(rejection(peer))
    },
    (cause: unknown) => attempt.fail(rejection(peer, cause)),
  )
  return false
}

function takeSyn(attempt: Attempt, settings: Settings, peer: Uint8Array, syn: Buffer): boolean {
  const state = listenStart(handshakeInput(settings, peer), syn)
  attempt.onOver = () => abandon(state)
  attempt.expect(ACK_BYTES, (ack) => {
    attempt.succeed('listener', listenEnd(state, ack))
    return false
  })
  attempt.wire.write(frame(state.synAck), () => undefined)
  return true
}

/** One frame, then the end; the attempt is over when the other side has gone, or at the deadline. */
function answerLocate(attempt: Attempt, answer: Uint8Array | undefined): boolean {
  const over = (answered: boolean): void =>
    attempt.fail(new KithError('CLOSED', 'the other side asked who is here and left', { details: { locate: true, answered } }))
  if (answer === undefined) {
    over(false)
    return false
  }
  if (answer.length > MAX_LOCATE_ANSWER_BYTES) throw new TypeError(`an answer has at most ${MAX_LOCATE_ANSWER_BYTES} bytes`)
  attempt.expect(0, () => false)
  attempt.wire.onEnd = () => undefined
  attempt.wire.onClose = () => over(true)
  attempt.wire.write(frame(answer), () => undefined)
  attempt.wire.end()
  return true
}

function rejection(peer: Uint8Array, cause?: unknown): KithError {
  return new KithError('PEER_REJECTED', undefined, { details: { key: toHex(peer) }, ...(cause === undefined ? {} : { cause }) })
}
