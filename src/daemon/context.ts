import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/observe/log.ts'
import type { ConfigHolder } from './config/holder.ts'
import type { EventHub } from './events.ts'
import type { LogStore } from './logs/store.ts'
import type { NodeStatus } from './status.ts'
import type { Supervisor } from './supervisor.ts'

/** The running node as the control routes see it. */
export interface NodeContext {
  readonly home: string
  readonly clock: Clock
  readonly logger: Logger
  readonly config: ConfigHolder
  readonly logs: LogStore
  readonly events: EventHub
  readonly supervisor: Supervisor
  status(): NodeStatus
  /** Stops all services, then, once the answer is out, the control interface. */
  stop(): Promise<void>
}
