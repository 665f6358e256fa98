/** Calls: operations that machines offer each other. */
export type { Caller } from '../access/types.ts'
export { type Clock, systemClock } from '../core/clock.ts'
export { type Logger, silentLogger } from '../core/observe/log.ts'
export { type Random, systemRandom } from '../core/random.ts'
export { calleeTarget, createTypedClient, type TypedClient } from './client.ts'
export { type CallContext, defineOperation, Event, type InputOf, type Operation, type OperationSpec, type OutputOf } from './define.ts'
export { createEnvelopeClient, type EnvelopeClient, type EnvelopeClientOptions } from './envelope-client.ts'
export { createEnvelopeSession, type EnvelopeLimits, type EnvelopeSession, type EnvelopeSessionOptions } from './envelope-session.ts'
export { CallError, isCallError } from './errors.ts'
export { createHead } from './head.ts'
export { callsOverLinks } from './head-calls.ts'
export type {
  AttachedWorker,
  Head,
  HeadComponents,
  HeadLimits,
  WorkerCallOptions,
  WorkerCalls,
  WorkerEvent,
  WorkerIdentity,
  WorkerStatus,
} from './head-types.ts'
export {
  type CallClient,
  type CallServer,
  type CallTarget,
  createCallClient,
  type PeerCallOptions,
  type ServeCallsOptions,
  serveCalls,
} from './link.ts'
export { createLocalCallee, type LocalCallee, type LocalCalleeOptions } from './local.ts'
export { createRegistry, type Registry } from './registry.ts'
export { createReplayLog, type ReplayLog, type ReplayLogOptions } from './replay-log.ts'
export { type AnySchema, jsonSchema, type SchemaInput, type SchemaOutput, type TypedSchema } from './schema.ts'
export { decodeStatement } from './statement.ts'
export { throughHeads } from './through.ts'
export type {
  Authorizable,
  Authorize,
  Callee,
  CallOptions,
  IncomingCall,
  JsonSchema,
  OperationAccess,
  OperationDescription,
  OperationKind,
  OperationSummary,
  StreamItem,
  Visibility,
} from './types.ts'
export { createWorkerSession, offeredOperations, type WorkerOptions, type WorkerSession, type WorkerState } from './worker.ts'
export { type OfferedOperation, type Registration, WORKER_PROTOCOL } from './worker-codec.ts'
