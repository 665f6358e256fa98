import { setMaxListeners } from 'node:events'
import { type Clock, sleep } from '../core/clock.ts'
import { asKithError, KithError } from '../core/errors.ts'
import { type Did, shortDid } from '../identity/did.ts'
import type { LinkStream } from '../transport/types.ts'
import type { Attempt } from './dial.ts'
import type { TunnelAction } from './gate.ts'
import { type ForwardTarget, formatTarget, socketPath } from './target.ts'
import { encodeRequest, FORWARD_PROTOCOL, type ForwardRequest } from './wire.ts'

/** What a forward needs of the mesh. */
export interface StreamOpener {
  readonly did: Did
  /** What the owner calls a peer, for sentences. */
  nameOf?(peer: Did): string | undefined
  openLean(peer: Did, protocol: string, options: { signal?: AbortSignal; linkKey?: string }): Promise<LinkStream>
}

/** How long a new connection waits for a link that is away. */
const OPEN_TIMEOUT_MS = 15_000
/** How long one deadline signal is given out: a signal of its own for every connection would cost a tenth of a short one. */
const SHARED_MS = 1_000
const RETRY_MS = 250

/** Opens streams of the link for connections of this machine. */
export class Opener {
  readonly #mesh: StreamOpener
  readonly #clock: Clock
  readonly #closing = new AbortController()
  #signal: AbortSignal | undefined

  constructor(mesh: StreamOpener, clock: Clock) {
    this.#mesh = mesh
    this.#clock = clock
  }

  /**
   * A stream whose request has been sent. While the link is away it waits for it, at most 15 s.
   * @throws KithError `PEER_UNREACHABLE`, `LINK_LOST`, `TIMEOUT` ...: why there is none.
   */
  async open(peer: Did, request: ForwardRequest, attempt: Attempt): Promise<LinkStream> {
    const signal = this.#deadline()
    let last: KithError | undefined
    while (!attempt.aborted && !signal.aborted) {
      try {
        const stream = await this.#mesh.openLean(peer, FORWARD_PROTOCOL, { signal })
        if (attempt.aborted) {
          stream.reset(new KithError('ABORTED').number)
          break
        }
        stream.write(encodeRequest(request))
        return stream
      } catch (error) {
        const failure = asKithError(error, 'PEER_UNREACHABLE')
        if (signal.aborted) break
        if (!failure.retryable) throw failure
        last = failure
      }
      await sleep(this.#clock, RETRY_MS, signal).catch(() => {})
    }
    if (this.#closing.signal.aborted) throw new KithError('CLOSED')
    throw last ?? new KithError(attempt.aborted ? 'ABORTED' : 'PEER_UNREACHABLE')
  }

  close(): void {
    this.#closing.abort(new KithError('CLOSED'))
  }

  #deadline(): AbortSignal {
    if (this.#signal !== undefined) return this.#signal
    const aborter = new AbortController()
    setMaxListeners(0, aborter.signal)
    const abort = (): void => aborter.abort(new KithError('PEER_UNREACHABLE', 'the peer could not be reached in time'))
    if (this.#closing.signal.aborted) abort()
    const closed = (): void => {
      timer.cancel()
      given.cancel()
      abort()
    }
    const timer = this.#clock.after(OPEN_TIMEOUT_MS, () => {
      this.#closing.signal.removeEventListener('abort', closed)
      abort()
    })
    const given = this.#clock.after(SHARED_MS, () => {
      this.#signal = undefined
    })
    this.#closing.signal.addEventListener('abort', closed, { once: true })
    this.#signal = aborter.signal
    return aborter.signal
  }
}

/**
 * Asks the other side whether a connect would be allowed, so that a refusal is seen when the forward is made and not when it is first used.
 * @throws KithError `FORWARD_DENIED` with the other side's command in `next`, or whatever kept the peer from answering.
 */
export async function checkForward(mesh: StreamOpener, peer: Did, target: ForwardTarget, signal: AbortSignal): Promise<void> {
  const stream = await mesh.openLean(peer, FORWARD_PROTOCOL, { signal })
  try {
    stream.write(encodeRequest({ kind: 'check', ...target }))
    stream.end()
    await firstByte(stream, signal)
  } catch (error) {
    throw explain(asKithError(error, 'ABORTED'), mesh, peer, target)
  } finally {
    stream.reset(new KithError('ABORTED').number)
  }
}

/** Waits for the one byte that says yes. @throws KithError what the other side reset the stream with. */
function firstByte(stream: LinkStream, signal: AbortSignal): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    const abort = (): void => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    const settle = (error?: KithError): void => {
      signal.removeEventListener('abort', abort)
      if (error === undefined) resolve()
      else reject(error)
    }
    stream.onData = (_data, start, end) => {
      stream.consume(end - start)
      settle()
    }
    stream.onEnd = () => settle(new KithError('FORWARD_DENIED', 'the other side closed without an answer'))
    stream.onError = (error) => settle(error)
  })
}

/** A refusal arrives as a number; who must run which command on which machine is known here. */
export function explain(error: KithError, mesh: StreamOpener, peer: Did, target: ForwardTarget, action: TunnelAction = 'forward'): KithError {
  if (error.code !== 'FORWARD_DENIED' && error.code !== 'POLICY_DENIED') return error
  // No rule names the port 0: whoever asks for any port needs all of them.
  const text = formatTarget(target).replace(/:0$/, (end) => (action === 'listen' && socketPath(target) === undefined ? ':*' : end))
  const name = mesh.nameOf?.(peer) ?? shortDid(peer)
  const what = action === 'listen' ? `this node may not let ${name} listen on ${text}` : `this node may not reach ${text} through ${name}`
  return new KithError('FORWARD_DENIED', what, {
    remote: true,
    details: { peer, target: text },
    next: `on the other machine: kith allow ${mesh.did} ${action} ${text}`,
    cause: error,
  })
}
