import { createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { policySubject } from '../../access/principal.ts'
import type { Caller, IdentityProvider } from '../../access/types.ts'
import type { Callee } from '../../call/types.ts'
import type { Clock } from '../../core/clock.ts'
import { createSigner } from '../../core/crypto/ed25519.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Metrics } from '../../core/observe/metrics.ts'
import type { Signer } from '../../core/signer.ts'
import { readNamedFile } from '../../identity/private-file.ts'
import { createSshDoor, type SshDoor, type SshSessionView } from '../../ssh/door.ts'
import { type HostKeyView, knownHostsLine, parseHostCertificate } from '../../ssh/host-key.ts'
import { DEFAULT_SSH_LIMITS, type SshLimits } from '../../ssh/limits.ts'
import { type SshMetrics, sshMetrics } from '../../ssh/metrics.ts'
import { OpenHandles } from '../../ssh/sftp/open-handles.ts'
import { checkFolder, type Folder } from '../../ssh/sftp/places.ts'
import { serveSftp } from '../../ssh/sftp/server.ts'
import type { SshHandler } from '../../transport/front/types.ts'
import type { Tunnels } from '../../tunnel/index.ts'
import { SSH_HOST } from '../../vault/paths.ts'
import { splitHostPort } from '../config/acme.ts'
import type { ConfigHolder } from '../config/holder.ts'
import type { Service, Trouble } from '../service.ts'
import type { VaultService } from '../vault/service.ts'

export interface SshServiceOptions {
  readonly config: ConfigHolder
  readonly vaults: Pick<VaultService, 'get' | 'unlock'>
  readonly identities: () => IdentityProvider
  readonly callee: () => Callee
  readonly tunnels: () => Tunnels
  /** Where SSH inside TLS and WebSockets arrives. */
  readonly front: { onSsh(handler: SshHandler): () => void }
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics
}

/** The SSH door as `kith ssh status` tells it. */
export interface SshStatus {
  /** `ADDRESS:PORT`; null while no port is open. */
  readonly listen: string | null
  readonly host_key: HostKeyView
  /** A line for the `known_hosts` of those who log in. */
  readonly known_hosts: string
  readonly sessions: number
  readonly folders: readonly string[]
}

const LOOPBACK = /^(127\.|::1$)/
const MAX_CERTIFICATE_FILE = 65_536

/**
 * The SSH door: its port, and SSH at the front door. Off unless `ssh.listen` or `front.ssh` is set. The host key is taken from the vault when the door opens and kept
 * for as long as it is open: a vault that locks itself does not shut people out.
 */
export class SshService implements Service {
  readonly name = 'ssh'
  readonly needs: readonly string[] = ['tunnels', 'access', 'calls']
  readonly #options: SshServiceOptions
  readonly #metrics: SshMetrics
  #door: SshDoor | undefined
  #signer: Signer | undefined
  #server: Server | undefined
  #stopFront: (() => void) | undefined
  #opensVault = false
  #troubles: readonly Omit<Trouble, 'service'>[] = []

  constructor(options: SshServiceOptions) {
    this.#options = options
    this.#metrics = sshMetrics(options.metrics)
  }

  /** Whether it is this door that opens the vault at the moment: it does not wait for that, and is not to be tried again for it. */
  get opensVault(): boolean {
    return this.#opensVault
  }

  /** Null while the door is closed. */
  get status(): SshStatus | null {
    const door = this.#door
    if (door === undefined) return null
    const place = this.#server?.address()
    const bound = typeof place === 'object' && place !== null ? place : undefined
    const host = bound === undefined || bound.address === '0.0.0.0' || bound.address === '::' ? 'HOST' : bound.address
    return {
      listen: bound === undefined ? null : shown(bound.address, bound.port),
      host_key: door.hostKey,
      known_hosts: knownHostsLine(host, bound?.port ?? 22, door.hostKey),
      sessions: door.sessions().length,
      folders: this.#options.config.current['ssh.sftp'].map(({ name }) => name),
    }
  }

  /** Where its port is; null while none is open. */
  get address(): string | null {
    const place = this.#server?.address()
    return typeof place === 'object' && place !== null ? shown(place.address, place.port) : null
  }

  sessions(): readonly SshSessionView[] {
    return this.#door?.sessions() ?? []
  }

  /** @throws KithError `NOT_FOUND`. */
  end(id: number): void {
    if (this.#door?.end(id) !== true) throw new KithError('NOT_FOUND', `There is no SSH session ${id}.`, { next: 'kith ssh sessions' })
  }

  /** @throws KithError `VAULT_LOCKED`, `BIND_REFUSED`, `ADDRESS_IN_USE`, `SSH_KEY_INVALID`. */
  async start(): Promise<void> {
    const { config, front } = this.#options
    const { current } = config
    const listen = current['ssh.listen']
    if (listen === '' && !current['front.ssh']) return
    const to = listen === '' ? undefined : this.#allowedPlace(listen)
    this.#signer = await this.#hostKey()
    const certificate = await hostCertificate(current['ssh.host_certificate'], this.#signer)
    const door = this.#open(this.#signer, certificate)
    this.#door = door
    await this.#lookAtFolders()
    if (to !== undefined) this.#server = await bind(to, (socket) => door.accept(socket, { ...source(socket), transport: 'tcp' }))
    this.#stopFront = front.onSsh((stream, origin) => door.accept(stream, origin))
  }

  async stop(): Promise<void> {
    this.#stopFront?.()
    this.#stopFront = undefined
    this.#server?.close()
    this.#server = undefined
    this.#door?.drain()
    this.#door?.close()
    this.#door = undefined
    this.#signer?.close()
    this.#signer = undefined
    this.#troubles = []
  }

  health(): readonly Omit<Trouble, 'service'>[] {
    return this.#troubles
  }

  #open(hostKey: Signer, certificate: Uint8Array | undefined): SshDoor {
    const { config, identities, callee, tunnels, clock, logger } = this.#options
    const handles = new OpenHandles()
    return createSshDoor({
      hostKey,
      ...(certificate === undefined ? {} : { hostCertificate: certificate }),
      identity: { resolve: (presentation) => identities().resolve(presentation) },
      limits: () => limitsOf(config),
      dial: async ({ caller, target, signal }) => await tunnels().exit.dialTarget({ ...subjectOf(caller), target, signal }),
      mayListen: async ({ caller, host, port }) => {
        try {
          await tunnels().exit.gate.check(subjectOf(caller), 'listen', { host, port })
          return true
        } catch (error) {
          if (!isKithError(error)) throw error
          return false
        }
      },
      mayConnect: (caller) => identities().mayConnect?.(caller) ?? true,
      onRules: (changed) => tunnels().exit.onRules(changed),
      publicListen: () => config.current['ssh.bind_public'],
      callee: callee(),
      control: (channel, caller) => void this.#control(channel, caller),
      sftp: (channel, caller, signal) => serveSftp(channel, caller, signal, { folders: (who) => foldersFor(who, config), handles, logger }),
      clock,
      logger,
      metrics: this.#metrics,
    })
  }

  async #control(channel: Duplex, caller: Caller): Promise<void> {
    const { callee, clock, logger } = this.#options
    try {
      const { createEnvelopeSession } = await import('../../call/envelope-session.ts')
      await createEnvelopeSession(channel, { callee: callee(), caller, clock }).closed
    } catch (error) {
      logger.warn('control channel failed', { error })
    } finally {
      channel.destroy()
    }
  }

  #allowedPlace(listen: string): { readonly host: string; readonly port: number } {
    const place = splitHostPort(listen)
    if (LOOPBACK.test(place.host) || this.#options.config.current['ssh.bind_public']) return place
    throw new KithError('BIND_REFUSED', `The SSH door would listen beyond this machine: ${listen}.`, {
      details: { listen },
      next: 'set ssh.bind_public = true, or ssh.listen = "127.0.0.1:2222"',
    })
  }

  /** Opened for this moment when it is locked and the node can open it by itself. */
  async #hostKey(): Promise<Signer> {
    const { vaults } = this.#options
    const vault = vaults.get()
    const locked = !vault.unlocked
    if (locked) {
      try {
        this.#opensVault = true
        await vaults.unlock(vault.id, undefined)
      } catch (cause) {
        if (isKithError(cause, 'NOT_FOUND')) throw cause
        if (!vault.unlocked)
          throw new KithError('VAULT_LOCKED', 'The SSH host key is in the vault, which is locked.', {
            details: { vault: vault.id },
            next: 'kith vault unlock',
            cause,
          })
      } finally {
        this.#opensVault = false
      }
    }
    try {
      return createSigner('service', vault.derive(SSH_HOST, { who: 'ssh' }).privateKey.clone())
    } finally {
      if (locked) vault.lock()
    }
  }

  async #lookAtFolders(): Promise<void> {
    const troubles: Omit<Trouble, 'service'>[] = []
    for (const folder of this.#options.config.current['ssh.sftp']) {
      try {
        await checkFolder(folder)
      } catch (error) {
        if (!isKithError(error)) throw error
        troubles.push({ code: error.code, message: error.message, next: 'kith config show ssh.sftp' })
      }
    }
    this.#troubles = troubles
  }
}

