import type { IncomingMessage, ServerResponse } from 'node:http'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import type { Caller } from '../../access/types.ts'
import { toHex } from '../../core/bytes.ts'
import type { Timer } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import { setSecurityHeaders } from '../answer.ts'
import type { GatewayOptions } from '../types.ts'
import { type Asked, createToolServer } from './tools.ts'

/** Sessions open at once: in all, of one caller. */
const MAX_SESSIONS = 128
const MAX_SESSIONS_PER_CALLER = 16
const IDLE_MS = 600_000
/** Changes are told at most so often. */
const CHANGE_PAUSE_MS = 1_000

export interface McpRequest {
  readonly caller: Caller
  readonly signal: AbortSignal
  readonly headers: readonly string[]
  readonly body: unknown
}

/** The Model Context Protocol over HTTP ("streamable HTTP"): `/mcp`. */
export interface McpDoor {
  /** Resolves when the answer has ended. @throws KithError `CALL_UNKNOWN` for a session that is not this caller's, `GATEWAY_BUSY`. */
  serve(request: IncomingMessage, response: ServerResponse, of: McpRequest): Promise<void>
  close(): Promise<void>
}

interface Session {
  readonly transport: StreamableHTTPServerTransport
  /** Who opened it: nobody else continues it, whoever knows its id. */
  readonly callerId: string
  idle: Timer | undefined
  /** Requests being answered in it. */
  active: number
  close(): Promise<void>
}

export async function openMcpDoor(options: GatewayOptions): Promise<McpDoor> {
  return new SessionDoor(options)
}

class SessionDoor implements McpDoor {
  readonly #options: GatewayOptions
  readonly #sessions: Map<string, Session> = new Map()
  readonly #stopWatching: () => void
  #change: Timer | undefined
  readonly #tell: Set<() => void> = new Set()

  constructor(options: GatewayOptions) {
    this.#options = options
    this.#stopWatching = options.callee.onChange(() => this.#changed())
  }

  async serve(request: IncomingMessage, response: ServerResponse, of: McpRequest): Promise<void> {
    const id = request.headers['mcp-session-id']
    const session = id === undefined ? await this.#begin(of) : this.#find(id, of.caller)
    setSecurityHeaders(response, of.headers)
    session.idle?.cancel()
    session.active += 1
    // The authority of a request is that of its own token, looked up anew: a session lends none.
    const auth = {
      token: '',
      clientId: of.caller.id,
      scopes: [...of.caller.scopes],
      extra: { asked: { caller: of.caller, signal: of.signal } satisfies Asked },
    }
    const ended = new Promise<void>((resolve) => response.once('close', resolve))
    const end = (): void => void response.destroy()
    of.signal.addEventListener('abort', end, { once: true })
    try {
      await session.transport.handleRequest(Object.assign(request, { auth }), response, of.body)
      await ended
    } finally {
      of.signal.removeEventListener('abort', end)
      session.active -= 1
      if (session.transport.sessionId === undefined) await session.close()
      else if (session.active === 0) session.idle = this.#options.clock.after(IDLE_MS, () => void session.close())
    }
  }

  async close(): Promise<void> {
    this.#stopWatching()
    this.#change?.cancel()
    await Promise.allSettled([...this.#sessions.values()].map((session) => session.close()))
  }

  #find(id: string | readonly string[], caller: Caller): Session {
    const session = typeof id === 'string' ? this.#sessions.get(id) : undefined
    if (session === undefined || session.callerId !== caller.id) throw new KithError('NOT_FOUND', 'There is no such session.')
    return session
  }

  /** A session that is kept only when the request turns out to begin one. */
  async #begin({ caller }: McpRequest): Promise<Session> {
    const { callee, logger, random, title = 'kith', version = '0.0.0' } = this.#options
    const own = [...this.#sessions.values()].filter(({ callerId }) => callerId === caller.id).length
    if (this.#sessions.size >= MAX_SESSIONS || own >= MAX_SESSIONS_PER_CALLER) throw new KithError('GATEWAY_BUSY', 'As many sessions as may be are open.')
    const server = createToolServer({ callee, logger, title, version, askedBy })
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: () => toHex(random.bytes(16)),
      onsessioninitialized: (id) => {
        this.#sessions.set(id, session)
      },
    })
    const tell = (): void => void server.sendToolListChanged().catch(() => undefined)
    let closing: Promise<void> | undefined
    const session: Session = {
      transport,
      callerId: caller.id,
      idle: undefined,
      active: 0,
      close: () => {
        closing ??= server.close()
        return closing
      },
    }
    // Its `onclose` is typed as if it could not be unset.
    await server.connect(transport as Transport)
    server.onclose = () => {
      session.idle?.cancel()
      this.#tell.delete(tell)
      if (transport.sessionId !== undefined) this.#sessions.delete(transport.sessionId)
    }
    this.#tell.add(tell)
    return session
  }

  /** Tells those who listen that other tools may be there, once for many changes. */
  #changed(): void {
    if (this.#change !== undefined || this.#tell.size === 0) return
    this.#change = this.#options.clock.after(CHANGE_PAUSE_MS, () => {
      this.#change = undefined
      for (const tell of this.#tell) tell()
    })
  }
}

/** From what `serve` put there; the request cannot. */
function askedBy(auth: unknown): Asked | undefined {
  return (auth as { readonly extra?: { readonly asked?: Asked } } | undefined)?.extra?.asked
}
