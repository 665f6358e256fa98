import { createIdentityProvider, type OpenIdentityProvider } from '../../access/identity-provider.ts'
import { ReplayCache } from '../../access/replay-cache.ts'
import { type AccessTable, accessTable, type Grant, type IdentitySource, tableSource } from '../../access/sources.ts'
import { fingerprint } from '../../access/ssh-wire.ts'
import { tokenKeyId } from '../../access/token.ts'
import type { Caller, IdentityProvider, Presentation } from '../../access/types.ts'
import { type PublicKey, toHex } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import type { Audit } from '../../core/observe/audit.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Counter, Metrics } from '../../core/observe/metrics.ts'
import type { Did } from '../../identity/did.ts'
import { atLeast, PEER_CLASSES } from '../../mesh/constraints.ts'
import type { Mesh, MeshPolicy } from '../../mesh/mesh-types.ts'
import type { ConfigHolder } from '../config/holder.ts'
import type { Config } from '../config/settings.ts'
import type { MeshService } from '../mesh-service.ts'
import type { Service, Trouble } from '../service.ts'
import type { CallAccess } from '../services/calls.ts'
import { createAuthorizer } from './authorize.ts'
import { StoredBook } from './book.ts'
import { type AccessFiles, readAccessFiles } from './files.ts'

export interface AccessServiceOptions {
  readonly mesh: MeshService
  readonly config: ConfigHolder
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics
  /** Further sources, asked behind configuration and store. */
  readonly sources?: readonly IdentitySource[]
}

/** What configuration and its files say, put in place as one value. */
interface Snapshot {
  readonly table: AccessTable
  readonly files: AccessFiles
  readonly sshScopes: readonly string[]
}

interface Running {
  readonly book: StoredBook
  readonly provider: OpenIdentityProvider
  readonly stop: () => void
}

const NO_FILES: AccessFiles = { lines: [], refused: [], revocations: [] }

/**
 * Who comes in by which door, for every door of the node.
 *
 * ```text
 * config.toml, its files -- one snapshot, replaced whole by kith config reload --,
 * kith access ... ---------- the book in the store -------------------------------+--> identity provider --> doors, calls
 * further sources ----------------------------------------------------------------'
 * ```
 *
 * While a file that the configuration names could not be read at the start, no SSH key, certificate or token comes in: it may be the one that revokes them.
 */
export class AccessService implements Service, IdentityProvider {
  readonly name = 'access'
  readonly needs: readonly string[] = ['mesh']
  readonly #options: AccessServiceOptions
  readonly #resolved: Counter
  readonly #listeners: Set<() => void> = new Set()
  #snapshot: Snapshot = { table: accessTable({}), files: NO_FILES, sshScopes: [] }
  #unread: KithError | undefined
  #running: Running | undefined

