import type { Clock } from '../core/clock.ts'
import { asKithError, isKithError, KithError, remoteError } from '../core/errors.ts'
import type { Channel } from '../transport/types.ts'
import { abortError, checkFailed } from './errors.ts'
import { decodeRefuse, encodeRefuse, messageKind } from './hello-codec.ts'

/** From the first message awaited to the verdict (PN-5). */
export const PREFACE_DEADLINE_MS = 10_000
/** What one side may send before the verdict. */
export const PREFACE_BYTES = 32_768

/**
 * The conversation before a channel becomes a link: one deadline for all of it, one byte budget for the other side, and REFUSE understood in
 * place of any message. Whatever ends it early ends the channel.
 */
export class Preface {
  readonly #channel: Channel
  readonly #stop = new AbortController()
  readonly #release: () => void
  #received = 0
  #told = false

  constructor(channel: Channel, clock: Clock, signal?: AbortSignal) {
    this.#channel = channel
    const timer = clock.after(PREFACE_DEADLINE_MS, () => {
      this.#stop.abort(
        new KithError('HANDSHAKE_TIMEOUT', `no agreement within ${PREFACE_DEADLINE_MS / 1000} s`, { details: { deadlineMs: PREFACE_DEADLINE_MS } }),
      )
    })
    const aborted = (): void => this.#stop.abort(signal === undefined ? undefined : abortError(signal))
    if (signal?.aborted === true) aborted()
    else signal?.addEventListener('abort', aborted, { once: true })
    this.#release = (): void => {
      timer.cancel()
      signal?.removeEventListener('abort', aborted)
    }
  }

  /** Throws what stopped the conversation, for steps that wait on something else than the channel. */
  check(): void {
    if (this.#stop.signal.aborted) throw this.#stop.signal.reason
  }

  send(message: Uint8Array): void {
    this.check()
    this.#channel.send(message)
  }

  /**
   * The next message, which must be of this kind.
   * @throws KithError the other side's refusal (`remote` is set), `HELLO_INVALID`, `HANDSHAKE_TIMEOUT`, `ABORTED`, or what ended the channel.
   */
  async receive(kind: number): Promise<Uint8Array> {
    this.check()
    const message = await this.#channel.receive({ signal: this.#stop.signal })
    this.check()
    this.#received += message.length
    if (this.#received > PREFACE_BYTES)
      throw checkFailed('HELLO_INVALID', 'size', 'the other side sent more than a greeting may take', { details: { limit: PREFACE_BYTES } })
    const refused = decodeRefuse(message)
    if (refused !== undefined) throw refused === 0 ? new KithError('HELLO_REFUSED', undefined, { remote: true }) : remoteError(refused)
    const got = messageKind(message)
    if (got !== kind) {
      throw checkFailed('HELLO_INVALID', 'message', 'the other side sent a message out of turn', { details: { expected: kind, got: got ?? null } })
    }
    return message
  }

  /** The last message of a conversation, whatever it says: no refusal follows it. */
  conclude(message: Uint8Array): void {
    this.send(message)
    this.#told = true
  }

  /** Ends a conversation that succeeded: the channel lives on. */
  finish(): void {
    this.check()
    this.#release()
  }

  /**
   * Ends a conversation that failed and the channel with it; the other side learns the code, unless it was the one that refused or nobody is there any more.
   * Returns the error to throw.
   */
  fail(thrown: unknown): KithError {
    const stopped = this.#stop.signal.aborted
    this.#release()
    const error = stopped ? asKithError(this.#stop.signal.reason, 'ABORTED') : asKithError(thrown, 'INTERNAL')
    if (!this.#told && !error.remote && !isSilent(error)) {
      try {
        this.#channel.send(encodeRefuse(error.number))
      } catch {
        // The channel is gone already; there is nobody left to tell.
      }
    }
    this.#channel.close()
    return error
  }
}

/** Nobody to tell, or nothing that concerns the other side. */
function isSilent(error: KithError): boolean {
  return (
    isKithError(error, 'ABORTED') ||
    isKithError(error, 'CLOSED') ||
    isKithError(error, 'LINK_LOST') ||
    isKithError(error, 'STREAM_CORRUPT') ||
    isKithError(error, 'LINK_PQ_FAILED')
  )
}
