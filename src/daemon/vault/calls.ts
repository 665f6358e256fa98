import { z } from 'zod'
import { policySubject } from '../../access/principal.ts'
import type { Caller } from '../../access/types.ts'
import { auditText } from '../../assembly/audit-text.ts'
import { type AnyOperation, type CallContext, defineOperation } from '../../call/define.ts'
import { toHex } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { asKithError, KithError } from '../../core/errors.ts'
import type { Audit } from '../../core/observe/audit.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { MeshPolicy } from '../../mesh/mesh-types.ts'
import { MAX_LEASE_MS } from '../../vault/credentials/lease.ts'
import { MAX_DATA_CHARS, MAX_PLAINTEXT_BYTES } from '../../vault/encrypted-data.ts'
import { type PathClass, parsePath, pathClass } from '../../vault/paths.ts'
import type { Vault } from '../../vault/vault.ts'
import { DEFAULT_VAULT } from './files.ts'
import { keyGrants } from './key-grants.ts'

/**
 * # The secret service: the vault's work for callers, never its keys
 *
 * ```text
 * vault/encrypt, vault/decrypt     scope secrets:encrypt, secrets:decrypt
 * vault/sign                       scope secrets:sign, and the key as resource: vault:m/74h/0h/0h/3h=sign
 * vault/public-key                 scope secrets:public
 * vault/site-password              scope secrets:site-password
 * vault/derive                     scope secrets:derive, and a rule that names the path and the caller: kith allow PEER call vault/derive/m/74h/0h/0h/3h
 * ```
 *
 * Paths are written with `h` for hardened. Another vault than the default one is a resource of its own: `vault:NAME=encrypt`. Nothing here reaches the identity's keys,
 * tokens, backups or the treasury, whatever is granted. A locked vault is `VAULT_LOCKED`. Every use is a row in the audit log, without what was worked on.
 */
export interface VaultCallsOptions {
  /** @throws KithError `VAULT_LOCKED`, `VAULT_MISSING`, `USAGE` for a bad name. */
  readonly opened: (name: string) => Promise<Vault>
  readonly policy: () => Pick<MeshPolicy, 'ruled' | 'onChange'>
  readonly audit: () => Audit | undefined
  readonly clock: Clock
  readonly logger: Logger
}

/** Keys for work of others: everything else in the tree belongs to the node itself. */
const LENT: ReadonlySet<PathClass> = new Set(['worker', 'other'])
const DERIVED: ReadonlySet<PathClass> = new Set(['worker', 'ethereum', 'other'])
const SHOWN: ReadonlySet<PathClass> = new Set(['identity', 'worker', 'ssh', 'token', 'ethereum', 'backup', 'other'])
const MAX_MESSAGE_CHARS = 1_398_104

const ERRORS = {
  VAULT_LOCKED: z.unknown(),
  VAULT_MISSING: z.unknown(),
  CALL_DENIED: z.unknown(),
  PATH_INVALID: z.unknown(),
  DECRYPT_FAILED: z.unknown(),
  USAGE: z.unknown(),
} as const
const base64 = (limit: number): z.ZodType<string> => z.base64().max(limit)
const vault = z.string().max(64).optional()
const path = z
  .string()
  .max(200)
  .regex(/^m(\/[0-9]{1,10}h?)+$/, 'a path is written m/74h/0h/0h/3h')
const encrypted = z.strictObject({ key_version: z.int(), salt: z.string().max(100), iv: z.string().max(100), data: z.string().max(MAX_DATA_CHARS) })