function subjectOf(caller: Caller): NonNullable<ReturnType<typeof policySubject>> & { readonly transport: 'ssh' } {
  const subject = policySubject(caller)
  if (subject === undefined) throw new KithError('FORWARD_DENIED')
  return { ...subject, transport: 'ssh' }
}

/** What a caller may see of the configured folders, by any of its names. */
export function foldersFor(caller: Caller, config: Pick<ConfigHolder, 'current'>): readonly Folder[] {
  const subject = policySubject(caller)
  const names = new Set<string>(subject === undefined ? ['*'] : ['*', caller.id, subject.peer, ...subject.also])
  return config.current['ssh.sftp'].flatMap(({ name, path, read, write }) => {
    const writable = write.some((principal) => names.has(principal))
    return writable || read.some((principal) => names.has(principal)) ? [{ name, path, writable }] : []
  })
}

function limitsOf({ current }: ConfigHolder): SshLimits {
  return {
    ...DEFAULT_SSH_LIMITS,
    connections: current['ssh.max_connections'],
    connectionsPerAddress: current['ssh.max_connections_per_address'],
    attempts: current['ssh.max_attempts'],
    failuresPerAddress: current['ssh.max_failures_per_address'],
  }
}

async function hostCertificate(path: string, signer: Signer): Promise<Uint8Array | undefined> {
  if (path === '') return undefined
  const found = await readNamedFile(path, MAX_CERTIFICATE_FILE).catch((cause: unknown) => unreadable(path, cause))
  if (found.kind !== 'file') return unreadable(path)
  return parseHostCertificate(found.bytes.toString('utf8'), signer.publicKey)
}

