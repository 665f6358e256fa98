import type { IdentityProvider } from '../access/types.ts'
import type { Callee } from '../call/types.ts'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Random } from '../core/random.ts'
import type { GatewayLimits } from './limits.ts'

/** What every door of the gateway is made of. */
export interface DoorOptions {
  /** Who may call what is its business alone: no door checks twice, none checks less. */
  readonly callee: Callee
  readonly identities: IdentityProvider
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly limits?: Partial<GatewayLimits>
}

export interface GatewayOptions extends DoorOptions {
  /** What the schema and the tools say they are of. Default `kith`. */
  readonly title?: string
  readonly version?: string
  /** Names besides `localhost` and loopback addresses that the `Host` header may have. */
  readonly hosts?: readonly string[]
}