export function vaultOperations(options: VaultCallsOptions): readonly AnyOperation[] {
  const { opened } = options
  const use = async (context: CallContext, operation: string, name: string = DEFAULT_VAULT): Promise<Vault> => {
    const { caller } = context
    if (name !== DEFAULT_VAULT && caller.via !== 'local' && caller.resources.get(`vault:${name}`)?.includes(operation) !== true)
      throw new KithError('CALL_DENIED')
    return await opened(name)
  }
  const noted = async <T>(context: CallContext, operation: string, details: Record<string, string>, work: () => T | Promise<T>): Promise<T> => {
    try {
      const result = await work()
      note(options, context.caller, operation, { ...details, result: 'ok' })
      return result
    } catch (error) {
      const known = ownWords(error)
      note(options, context.caller, operation, { ...details, result: known.code })
      throw known
    }
  }
  // What uses a key is no query: a query may be asked for in a URL, and a client of tools may ask it without its person.
  return [
    defineOperation({
      name: 'vault/encrypt',
      kind: 'mutation',
      idempotent: true,
      access: { all: ['secrets:encrypt'] },
      summary: 'Encrypts bytes (base64) with the key of the vault.',
      input: z.strictObject({ data: base64(Math.ceil(MAX_PLAINTEXT_BYTES / 3) * 4), vault }),
      output: encrypted,
      errors: ERRORS,
      handler: ({ data, vault: name }, context) =>
        noted(context, 'encrypt', {}, async () => {
          const open = await use(context, 'encrypt', name)
          const bytes = Buffer.from(data, 'base64')
          try {
            if (bytes.length === 0 || bytes.length > MAX_PLAINTEXT_BYTES) throw new KithError('USAGE', `Expected 1 to ${MAX_PLAINTEXT_BYTES} bytes.`)
            return open.encrypt(bytes)
          } finally {
            bytes.fill(0)
          }
        }),
    }),
    defineOperation({
      name: 'vault/decrypt',
      kind: 'mutation',
      idempotent: true,
      access: { all: ['secrets:decrypt'] },
      summary: 'Decrypts what the vault encrypted; the bytes come as base64.',
      input: z.strictObject({ encrypted, vault }),
      output: z.object({ data: z.string() }),
      errors: ERRORS,
      handler: ({ encrypted: given, vault: name }, context) =>
        noted(context, 'decrypt', {}, async () => {
          const secret = (await use(context, 'decrypt', name)).decryptSecret(given)
          try {
            return { data: secret.use((bytes) => bytes.toString('base64')) }
          } finally {
            secret.wipe()
          }
        }),
    }),
    defineOperation({
      name: 'vault/sign',
      kind: 'mutation',
      idempotent: true,
      access: { all: ['secrets:sign'] },
      summary: 'Signs a message (base64) with the Ed25519 key of a path that was given to the caller.',
      input: z.strictObject({ path, message: base64(MAX_MESSAGE_CHARS), vault }),
      output: z.object({ signature: z.string(), public_key: z.string() }),
      errors: ERRORS,
      handler: ({ path: text, message, vault: name }, context) =>
        noted(context, 'sign', { path: text }, async () => {
          const own = ownPath(text, LENT)
          const { caller } = context
          if (caller.via !== 'local' && caller.resources.get(`vault:${text}`)?.includes('sign') !== true) throw new KithError('CALL_DENIED')
          const signer = (await use(context, 'sign', name)).signer(own, { who: caller.id })
          try {
            return { signature: Buffer.from(signer.sign(Buffer.from(message, 'base64'))).toString('base64'), public_key: toHex(signer.publicKey) }
          } finally {
            signer.close()
          }
        }),
    }),
    defineOperation({
      name: 'vault/public-key',
      kind: 'query',
      access: { all: ['secrets:public'] },
      summary: 'The public key of a path, in hexadecimal.',
      input: z.strictObject({ path, type: z.enum(['ed25519', 'secp256k1']).optional(), vault }),
      output: z.object({ type: z.string(), public_key: z.string() }),
      errors: ERRORS,
      handler: ({ path: text, type, vault: name }, context) =>
        noted(context, 'public-key', { path: text }, async () => {
          const own = ownPath(text, SHOWN)
          const key = (await use(context, 'public-key', name)).derive(own, { who: context.caller.id, ...(type === undefined ? {} : { type }) })
          if (key.publicKey === undefined) throw new KithError('CALL_DENIED')
          return { type: key.type, public_key: toHex(key.publicKey) }
        }),
    }),
    defineOperation({
      name: 'vault/site-password',
      kind: 'mutation',
      idempotent: true,
      access: { all: ['secrets:site-password'] },
      summary: 'The password of a site.',
      input: z.strictObject({
        site: z.string().min(1).max(300),
        version: z.int().min(1).max(1_000_000).optional(),
        length: z.int().min(12).max(64).optional(),
        vault,
      }),
      output: z.object({ password: z.string() }),
      errors: ERRORS,
      handler: ({ site, version, length, vault: name }, context) =>
        noted(context, 'site-password', {}, async () => {
          const open = await use(context, 'site-password', name)
          const password = open.sitePassword(site, {
            who: context.caller.id,
            ...(version === undefined ? {} : { version }),
            ...(length === undefined ? {} : { length }),
          })
          try {
            return { password: password.use((bytes) => bytes.toString('utf8')) }
          } finally {
            password.wipe()
          }
        }),
    }),
    defineOperation({
      name: 'vault/derive',
      kind: 'subscription',
      access: { all: ['secrets:derive'] },
      summary: 'The private key of a path for a while: the key, and then, as soon as it may not be used any more, why.',
      input: z.strictObject({
        path,
        type: z.enum(['ed25519', 'secp256k1']).optional(),
        seconds: z
          .int()
          .min(1)
          .max(MAX_LEASE_MS / 1_000)
          .optional(),
        vault,
      }),
      output: z.union([
        z.object({ key: z.string(), type: z.string(), path: z.string(), expires_at: z.string() }),
        z.object({ ended: z.enum(['expired', 'locked', 'revoked']) }),
      ]),
      errors: ERRORS,
      async *handler({ path: text, type, seconds, vault: name }, context) {
        const { caller } = context
        const may = (): boolean => mayHave(options.policy(), caller, text)
        const { open, own } = await noted(context, 'derive', { path: text }, async () => {
          const wanted = ownPath(text, DERIVED)
          if (!may()) throw new KithError('CALL_DENIED')
          return { open: await use(context, 'derive', name), own: wanted }
        })
        const key = open.derive(own, { who: caller.id, ...(type === undefined ? {} : { type }) })
        yield* keyGrants({
          key,
          text,
          ms: seconds === undefined ? MAX_LEASE_MS : seconds * 1_000,
          clock: options.clock,
          vault: open,
          may,
          onChange: (listener) => options.policy().onChange?.(listener),
          ...(caller.revoked === undefined ? {} : { revoked: caller.revoked }),
          signal: context.signal,
        })
      },
    }),
  ]
}

