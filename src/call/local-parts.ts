import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Random } from '../core/random.ts'
import type { Deadlines } from './deadlines.ts'
import type { Stragglers } from './stragglers.ts'
import type { IncomingCall, StreamItem } from './types.ts'

/** What calls that run here share. */
export interface LocalParts {
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** The calls under way. */
  readonly deadlines: Deadlines
  /** Handlers that run on after their call has ended, by caller and operation. */
  readonly stragglers: Stragglers
  /** A call made by a handler. */
  call(request: IncomingCall): Promise<unknown>
  stream(request: IncomingCall): AsyncIterableIterator<StreamItem>
}
