import type { Caller } from '../access/types.ts'
import { toHex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import type { Mesh } from '../mesh/mesh-types.ts'
import type { StreamContext } from '../mesh/types.ts'
import { Deadlines } from './deadlines.ts'
import { CALL_PROTOCOL } from './frames.ts'
import { ClientLink, type LinkCallOptions } from './link-client.ts'
import { type ServeLimits, ServerLink } from './link-server.ts'
import { encodeStatement } from './statement.ts'
import type { Callee, ForwardOptions, StreamItem } from './types.ts'

const MIB: number = 1024 * 1024
/** Calls of one peer at once per request that its class may have open (`outstandingRequests`). */
const CALLS_PER_REQUEST = 64
/** Longest single input, answer or item. */
export const MAX_PAYLOAD_BYTES: number = 4 * MIB
const BUDGET_BYTES: number = 16 * MIB
const WAITING_CALLS = 4_096
const WAITING_BYTES: number = MIB
/** Streams of calls that one connection may hold open here. */
const STREAMS_PER_LINK = 8

export interface ServeCallsOptions {
  /**
   * Who calls on this link. `statement`: who a head says it calls for, as it came; whether that is believed is decided there. `undefined` refuses.
   * What it gives without a statement is kept for the stream until `onChange` calls back or `revoked` aborts.
   */
  readonly callerOf: (context: StreamContext, statement: Uint8Array | undefined) => Caller | undefined | Promise<Caller | undefined>
  /** Calls back when `callerOf` may answer otherwise. */
  readonly onChange?: (listener: () => void) => () => void
  readonly limits?: Partial<ServeLimits>
  /** A peer did what no correct one does. */
  readonly onViolation?: (context: StreamContext, error: KithError) => void
}

export interface CallServer {
  /** Calls under way. */
  readonly running: number
  /** New calls are refused with `error` (default `GOING_AWAY`); resolves when none runs, or when the signal aborts. */
  drain(error?: KithError, options?: { readonly signal?: AbortSignal }): Promise<void>
  /** Ends every stream with this error. */
  close(error?: KithError): void
}

/** Where calls come in: a mesh, or one connection. */
export interface CallListener extends Pick<Mesh, 'handleLean'> {
  readonly policy: Pick<Mesh['policy'], 'constraints' | 'onChange'>
}

/** Answers the calls of peers on links (`icn/call/1`). The callee decides who may call what. @throws TypeError when calls are served already. */
export function serveCalls(mesh: CallListener, callee: Callee, options: ServeCallsOptions): CallServer {
  const links = new Map<ServerLink, StreamContext>()
  let running = 0
  let refusal: KithError | undefined
  let generation = 0
  const idle: (() => void)[] = []
  const changed = (): void => {
    generation++
  }
  const watches = [options.onChange?.(changed), mesh.policy.onChange?.(changed)]

  const limitsOf = (context: StreamContext): ServeLimits => ({
    calls: CALLS_PER_REQUEST * mesh.policy.constraints(context.peer).outstandingRequests,
    waiting: WAITING_CALLS,
    waitingBytes: WAITING_BYTES,
    payloadBytes: MAX_PAYLOAD_BYTES,
    budgetBytes: BUDGET_BYTES,
    ...options.limits,
  })

  /** Asks once per stream while nothing changes: a promise per call would cost more than many calls. */
  function remembering(
    context: StreamContext,
    link: () => ServerLink,
  ): (statement: Uint8Array | undefined) => Caller | undefined | Promise<Caller | undefined> {
    let known: Caller | undefined
    let asked = -1
    let watched: AbortSignal | undefined
    const end = (): void => link().reset(new KithError('POLICY_DENIED'))
    const stopListening = (): void => watched?.removeEventListener('abort', end)
    context.signal.addEventListener('abort', stopListening, { once: true })
    const watch = (caller: Caller | undefined): Caller | undefined => {
      const revoked = caller?.revoked
      if (revoked === undefined || revoked === watched) return caller
      stopListening()
      watched = revoked
      revoked.addEventListener('abort', end, { once: true })
      if (revoked.aborted) end()
      return caller
    }
    const keep = (caller: Caller | undefined, at: number): Caller | undefined => {
      known = caller
      asked = at
      return watch(caller)
    }
    return (statement) => {
      if (statement !== undefined) {
        const stated = options.callerOf(context, statement)
        return stated instanceof Promise ? stated.then(watch) : watch(stated)
      }
      if (known !== undefined && asked === generation) return known
      const at = generation
      const caller = options.callerOf(context, undefined)
      return caller instanceof Promise ? caller.then((found) => keep(found, at)) : keep(caller, at)
    }
  }

  const stop = mesh.handleLean(
    CALL_PROTOCOL,
    (stream, context) => {
      let open = 0
      for (const known of links.values()) if (known === context) open++
      if (open >= STREAMS_PER_LINK) {
        stream.reset(new KithError('BUDGET_EXCEEDED').number)
        return
      }
      let cached = limitsOf(context)
      let cachedAt = generation
      const link: ServerLink = new ServerLink(stream, {
        callee,
        callerOf: remembering(context, () => link),
        limits: () => {
          if (cachedAt !== generation) {
            cached = limitsOf(context)
            cachedAt = generation
          }
          return cached
        },
        refusal: () => refusal,
        onViolation: (error) => options.onViolation?.(context, error),
        onCount: (change) => {
          running += change
          if (running === 0) for (const resolve of idle.splice(0)) resolve()
        },
        onClose: () => links.delete(link),
      })
      links.set(link, context)
    },
    { access: 'handler' },
  )

  return {
    get running() {
      return running
    },
    async drain(error = new KithError('GOING_AWAY'), { signal } = {}) {
      refusal = error
      if (running === 0 || signal?.aborted === true) return
      await new Promise<void>((resolve) => {
        idle.push(resolve)
        signal?.addEventListener('abort', () => resolve(), { once: true })
      })
    },
    close(error = new KithError('GOING_AWAY')) {
      stop()
      for (const watch of watches) watch?.()
      for (const link of [...links.keys()]) link.reset(error)
    },
  }
}

/** Somewhere calls go to. */
export interface CallTarget {
  /** @throws KithError as `Callee.call`; `remote` when the other side reported it. */
  call(path: string, input?: unknown, options?: LinkCallOptions): Promise<unknown>
  stream(path: string, input?: unknown, options?: LinkCallOptions): AsyncIterableIterator<StreamItem>
}

export type PeerCallOptions = ForwardOptions & LinkCallOptions

export interface CallClient {
  /**
   * Calls an operation of a peer; dials when it is not linked.
   * @param path `/service/op` there, or `/node/service/op` for a worker of that head.
   * @throws KithError what the operation answered (`remote`), `LINK_LOST` when the link ended before the answer, `CALL_TIMEOUT`, `ABORTED`, and as `Mesh.open`.
   * @throws TypeError for an input that has no such encoding.
   */
  call(peer: string, path: string, input?: unknown, options?: PeerCallOptions): Promise<unknown>
  /** Each item in order, pulled. Ending the iteration cancels the call. The call begins at once. */
  stream(peer: string, path: string, input?: unknown, options?: PeerCallOptions): AsyncIterableIterator<StreamItem>
  to(peer: string): CallTarget
  /** Ends the calls under way with `CLOSED`. */
  close(): void
}

export interface CallClientOptions {
  readonly clock: Clock
  /** Longest answer or item that is taken. Default 4 MiB. */
  readonly payloadBytes?: number
}

/** Calls operations of peers over links: one stream per peer, kept while it is used. */
export function createCallClient(mesh: Pick<Mesh, 'openLean' | 'onEvent'>, options: CallClientOptions): CallClient {
  const { clock, payloadBytes = MAX_PAYLOAD_BYTES } = options
  const deadlines = new Deadlines(clock)
  const links = new Map<string, ClientLink>()
  const opening = new Map<string, Promise<ClientLink>>()
  const all = new Set<ClientLink>()
  const statements = new WeakMap<Caller, Uint8Array>()
  const closing = new AbortController()

  /** Another connection of the pair is used now: new calls go there, those under way end where they are. */
  const stopWatching = mesh.onEvent((event) => {
    if (event.type !== 'moved') return
    for (const link of [...links.values()]) if (toHex(link.linkKey) === event.linkKey) link.retire()
  })

  function open(key: string, peer: string, linkKey: string | undefined): Promise<ClientLink> {
    const pending = opening.get(key)
    if (pending !== undefined) return pending
    const promise = (async () => {
      const { signal } = closing
      if (signal.aborted) throw new KithError('CLOSED')
      const stream = await mesh.openLean(peer, CALL_PROTOCOL, linkKey === undefined ? { signal } : { signal, linkKey })
      const link = new ClientLink(stream, {
        clock,
        deadlines,
        payloadBytes,
        budgetBytes: BUDGET_BYTES,
        onRetired: (retired) => {
          if (links.get(key) === retired) links.delete(key)
        },
        onOver: (over) => all.delete(over),
      })
      links.set(key, link)
      all.add(link)
      return link
    })()
    opening.set(key, promise)
    promise.then(
      () => opening.delete(key),
      () => opening.delete(key),
    )
    return promise
  }

  function statementOf(caller: Caller): Uint8Array {
    let bytes = statements.get(caller)
    if (bytes === undefined) {
      bytes = encodeStatement(caller)
      statements.set(caller, bytes)
    }
    return bytes
  }

  /** A new text would be hashed at every call; the last one mostly fits. */
  const last = { peer: '', linkKey: '', key: '' }
  const keyOf = (peer: string, { linkKey }: PeerCallOptions): string => {
    if (linkKey === undefined) return peer
    if (last.peer !== peer || last.linkKey !== linkKey) Object.assign(last, { peer, linkKey, key: `${peer} ${linkKey}` })
    return last.key
  }
  const statementFor = ({ onBehalfOf }: PeerCallOptions): Uint8Array | undefined => (onBehalfOf === undefined ? undefined : statementOf(onBehalfOf))

  const client: CallClient = {
    call(peer, path, input, given = {}) {
      const key = keyOf(peer, given)
      const link = links.get(key)
      if (link !== undefined) return link.call(path, input, given, statementFor(given))
      return withinLimits(given, clock, open(key, peer, given.linkKey), (opened, left) => opened.call(path, input, left, statementFor(left)))
    },
    stream(peer, path, input, given = {}) {
      const key = keyOf(peer, given)
      const link = links.get(key)
      if (link !== undefined) return link.stream(path, input, given, statementFor(given))
      return laterStream(
        withinLimits(given, clock, open(key, peer, given.linkKey), async (opened, left) => opened.stream(path, input, left, statementFor(left))),
      )
    },
    to: (peer) => ({
      call: (path, input, given) => client.call(peer, path, input, given),
      stream: (path, input, given) => client.stream(peer, path, input, given),
    }),
    close() {
      stopWatching()
      const error = new KithError('CLOSED')
      closing.abort(error)
      for (const link of [...all]) link.close(error)
      deadlines.close()
    },
  }
  return client
}

/** Waits for the link no longer than the call may take; several calls wait for one dial, so it goes on without one of them. */
function withinLimits<T, O extends PeerCallOptions>(
  given: O,
  clock: Clock,
  link: Promise<ClientLink>,
  use: (link: ClientLink, left: O) => Promise<T>,
): Promise<T> {
  const { deadlineMs } = given
  const signal = given.cancellation?.signal ?? given.signal
  if (signal === undefined && deadlineMs === undefined) return link.then((opened) => use(opened, given))
  const until = deadlineMs === undefined ? undefined : clock.monotonic() + deadlineMs
  return new Promise<T>((resolve, reject) => {
    let waiting = true
    const end = (error: KithError): void => {
      if (!waiting) return
      waiting = false
      release()
      reject(error)
    }
    const abort = (): void => end(signal?.reason instanceof KithError ? signal.reason : new KithError('ABORTED', undefined, { cause: signal?.reason }))
    const timer = deadlineMs === undefined ? undefined : clock.after(deadlineMs, () => end(new KithError('CALL_TIMEOUT')))
    const release = (): void => {
      timer?.cancel()
      signal?.removeEventListener('abort', abort)
    }
    signal?.addEventListener('abort', abort, { once: true })
    if (signal?.aborted === true) abort()
    link.then(
      (opened) => {
        if (!waiting) return
        waiting = false
        release()
        const left = until === undefined ? given : { ...given, deadlineMs: Math.max(0, until - clock.monotonic()) }
        use(opened, left).then(resolve, reject)
      },
      (error: unknown) => {
        if (!waiting) return
        waiting = false
        release()
        reject(error)
      },
    )
  })
}

async function* laterStream(stream: Promise<AsyncIterableIterator<StreamItem>>): AsyncGenerator<StreamItem> {
  yield* await stream
}
