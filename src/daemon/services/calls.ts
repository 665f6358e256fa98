import type { Socket } from 'node:net'
import { OWNER } from '../../access/owner.ts'
import type { Caller } from '../../access/types.ts'
import { countedCallee } from '../../call/counted.ts'
import type { AnyOperation } from '../../call/define.ts'
import { createHead } from '../../call/head.ts'
import { callsOverLinks } from '../../call/head-calls.ts'
import type { Head, WorkerEvent, WorkerStatus } from '../../call/head-types.ts'
import { type CallClient, type CallServer, createCallClient, serveCalls } from '../../call/link.ts'
import { createLocalCallee, type LocalCallee } from '../../call/local.ts'
import { createRegistry, type Registry } from '../../call/registry.ts'
import { createStatementReader } from '../../call/statement.ts'
import { throughHeads } from '../../call/through.ts'
import type { Authorize, Callee, Holds, IncomingCall, OperationDescription, OperationSummary, StreamItem } from '../../call/types.ts'
import { offeredOperations } from '../../call/worker.ts'
import { WORKER_PROTOCOL } from '../../call/worker-codec.ts'
import { toHex } from '../../core/bytes.ts'
import { type Clock, sleep } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Metrics } from '../../core/observe/metrics.ts'
import type { Random } from '../../core/random.ts'
import type { Did } from '../../identity/did.ts'
import type { Mesh } from '../../mesh/mesh-types.ts'
import type { MeshService } from '../mesh-service.ts'
import type { Service, Trouble } from '../service.ts'
import { attachWorker } from '../worker/attach.ts'
import type { LocalLink } from '../worker/local-link.ts'
import { destinationOf, inOwnersWords, isNameOfOther } from './call-destination.ts'
import { recheckRunning } from './running-calls.ts'
import { type HeadStatus, type WorkerPhase, WorkerRegistrations } from './worker-registrations.ts'

/** How long calls may go on when the node stops. */
const DRAIN_MS = 5_000

/** How long calls of a head may go on when its registration is given up. */
const CLOSE_MS = 10_000

/** Access as the node decides it: set while the mesh runs. */
export interface CallAccess {
  readonly authorize: Authorize
  /** Who a link's identity is here. */
  readonly callerOf: (peer: Did) => Caller | undefined | Promise<Caller | undefined>
  /** Calls back when either may answer otherwise. */
  readonly onChange?: (listener: () => void) => () => void
}

export interface CallsServiceOptions {
  readonly mesh: MeshService
  readonly access: (mesh: Mesh) => CallAccess
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly metrics: Metrics
}

export interface OwnCallOptions {
  readonly signal?: AbortSignal
  /** Ms; the operation's own deadline, when shorter, wins. */
  readonly deadlineMs?: number
  /** Take up a subscription behind this event. */
  readonly lastEventId?: string
}

/** An operation as it is called from here. */
export interface ReachableOperation {
  readonly path: string
  readonly name: string
  readonly kind: OperationSummary['kind']
  readonly summary: string | null
  readonly node: string | null
}

interface Running {
  readonly mesh: Mesh
  readonly local: LocalCallee
  readonly head: Head
  /** The head, counted. */
  readonly callee: Callee
  readonly client: CallClient
  readonly server: CallServer
  readonly close: () => void
}

/**
 * Calls of this node: its operations, those of workers registered here, calls of the owner to peers, and registrations at other heads.
 *
 * ```text
 * links, doors -> head -> own operations | workers          owner -> head, or a peer by name
 * ```
 */
export class CallsService implements Service {
  readonly name = 'calls'
  readonly needs: readonly string[] = ['mesh']
  /** Operations stay registered while the service does not run. */
  readonly registry: Registry = createRegistry()
  readonly registrations: WorkerRegistrations
  readonly #options: CallsServiceOptions
  readonly #elsewhere: Set<AnyOperation> = new Set()
  readonly #readStatement: (bytes: Uint8Array, head: Caller) => Caller = createStatementReader()
  readonly #attached: Set<LocalLink> = new Set()
  #running: Running | undefined

  constructor(options: CallsServiceOptions) {
    this.#options = options
    this.registrations = new WorkerRegistrations(options)
  }

  /** What every door calls. @throws KithError `DEGRADED` while it does not run. */
  get callee(): Callee {
    return this.#get().callee
  }

  /** @throws KithError `DEGRADED` while it does not run. */
  get head(): Head {
    return this.#get().head
  }

