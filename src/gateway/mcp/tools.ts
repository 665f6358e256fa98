import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import type { CallToolResult, Tool } from '@modelcontextprotocol/sdk/types.js'
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import type { Caller } from '../../access/types.ts'
import type { Callee, OperationDescription } from '../../call/types.ts'
import { type ErrorCode, KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import { errorText, jsonOf, outward } from '../answer.ts'
import { refuseMagicKeys } from '../json.ts'
import { exportSchema } from './tool-schema.ts'

/** What to do about an error that does not say so itself. */
const NEXT: Partial<Readonly<Record<ErrorCode, string>>> = {
  CALL_UNKNOWN: 'tools/list names the tools',
  CALL_INPUT: 'tools/list has the inputSchema of the tool',
}

/** Tools told at once; a list of more would fill the reader's memory of what it is doing. */
const MAX_TOOLS = 256
/** A tool's result, as text. */
const MAX_RESULT_CHARACTERS = 262_144

/** On whose behalf a request is answered, and for how long. */
export interface Asked {
  readonly caller: Caller
  readonly signal?: AbortSignal
}

export interface ToolServerOptions {
  readonly callee: Callee
  readonly logger: Logger
  readonly title: string
  readonly version: string
  /** Whose authority a request has: asked for each one, from what its transport proved. Never from what the request says. */
  readonly askedBy: (auth: unknown) => Asked | undefined
  /** Which of the caller's operations are tools. Default: all. */
  readonly offered?: (name: string) => boolean
}

/**
 * Operations as tools of the Model Context Protocol. A tool is an operation of one answer: a query or a mutation; subscriptions and client streams are none. Which
 * tool a model chooses, and with what arguments, decides nothing: the call is made as the caller whose token the client showed, and goes the way of every other call.
 *
 * `service/op` is the tool `service_op`, `/node/service/op` is `node__service_op`; where two would have one name the later in the alphabet gets `_2`.
 */
export function createToolServer(options: ToolServerOptions): Server {
  const { callee, askedBy, logger, title, version } = options
  const server = new Server({ name: title, version }, { capabilities: { tools: { listChanged: true } } })
  server.setRequestHandler(ListToolsRequestSchema, async (_request, { authInfo }) => {
    const { caller } = known(askedBy(authInfo))
    const tools: Tool[] = []
    for (const [name, path] of await namesOf(options, caller)) {
      if (tools.length === MAX_TOOLS) break
      const described = await callee.describe(path, caller)
      if (described !== undefined && !described.clientStream) tools.push(toolOf(name, described))
    }
    return { tools }
  })
  server.setRequestHandler(CallToolRequestSchema, async ({ params }, { authInfo, signal }): Promise<CallToolResult> => {
    try {
      const { caller, signal: whole } = known(askedBy(authInfo))
      const path = (await namesOf(options, caller)).get(params.name)
      const described = path === undefined ? undefined : await callee.describe(path, caller)
      if (path === undefined || described === undefined || described.clientStream) throw new KithError('CALL_UNKNOWN')
      const given = params.arguments ?? {}
      refuseMagicKeys(given)
      const { wrapped } = exportSchema(described.input, 'input')
      const value = await callee.call({
        caller,
        path,
        input: wrapped ? (given as { readonly input?: unknown }).input : given,
        signal: whole === undefined ? signal : AbortSignal.any([signal, whole]),
      })
      return resultOf(value ?? null, described)
    } catch (error) {
      const told = outward(error)
      if (told.code === 'INTERNAL') logger.error('tool failed', { message: told.cause instanceof Error ? told.cause.message : 'unknown' })
      // What goes wrong in a tool is told to whoever chose it, so that it can choose better.
      return { isError: true, content: [{ type: 'text', text: errorText(told, NEXT) }] }
    }
  })
  return server
}

function known(asked: Asked | undefined): Asked {
  if (asked === undefined) throw new KithError('GATEWAY_UNAUTHORIZED')
  return asked
}

/** Paths of what this caller may call, by the names of the tools. */
async function namesOf({ callee, offered }: ToolServerOptions, caller: Caller): Promise<ReadonlyMap<string, string>> {
  const listed = (await callee.list(caller)).filter(({ kind, name }) => kind !== 'subscription' && (offered === undefined || offered(name)))
  const paths = listed.map(({ name, node }) => (node === '' ? name : `/${node}/${name}`)).sort()
  const names = new Map<string, string>()
  for (const path of paths) {
    const plain = toolName(path)
    let name = plain
    for (let i = 2; names.has(name); i++) name = `${plain.slice(0, MAX_NAME - 4)}_${i}`
    names.set(name, path)
  }
  return names
}

const MAX_NAME = 64

function toolName(path: string): string {
  const [a = '', b = '', c] = path.replace(/^\//, '').split('/')
  const text = c === undefined ? `${a}_${b}` : `${a}__${b}_${c}`
  return text.replaceAll(/[^A-Za-z0-9_-]/g, '_').slice(0, MAX_NAME)
}

function toolOf(name: string, described: OperationDescription): Tool {
  const input = exportSchema(described.input, 'input')
  const output = exportSchema(described.output, 'output')
  return {
    name,
    title: described.name,
    ...(described.summary === undefined ? {} : { description: described.summary }),
    inputSchema: input.schema as Tool['inputSchema'],
    outputSchema: output.schema as NonNullable<Tool['outputSchema']>,
    annotations: { readOnlyHint: described.kind === 'query', idempotentHint: described.idempotent || described.kind === 'query', openWorldHint: false },
  }
}

function resultOf(value: unknown, { output }: OperationDescription): CallToolResult {
  const text = jsonOf(value)
  if (text.length > MAX_RESULT_CHARACTERS) {
    throw new KithError('MESSAGE_TOO_LARGE', `The result has more than ${MAX_RESULT_CHARACTERS} characters.`, { details: { limit: MAX_RESULT_CHARACTERS } })
  }
  const { wrapped } = exportSchema(output, 'output')
  return {
    content: [{ type: 'text', text }],
    structuredContent: wrapped ? { output: value instanceof Uint8Array ? JSON.parse(text) : value } : (value as { [name: string]: unknown }),
  }
}
