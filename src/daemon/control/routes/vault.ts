import { z } from 'zod'
import { sealTo } from '../../../core/crypto/sealed-box.ts'
import { KithError } from '../../../core/errors.ts'
import type { Secret } from '../../../core/secret.ts'
import type { EncryptedData } from '../../../vault/encrypted-data.ts'
import type { NodeContext } from '../../context.ts'
import { DEFAULT_VAULT } from '../../vault/files.ts'
import { splitImport, viewDerived } from '../../vault/forms.ts'
import { callersWords, json, type RoutesOf, withSecret } from '../route.ts'
import type { Sealed, VaultApi } from './vault-api.ts'

const name = z.string().max(64).optional()
const vault = name.transform((given) => given ?? DEFAULT_VAULT)
const version = z.coerce.number().int().optional()
const data: z.ZodType<EncryptedData> = z.object({
  key_version: z.number(),
  salt: z.string().max(1_000),
  iv: z.string().max(1_000),
  data: z.string().max(1_500_000),
})
const replyKey = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hexadecimal digits')

export const vaultRoutes: RoutesOf<VaultApi> = {
  'GET /v1/vault': json(z.object({}), async ({ vaults }) => ({ vaults: await vaults.list() })),
  'POST /v1/vault/unlock': withSecret(z.object({ vault }), ({ vaults }, input, secret) => vaults.unlock(input.vault, secret)),
  'POST /v1/vault/lock': json(z.object({ vault: name }), async ({ vaults }, input) => ({ locked: await vaults.lockNamed(input.vault) })),
  'POST /v1/vault/derive': json(
    z.object({ vault, path: z.string().max(200), type: z.enum(['ed25519', 'secp256k1', 'aes256']).optional() }),
    async (context, { path, type, ...input }) => {
      const opened = await context.vaults.opened(input.vault)
      return viewDerived(input.vault, opened.derive(path, type === undefined ? {} : { type }))
    },
  ),
  'POST /v1/vault/encrypt': withSecret(z.object({ vault, key_version: version }), async (context, input, secret) => {
    if (secret === undefined) throw new KithError('USAGE', 'There is nothing to encrypt.', { next: 'kith vault encrypt --help' })
    const opened = await context.vaults.opened(input.vault)
    return opened.encrypt(secret, input.key_version)
  }),
  'POST /v1/vault/decrypt': json(z.object({ vault, data, reply_key: replyKey }), async (context, input) => {
    const opened = await context.vaults.opened(input.vault)
    return sealedReply(opened.decryptSecret(input.data), input.reply_key)
  }),
  'POST /v1/vault/rotate': json(z.object({ vault, data, key_version: version }), async (context, input) => {
    const opened = await context.vaults.opened(input.vault)
    return await callersWords(() => opened.rotate(input.data, input.key_version))
  }),
  'POST /v1/vault/import': withSecret(z.object({ vault }), async (context, input, secret) => await importForm(context, input.vault, secret)),
  'POST /v1/vault/site-password': json(
    z.object({ vault, site: z.string().max(1_000), version, length: version, reply_key: replyKey }),
    async (context, { site, version: number, length, reply_key, ...input }) => {
      const opened = await context.vaults.opened(input.vault)
      const options = { ...(number === undefined ? {} : { version: number }), ...(length === undefined ? {} : { length }) }
      return sealedReply(await callersWords(() => opened.sitePassword(site, options)), reply_key)
    },
  ),
}

async function importForm(context: NodeContext, id: string, secret: Secret | undefined): Promise<EncryptedData> {
  if (secret === undefined) throw new KithError('USAGE', 'There is nothing to import.', { next: 'kith vault rotate --help' })
  const opened = await context.vaults.opened(id)
  const { password, form } = splitImport(secret)
  try {
    return await opened.importEncrypted(form, password)
  } finally {
    password.wipe()
  }
}

function sealedReply(secret: Secret, key: string): Sealed {
  try {
    return { sealed: Buffer.from(sealTo(Buffer.from(key, 'hex'), secret)).toString('base64') }
  } catch (cause) {
    throw new KithError('USAGE', 'reply_key is not a key that can be sealed to.', { cause })
  } finally {
    secret.wipe()
  }
}
