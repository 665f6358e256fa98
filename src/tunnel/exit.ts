import { lookup } from 'node:dns/promises'
import { isIP, type Socket } from 'node:net'
import type { Clock } from '../core/clock.ts'
import { asKithError, KithError } from '../core/errors.ts'
import { JoinedBytes } from '../core/joined-bytes.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Did } from '../identity/did.ts'
import type { Decision, Policy, StreamContext } from '../mesh/types.ts'
import { connectSocket } from '../stream/socket-reads.ts'
import type { LinkStream } from '../transport/types.ts'
import { readLocal } from './local-socket.ts'
import { splice } from './splice.ts'
import { formatTarget } from './target.ts'
import { type ForwardRequest, MAX_REQUEST_BYTES, takeRequest } from './wire.ts'

export interface ExitOptions {
  readonly policy: Policy
  readonly clock: Clock
  readonly logger: Logger
  /** Names to addresses; replaced in tests. Default: the system's resolver. */
  readonly resolve?: (host: string) => Promise<readonly string[]>
}

/** A connection under way, and what was asked for it. */
interface Running {
  readonly peer: Did
  readonly request: ForwardRequest
  readonly addresses: readonly string[]
  readonly stream: LinkStream
}

/** A target that has not answered by then is reported as unreachable. */
const CONNECT_TIMEOUT_MS = 10_000
/** How long the opener may take to send its request. */
const REQUEST_TIMEOUT_MS = 10_000

async function systemResolve(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address)
}

/**
 * The accepting end of forwards: asks the policy with the name as written and with every address it resolved to, dials the address that was checked
 * (never the name a second time), and joins the two. What the name resolved to and which rule decided stay here; the opener learns only a code.
 */
export function createExit(options: ExitOptions): { handle(stream: LinkStream, context: StreamContext): void; close(): void } {
  const { policy, clock, logger } = options
  const resolve = options.resolve ?? systemResolve
  const running = new Map<Socket, Running>()

  function decide(peer: Did, request: ForwardRequest, addresses: readonly string[]): void {
    const target = formatTarget(request)
    const decision = policy.decide({ peer, action: 'forward', target, addresses })
    if (!decision.allowed) throw refused(peer, target, decision)
  }

  /** A name is looked up only when some rule may allow it: otherwise every stranger could let this machine ask for any name. */
  function mayLookUp(peer: Did, request: ForwardRequest): void {
    const target = formatTarget(request)
    const decision = policy.decide({ peer, action: 'forward', target })
    if (!decision.allowed && decision.byAddress !== true) throw refused(peer, target, decision)
  }

  function refused(peer: Did, target: string, { rule, next }: Decision): KithError {
    logger.info('forward refused', { peer, target, rule, next })
    return new KithError('FORWARD_DENIED')
  }

  async function resolveChecked(peer: Did, request: ForwardRequest): Promise<readonly string[]> {
    if (isIP(request.host) !== 0) {
      decide(peer, request, [request.host])
      return [request.host]
    }
    mayLookUp(peer, request)
    let addresses: readonly string[]
    try {
      addresses = await resolve(request.host)
    } catch (cause) {
      // Whether a name exists here is told only to those who may go there.
      decide(peer, request, [])
      throw new KithError('FORWARD_UNREACHABLE', undefined, { cause })
    }
    decide(peer, request, addresses)
    if (addresses.length === 0) throw new KithError('FORWARD_UNREACHABLE')
    return addresses
  }

  function handle(stream: LinkStream, context: StreamContext): void {
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
      early = Buffer.concat([early, data.subarray(start, end)])
      try {
        const taken = takeRequest(early)
        if (taken === undefined) {
          if (early.length > MAX_REQUEST_BYTES) fail(new KithError('WIRE_MALFORMED'))
          return
        }
        timer.cancel()
        const rest = Buffer.from(early.subarray(taken.rest))
        void serve(stream, context, taken.request, rest, () => over)
      } catch (error) {
        fail(asKithError(error, 'WIRE_MALFORMED'))
      }
    }
  }

  async function serve(stream: LinkStream, context: StreamContext, request: ForwardRequest, rest: Buffer, gone: () => boolean): Promise<void> {
    // Until the target is there, arriving bytes wait here without credit: the window bounds them.
    const waiting = new JoinedBytes()
    waiting.append(rest, 0, rest.length)
    let owed = 0
    let ended = false
    let aborted = false
    stream.onData = (data, start, end) => {
      waiting.append(data, start, end)
      owed += end - start
    }
    stream.onEnd = () => {
      ended = true
    }
    stream.onError = () => {
      aborted = true
    }
    try {
      const addresses = await resolveChecked(context.peer, request)
      if (aborted || gone()) return
      if (request.kind === 'check') {
        stream.write(Uint8Array.of(0))
        stream.end()
        return
      }
      const socket = await dialFirst(addresses, request.port, () => aborted)
      if (aborted) {
        socket.destroy()
        return
      }
      running.set(socket, { peer: context.peer, request, addresses, stream })
      // The rules may have changed while the target was dialled.
      if (!stillAllowed(socket)) return
      const joined = splice(socket, stream, {
        resume: () => socket.resume(),
        done: (error) => {
          running.delete(socket)
          logger.debug('forward ended', { peer: context.peer, target: formatTarget(request), code: error?.code ?? null })
        },
      })
      socket.once('end', joined.localEnded)
      readLocal(socket, joined.fromLocal)
      for (let chunk = waiting.take(); chunk !== undefined; chunk = waiting.take()) socket.write(chunk)
      stream.consume(owed)
      if (ended) socket.end()
    } catch (error) {
      const failure = asKithError(error, 'INTERNAL')
      if (!aborted) stream.reset(failure.number)
      if (failure.code === 'INTERNAL') logger.warn('forward failed', { peer: context.peer, error: String(error) })
    }
  }

  /** The owner changed the rules: connections that would not be allowed now end now. */
  function recheck(): void {
    for (const socket of [...running.keys()]) stillAllowed(socket)
  }

  function stillAllowed(socket: Socket): boolean {
    const { peer, request, addresses, stream } = running.get(socket) as Running
    try {
      decide(peer, request, addresses)
      return true
    } catch (error) {
      running.delete(socket)
      stream.reset(asKithError(error, 'FORWARD_DENIED').number)
      socket.resetAndDestroy()
      return false
    }
  }

  const stopWatching = policy.onChange?.(recheck)
  return {
    handle,
    close() {
      stopWatching?.()
      for (const socket of running.keys()) socket.resetAndDestroy()
    },
  }
}

/** Dials the checked addresses in turn; the first that answers wins. @throws KithError `FORWARD_UNREACHABLE`. */
async function dialFirst(addresses: readonly string[], port: number, aborted: () => boolean): Promise<Socket> {
  let last: unknown
  for (const host of addresses) {
    if (aborted()) break
    try {
      return await dialOne(host, port)
    } catch (error) {
      last = error
    }
  }
  throw new KithError('FORWARD_UNREACHABLE', undefined, { cause: last })
}

function dialOne(host: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connectSocket({ host, port })
    const fail = (error: Error): void => {
      socket.destroy()
      reject(error)
    }
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => fail(new Error('the target did not answer in time')))
    socket.once('error', fail)
    socket.once('connect', () => {
      socket.setTimeout(0)
      socket.removeAllListeners('timeout')
      socket.off('error', fail)
      resolve(socket)
    })
  })
}
