import { z } from 'zod'
import { KithError } from '../../../core/errors.ts'
import { CREDENTIAL_TYPES } from '../../../vault/credentials/types.ts'
import type { NodeContext } from '../../context.ts'
import { addCredential, type Desk, listCredentials, removeCredential } from '../../credentials/acts.ts'
import { json, type RoutesOf, withSecret } from '../route.ts'
import type { CredentialsApi } from './credentials-api.ts'

const MAX_TEXT = 512
const text = z.string().max(MAX_TEXT).optional()
const query = z.object({ service: z.string().max(MAX_TEXT), did: text })
const added = query.extend({
  type: z.enum(CREDENTIAL_TYPES),
  header: text,
  username: text,
  access_key: text,
  region: text,
  sign_for: text,
  scheme: text,
  token_endpoint: text,
  client_id: text,
  origins: z.string().max(8_192).optional(),
  expires_at: text,
  replace: z.literal('yes').optional(),
})

export const credentialsRoutes: RoutesOf<CredentialsApi> = {
  'GET /v1/credentials': json(z.object({}), async ({ credentials }) => ({ credentials: await listCredentials(credentials) })),
  'POST /v1/credentials/add': withSecret(added, async (context, given, secret) => {
    if (secret === undefined) throw new KithError('CREDENTIAL_INVALID', 'The credential came without its secret.', { next: 'kith credential add --help' })
    const { service, did, type, header, username, scheme, region } = given
    const s3 = { accessKey: given.access_key, region, signFor: given.sign_for }
    const fields = { type, header, username, scheme, ...s3, tokenEndpoint: given.token_endpoint, clientId: given.client_id }
    const origins = (given.origins ?? '').split(' ').filter((origin) => origin !== '')
    const wanted = { service, did, fields, origins, expiresAt: given.expires_at, replace: given.replace === 'yes' }
    return await addCredential(deskOf(context), wanted, secret)
  }),
  'POST /v1/credentials/remove': json(query, async (context, given) => {
    await removeCredential(deskOf(context), given)
    return { removed: true as const }
  }),
}

function deskOf({ credentials, assembly }: NodeContext): Desk {
  return { credentials, audit: assembly.audit }
}