function unreadable(path: string, cause?: unknown): never {
  throw new KithError('SSH_KEY_INVALID', `The file in ssh.host_certificate cannot be read: ${path}.`, { cause })
}

function source(socket: Socket): { readonly remoteAddress: string; readonly remotePort: number } {
  const address = socket.remoteAddress ?? 'unknown'
  return { remoteAddress: address.replace(/^::ffff:(?=\d+\.)/, ''), remotePort: socket.remotePort ?? 0 }
}

function bind({ host, port }: { readonly host: string; readonly port: number }, arrived: (socket: Socket) => void): Promise<Server> {
  const server = createServer({ noDelay: true }, arrived)
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const code = cause.code === 'EADDRINUSE' ? 'ADDRESS_IN_USE' : 'ADDRESS_INVALID'
      const taken = code === 'ADDRESS_IN_USE' ? ': another program does' : ''
      reject(
        new KithError(code, `The SSH door cannot listen on ${shown(host, port)}${taken}.`, {
          details: { address: shown(host, port) },
          next: 'kith config show ssh.listen',
          cause,
        }),
      )
    })
    server.listen({ host, port, backlog: 512 }, () => {
      server.removeAllListeners('error')
      server.on('error', () => {})
      resolve(server)
    })
  })
}

function shown(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
