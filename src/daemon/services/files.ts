import { join } from 'node:path'
import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import { createFiles, type Files, type FilesOptions } from '../../files/index.ts'
import type { Home } from '../../identity/home.ts'
import type { ConfigHolder } from '../config/holder.ts'
import type { MeshService } from '../mesh-service.ts'
import type { Service, Trouble } from '../service.ts'

const INBOX = 'inbox'

export interface FilesServiceOptions {
  readonly home: Home
  readonly config: ConfigHolder
  readonly mesh: MeshService
  readonly clock: Clock
  readonly logger: Logger
}

/** Files that peers send, in `HOME/inbox`, and files sent to them. */
export class FilesService implements Service {
  readonly name = 'files'
  readonly needs: readonly string[] = ['mesh']
  readonly #options: FilesServiceOptions
  #files: Files | undefined
  #stopServing: (() => void) | undefined

  constructor(options: FilesServiceOptions) {
    this.#options = options
  }

  /** Undefined while the service does not run. */
  get files(): Files | undefined {
    return this.#files
  }

  /** Directory of received files; made when the service first runs. */
  get inbox(): string {
    return join(this.#options.home.paths.root, INBOX)
  }

  async start(): Promise<void> {
    const { mesh: service, config, clock, logger } = this.#options
    const mesh = service.running
    const options: FilesOptions = {
      mesh: {
        did: mesh.did,
        nameOf: (peer) => mesh.book.get(peer)?.name,
        open: (peer, protocol, options) => mesh.open(peer, protocol, options),
        handle: (protocol, handler, options) => {
          this.#stopServing = mesh.handle(protocol, handler, options)
        },
      },
      policy: mesh.policy,
      blobs: service.runningAssembly.blobs,
      store: service.runningStore,
      clock,
      logger,
      inbox: this.inbox,
      // Read anew for each offer: a reloaded quota takes effect at once.
      get quotaBytes() {
        return config.current['files.quota_bytes']
      },
    }
    try {
      this.#files = await createFiles(options)
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException
      throw new KithError('STORE_FAILED', `The inbox cannot be used: ${this.inbox} (${code ?? 'unknown reason'}).`, { cause, next: 'kith doctor' })
    }
  }

  /** Takes no more offers. Transfers that run share the mesh's moment to end; the others go on later, where they stopped. */
  async stop(): Promise<void> {
    this.#stopServing?.()
    this.#stopServing = undefined
    const files = this.#files
    this.#files = undefined
    if (files !== undefined) this.#options.mesh.afterLinks(() => files.close())
  }

  health(): readonly Omit<Trouble, 'service'>[] {
    return []
  }
}
