import { isAbsolute } from 'node:path'
import { z } from 'zod'
import type { CredentialFields } from '../../vault/credentials/compose.ts'
import type { ConfiguredCredential } from '../../vault/credentials/config.ts'
import { isDidText, isServiceName, MAX_CREDENTIALS, MAX_ORIGINS, MAX_URL_BYTES, parseOrigin } from '../../vault/credentials/limits.ts'
import { CREDENTIAL_TYPES, type CredentialType } from '../../vault/credentials/types.ts'

/**
 * ```toml
 * [credentials.vast-ai]
 * type = "bearer"
 * secret_file = "/etc/kith/vast-ai.token"     # or secret_credential = "vast-ai", as the service manager names it
 * origins = ["https://console.vast.ai"]
 * ```
 *
 * The name of the table is the service, unless `service` says another: so one service may have credentials for several identities (`did`). A secret never stands here.
 */
const KEYS: ReadonlySet<string> = new Set([
  'type',
  'service',
  'did',
  'origins',
  'secret_file',
  'secret_credential',
  'header',
  'username',
  'access_key',
  'region',
  'sign_for',
  'scheme',
])
/** What people write when they mean the secret itself. */
const SECRET_KEY = /token|secret|password|passwd|passphrase|^key$|api_?key|credential|value/i
const TYPES: readonly CredentialType[] = CREDENTIAL_TYPES.filter((type) => type !== 'oidc')
const MAX_PATH = 4_096

type Table = Readonly<Record<string, unknown>>

/** Values are never repeated in what is said about them: one of them may be a secret in the wrong place. */
class Refused extends Error {
  readonly path: readonly string[]
  constructor(path: readonly string[], message: string) {
    super(message)
    this.path = path
  }
}

/** The setting `credentials`. */
export const credentialsSchema: z.ZodType<readonly ConfiguredCredential[]> = z.unknown().transform((value, context) => {
  try {
    return parseTables(value)
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    context.addIssue({ code: 'custom', path: [...error.path], message: error.message })
    return z.NEVER
  }
})

function parseTables(value: unknown): readonly ConfiguredCredential[] {
  if (!isTable(value)) throw new Refused([], 'expected tables such as [credentials.NAME] in config.toml; secrets are never in the environment')
  const names = Object.keys(value)
  if (names.length > MAX_CREDENTIALS) throw new Refused([], `expected at most ${MAX_CREDENTIALS} credentials`)
  const parsed = names.map((name) => parseOne(name, value[name]))
  const seen = new Set<string>()
  for (const [i, { key }] of parsed.entries()) {
    const id = `${key.service} ${key.did ?? ''}`
    if (seen.has(id)) throw new Refused([names[i] ?? ''], 'there is another for the same service and identity')
    seen.add(id)
  }
  return parsed
}

function parseOne(name: string, table: unknown): ConfiguredCredential {
  if (!isTable(table)) throw new Refused([name], 'expected a table; a secret never stands in the configuration, name its file with secret_file')
  for (const key of Object.keys(table)) {
    if (KEYS.has(key)) continue
    const secret = SECRET_KEY.test(key)
    throw new Refused(
      [name, key],
      secret ? 'a secret never stands in the configuration; put it into a file of your own (0600) and name that with secret_file' : 'no such key',
    )
  }
  const text = (key: string): string | undefined => textOf(name, table, key)
  const type = TYPES.find((known) => known === table.type)
  if (type === undefined) throw new Refused([name, 'type'], `expected ${TYPES.join(', ')}; oidc renews itself and is kept by the vault: kith credential add`)
  const service = text('service') ?? name
  const did = text('did')
  if (!isServiceName(service)) throw new Refused([name], 'a service is named with lower-case letters, digits, dots, dashes and underscores')
  if (did !== undefined && !isDidText(did)) throw new Refused([name, 'did'], 'expected a DID')
  const fields: CredentialFields = {
    ...{ type, header: text('header'), username: text('username'), accessKey: text('access_key'), scheme: text('scheme') },
    ...{ region: text('region'), signFor: text('sign_for') },
  }
  return { key: did === undefined ? { service } : { service, did }, fields, origins: originsOf(name, table.origins), secret: placeOf(name, text) }
}

function placeOf(name: string, text: (key: string) => string | undefined): ConfiguredCredential['secret'] {
  const file = text('secret_file')
  const credential = text('secret_credential')
  if ((file === undefined) === (credential === undefined)) throw new Refused([name], 'expected one of secret_file and secret_credential')
  if (file !== undefined) {
    if (!isAbsolute(file)) throw new Refused([name, 'secret_file'], 'expected an absolute path')
    return { file }
  }
  if (!/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/.test(credential ?? '')) throw new Refused([name, 'secret_credential'], 'expected the name of a credential')
  return { credential: credential ?? '' }
}

function originsOf(name: string, value: unknown): readonly string[] {
  if (value === undefined) return []
  if (!Array.isArray(value) || value.length > MAX_ORIGINS)
    throw new Refused([name, 'origins'], `expected a list of at most ${MAX_ORIGINS} origins such as "https://api.example"`)
  return value.map((item) => {
    const origin = typeof item === 'string' && item.length <= MAX_URL_BYTES ? parseOrigin(item) : undefined
    if (origin === undefined) throw new Refused([name, 'origins'], 'expected origins such as "https://api.example"; http only for this machine')
    return origin
  })
}

function textOf(name: string, table: Table, key: string): string | undefined {
  const value = table[key]
  if (value === undefined || (typeof value === 'string' && value !== '' && value.length <= MAX_PATH)) return value
  throw new Refused([name, key], 'expected a text')
}

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}