/**
 * The owner, or whoever a rule names together with the path. Never for somebody behind a head: the head would see the key.
 */
function mayHave(policy: Pick<MeshPolicy, 'ruled'>, caller: Caller, path: string): boolean {
  if (caller.through !== undefined) return false
  const subject = policySubject(caller)
  if (subject === undefined) return true
  return policy.ruled({ ...subject, action: 'call', target: `vault/derive/${path}` })?.allowed === true
}

/** The path as the vault has it, when its key is one for others. @throws KithError `PATH_INVALID`, `CALL_DENIED`. */
function ownPath(text: string, allowed: ReadonlySet<PathClass>): string {
  const own = text.replaceAll('h', "'")
  parsePath(own)
  if (!allowed.has(pathClass(own))) throw new KithError('CALL_DENIED')
  return own
}

/** What callers are told: a code, and never the owner's words about this machine. */
function ownWords(error: unknown): KithError {
  if (error instanceof TypeError) return new KithError('USAGE', 'The vault does not take this.')
  const { code } = asKithError(error, 'CALL_FAILED')
  return Object.hasOwn(ERRORS, code) ? new KithError(code) : new KithError('CALL_FAILED', undefined, { cause: error })
}

/** Behind what is done: work does not wait for the disk. */
function note({ audit, logger }: VaultCallsOptions, caller: Caller, operation: string, details: Record<string, string>): void {
  const { through } = caller
  // Who the caller is, is then the head's word.
  const all = through === undefined || through.via === 'local' ? details : { through: auditText(through.id, 128), ...details }
  const row = audit()?.append({ actor: auditText(caller.id, 128), action: `vault.call.${operation}`, subject: 'vault', reason: '', details: all })
  row?.catch((error: unknown) => logger.error('audit failed', { operation, message: error instanceof Error ? error.message : 'unknown' }))
}
