import type { Socket } from 'node:net'
import { OWNER } from '../../access/owner.ts'
import type { Caller } from '../../access/types.ts'
import type { AnyOperation } from '../../call/define.ts'
import { type CallClient, createCallClient, type PeerCallOptions, serveCalls } from '../../call/link.ts'
import { createLocalCallee } from '../../call/local.ts'
import { createRegistry } from '../../call/registry.ts'
import { decodeStatement } from '../../call/statement.ts'
import type { Callee, IncomingCall, OperationDescription, OperationSummary } from '../../call/types.ts'
import { createWorkerSession, offeredOperations, type WorkerState } from '../../call/worker.ts'
import { WORKER_PROTOCOL } from '../../call/worker-codec.ts'
import type { Clock } from '../../core/clock.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Random } from '../../core/random.ts'
import type { Did } from '../../identity/did.ts'
import { createLocalLink } from './local-link.ts'
import { type HeadNews, NEWS_PROTOCOL, readNews } from './news.ts'

export interface RunWorkerOptions {
  readonly socket: Socket
  readonly early: Buffer
  readonly did: Did
  readonly alias: string
  readonly operations: readonly AnyOperation[]
  readonly onState: (state: WorkerState) => void
  /** What became of registrations at heads. */
  readonly onHead: (news: HeadNews) => void
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

export interface RunningWorker {
  /** Resolves when the daemon is gone or the worker was closed. */
  readonly closed: Promise<void>
  /** Calls that run here. */
  readonly running: number
  /** No new calls; resolves when those that run have ended, after `ms` at most. */
  drain(ms: number): Promise<void>
  close(): Promise<void>
}

/** Offers operations of this process through the daemon at the other end. The daemon decides who may call; calls of handlers go back to it. */
export function runWorker(options: RunWorkerOptions): RunningWorker {
  const { socket, early, did, alias, operations, clock, random, logger } = options
  const link = createLocalLink(socket, early, { role: 'dialer', did, clock })
  const client = createCallClient(link, { clock })
  const registry = createRegistry(operations)
  const daemon = calleeBehind(client)
  const callee = createLocalCallee({ registry, authorize: () => 'allowed', clock, random, logger, root: () => daemon })
  const server = serveCalls(link, callee, {
    callerOf: (_context, statement) => (statement === undefined ? OWNER : withoutHead(decodeStatement(statement, OWNER))),
  })
  link.handleLean(NEWS_PROTOCOL, (stream) => readNews(stream, options.onHead))
  const session = createWorkerSession({
    open: (signal) => link.openLean('', WORKER_PROTOCOL, { signal }),
    alias,
    operations: () => offeredOperations(operations),
    running: () => server.running,
    onState: options.onState,
    clock,
    random,
    logger,
  })
  const close = async (): Promise<void> => {
    session.close()
    server.close()
    callee.close()
    client.close()
    await link.close()
  }
  void link.closed.then(close)
  return {
    closed: link.closed,
    get running() {
      return server.running
    },
    drain: (ms) => session.drain(ms),
    close,
  }
}

/** The daemon vouches here, and it is no head; heads that the call came through stay. */
function withoutHead({ through, ...caller }: Caller): Caller {
  return through === undefined || through === OWNER ? caller : { ...caller, through: withoutHead(through) }
}

/** Everything that the node at the other end can call. */
function calleeBehind(client: CallClient): Callee {
  const options = ({ caller, signal, cancellation, deadlineMs, traceId, parentId, lastEventId, repeated, inputs }: IncomingCall): PeerCallOptions => {
    const given = cancellation?.signal ?? signal
    return {
      ...(given === undefined ? {} : { signal: given }),
      ...(caller.via === 'local' ? {} : { onBehalfOf: caller }),
      ...(deadlineMs === undefined ? {} : { deadlineMs }),
      ...(traceId === undefined ? {} : { traceId }),
      ...(parentId === undefined ? {} : { parentId }),
      ...(lastEventId === undefined ? {} : { lastEventId }),
      ...(repeated === undefined ? {} : { repeated }),
      ...(inputs === undefined ? {} : { inputs }),
    }
  }
  const path = (text: string): string => (text.startsWith('/') ? text : `/${text}`)
  const as = (caller: Caller): PeerCallOptions => (caller.via === 'local' ? {} : { onBehalfOf: caller })
  return {
    call: (request) => client.call('', path(request.path), request.input, options(request)),
    stream: (request) => client.stream('', path(request.path), request.input, options(request)),
    async list(caller) {
      return ((await client.call('', '/services/list', {}, as(caller))) as { readonly operations: readonly OperationSummary[] }).operations
    },
    async describe(name, caller) {
      return (await client.call('', '/services/schema', { name }, as(caller))) as OperationDescription
    },
    onChange: () => () => undefined,
  }
}
