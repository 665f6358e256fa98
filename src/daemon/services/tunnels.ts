import { networkInterfaces } from 'node:os'
import type { Clock } from '../../core/clock.ts'
import type { Logger } from '../../core/observe/log.ts'
import { createTunnels, type Tunnels } from '../../tunnel/index.ts'
import type { MeshService } from '../mesh-service.ts'
import type { Service, Trouble } from '../service.ts'

export interface TunnelsServiceOptions {
  readonly mesh: MeshService
  readonly clock: Clock
  readonly logger: Logger
}

/** Forwards of this node: its own entries, and the exits that peers may use. */
export class TunnelsService implements Service {
  readonly name = 'tunnels'
  readonly needs: readonly string[] = ['mesh']
  readonly #options: TunnelsServiceOptions
  #tunnels: Tunnels | undefined
  #stopServing: (() => void) | undefined

  constructor(options: TunnelsServiceOptions) {
    this.#options = options
  }

  /** Undefined while the service does not run. */
  get tunnels(): Tunnels | undefined {
    return this.#tunnels
  }

  async start(): Promise<void> {
    const { mesh: service, clock, logger } = this.#options
    const mesh = service.running
    this.#tunnels = createTunnels({
      mesh: {
        did: mesh.did,
        nameOf: (peer) => mesh.book.get(peer)?.name,
        isHere: (peer) => mesh.links().some(({ did, path }) => did === peer && path !== null && isOwnAddress(path.address)),
        openLean: (peer, protocol, options) => mesh.openLean(peer, protocol, options),
        handleLean: (protocol, handler, options) => {
          this.#stopServing = mesh.handleLean(protocol, handler, options)
        },
      },
      policy: mesh.policy,
      clock,
      logger,
    })
  }

  /** Takes nothing new. Connections that run share the mesh's moment to end, and are closed when it has closed its links. */
  async stop(): Promise<void> {
    this.#stopServing?.()
    this.#stopServing = undefined
    const tunnels = this.#tunnels
    this.#tunnels = undefined
    if (tunnels === undefined) return
    tunnels.drain()
    this.#options.mesh.afterLinks(() => tunnels.close())
  }

  health(): readonly Omit<Trouble, 'service'>[] {
    return []
  }
}

/** Whether a path such as `tcp://127.0.0.1:4433` ends on this machine. */
function isOwnAddress(url: string): boolean {
  const host = /^[a-z]+:\/\/(?:\[([^\]]+)\]|([^:/]+)):\d+/.exec(url)
  const address = host?.[1] ?? host?.[2]
  return Object.values(networkInterfaces()).some((list) => list?.some((own) => own.address === address) === true)
}
