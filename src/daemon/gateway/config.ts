import { isAbsolute } from 'node:path'
import { z } from 'zod'
import type { OperationAccess } from '../../call/types.ts'
import { isBaseUrl } from '../../gateway/openapi/upstream.ts'
import { isLoopbackHost } from '../../gateway/server.ts'
import { isServiceName } from '../../vault/credentials/limits.ts'
import { wholePathOrNone } from '../config/values.ts'

/**
 * ```toml
 * [gateway]
 * listen = "127.0.0.1:8787"                     # HTTP: /v1, /v1/schema, /mcp
 * raw_listen = "127.0.0.1:8788"                 # calls in 4-byte-length JSON
 * raw_socket = "/run/user/1000/kith-calls.sock"
 *
 * [openapi.gitea]                               # operations gitea/...
 * file = "/etc/kith/gitea.json"
 * url = "https://git.example/api/v1"            # where requests go; what the file says counts for nothing
 * credential = "gitea"                          # kith credential add gitea
 * access = { all = ["service:gitea:read"] }     # or "everyone"; absent: the owner alone
 *
 * [mcp.search]                                  # operations search/...
 * command = "/usr/local/bin/search-tools"       # or url = "https://tools.example/mcp"
 * args = ["--stdio"]
 * ```
 */
export interface ConfiguredOpenApi {
  readonly name: string
  readonly file: string
  readonly url: string
  readonly credential: string | undefined
  readonly access: OperationAccess | undefined
}

export interface ConfiguredTools {
  readonly name: string
  readonly server:
    | { readonly command: string; readonly args: readonly string[]; readonly env: Readonly<Record<string, string>> }
    | { readonly url: string; readonly credential: string | undefined }
  readonly access: OperationAccess | undefined
}

/** Host and port of a loopback address. */
export interface LoopbackAddress {
  readonly host: string
  readonly port: number
}

const MAX_ENTRIES = 64
const MAX_TEXT = 4_096
const MAX_SCOPES = 16
const ADDRESS = /^(?:\[([0-9a-fA-F:]{2,45})\]|([0-9.]{7,15})):(\d{1,5})$/

/** `undefined` for what is no loopback address with a port. */
export function parseLoopback(text: string): LoopbackAddress | undefined {
  const match = ADDRESS.exec(text.replace(/^localhost:/, '127.0.0.1:'))
  const host = match?.[1] ?? match?.[2] ?? ''
  const port = Number(match?.[3])
  return match !== null && isLoopbackHost(host) && port <= 65_535 ? { host, port } : undefined
}

/** Empty, or an address on this machine. */
export const loopbackSchema: z.ZodType<string> = z
  .string('expected an address such as "127.0.0.1:8787"')
  .max(64)
  .refine((text) => text === '' || parseLoopback(text) !== undefined, 'expected a loopback address such as "127.0.0.1:8787": it is plain HTTP')

/** Empty, or where a socket file is to be. Longer names than this no system takes. */
export const socketSchema: z.ZodType<string> = wholePathOrNone('socket', 100)

const scopes = z
  .array(z.string().regex(/^[\x21-\x7e]{1,128}$/, 'a scope is 1 to 128 visible characters'))
  .max(MAX_SCOPES)
  .readonly()
const access = z.union(
  [z.literal('everyone'), z.strictObject({ all: scopes.optional(), any: scopes.optional() })],
  'expected "everyone" or { all = [...], any = [...] }',
)
const text = z
  .string('expected a text')
  .min(1)
  .max(MAX_TEXT)
  .refine((value) => !value.includes('\0'), 'expected a text')
const credential = z.string('expected the name of a credential').refine(isServiceName, 'expected the name of a credential')
const url = z.string('expected an address').refine(isBaseUrl, 'expected https://HOST[/PATH], or http for this machine')

const openapi = z.strictObject({
  file: text.refine(isAbsolute, 'expected the whole path of a JSON file'),
  url,
  credential: credential.optional(),
  access: access.optional(),
})
const tools = z.union(
  [
    z.strictObject({
      command: text,
      args: z.array(z.string().max(MAX_TEXT)).max(MAX_ENTRIES).optional(),
      env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/), z.string().max(MAX_TEXT)).optional(),
      access: access.optional(),
    }),
    z.strictObject({ url, credential: credential.optional(), access: access.optional() }),
  ],
  'expected command (with args, env) or url (with credential), and access',
)

/** A table for each, by names that can begin the names of operations. */
function tables<T>(entry: z.ZodType<T>, setting: string): z.ZodType<readonly (readonly [string, T])[]> {
  const example = `expected tables such as [${setting}.NAME]`
  return z
    .record(z.string().regex(/^[A-Za-z][A-Za-z0-9_.-]{0,63}$/, 'a name has up to 64 letters, digits and _ . -, a letter first'), entry, example)
    .refine((given) => Object.keys(given).length <= MAX_ENTRIES, `expected at most ${MAX_ENTRIES}`)
    .transform((given) => Object.entries(given)) as unknown as z.ZodType<readonly (readonly [string, T])[]>
}

export const openapiSchema: z.ZodType<readonly ConfiguredOpenApi[]> = tables(openapi, 'openapi').transform((entries) =>
  entries.map(([name, { file, url: base, credential: service, access: rule }]) => ({ name, file, url: base, credential: service, access: ruleOf(rule) })),
) as unknown as z.ZodType<readonly ConfiguredOpenApi[]>

export const toolsSchema: z.ZodType<readonly ConfiguredTools[]> = tables(tools, 'mcp').transform((entries) =>
  entries.map(([name, entry]) => ({
    name,
    server: 'command' in entry ? { command: entry.command, args: entry.args ?? [], env: entry.env ?? {} } : { url: entry.url, credential: entry.credential },
    access: ruleOf(entry.access),
  })),
) as unknown as z.ZodType<readonly ConfiguredTools[]>

function ruleOf(rule: z.infer<typeof access> | undefined): OperationAccess | undefined {
  if (rule === undefined || rule === 'everyone') return rule
  return { ...(rule.all === undefined ? {} : { all: rule.all }), ...(rule.any === undefined ? {} : { any: rule.any }) }
}
