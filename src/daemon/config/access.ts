import { z } from 'zod'
import { isAttribute, isForeignPrincipal, isKeyName, isScope } from '../../access/principal.ts'
import type { ApiKeyRecord, Grant } from '../../access/sources.ts'
import { isDid } from '../../identity/did.ts'
import { isPeerClass } from '../../mesh/constraints.ts'
import { wholePath } from './values.ts'

/**
 * ```toml
 * [access]
 * authorized_keys = ["/etc/kith/authorized_keys"]      # keys and cert-authority lines, as sshd reads them
 * revocations = ["/etc/kith/revoked"]                  # of ssh-keygen -k, or text
 * ssh_scopes = ["relay:connect"]                       # of everybody who comes in by an SSH key or certificate
 *
 * [access.api_keys.ci]
 * hash = "sha256:61210fdb..."                          # of the whole key: printf %s KEY | sha256sum
 * scopes = ["reports:read"]
 * resources = { "bucket:photos" = ["read"] }
 * expires = "2027-01-31"
 *
 * [access.grants."ssh:SHA256:..."]                     # or a DID, a class, key:NAME, ssh-user:NAME
 * scopes = ["reports:read"]
 * did = "did:icn:z..."                                 # whose key it is
 * ```
 */
export interface NamedGrant {
  readonly principal: string
  readonly grant: Grant
}

const MAX_ENTRIES = 1_000
const MAX_FILES = 16
const MAX_SCOPES = 64
const MAX_ACTIONS = 32

const scope: z.ZodType<string> = z.string('expected a scope').refine(isScope, 'a scope is lower-case words with colons between them, like relay:connect')
export const scopesSchema: z.ZodType<readonly string[]> = z
  .array(scope, 'expected a list of scopes')
  .max(MAX_SCOPES, `expected at most ${MAX_SCOPES} scopes`)
  .readonly()
const name = z.string().regex(/^[A-Za-z0-9._:/-]{1,128}$/, 'a resource or an action is 1 to 128 letters, digits and . _ : / -')
export const resourcesSchema: z.ZodType<Readonly<Record<string, readonly string[]>>> = z
  .record(name, z.array(name).max(MAX_ACTIONS), 'expected resources such as { "bucket:photos" = ["read"] }')
  .refine((resources) => Object.keys(resources).length <= MAX_SCOPES, `expected at most ${MAX_SCOPES} resources`)

/** Whole paths of files that the owner keeps. */
export const filesSchema: z.ZodType<readonly string[]> = z
  .array(wholePath('file'), 'expected a list of files such as ["/etc/kith/authorized_keys"]')
  .max(MAX_FILES, `expected at most ${MAX_FILES} files`)
  .readonly()

const moment = z.union([z.string(), z.date()], 'expected a time such as "2027-01-31" or "2027-01-31T18:00:00Z"').transform((value, context) => {
  const ms = Date.parse(value instanceof Date ? value.toISOString() : value)
  if (!Number.isNaN(ms)) return ms
  context.addIssue({ code: 'custom', message: 'expected a time such as "2027-01-31" or "2027-01-31T18:00:00Z"' })
  return z.NEVER
})

const apiKey = z.strictObject(
  {
    hash: z
      .string('expected the hash of a key')
      .regex(/^sha256:[0-9a-f]{64}$/, 'expected "sha256:" and 64 hexadecimal digits; a key itself never stands in the configuration'),
    scopes: scopesSchema.optional(),
    resources: resourcesSchema.optional(),
    expires: moment.optional(),
    description: z.string().max(200).optional(),
  },
  'expected a table with hash, scopes, resources, expires',
)

export const apiKeysSchema: z.ZodType<readonly ApiKeyRecord[]> = z
  .record(z.string(), apiKey, 'expected tables such as [access.api_keys.NAME] in config.toml')
  .transform((tables, context) => {
    const records: ApiKeyRecord[] = []
    for (const [key, { hash, scopes = [], resources, expires }] of Object.entries(tables)) {
      const digest = hash.slice('sha256:'.length)
      const problem = isKeyName(key)
        ? records.some((other) => other.hash === digest)
          ? 'another entry is the same key'
          : undefined
        : 'a key is named with lower-case letters, digits, dots, dashes and underscores'
      if (problem !== undefined) context.addIssue({ code: 'custom', path: [key], message: problem })
      records.push({
        name: key,
        hash: digest,
        grant: { scopes, ...(resources === undefined ? {} : { resources }) },
        ...(expires === undefined ? {} : { expiresMs: expires }),
      })
    }
    if (records.length > MAX_ENTRIES) context.addIssue({ code: 'custom', message: `expected at most ${MAX_ENTRIES} keys` })
    return records
  })

const grant = z.strictObject(
  { scopes: scopesSchema.optional(), resources: resourcesSchema.optional(), did: z.string().refine(isDid, 'expected a DID').optional() },
  'expected a table with scopes, resources, did',
)

export const grantsSchema: z.ZodType<readonly NamedGrant[]> = z
  .record(z.string(), grant, 'expected tables such as [access.grants."ssh:SHA256:..."] in config.toml')
  .transform((tables, context) => {
    const named: NamedGrant[] = []
    for (const [principal, { scopes = [], resources, did }] of Object.entries(tables)) {
      if (!isGrantee(principal)) context.addIssue({ code: 'custom', path: [principal], message: GRANTEE })
      if (did !== undefined && !isForeignPrincipal(principal))
        context.addIssue({ code: 'custom', path: [principal, 'did'], message: 'only a key is somebody’s' })
      named.push({
        principal,
        grant: { scopes, ...(resources === undefined ? {} : { resources }), ...(did === undefined ? {} : { did: did as NonNullable<Grant['did']> }) },
      })
    }
    if (named.length > MAX_ENTRIES) context.addIssue({ code: 'custom', message: `expected at most ${MAX_ENTRIES} grants` })
    return named
  })

export const GRANTEE = 'scopes are granted to a DID, a class, ssh:SHA256:..., key:NAME or ssh-user:NAME'

/** Whom scopes can be granted to. A scope is not somebody. */
export function isGrantee(principal: string): boolean {
  return isDid(principal) || isPeerClass(principal) || isForeignPrincipal(principal) || (isAttribute(principal) && principal.startsWith('ssh-user:'))
}
