import { readFile, stat } from 'node:fs/promises'
import type { AnyOperation } from '../../call/define.ts'
import { type Clock, sleep } from '../../core/clock.ts'
import { asKithError, KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { HeadersFor } from '../../gateway/mcp/bounded-fetch.ts'
import type { McpImport } from '../../gateway/mcp/import.ts'
import { MAX_FILE_BYTES } from '../../gateway/openapi/import-plan.ts'
import type { Credentials } from '../../vault/credentials/credentials.ts'
import { inject } from '../../vault/credentials/inject.ts'
import type { Trouble } from '../service.ts'
import { version } from '../version.ts'
import type { ConfiguredOpenApi, ConfiguredTools } from './config.ts'

export interface ImportsOptions {
  /** Adds operations; the returned function takes them out. @throws KithError `CALL_CONFLICT`. */
  readonly offer: (operations: readonly AnyOperation[]) => () => void
  readonly credentials: () => Pick<Credentials, 'lease'>
  readonly clock: Clock
  readonly logger: Logger
}

/** A server of tools that is away is asked again after a second, then after twice as long each time. */
const FIRST_PAUSE_MS = 1_000
const LAST_PAUSE_MS = 60_000

/** Operations that come from elsewhere. One that cannot be had is told as a trouble and keeps no other from working. */
export class Imports {
  readonly #options: ImportsOptions
  readonly #ending: AbortController = new AbortController()
  readonly #troubles: Map<string, Omit<Trouble, 'service'>> = new Map()
  readonly #closers: (() => void | Promise<void>)[] = []

  constructor(options: ImportsOptions) {
    this.#options = options
  }

  get troubles(): readonly Omit<Trouble, 'service'>[] {
    return [...this.#troubles.values()]
  }

  async addOpenApi({ name, file, url, credential, access }: ConfiguredOpenApi): Promise<void> {
    const { offer, credentials, logger } = this.#options
    try {
      const { importOpenApi } = await import('../../gateway/openapi/import.ts')
      const imported = importOpenApi({
        service: name,
        document: await readDocument(file),
        url,
        ...(access === undefined ? {} : { access }),
        ...(credential === undefined ? {} : { credential: { service: credential, from: credentials } }),
      })
      const withdraw = offer(imported.operations)
      this.#closers.push(withdraw, () => imported.close())
      for (const { operation, reason } of imported.skipped) logger.info('openapi operation left out', { service: name, operation, reason })
    } catch (error) {
      this.#note(`openapi.${name}`, error)
    }
  }

  /** Returns at once: tools are there when their server has answered. */
  addTools(configured: ConfiguredTools): void {
    const running = this.#keepTools(configured).catch((error: unknown) => this.#note(`mcp.${configured.name}`, error))
    this.#closers.push(() => running)
  }

  async close(): Promise<void> {
    this.#ending.abort(new KithError('CLOSED'))
    await Promise.allSettled(this.#closers.splice(0).map(async (close) => close()))
  }

  /** Connects again whenever the server went away or has other tools, until the end. */
  async #keepTools({ name, server, access }: ConfiguredTools): Promise<void> {
    const { clock, logger } = this.#options
    const { signal } = this.#ending
    const { importMcp } = await import('../../gateway/mcp/import.ts')
    let wake: () => void = () => undefined
    let changed = false
    const onChange = (): void => {
      changed = true
      wake()
    }
    const target = 'command' in server ? server : { url: server.url, ...(server.credential === undefined ? {} : { headers: this.#headers(server.credential) }) }
    const tools = importMcp({ service: name, server: target, version: version(), logger, onChange, ...(access === undefined ? {} : { access }) })
    let pause = FIRST_PAUSE_MS
    while (!signal.aborted) {
      changed = false
      const withdraw = await this.#openTools(name, tools)
      if (withdraw !== undefined) {
        pause = FIRST_PAUSE_MS
        await new Promise<void>((resolve) => {
          wake = resolve
          if (changed || signal.aborted) resolve()
          signal.addEventListener('abort', () => resolve(), { once: true })
        })
        withdraw()
      }
      await sleep(clock, pause, signal).catch(() => undefined)
      pause = Math.min(pause * 2, LAST_PAUSE_MS)
    }
    await tools.close()
  }

  async #openTools(name: string, tools: McpImport): Promise<(() => void) | undefined> {
    try {
      const withdraw = this.#options.offer(await tools.open(this.#ending.signal))
      this.#troubles.delete(`mcp.${name}`)
      return withdraw
    } catch (error) {
      if (!this.#ending.signal.aborted) this.#note(`mcp.${name}`, error)
      return undefined
    }
  }

  #headers(service: string): HeadersFor {
    return async (url, signal) => {
      const lease = await this.#options.credentials().lease(service, signal === undefined ? {} : { signal })
      try {
        return lease.use((credential) => inject({ url, headers: {} }, credential, lease.info)) as Record<string, string>
      } finally {
        lease.release()
      }
    }
  }

  #note(setting: string, error: unknown): void {
    const { code, message } = asKithError(error, 'INTERNAL')
    this.#troubles.set(setting, { code, message: `[${setting}]: ${message}`, next: 'kith config show' })
    this.#options.logger.warn('import failed', { setting, code, message })
  }
}

async function readDocument(file: string): Promise<unknown> {
  const found = await stat(file).catch((cause: unknown) => {
    throw new KithError('OPENAPI_INVALID', 'The file cannot be read.', { details: { file }, cause })
  })
  if (!found.isFile() || found.size > MAX_FILE_BYTES)
    throw new KithError('OPENAPI_INVALID', `This is no file of at most ${MAX_FILE_BYTES} bytes.`, { details: { file } })
  try {
    return JSON.parse(await readFile(file, 'utf8'))
  } catch (cause) {
    throw new KithError('OPENAPI_INVALID', 'The file is no JSON. YAML is not read: convert it once.', { details: { file }, cause })
  }
}