  async start(): Promise<void> {
    const { mesh: service, clock, random, logger, metrics } = this.#options
    const mesh = service.running
    const access = this.#options.access(mesh)
    const authorize = throughHeads(access.authorize)
    const { registry } = this
    const client = createCallClient(mesh, { clock })
    const parts: { head?: Head } = {}
    const local = createLocalCallee({ registry, authorize, clock, random, logger, root: () => parts.head as Head })
    const head = createHead({
      local,
      hasLocal: (name) => registry.get(name) !== undefined,
      isHere: (node) => node === mesh.did,
      client: callsOverLinks(client),
      authorize,
      mayOffer: (worker, target) => mesh.policy.decide({ peer: worker, action: 'offer', target }).allowed,
      isReserved: (alias, worker) => isNameOfOther(mesh, alias, worker),
      onWorker: (event) => this.#noteWorker(event),
      clock,
      logger,
      metrics,
    })
    parts.head = head
    const recheck = (holds: Holds): void => {
      local.recheck(holds)
      head.recheckCalls(holds)
    }
    const stops = [
      mesh.handleLean(WORKER_PROTOCOL, (stream, { peer, linkKey }) => head.accept(stream, { peer, linkKey: toHex(linkKey) })),
      mesh.policy.onChange?.((peers) => {
        head.recheck()
        void recheckRunning(peers, { authorize, callerOf: access.callerOf, recheck }).catch((error: unknown) => logger.error('calls not reviewed', { error }))
      }),
    ]
    const callee = countedCallee(head, metrics)
    const server = serveCalls(mesh, callee, {
      callerOf: (context, statement) => this.#callerOf(access, context.peer, statement),
      ...(access.onChange === undefined ? {} : { onChange: access.onChange }),
    })
    const close = (): void => {
      for (const stop of stops) stop?.()
      server.close()
      head.close()
      local.close()
      client.close()
    }
    this.#running = { mesh, local, head, callee, client, server, close }
    this.registrations.start(mesh)
  }

