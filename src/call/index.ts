/** Calls: operations that machines offer each other. */
export { type Clock, systemClock } from '../core/clock.ts'
export { type Logger, silentLogger } from '../core/observe/log.ts'
export { type Random, systemRandom } from '../core/random.ts'
export { calleeTarget, createTypedClient, type TypedClient } from './client.ts'
export { type CallContext, defineOperation, Event, type InputOf, type Operation, type OperationSpec, type OutputOf } from './define.ts'
export { createEnvelopeClient, type EnvelopeClient, type EnvelopeClientOptions } from './envelope-client.ts'
export { createEnvelopeSession, type EnvelopeLimits, type EnvelopeSession, type EnvelopeSessionOptions } from './envelope-session.ts'
export { CallError, isCallError } from './errors.ts'
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
