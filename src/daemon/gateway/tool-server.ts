import type { AnyOperation } from '../../call/define.ts'
import { type Clock, sleep } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { HeadersFor } from '../../gateway/mcp/bounded-fetch.ts'
import type { McpImport } from '../../gateway/mcp/import.ts'
import type { Credentials } from '../../vault/credentials/credentials.ts'
import { inject } from '../../vault/credentials/inject.ts'
import { version } from '../version.ts'
import type { ConfiguredTools } from './config.ts'

export interface ToolServerOptions {
  /** Adds operations; the returned function takes them out. @throws KithError `CALL_CONFLICT`. */
  readonly offer: (operations: readonly AnyOperation[]) => () => void
  readonly credentials: () => Pick<Credentials, 'lease'>
  readonly clock: Clock
  readonly logger: Logger
  /** Its tools are there, or why they are not. */
  readonly told: (error?: unknown) => void
}

/** A server that is away is asked again after a second, then after twice as long each time. */
const FIRST_PAUSE_MS = 1_000
const LAST_PAUSE_MS = 60_000

/** The tools of one server as operations of this node, for as long as the server is there and this is not closed. */
export class ToolServer {
  readonly configured: ConfiguredTools
  readonly #options: ToolServerOptions
  readonly #ending: AbortController = new AbortController()
  readonly #done: Promise<void>
  #tools: McpImport | undefined
  #withdraw: (() => void) | undefined

  constructor(configured: ConfiguredTools, options: ToolServerOptions) {
    this.configured = configured
    this.#options = options
    this.#done = this.#keep().catch(options.told)
  }

  /** Ends at once, with the calls that run. */
  async close(): Promise<void> {
    this.#end()
    await this.#done
    await this.#tools?.close()
  }

  /** Takes the tools out at once, and ends when the calls that run have. */
  async retire(): Promise<void> {
    this.#end()
    await this.#done
    await this.#tools?.retire()
  }

  #end(): void {
    this.#ending.abort(new KithError('CLOSED'))
    this.#withdraw?.()
    this.#withdraw = undefined
  }

  /** Connects again whenever the server went away or has other tools, until the end. */
  async #keep(): Promise<void> {
    const { clock, logger } = this.#options
    const { name, server, access } = this.configured
    const { signal } = this.#ending
    const { importMcp } = await import('../../gateway/mcp/import.ts')
    let wake: () => void = () => undefined
    let changed = false
    const onChange = (): void => {
      changed = true
      wake()
    }
    signal.addEventListener('abort', () => wake(), { once: true })
    const target = 'command' in server ? server : { url: server.url, ...(server.credential === undefined ? {} : { headers: this.#headers(server.credential) }) }
    const tools = importMcp({ service: name, server: target, version: version(), logger, onChange, ...(access === undefined ? {} : { access }) })
    this.#tools = tools
    let pause = FIRST_PAUSE_MS
    while (!signal.aborted) {
      changed = false
      if (await this.#open(tools)) {
        pause = FIRST_PAUSE_MS
        await new Promise<void>((resolve) => {
          wake = resolve
          if (changed || signal.aborted) resolve()
        })
        this.#withdraw?.()
        this.#withdraw = undefined
      }
      await sleep(clock, pause, signal).catch(() => undefined)
      pause = Math.min(pause * 2, LAST_PAUSE_MS)
    }
  }

  async #open(tools: McpImport): Promise<boolean> {
    const { signal } = this.#ending
    try {
      const operations = await tools.open(signal)
      if (signal.aborted) return false
      this.#withdraw = this.#options.offer(operations)
      this.#options.told()
      return true
    } catch (error) {
      if (!signal.aborted) this.#options.told(error)
      return false
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
}
