import type { Caller } from '../../src/access/types.ts'
import type { AnyOperation } from '../../src/call/define.ts'
import { type CallClient, type CallServer, createCallClient, type ServeCallsOptions, serveCalls } from '../../src/call/link.ts'
import { createLocalCallee, type LocalCallee, type LocalCalleeOptions } from '../../src/call/local.ts'
import { createRegistry, type Registry } from '../../src/call/registry.ts'
import type { Authorize } from '../../src/call/types.ts'
import { type ManualClock, manualClock } from '../../src/core/clock.ts'
import type { Logger } from '../../src/core/observe/log.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { seededRandom } from '../../src/core/random.ts'
import { acquaint, createWorld, type World, type WorldNode } from '../mesh/mesh-support.ts'

export function testCaller(id: string, scopes: readonly string[] = [], resources: Readonly<Record<string, readonly string[]>> = {}): Caller {
  return { id, via: 'link', scopes: new Set(scopes), resources: new Map(Object.entries(resources)) }
}

export const owner: Caller = { id: 'local', via: 'local', scopes: new Set(), resources: new Map() }

/** What an operation declares, and nothing else: no rules of an owner. */
export const byAccess: Authorize = (caller, { access, visibility }) => {
  if (caller.via === 'local' || access === 'everyone') return 'allowed'
  const refused = visibility === 'listed' ? 'denied' : 'hidden'
  if (access === undefined) return refused
  const { all = [], any, resource } = access
  if (!all.every((scope) => caller.scopes.has(scope))) return refused
  if (any !== undefined && !any.some((scope) => caller.scopes.has(scope))) return refused
  if (resource === undefined) return 'allowed'
  const actions = caller.resources.get(resource.type)
  return actions !== undefined && (resource.action === undefined || actions.includes(resource.action)) ? 'allowed' : refused
}

export interface LogLine {
  readonly level: string
  readonly event: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** A logger that keeps its lines. */
export function keepingLogger(): { logger: Logger; lines: LogLine[] } {
  const lines: LogLine[] = []
  const at =
    (level: string) =>
    (event: string, fields: Readonly<Record<string, unknown>> = {}): void => {
      lines.push({ level, event, fields })
    }
  const logger: Logger = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), child: () => logger }
  return { logger, lines }
}

export interface LocalWorld {
  readonly callee: LocalCallee
  readonly registry: Registry
  readonly clock: ManualClock
  readonly lines: LogLine[]
}

export function localWorld(operations: Iterable<AnyOperation>, options: Partial<LocalCalleeOptions> = {}): LocalWorld {
  const clock = manualClock()
  const { logger, lines } = keepingLogger()
  const registry = createRegistry(operations)
  const callee = createLocalCallee({ registry, authorize: byAccess, clock, random: seededRandom('calls'), logger, ...options })
  return { callee, registry, clock, lines }
}

export interface CallPair {
  readonly world: World
  readonly near: WorldNode
  readonly far: WorldNode
  /** Calls `far`. */
  readonly client: CallClient
  readonly server: CallServer
  readonly callee: LocalCallee
  readonly registry: Registry
  readonly violations: string[]
  close(): Promise<void>
}

/** Two nodes in one network and one time, `far` with these operations. */
export async function callPair(
  operations: Iterable<AnyOperation>,
  options: Partial<ServeCallsOptions> & { readonly authorize?: Authorize; readonly scopes?: readonly string[] } = {},
): Promise<CallPair> {
  const { authorize = byAccess, scopes = [], ...serving } = options
  const world = createWorld()
  const near = await world.node('near')
  const far = await world.node('far')
  await acquaint(near, far)
  const registry = createRegistry(operations)
  const callee = createLocalCallee({ registry, authorize, clock: world.clock, random: seededRandom('far'), logger: silentLogger })
  const violations: string[] = []
  const server = serveCalls(far.mesh, callee, {
    callerOf: ({ peer }) => testCaller(peer, scopes),
    onViolation: (_context, error) => violations.push(String(error.details.reason)),
    ...serving,
  })
  const client = createCallClient(near.mesh, { clock: world.clock })
  await world.settle(near.mesh.dial('far'))
  return {
    world,
    near,
    far,
    client,
    server,
    callee,
    registry,
    violations,
    close: async () => {
      client.close()
      server.close()
      callee.close()
      await world.close()
    },
  }
}

/** A promise and its ends. */
export function deferred<T = void>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: unknown) => void } {
  return Promise.withResolvers<T>()
}
