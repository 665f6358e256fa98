import { networkInterfaces } from 'node:os'
import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Random } from '../../core/random.ts'
import { connectThrough, parseProxy } from '../../transport/proxy.ts'
import { createTunnels, type FarForwardOptions, type Outbound, type TunnelStatus, type Tunnels } from '../../tunnel/index.ts'
import { forgetForward, saveForward } from '../config/edit.ts'
import type { NamedForward } from '../config/forwards.ts'
import type { ConfigHolder } from '../config/holder.ts'
import type { MeshService } from '../mesh-service.ts'
import { configuredProxies } from '../proxies.ts'
import type { Service, Trouble } from '../service.ts'
import type { VaultService } from '../vault/service.ts'
import { NamedForwards } from './named-forwards.ts'
import { type SshServerOptions, sshFar } from './ssh-forward.ts'

export interface TunnelsServiceOptions {
  readonly mesh: MeshService
  readonly config: ConfigHolder
  /** For the key by which this node logs in at servers of SSH. */
  readonly vaults: Pick<VaultService, 'opened' | 'unlocked'>
  /** Directory of the node, where the configuration stands. */
  readonly root: string
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

/** A forward through an ordinary SSH server. */
export interface SshForwardOptions extends SshServerOptions, Omit<FarForwardOptions, 'far'> {}

/** Forwards of this node: its own entries, those of the configuration, and the exits that peers may use. */
export class TunnelsService implements Service {
  readonly name = 'tunnels'
  readonly needs: readonly string[] = ['mesh']
  readonly #options: TunnelsServiceOptions
  #tunnels: Tunnels | undefined
  #named: NamedForwards | undefined
  #stopping: (() => void)[] = []

  constructor(options: TunnelsServiceOptions) {
    this.#options = options
  }

  /** Undefined while the service does not run. */
  get tunnels(): Tunnels | undefined {
    return this.#tunnels
  }

  async start(): Promise<void> {
    const { mesh: service, config, clock, random, logger } = this.#options
    const mesh = service.running
    const tunnels = createTunnels({
      mesh: {
        did: mesh.did,
        nameOf: (peer) => mesh.book.get(peer)?.name,
        isHere: (peer) => mesh.links().some(({ did, path }) => did === peer && path !== null && isOwnAddress(path.address)),
        resolve: (text) => mesh.book.resolve(text),
        openLean: (peer, protocol, options) => mesh.openLean(peer, protocol, options),
        handleLean: (protocol, handler, options) => {
          this.#stopping.push(mesh.handleLean(protocol, handler, options))
        },
      },
      policy: mesh.policy,
      clock,
      random,
      logger,
      outbound: () => this.#outbound(),
      idleMs: () => config.current['tunnel.idle'],
      connectMs: () => config.current['tunnel.connect'],
    })
    this.#tunnels = tunnels
    const named = new NamedForwards({
      tunnels,
      resolvePeer: (text) => mesh.book.resolve(text),
      openSsh: (options) => this.openSsh(options),
      clock,
      logger,
    })
    this.#named = named
    this.#stopping.push(
      config.onChange(({ forward }, applied) => {
        if (applied.includes('forward')) void named.apply(forward)
      }),
    )
    await named.apply(config.current.forward)
  }

  /**
   * Listens here and carries each connection through an SSH server, logged in at when it is first needed and again after it was lost.
   * @throws KithError `CLOSED`, `ADDRESS_INVALID`, `USAGE`; as `Tunnels.through`; as `connectSsh`, `VAULT_LOCKED`, `SSH_KEY_INVALID` while it is checked.
   */
  async openSsh({ server, knownHosts, hostKey, keyFile, ...options }: SshForwardOptions): Promise<TunnelStatus> {
    const { config, vaults, clock } = this.#options
    const tunnels = this.#tunnels
    if (tunnels === undefined) throw new KithError('CLOSED')
    const far = sshFar({ server, knownHosts, hostKey, keyFile }, { vaults, proxies: configuredProxies(config), clock })
    return await tunnels.through({ ...options, far })
  }

  /** Keeps a forward that has just been opened, so that it is there after the next start. @throws KithError `CONFIG_INVALID`. */
  async save(row: NamedForward): Promise<void> {
    const { root, config } = this.#options
    await saveForward(root, row)
    this.#named?.adopt(row)
    await config.reload()
  }

  /** Closes a forward; with `forget` its row leaves the configuration too. Says whether it stands there still. @throws KithError `NOT_FOUND`, `CONFIG_INVALID`. */
  async end(id: string, forget: boolean): Promise<{ readonly saved: boolean }> {
    const { root, config } = this.#options
    const configured = config.current.forward.some(({ name }) => name === id)
    const named = this.#named?.forget(id) === true
    const forgotten = forget && configured && (await forgetForward(root, id))
    try {
      await this.#tunnels?.remove(id)
    } catch (error) {
      // One that was waiting for its port was not open.
      if (!named && !forgotten) throw error
    }
    if (forgotten) await config.reload()
    return { saved: configured && !forgotten }
  }

  /** Takes nothing new. Connections that run share the mesh's moment to end, and are closed when it has closed its links. */
  async stop(): Promise<void> {
    for (const stop of this.#stopping.splice(0)) stop()
    this.#named?.close()
    this.#named = undefined
    const tunnels = this.#tunnels
    this.#tunnels = undefined
    if (tunnels === undefined) return
    tunnels.drain()
    this.#options.mesh.afterLinks(() => tunnels.close())
  }

  health(): readonly Omit<Trouble, 'service'>[] {
    const waiting = (this.#tunnels?.list() ?? []).flatMap(({ id, kind, open, last_error: error }) =>
      kind !== 'ssh' || open || error === null ? [] : [{ code: error.code, message: `the forward ${id} waits: ${error.message}`, next: error.next }],
    )
    return [...(this.#named?.troubles() ?? []), ...waiting]
  }

  #outbound(): Outbound | undefined {
    const { config, clock } = this.#options
    const proxies = config.current['tunnel.outbound'].map(parseProxy)
    if (proxies.length === 0) return undefined
    return async ({ host, port, signal }) => {
      try {
        return await connectThrough(proxies, { host, port, signal, clock })
      } catch (error) {
        // A password may stand in the proxy's address: what failed is said without it.
        if (error instanceof KithError) throw error
        throw new KithError('FORWARD_UNREACHABLE')
      }
    }
  }
}

/** Whether a path such as `tcp://127.0.0.1:4433` ends on this machine. */
function isOwnAddress(url: string): boolean {
  const host = /^[a-z]+:\/\/(?:\[([^\]]+)\]|([^:/]+)):\d+/.exec(url)
  const address = host?.[1] ?? host?.[2]
  return Object.values(networkInterfaces()).some((list) => list?.some((own) => own.address === address) === true)
}
