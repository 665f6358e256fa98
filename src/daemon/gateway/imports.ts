import { isDeepStrictEqual } from 'node:util'
import type { AnyOperation } from '../../call/define.ts'
import type { Clock } from '../../core/clock.ts'
import { asKithError, KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { OpenApiImport } from '../../gateway/openapi/import.ts'
import type { Credentials } from '../../vault/credentials/credentials.ts'
import type { Trouble } from '../service.ts'
import type { ConfiguredOpenApi, ConfiguredTools } from './config.ts'
import { readDocument } from './document.ts'
import { ToolServer } from './tool-server.ts'

export interface ImportsOptions {
  /** Adds operations; the returned function takes them out. @throws KithError `CALL_CONFLICT`. */
  readonly offer: (operations: readonly AnyOperation[]) => () => void
  /** Whether an operation of this name is there. */
  readonly taken: (name: string) => boolean
  readonly credentials: () => Pick<Credentials, 'lease'>
  readonly clock: Clock
  readonly logger: Logger
}

export interface Configured {
  readonly openapi: readonly ConfiguredOpenApi[]
  readonly mcp: readonly ConfiguredTools[]
}

/** A file, and the operations that were made of it. */
interface Service {
  readonly configured: ConfiguredOpenApi
  /** Of the file that was read; absent where it could not be. */
  readonly digest: string | undefined
  readonly imported: OpenApiImport | undefined
  readonly failure: unknown
  /** Set while its operations are offered. */
  withdraw: (() => void) | undefined
}

/**
 * Operations that come from elsewhere. When the node starts, one that cannot be had is told as a trouble and keeps no other from working; a reload takes all
 * of it or nothing. Calls that run go on with what they began with.
 */
export class Imports {
  readonly #options: ImportsOptions
  readonly #troubles: Map<string, Omit<Trouble, 'service'>> = new Map()
  readonly #retired: Set<OpenApiImport | ToolServer> = new Set()
  #services: ReadonlyMap<string, Service> = new Map()
  #tools: ReadonlyMap<string, ToolServer> = new Map()

  constructor(options: ImportsOptions) {
    this.#options = options
  }

  get troubles(): readonly Omit<Trouble, 'service'>[] {
    return [...this.#troubles.values()]
  }

  /** Tools are there when their server has answered, which is not waited for. */
  async start({ openapi, mcp }: Configured): Promise<void> {
    const services: Service[] = []
    for (const configured of openapi) services.push(await this.#read(configured).catch((failure: unknown) => absent(configured, failure)))
    this.#replace(services, mcp)
  }

  /**
   * Reads what is configured now, also files that changed under the same name; what it gives puts all of it in effect in one turn, and does not throw.
   * @throws KithError `OPENAPI_INVALID`, `CALL_CONFLICT`; nothing has changed then.
   */
  async prepare({ openapi, mcp }: Configured): Promise<() => void> {
    const services: Service[] = []
    for (const configured of openapi) services.push(await this.#reread(configured))
    const own = new Set([...this.#services.values()].flatMap((service) => (service.withdraw === undefined ? [] : namesOf(service))))
    for (const service of services) {
      const operation = namesOf(service).find((name) => !own.has(name) && this.#options.taken(name))
      const { name } = service.configured
      if (operation === undefined || this.#services.get(name) === service || this.#tools.has(name)) continue
      throw new KithError('CALL_CONFLICT', `[openapi.${name}]: the operation ${operation} is registered already.`, { details: { operation } })
    }
    return () => this.#replace(services, mcp)
  }

  async close(): Promise<void> {
    const services = [...this.#services.values()]
    const ending = [...this.#tools.values(), ...this.#retired]
    this.#services = new Map()
    this.#tools = new Map()
    this.#retired.clear()
    for (const { withdraw, imported } of services) {
      withdraw?.()
      imported?.close()
    }
    await Promise.allSettled(ending.map(async (one) => one.close()))
  }

  /** The one that is in use, when neither its settings nor its file changed. @throws KithError `OPENAPI_INVALID`. */
  async #read(configured: ConfiguredOpenApi): Promise<Service> {
    const { name, file, url, credential, access } = configured
    const { digest, document } = await readDocument(file)
    const known = this.#services.get(name)
    if (known?.digest === digest && isDeepStrictEqual(known.configured, configured)) return known
    const { importOpenApi } = await import('../../gateway/openapi/import.ts')
    const imported = importOpenApi({
      service: name,
      document,
      url,
      clock: this.#options.clock,
      ...(access === undefined ? {} : { access }),
      ...(credential === undefined ? {} : { credential: { service: credential, from: this.#options.credentials } }),
    })
    return { configured, digest, imported, failure: undefined, withdraw: undefined }
  }

  /** What could not be had before, and is not asked for in another way now, keeps nothing else from being reloaded. */
  async #reread(configured: ConfiguredOpenApi): Promise<Service> {
    try {
      return await this.#read(configured)
    } catch (error) {
      const known = this.#services.get(configured.name)
      if (known !== undefined && known.imported === undefined && isDeepStrictEqual(known.configured, configured)) return known
      const { code, message, details } = asKithError(error, 'INTERNAL')
      throw new KithError(code, `[openapi.${configured.name}]: ${message}`, { details, cause: error })
    }
  }

  #replace(services: readonly Service[], mcp: readonly ConfiguredTools[]): void {
    const kept = new Set(services)
    for (const service of this.#services.values()) if (!kept.has(service)) this.#end(service)
    this.#services = new Map(services.map((service) => [service.configured.name, service]))
    this.#replaceTools(mcp)
    for (const service of services) this.#offer(service)
  }

  #end({ configured, withdraw, imported }: Service): void {
    this.#troubles.delete(`openapi.${configured.name}`)
    withdraw?.()
    if (imported === undefined) return
    this.#retired.add(imported)
    void imported.retire().then(() => this.#retired.delete(imported))
  }

  #offer(service: Service): void {
    const { configured, imported, failure } = service
    const setting = `openapi.${configured.name}`
    if (service.withdraw !== undefined) return
    try {
      if (imported === undefined) throw failure
      service.withdraw = this.#options.offer(imported.operations)
      this.#troubles.delete(setting)
      for (const { operation, reason } of imported.skipped)
        this.#options.logger.info('openapi operation left out', { service: configured.name, operation, reason })
    } catch (error) {
      this.#note(setting, error)
    }
  }

  #replaceTools(mcp: readonly ConfiguredTools[]): void {
    const before = this.#tools
    const tools = new Map<string, ToolServer>()
    for (const configured of mcp) {
      const known = before.get(configured.name)
      if (known !== undefined && isDeepStrictEqual(known.configured, configured)) tools.set(configured.name, known)
    }
    for (const [name, server] of before) {
      if (tools.get(name) === server) continue
      this.#troubles.delete(`mcp.${name}`)
      this.#retired.add(server)
      void server.retire().then(() => this.#retired.delete(server))
    }
    for (const configured of mcp) if (!tools.has(configured.name)) tools.set(configured.name, this.#openTools(configured))
    this.#tools = tools
  }

  #openTools(configured: ConfiguredTools): ToolServer {
    const { offer, credentials, clock, logger } = this.#options
    const setting = `mcp.${configured.name}`
    const server: ToolServer = new ToolServer(configured, {
      ...{ offer, credentials, clock, logger },
      told: (error) => {
        // One that gave way to another has nothing to say under its name any more.
        if (this.#tools.get(configured.name) !== server) return
        if (error === undefined) this.#troubles.delete(setting)
        else this.#note(setting, error)
      },
    })
    return server
  }

  #note(setting: string, error: unknown): void {
    const { code, message } = asKithError(error, 'INTERNAL')
    this.#troubles.set(setting, { code, message: `[${setting}]: ${message}`, next: 'kith config show' })
    this.#options.logger.warn('import failed', { setting, code, message })
  }
}

function absent(configured: ConfiguredOpenApi, failure: unknown): Service {
  return { configured, digest: undefined, imported: undefined, failure, withdraw: undefined }
}

function namesOf({ imported }: Service): readonly string[] {
  return imported?.operations.map(({ name }) => name) ?? []
}
