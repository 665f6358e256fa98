import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import { type CallToolResult, CallToolResultSchema, type Tool, ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js'
import { type AnyOperation, type CallContext, defineOperation } from '../../call/define.ts'
import { isOperationName } from '../../call/names.ts'
import type { JsonSchema, OperationAccess } from '../../call/types.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import { Running } from '../running.ts'
import { boundedFetch, type HeadersFor } from './bounded-fetch.ts'

export type McpServer =
  | { readonly command: string; readonly args: readonly string[]; readonly env: Readonly<Record<string, string>> }
  /** Https, or http on this machine. `headers`: added to each request, for a credential. */
  | { readonly url: string; readonly headers?: HeadersFor }

export interface McpImportOptions {
  /** First part of the operations' names. */
  readonly service: string
  readonly server: McpServer
  /** Who may call the tools: their server has no say in it. Absent: nobody but the owner. */
  readonly access?: OperationAccess
  readonly version: string
  readonly logger: Logger
  /** Called when the tools have changed; the owner of the import replaces the operations then. */
  readonly onChange: () => void
}

export interface McpImport {
  /** Connects, and asks for the tools. @throws KithError `UPSTREAM_UNREACHABLE`. */
  open(signal: AbortSignal): Promise<readonly AnyOperation[]>
  close(): Promise<void>
  /** Closes when the calls that run have ended. */
  retire(): Promise<void>
}

const MAX_TOOLS = 256
const MAX_PAGES = 32
/** A tool's result, as JSON. */
const MAX_RESULT_CHARACTERS = 1_048_576
const MAX_MESSAGE_BYTES = 4_194_304
const MAX_TEXT = 1_000
const CONNECT_MS = 15_000
const DEADLINE_MS = 60_000

const ERRORS = { UPSTREAM_FAILED: true, UPSTREAM_UNREACHABLE: true } as const
/** What a tool without a schema of its own gives. */
const CONTENT: JsonSchema = {
  type: 'object',
  properties: { content: { type: 'array', items: { type: 'object' } } },
  required: ['content'],
  additionalProperties: false,
}

/**
 * Tools of a server of the Model Context Protocol as operations. Each is a mutation, whatever the server hints: what a tool changes is known to it alone. Arguments are
 * validated here before they are sent, results before they are handed on; deadline and abort of the call are passed on; the server learns nothing about the caller.
 */
export function importMcp(options: McpImportOptions): McpImport {
  return new Import(options)
}

class Import implements McpImport {
  readonly #options: McpImportOptions
  readonly #running = new Running()
  #client: Client | undefined

  constructor(options: McpImportOptions) {
    this.#options = options
  }

  async open(signal: AbortSignal): Promise<readonly AnyOperation[]> {
    await this.close()
    const client = new Client({ name: 'kith', version: this.#options.version }, { capabilities: {} })
    client.setNotificationHandler(ToolListChangedNotificationSchema, () => this.#options.onChange())
    client.onerror = (error) => this.#options.logger.debug('tool server', { service: this.#options.service, message: error.message })
    this.#client = client
    try {
      await client.connect(transportOf(this.#options.server), { signal, timeout: CONNECT_MS })
      client.onclose = () => {
        if (this.#client === client) this.#options.onChange()
      }
      return await this.#operations(client, signal)
    } catch (error) {
      await this.close()
      if (signal.aborted) throw signal.reason
      throw isKithError(error)
        ? error
        : new KithError('UPSTREAM_UNREACHABLE', `The tools of ${this.#options.service} could not be asked for.`, {
            details: { service: this.#options.service },
            cause: error,
          })
    }
  }

  async close(): Promise<void> {
    const client = this.#client
    this.#client = undefined
    await client?.close().catch(() => undefined)
  }

  async retire(): Promise<void> {
    await this.#running.ended()
    await this.close()
  }

  async #operations(client: Client, signal: AbortSignal): Promise<readonly AnyOperation[]> {
    const found = new Map<string, AnyOperation>()
    let cursor: string | undefined
    for (let page = 0; page < MAX_PAGES; page++) {
      const { tools, nextCursor } = await client.listTools(cursor === undefined ? {} : { cursor }, { signal, timeout: CONNECT_MS })
      for (const tool of tools) {
        const operation = found.size < MAX_TOOLS ? this.#operation(tool) : undefined
        if (operation !== undefined && !found.has(operation.name)) found.set(operation.name, operation)
        else this.#options.logger.warn('tool left out', { service: this.#options.service, tool: tool.name.slice(0, 64) })
      }
      if (nextCursor === undefined) break
      cursor = nextCursor
    }
    return [...found.values()]
  }

  /** `undefined` for a tool that cannot be one: its name or a schema of it is not taken. */
  #operation(tool: Tool): AnyOperation | undefined {
    const { service, access } = this.#options
    const name = `${service}/${tool.name.replaceAll(/[^A-Za-z0-9_.-]/g, '_').slice(0, 64)}`
    if (!isOperationName(name)) return undefined
    const structured = tool.outputSchema !== undefined
    try {
      return defineOperation({
        name,
        kind: 'mutation',
        input: plain(tool.inputSchema),
        output: structured ? plain(tool.outputSchema as JsonSchema) : CONTENT,
        errors: ERRORS,
        deadlineMs: DEADLINE_MS,
        ...(access === undefined ? {} : { access }),
        ...(tool.description === undefined ? {} : { summary: tool.description.replaceAll(/\s+/g, ' ').slice(0, 300) }),
        handler: (input: unknown, context: CallContext) => this.#running.run(() => this.#call(tool.name, structured, input, context)),
      }) as AnyOperation
    } catch (error) {
      if (!isKithError(error, 'CALL_SCHEMA')) throw error
      return undefined
    }
  }

  async #call(name: string, structured: boolean, input: unknown, { signal, deadlineMs }: CallContext): Promise<unknown> {
    const client = this.#client
    if (client === undefined) throw new KithError('UPSTREAM_UNREACHABLE', `The server of ${this.#options.service} is not connected.`)
    let result: CallToolResult
    try {
      // The call itself ends at its deadline and takes this with it; the library's own shorter one must not come first.
      const options = { signal, timeout: (deadlineMs ?? DEADLINE_MS) + 1_000 }
      result = (await client.request(
        { method: 'tools/call', params: { name, arguments: input as Record<string, unknown> } },
        CallToolResultSchema,
        options,
      )) as CallToolResult
    } catch (error) {
      if (signal.aborted) throw signal.reason
      throw new KithError('UPSTREAM_FAILED', 'The tool server did not answer as it should.', { cause: error })
    }
    const value = structured ? result.structuredContent : { content: result.content }
    if (result.isError === true) throw new KithError('UPSTREAM_FAILED', 'The tool failed.', { details: { said: textOf(result) } })
    if ((JSON.stringify(value) ?? '').length > MAX_RESULT_CHARACTERS)
      throw new KithError('UPSTREAM_FAILED', `The tool gives more than ${MAX_RESULT_CHARACTERS} characters.`)
    return value
  }
}

/** Which dialect a schema claims is nothing that the validator is to look up. */
function plain(schema: JsonSchema): JsonSchema {
  if (typeof schema === 'boolean') return schema
  const { $schema: _dialect, $id: _id, ...rest } = schema
  return rest
}

function textOf({ content }: CallToolResult): string {
  const [first] = content
  return first?.type === 'text' ? first.text.slice(0, MAX_TEXT) : ''
}

function transportOf(server: McpServer): Transport {
  if ('command' in server) {
    // Its environment is what the owner wrote and the few names every program needs: none of this process's secrets.
    return new StdioClientTransport({
      command: server.command,
      args: [...server.args],
      env: { ...server.env },
      stderr: 'ignore',
      maxBufferSize: MAX_MESSAGE_BYTES,
    })
  }
  const fetch = boundedFetch(MAX_MESSAGE_BYTES, server.headers)
  // Its `sessionId` is typed as if it could not be unset.
  return new StreamableHTTPClientTransport(new URL(server.url), { fetch }) as Transport
}