  constructor(options: AccessServiceOptions) {
    this.#options = options
    this.#resolved = options.metrics.counter('kith_access_total', 'Who asked to come in by links and other doors, and whether somebody was known by it.', [
      'by',
      'result',
    ])
  }

  async start(): Promise<void> {
    const { mesh, config, clock, logger, sources = [] } = this.#options
    const store = mesh.runningStore
    const book = await StoredBook.open(store)
    try {
      this.#take(await prepare(config.current))
    } catch (error) {
      if (!isKithError(error, 'ACCESS_INVALID')) throw error
      this.#unread = error
      logger.error('keys not read', { message: error.message })
    }
    const own = mesh.running.did
    const provider = createIdentityProvider({
      sources: [this.#gate(), this.#configured(), tableSource('store', () => book.table), ownTokens(() => book.book.tokenKey, own), ...sources],
      classesOf: (did) => classesUpTo(mesh.running, did),
      replay: await ReplayCache.open(clock, store),
      clock,
      logger,
    })
    const stopReload = config.onReload(async (next) => {
      const snapshot = await prepare(next)
      return () => {
        this.#take(snapshot)
        this.changed()
      }
    })
    this.#running = {
      book,
      provider,
      stop: () => {
        stopReload()
        provider.close()
      },
    }
  }

  async stop(): Promise<void> {
    this.#running?.stop()
    this.#running = undefined
  }

  health(): readonly Omit<Trouble, 'service'>[] {
    return this.#unread === undefined ? [] : [{ code: this.#unread.code, message: this.#unread.message, next: 'kith config reload' }]
  }

  /** The owner's book. @throws KithError `DEGRADED` while the service does not run. */
  get book(): StoredBook {
    return this.#get().book
  }

  /** Of the audit log of the owner. */
  get audit(): Audit {
    return this.#options.mesh.runningAssembly.audit
  }

  /** The owner's rules. */
  get policy(): Pick<MeshPolicy, 'list' | 'forgetAllowed'> {
    return this.#options.mesh.running.policy
  }

  /** What the files of the configuration say: what counts, and which lines do not. */
  get files(): AccessFiles {
    return this.#snapshot.files
  }

  get configured(): Pick<Config, 'access.api_keys' | 'access.grants' | 'access.ssh_scopes'> {
    return this.#options.config.current
  }

  async resolve(presentation: Presentation): Promise<Caller | undefined> {
    const caller = await this.#running?.provider.resolve(presentation)
    this.#resolved.add(1, { by: presentation.kind, result: caller === undefined ? 'refused' : 'known' })
    return caller
  }

  resolveNow(presentation: Presentation): Caller | undefined {
    const caller = this.#running?.provider.resolveNow(presentation)
    if (caller !== undefined) this.#resolved.add(1, { by: presentation.kind, result: 'known' })
    return caller
  }

  /** Whoever is known to be an identity that may not be linked here, or is banned, comes in by no key of its own either. */
  mayConnect({ did }: Caller): boolean {
    return did === undefined || this.#options.mesh.running.policy.decide({ peer: did, action: 'link', transport: 'ssh' }).allowed
  }

  /** How many of those who came in would not come in any more; with `disconnect` their connections end. */
  async recheck(options: { readonly disconnect: boolean }): Promise<number> {
    return (await this.#running?.provider.recheck(options)) ?? 0
  }

  /** Whoever asked for it is told that answers may be others now. */
  changed(): void {
    for (const listener of [...this.#listeners]) listener()
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Access of calls over links. */
  callAccess(mesh: Mesh): CallAccess {
    return {
      authorize: createAuthorizer({ policy: mesh.policy }),
      callerOf: (peer) => this.resolve({ kind: 'link', did: peer }),
      onChange: (listener) => {
        const stops = [this.onChange(listener), mesh.policy.onChange?.(listener)]
        return () => {
          for (const stop of stops) stop?.()
        }
      },
    }
  }

  #get(): Running {
    if (this.#running === undefined) throw new KithError('DEGRADED', 'The access of this node is not running.', { next: 'kith status' })
    return this.#running
  }

  #take(snapshot: Snapshot): void {
    this.#snapshot = snapshot
    this.#unread = undefined
    for (const { place, reason } of snapshot.files.refused) this.#options.logger.warn('a line of keys does not count', { place, reason })
  }

  #configured(): IdentitySource {
    const source = tableSource('configuration', () => this.#snapshot.table)
    return {
      ...source,
      grant: (principal) => {
        const given = this.#snapshot.table.grants.get(principal)
        const { sshScopes } = this.#snapshot
        if (!principal.startsWith('ssh:') || sshScopes.length === 0) return given
        return { ...given, scopes: [...sshScopes, ...(given?.scopes ?? [])] }
      },
    }
  }

  /** Nobody by SSH while it is not known who is revoked. */
  #gate(): IdentitySource {
    return { name: 'gate', revokesKey: () => this.#unread !== undefined, revokesCertificate: () => this.#unread !== undefined }
  }
}

/** @throws KithError `ACCESS_INVALID`. */
async function prepare(config: Config): Promise<Snapshot> {
  const files = await readAccessFiles(config)
  const grants = new Map<string, Grant>(config['access.grants'].map(({ principal, grant }) => [principal, grant]))
  const table = accessTable({ lines: files.lines, revocations: files.revocations, apiKeys: config['access.api_keys'], grants })
  return Object.freeze({ table, files, sshScopes: config['access.ssh_scopes'] })
}

/** Tokens of this node itself are its owner's, by the key that signs them and nothing else. */
function ownTokens(key: () => PublicKey | undefined, own: Did): IdentitySource {
  return {
    name: 'own tokens',
    tokenKey: (keyId) => {
      const known = key()
      return known !== undefined && toHex(tokenKeyId(known)) === keyId ? { key: known, portForwarding: false, place: 'this node' } : undefined
    },
    grant: (principal) => {
      const known = key()
      return known !== undefined && principal === `ssh:${fingerprint(known)}` ? { scopes: [], did: own } : undefined
    },
  }
}

function classesUpTo(mesh: Mesh, did: Did): readonly string[] {
  const held = mesh.policy.classOf(did)
  return PEER_CLASSES.filter((other) => atLeast(held, other))
}
