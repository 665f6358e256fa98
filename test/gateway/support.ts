import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import type { Caller, IdentityProvider } from '../../src/access/types.ts'
import { defineOperation } from '../../src/call/define.ts'
import { createLocalCallee, type LocalCallee } from '../../src/call/local.ts'
import { createRegistry, type Registry } from '../../src/call/registry.ts'
import type { Authorize } from '../../src/call/types.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { createGateway, type Gateway } from '../../src/gateway/server.ts'
import type { GatewayOptions } from '../../src/gateway/types.ts'

export function callerNamed(name: string, ...scopes: string[]): Caller {
  return { id: `key:${name}`, via: 'api-key', scopes: new Set(scopes), resources: new Map() }
}

/** Tokens by their text. */
export function identitiesOf(callers: Readonly<Record<string, Caller>>): IdentityProvider {
  return {
    async resolve(shown) {
      if (shown.kind === 'local') return { id: 'local', via: 'local', scopes: new Set(), resources: new Map() }
      return shown.kind === 'api-key' ? callers[shown.text] : undefined
    },
  }
}

/** The operation's own rules, and nothing else. */
export const byScopes: Authorize = (caller, { access, visibility }) => {
  if (caller.id === 'local' || access === 'everyone') return 'allowed'
  const all = access?.all ?? []
  if (access !== undefined && all.every((scope) => caller.scopes.has(scope))) return 'allowed'
  return visibility === 'listed' ? 'denied' : 'hidden'
}

export interface World {
  readonly registry: Registry
  readonly callee: LocalCallee
  readonly identities: IdentityProvider
  readonly gateway: Gateway
  readonly port: number
  readonly callers: Record<string, Caller>
  close(): Promise<void>
}

export const TOKEN = 'alk_reader'

/** A gateway on a port of its own, in front of the real callee. */
export async function openWorld(operations: Parameters<Registry['registerAll']>[0], options: Partial<GatewayOptions> = {}): Promise<World> {
  const registry = createRegistry(operations)
  const callee = createLocalCallee({ registry, authorize: byScopes, clock: systemClock, random: systemRandom, logger: silentLogger })
  const callers: Record<string, Caller> = { [TOKEN]: callerNamed('reader', 'read'), alk_writer: callerNamed('writer', 'read', 'write') }
  const identities = identitiesOf(callers)
  const gateway = createGateway({ callee, identities, clock: systemClock, random: systemRandom, logger: silentLogger, ...options })
  const { port } = await gateway.listen('127.0.0.1', 0)
  return {
    registry,
    callee,
    identities,
    gateway,
    port,
    callers,
    async close() {
      await gateway.close()
      callee.close()
    },
  }
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  readonly json: unknown
}

export interface Asking {
  readonly method?: string
  readonly body?: unknown
  /** Sent as it is. */
  readonly raw?: string | Buffer
  readonly token?: string | null
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
}

/** One request on a connection of its own. */
export function ask(port: number, path: string, { method, body, raw, token = TOKEN, headers = {} }: Asking = {}): Promise<Answer> {
  const content = raw ?? (body === undefined ? undefined : JSON.stringify(body))
  return new Promise((resolve, reject) => {
    const sent = httpRequest(
      {
        host: '127.0.0.1',
        port,
        path,
        method: method ?? (content === undefined ? 'GET' : 'POST'),
        agent: false,
        headers: {
          ...(token === null ? {} : { authorization: `Bearer ${token}` }),
          ...(content === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(content) }),
          ...headers,
        },
      },
      (answer) => {
        const chunks: Buffer[] = []
        answer.on('data', (chunk: Buffer) => chunks.push(chunk))
        answer.on('error', reject)
        answer.on('end', () => {
          const text = Buffer.concat(chunks).toString()
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text, json: parsed(text) })
        })
      },
    )
    sent.on('error', reject)
    sent.end(content)
  })
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The code of a failed answer. */
export function codeOf({ json }: Answer): string | undefined {
  return (json as { readonly error?: { readonly code?: string } } | undefined)?.error?.code
}

export { defineOperation }
