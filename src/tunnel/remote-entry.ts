import { type Clock, sleep } from '../core/clock.ts'
import { malformed } from '../core/codec.ts'
import { asKithError, isKithError, KithError } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import type { LinkStream } from '../transport/types.ts'
import { Attempt, dialChecked } from './dial.ts'
import { type CarrierOptions, noteFailure } from './entry.ts'
import { lookUp } from './gate.ts'
import { HeldStream } from './held-stream.ts'
import { ANSWER_BYTES, encodeListen, LISTEN_PROTOCOL, readListening } from './listen-wire.ts'
import { explain } from './opener.ts'
import { type ForwardTarget, formatTarget, socketPath } from './target.ts'

export interface RemoteEntryOptions extends CarrierOptions {
  readonly clock: Clock
  readonly peer: Did
  /** Where the peer is to listen. */
  readonly remote: ForwardTarget
  /** What its connections reach here: chosen by the owner of this machine, so no rule is asked. */
  readonly to: ForwardTarget
  readonly token: Uint8Array
  readonly connectMs: () => number
}

export interface RemoteEntry {
  /** Where the peer listens, as `HOST:PORT` on its side; what was asked for while it does not. */
  readonly address: string
  readonly listening: boolean
  /** The peer accepted a connection for this forward. */
  accepted(stream: LinkStream, early: Buffer): void
  stop(): void
}

/** The stream by which the peer listens, and how it ended: undefined for an end that is no error. */
interface Control {
  readonly stream: LinkStream
  readonly over: Promise<KithError | undefined>
}

const ANSWER_TIMEOUT_MS = 20_000
const FIRST_RETRY_MS = 1_000
const MOST_RETRY_MS = 30_000

/**
 * The asking side of a remote forward: keeps a control stream open, and asks again when the link or the peer was away. Started by `open`, which fails when the
 * peer refuses at once; with `wait` it keeps trying from the beginning.
 */
export async function openRemote(options: RemoteEntryOptions, wait: boolean, signal: AbortSignal): Promise<RemoteEntry> {
  const { mesh, connections, clock, peer, remote, to } = options
  const aborter = new AbortController()
  let control: Control | undefined
  let port = remote.port

  async function ask(deadline: AbortSignal): Promise<void> {
    const stream = await mesh.openLean(peer, LISTEN_PROTOCOL, { signal: deadline })
    try {
      stream.write(encodeListen(options.token, { host: remote.host, port }))
      const answer = await answered(stream, deadline)
      const wrong = remote.port === 0 ? answer.port === 0 : answer.port !== remote.port
      if (wrong && socketPath(remote) === undefined) throw malformed('place where the peer listens')
      port = answer.port
      control = { stream, over: answer.over }
      connections.lastError = null
    } catch (error) {
      stream.reset(new KithError('ABORTED').number)
      // Any free port was asked for: the one it was before is taken now.
      if (isKithError(error, 'ADDRESS_IN_USE')) port = remote.port
      throw explain(asKithError(error, 'ABORTED'), mesh, peer, remote, 'listen')
    }
  }

  /** Until the control stream ends, which it may have done already. */
  async function ended({ stream, over }: Control): Promise<void> {
    const error = await over
    control = undefined
    if (error !== undefined && !aborter.signal.aborted) connections.lastError = explain(error, mesh, peer, remote, 'listen')
    stream.reset(new KithError('CLOSED').number)
  }

  async function keep(): Promise<void> {
    let pause = FIRST_RETRY_MS
    while (!aborter.signal.aborted) {
      if (control !== undefined) {
        await ended(control)
        pause = FIRST_RETRY_MS
      }
      await sleep(clock, pause, aborter.signal).catch(() => {})
      if (aborter.signal.aborted) return
      pause = Math.min(2 * pause, MOST_RETRY_MS)
      try {
        await ask(AbortSignal.any([aborter.signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]))
      } catch (error) {
        if (!aborter.signal.aborted) connections.lastError = asKithError(error, 'PEER_UNREACHABLE')
      }
    }
  }

  async function carry(stream: LinkStream, early: Buffer): Promise<void> {
    const attempt = new Attempt()
    const { meter, leave } = connections.enter(() => {
      attempt.abort()
      stream.reset(new KithError('CLOSED').number)
    })
    const held = new HeldStream(stream, attempt, early)
    try {
      const addresses = await lookUp(to, clock)
      const checked = { subject: { peer }, action: 'forward' as const, target: to, addresses }
      const socket = await dialChecked(checked, { attempt, lean: true, clock, timeoutMs: options.connectMs(), outbound: undefined })
      held.pour(socket, meter, leave)
    } catch (error) {
      const failure = asKithError(error, 'FORWARD_UNREACHABLE')
      leave()
      if (attempt.aborted) return
      noteFailure(options, peer, new KithError(failure.code, `${formatTarget(to)} on this machine: ${failure.message}`, { cause: failure }))
      stream.reset(failure.number)
    }
  }

  if (!wait) await ask(AbortSignal.any([signal, aborter.signal]))
  void keep()
  return {
    get address() {
      return formatTarget({ host: remote.host, port })
    },
    get listening() {
      return control !== undefined
    },
    accepted: (stream, early) => void carry(stream, early),
    stop() {
      aborter.abort(new KithError('CLOSED'))
      control?.stream.reset(new KithError('CLOSED').number)
    },
  }
}

/** The answer, and the end of the stream behind it: both may come in one breath. */
function answered(stream: LinkStream, signal: AbortSignal): Promise<{ readonly port: number; readonly over: Control['over'] }> {
  const { promise: over, resolve: ends } = Promise.withResolvers<KithError | undefined>()
  return new Promise((resolve, reject) => {
    let head = Buffer.alloc(0)
    const abort = (): void => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    const fail = (error: KithError): void => {
      signal.removeEventListener('abort', abort)
      reject(error)
    }
    stream.onData = (data, start, end) => {
      stream.consume(end - start)
      if (head.length === ANSWER_BYTES) return
      head = Buffer.concat([head, data.subarray(start, Math.min(end, start + ANSWER_BYTES - head.length))])
      if (head.length < ANSWER_BYTES) return
      signal.removeEventListener('abort', abort)
      try {
        resolve({ port: readListening(head), over })
      } catch (error) {
        reject(error)
      }
    }
    stream.onEnd = () => {
      ends(undefined)
      fail(new KithError('FORWARD_DENIED', 'the other side closed without an answer'))
    }
    stream.onError = (error) => {
      ends(error)
      fail(error)
    }
  })
}
