import type { Caller } from '../../src/access/types.ts'
import { type AnyOperation, defineOperation } from '../../src/call/define.ts'
import { createHead } from '../../src/call/head.ts'
import type { Head, HeadComponents, HeadLimits, WorkerCalls, WorkerEvent, WorkerIdentity } from '../../src/call/head-types.ts'
import { createLocalCallee } from '../../src/call/local.ts'
import { createRegistry } from '../../src/call/registry.ts'
import { jsonSchema } from '../../src/call/schema.ts'
import { throughHeads } from '../../src/call/through.ts'
import type { Authorize, Callee, IncomingCall, OperationAccess, StreamItem } from '../../src/call/types.ts'
import { offeredOperations } from '../../src/call/worker.ts'
import type { Registration } from '../../src/call/worker-codec.ts'
import { KithError } from '../../src/core/errors.ts'
import { type ManualClock, manualClock } from '../../src/core/manual-clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { seededRandom } from '../../src/core/random.ts'
import type { Did } from '../../src/identity/did.ts'

export const OWNER: Caller = { id: 'local', via: 'local', scopes: new Set(), resources: new Map() }

export function callerWith(...scopes: string[]): Caller {
  return { id: `did:icn:z${scopes.join('-') || 'nobody'}`, did: 'did:icn:zcaller' as Did, via: 'link', scopes: new Set(scopes), resources: new Map() }
}

/** As the node decides where the owner has no rules; `asked` counts the questions. */
export function scopesDecide(asked: { count: number; names: string[] } = { count: 0, names: [] }): Authorize {
  return throughHeads((caller, { name, access, visibility }) => {
    asked.count++
    asked.names.push(name)
    const refused = visibility === 'listed' ? 'denied' : 'hidden'
    if (caller.via === 'local' || access === 'everyone') return 'allowed'
    if (access === undefined) return refused
    const { all = [], any = [] } = access
    return all.every((scope) => caller.scopes.has(scope)) && (any.length === 0 || any.some((scope) => caller.scopes.has(scope))) ? 'allowed' : refused
  })
}

export function operation(
  name: string,
  handler: (input: unknown, context: { signal: AbortSignal }) => unknown,
  access: OperationAccess | undefined = 'everyone',
  idempotent = false,
): AnyOperation {
  return defineOperation({
    name,
    kind: 'mutation',
    input: jsonSchema(true),
    output: jsonSchema(true),
    ...(access === undefined ? {} : { access }),
    idempotent,
    handler,
  })
}

export function subscription(
  name: string,
  handler: (input: unknown, context: { signal: AbortSignal }) => AsyncIterable<unknown>,
  idempotent = false,
): AnyOperation {
  return defineOperation({ name, kind: 'subscription', input: jsonSchema(true), output: jsonSchema(true), access: 'everyone', idempotent, handler })
}

/** A worker without a link: its operations run in a callee of their own, and it can vanish. */
export class FakeWorker {
  readonly identity: WorkerIdentity
  readonly callee: Callee
  readonly registration: Registration
  readonly seen: string[] = []
  readonly callers: Caller[] = []
  unreachable = false

  constructor(name: string, operations: readonly AnyOperation[], clock: ManualClock) {
    this.identity = { peer: `did:icn:z${name}` as Did, linkKey: `key of ${name}` }
    const registry = createRegistry(operations)
    this.registration = { alias: name, operations: offeredOperations(operations) }
    this.callee = createLocalCallee({ registry, authorize: scopesDecide(), clock, random: seededRandom(name), logger: silentLogger })
  }
}

export interface Hub {
  readonly head: Head
  readonly clock: ManualClock
  readonly events: WorkerEvent[]
  readonly asked: { count: number; names: string[] }
  add(
    name: string,
    operations: readonly AnyOperation[],
  ): FakeWorker & { close(): void; drain(): Promise<void>; replace(operations: readonly AnyOperation[]): void }
}

/** A head whose workers are in this process. Their registrations go the way of those beside a node. */
export function hub(local: readonly AnyOperation[] = [], options: { limits?: Partial<HeadLimits>; authorize?: Authorize } = {}): Hub {
  const clock = manualClock()
  const asked: { count: number; names: string[] } = { count: 0, names: [] }
  const events: WorkerEvent[] = []
  const registry = createRegistry(local)
  const authorize = options.authorize ?? scopesDecide(asked)
  const root = (): Callee => head
  const components: HeadComponents = {
    local: createLocalCallee({ registry, authorize, clock, random: seededRandom('head'), logger: silentLogger, root }),
    hasLocal: (name) => registry.get(name) !== undefined,
    client: {
      call: () => Promise.reject(new KithError('PEER_UNREACHABLE')),
      stream: () => {
        throw new KithError('PEER_UNREACHABLE')
      },
    },
    authorize,
    mayOffer: () => true,
    onWorker: (event) => events.push(event),
    clock,
    logger: silentLogger,
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  }
  const head = createHead(components)
  return {
    head,
    clock,
    events,
    asked,
    add(name, operations) {
      const worker = new FakeWorker(name, operations, clock)
      const attached = head.attach(worker.registration, callsTo(worker), worker.identity)
      return Object.assign(worker, {
        close: () => attached.close(),
        drain: () => attached.drain(),
        replace: (next: readonly AnyOperation[]) => attached.replace(new FakeWorker(name, next, clock).registration),
      })
    },
  }
}

function callsTo(worker: FakeWorker): WorkerCalls {
  const request = (name: string, input: unknown, options: Omit<IncomingCall, 'path'>): IncomingCall => {
    worker.seen.push(name)
    worker.callers.push(options.caller)
    return { ...options, path: name, input }
  }
  const remote = (error: unknown): never => {
    if (error instanceof KithError && !['ABORTED', 'WORKER_LOST', 'LINK_LOST'].includes(error.code))
      throw new KithError(error.code, error.message, { remote: true, details: error.details })
    throw error
  }
  return {
    async call(_identity, name, input, options) {
      if (worker.unreachable) throw new KithError('PEER_UNREACHABLE')
      return await worker.callee.call(request(name, input, options)).catch(remote)
    },
    stream(_identity, name, input, options): AsyncIterableIterator<StreamItem> {
      if (worker.unreachable) throw new KithError('PEER_UNREACHABLE')
      return worker.callee.stream(request(name, input, options))
    },
  }
}

export async function codeOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => 'none',
    (error: unknown) => (error instanceof KithError ? error.code : String(error)),
  )
}

export function ask(head: Callee, path: string, caller: Caller = OWNER, rest: Partial<IncomingCall> = {}): Promise<unknown> {
  return head.call({ caller, path, ...rest })
}
