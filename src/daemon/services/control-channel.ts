import type { Duplex } from 'node:stream'
import type { IdentityProvider } from '../../access/types.ts'
import { createEnvelopeSession } from '../../call/envelope-session.ts'
import type { Callee } from '../../call/types.ts'
import type { Clock } from '../../core/clock.ts'
import type { Logger } from '../../core/observe/log.ts'
import { isDid } from '../../identity/did.ts'
import { RESERVED_NAMES } from '../../mesh/policy.ts'
import type { Tunnels } from '../../tunnel/index.ts'
import type { Service, Trouble } from '../service.ts'

export interface ControlChannelOptions {
  readonly tunnels: () => Tunnels
  readonly callee: () => Callee
  readonly identities: () => IdentityProvider
  readonly clock: Clock
  readonly logger: Logger
}

/**
 * Calls in the open form behind the reserved names (`alknet-control`, `kith-control`), for programs that reach them through a forward or a proxy of a peer. The rule
 * that lets a peer there is one for exactly that name; what may be called is asked for each call, as at every door. The SSH door serves the names itself.
 */
export class ControlChannelService implements Service {
  readonly name = 'control-channel'
  readonly needs: readonly string[] = ['tunnels', 'calls']
  readonly #options: ControlChannelOptions
  #stopping: (() => void)[] = []

  constructor(options: ControlChannelOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    const { exit } = this.#options.tunnels()
    this.#stopping = RESERVED_NAMES.map((name) => exit.reserve(name, (stream, { peer }) => void this.#serve(stream, peer)))
  }

  async stop(): Promise<void> {
    for (const stop of this.#stopping.splice(0)) stop()
  }

  health(): readonly Omit<Trouble, 'service'>[] {
    return []
  }

  async #serve(stream: Duplex, peer: string): Promise<void> {
    const { callee, identities, clock, logger } = this.#options
    stream.on('error', () => {})
    try {
      const caller = isDid(peer) ? await identities().resolve({ kind: 'link', did: peer }) : undefined
      if (caller === undefined) return
      const end = (): void => void stream.destroy()
      caller.revoked?.addEventListener('abort', end, { once: true })
      try {
        await createEnvelopeSession(stream, { callee: callee(), caller, clock }).closed
      } finally {
        caller.revoked?.removeEventListener('abort', end)
      }
    } catch (error) {
      logger.warn('control channel failed', { error })
    } finally {
      stream.destroy()
    }
  }
}