  /** No new calls; those that run share a moment to end. */
  async stop(): Promise<void> {
    const running = this.#running
    if (running === undefined) return
    const { clock } = this.#options
    const late = new AbortController()
    const drained = Promise.all([this.registrations.stop(DRAIN_MS), running.head.drain(DRAIN_MS), running.server.drain(undefined, { signal: late.signal })])
    await Promise.race([drained, sleep(clock, DRAIN_MS, late.signal).catch(() => undefined)])
    late.abort()
    this.#running = undefined
    await Promise.all([...this.#attached].map((link) => link.close()))
    running.close()
  }

  health(): readonly Omit<Trouble, 'service'>[] {
    return this.registrations
      .list()
      .filter(({ phase }) => phase === 'refused')
      .map(({ did, alias, error }) => ({
        code: error === 'WORKER_CONFLICT' ? 'WORKER_CONFLICT' : 'WORKER_DENIED',
        message: `${this.#nameOf(did)} does not take the operations of this node as ${alias}.`,
        next: 'kith ops --workers',
      }))
  }

  /**
   * Calls as the owner: an operation here or of a worker here, or `/peer/service/op` of a peer.
   * @throws KithError what the operation answered, `PEER_UNKNOWN`, `CALL_UNKNOWN`, and what becomes of links.
   */
  async call(path: string, input: unknown, options: OwnCallOptions = {}): Promise<unknown> {
    const { callee, client, head, mesh } = this.#get()
    const to = destinationOf(path, mesh, head)
    try {
      if (to.kind === 'here') return await callee.call(ownCall(to.path, input, options))
      return await client.call(to.peer, to.path, input, options)
    } catch (error) {
      throw inOwnersWords(error, to, mesh.did)
    }
  }

  async *stream(path: string, input: unknown, options: OwnCallOptions = {}): AsyncGenerator<StreamItem> {
    const { callee, client, head, mesh } = this.#get()
    const to = destinationOf(path, mesh, head)
    try {
      yield* to.kind === 'here' ? callee.stream(ownCall(to.path, input, options)) : client.stream(to.peer, to.path, input, options)
    } catch (error) {
      throw inOwnersWords(error, to, mesh.did)
    }
  }

  /** What can be called here, or at a peer. */
  async operations(peer: string | undefined, options: OwnCallOptions = {}): Promise<readonly ReachableOperation[]> {
    const { head, client, mesh } = this.#get()
    const there = peer === undefined ? undefined : mesh.book.resolve(peer)
    const found =
      there === undefined || there === mesh.did
        ? await head.list(OWNER)
        : ((await client.call(there, '/services/list', {}, options)) as { readonly operations: readonly OperationSummary[] }).operations
    return found.map(({ name, kind, node, summary }) => ({
      path: [...(there === undefined || there === mesh.did ? [] : [peer]), ...(node === '' ? [] : [node]), name].join('/'),
      name,
      kind,
      summary: summary ?? null,
      node: node === '' ? null : node,
    }))
  }

  /** @throws KithError `CALL_UNKNOWN`, and as `call`. */
  async describe(path: string, options: OwnCallOptions = {}): Promise<OperationDescription> {
    const { client, head, mesh } = this.#get()
    const to = destinationOf(path, mesh, head)
    try {
      if (to.kind === 'peer') return (await client.call(to.peer, '/services/schema', { name: to.path }, options)) as OperationDescription
      const described = await head.describe(to.path, OWNER)
      if (described === undefined) throw new KithError('CALL_UNKNOWN')
      return described
    } catch (error) {
      throw inOwnersWords(error, to, mesh.did)
    }
  }

  /**
   * Adds operations of this node, all or none; the returned function takes them out. `elsewhere`: they are registered at heads too (`offerAt`).
   * @throws KithError `CALL_CONFLICT`.
   */
  offer(operations: readonly AnyOperation[], { elsewhere = false }: { readonly elsewhere?: boolean } = {}): () => void {
    const withdraw = this.registry.registerAll(operations)
    if (elsewhere) for (const operation of operations) this.#elsewhere.add(operation)
    this.registrations.update()
    return () => {
      withdraw()
      for (const operation of operations) this.#elsewhere.delete(operation)
      this.registrations.update()
    }
  }

  /** Registers what was offered for elsewhere at a head. @throws as `WorkerRegistrations.add`. */
  offerAt(head: Did, alias: string): { readonly phase: WorkerPhase; close(): Promise<void> } {
    const registration = this.registrations.add({
      head,
      alias,
      operations: () => offeredOperations([...this.#elsewhere].sort((a, b) => (a.name < b.name ? -1 : 1))),
    })
    return {
      get phase() {
        return registration.phase
      },
      close: () => registration.drain(CLOSE_MS),
    }
  }

  /**
   * A process beside this node offers operations over this connection, here and at the heads it names; they go with it. `begin` is called when nothing stands against
   * it.
   * @throws KithError `PEER_UNKNOWN`, `PEER_AMBIGUOUS`, `DEGRADED`; the connection is the caller's then.
   */
  attach(socket: Socket, early: Buffer, heads: readonly string[], begin: () => void): void {
    const { mesh, head } = this.#get()
    const resolved = heads.map((peer) => mesh.book.resolve(peer))
    begin()
    const link = attachWorker(socket, early, {
      head,
      registrations: this.registrations,
      heads: resolved,
      did: mesh.did,
      nameOf: (did) => mesh.book.get(did)?.name ?? null,
      clock: this.#options.clock,
    })
    this.#attached.add(link)
    void link.closed.then(() => this.#attached.delete(link))
  }

  workers(): readonly WorkerStatus[] {
    return this.#get().head.workers()
  }

  heads(): readonly HeadStatus[] {
    return this.registrations.list()
  }

  #get(): Running {
    if (this.#running === undefined) throw new KithError('DEGRADED', 'The calls of this node are not running.', { next: 'kith status' })
    return this.#running
  }

  /** A head that is believed speaks for its caller; everybody else for themselves. */
  #callerOf(access: CallAccess, peer: Did, statement: Uint8Array | undefined): Caller | undefined | Promise<Caller | undefined> {
    const caller = access.callerOf(peer)
    return caller instanceof Promise ? caller.then((known) => this.#stated(known, peer, statement)) : this.#stated(caller, peer, statement)
  }

  #stated(caller: Caller | undefined, peer: Did, statement: Uint8Array | undefined): Caller | undefined {
    if (statement === undefined || caller === undefined) return caller
    return this.registrations.believes(peer) ? this.#readStatement(statement, caller) : undefined
  }

  #noteWorker({ type, alias, peer, operations, reason }: WorkerEvent): void {
    const { mesh, logger } = this.#options
    logger.info('worker', { type, alias, peer, operations, reason })
    // What is refused or only changed could be repeated at will.
    if (type !== 'registered' && type !== 'removed') return
    const note = mesh.assembly?.audit.append({
      actor: peer,
      action: `worker.${type}`,
      subject: alias,
      reason: reason ?? '',
      details: { operations },
    })
    note?.catch((error: unknown) => logger.warn('audit failed', { message: error instanceof Error ? error.message : 'unknown' }))
  }

  #nameOf(did: Did): string {
    return this.#options.mesh.mesh?.book.get(did)?.name ?? did
  }
}

function ownCall(path: string, input: unknown, options: OwnCallOptions): IncomingCall {
  return { caller: OWNER, path, input, ...options }
}
