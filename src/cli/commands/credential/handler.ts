import { isKithError, KithError } from '../../../core/errors.ts'
import type { Secret } from '../../../core/secret.ts'
import type { ControlClient } from '../../../daemon/control/client.ts'
import type { AddedCredential } from '../../../daemon/control/routes/credentials-api.ts'
import { addCredential, type CredentialView, type Desk, listCredentials, removeCredential } from '../../../daemon/credentials/acts.ts'
import { withOfflineCredentials } from '../../../daemon/credentials/offline.ts'
import { CREDENTIAL_TYPES } from '../../../vault/credentials/types.ts'
import type { CommandContext } from '../../context.ts'
import { localTime } from '../../format.ts'
import type { Options } from '../../options.ts'
import { findPassphrase } from '../../passphrase.ts'
import { readSecretInput } from '../../secret-input.ts'
import type { CommandHandler } from '../../spec.ts'
import { type Palette, table } from '../../style.ts'

const HELP = 'kith credential add --help'

export const add: CommandHandler = async (context, { args, options }) => {
  const type = CREDENTIAL_TYPES.find((known) => known === options.text('type'))
  if (type === undefined) throw new KithError('USAGE', `--type takes ${CREDENTIAL_TYPES.join(', ')}.`, { next: HELP })
  const file = options.text('secret-file')
  if (file === undefined) throw new KithError('USAGE', 'The secret comes by --secret-file FILE, or - for standard input; never as an argument.', { next: HELP })
  const wanted: AddedCredential = {
    ...{ service: args[0] ?? '', type },
    ...given('did', options.text('did')),
    ...given('header', options.text('header')),
    ...given('username', options.text('username')),
    ...given('access_key', options.text('access-key')),
    ...given('region', options.text('region')),
    ...given('sign_for', options.text('sign-for')),
    ...given('scheme', options.text('scheme')),
    ...given('token_endpoint', options.text('token-endpoint')),
    ...given('client_id', options.text('client-id')),
    ...given('expires_at', options.text('expires')),
    ...given('origins', options.list('origin').join(' ') || undefined),
    ...(options.flag('replace') ? { replace: 'yes' as const } : {}),
  }
  const secret = await readSecretInput(context, file, `Secret for ${wanted.service}: `)
  try {
    const view = await either(
      context,
      options,
      (client) => client.callWithSecret('POST /v1/credentials/add', wanted, secret),
      (desk) => addOffline(desk, wanted, secret),
    )
    context.output.result(view, (palette) => `${palette.good(view.revision > 1 ? 'replaced' : 'kept')}  ${view.service}  ${view.type}`, view.service)
  } finally {
    secret.wipe()
  }
  return undefined
}

export const list: CommandHandler = async (context, { options }) => {
  const credentials = await all(context, options)
  context.output.result(
    { credentials },
    (palette, columns) => rows(palette, columns, credentials),
    credentials.map(({ service }) => service).join('\n') || undefined,
  )
  return undefined
}

export const show: CommandHandler = async (context, { args, options }) => {
  const service = args[0] ?? ''
  const credentials = (await all(context, options)).filter((credential) => credential.service === service)
  if (credentials.length === 0)
    throw new KithError('CREDENTIAL_UNKNOWN', `There is no credential for ${service}.`, { details: { service }, next: 'kith credential list' })
  context.output.result({ credentials }, (palette, columns) => rows(palette, columns, credentials), service)
  return undefined
}

export const remove: CommandHandler = async (context, { args, options }) => {
  const key = { service: args[0] ?? '', ...given('did', options.text('did')) }
  await either(
    context,
    options,
    async (client) => void (await client.call('POST /v1/credentials/remove', key)),
    (desk) => removeCredential(desk, key),
  )
  const result = { service: key.service, did: key.did ?? null, removed: true }
  context.output.result(result, (palette) => `${palette.good('removed')}  ${key.service}`, key.service)
  return undefined
}

async function all(context: CommandContext, options: Options): Promise<readonly CredentialView[]> {
  return await either(
    context,
    options,
    async (client) => (await client.call('GET /v1/credentials', {})).credentials,
    (desk) => listCredentials(desk.credentials),
  )
}

/** Asks the running node, else works on the files after the passphrase. */
async function either<T>(
  context: CommandContext,
  options: Options,
  online: (client: ControlClient) => Promise<T>,
  offline: (desk: Desk) => Promise<T>,
): Promise<T> {
  try {
    return await online(await context.daemon())
  } catch (error) {
    if (!isKithError(error, 'DAEMON_NOT_RUNNING')) throw error
  }
  const passphrase = await findPassphrase(context, options)
  try {
    return await withOfflineCredentials(context.home, context.env, passphrase, offline)
  } finally {
    passphrase.secret.wipe()
  }
}

async function addOffline(desk: Desk, wanted: AddedCredential, secret: Secret): Promise<CredentialView> {
  const { service, did, type, header, username, scheme, region } = wanted
  const s3 = { accessKey: wanted.access_key, region, signFor: wanted.sign_for }
  const fields = { type, header, username, scheme, ...s3, tokenEndpoint: wanted.token_endpoint, clientId: wanted.client_id }
  const origins = wanted.origins?.split(' ') ?? []
  return await addCredential(desk, { service, did, fields, origins, expiresAt: wanted.expires_at, replace: wanted.replace === 'yes' }, secret)
}

function given<K extends string>(name: K, value: string | undefined): { readonly [P in K]?: string } {
  return value === undefined ? {} : ({ [name]: value } as { readonly [P in K]?: string })
}

function rows(palette: Palette, columns: number, credentials: readonly CredentialView[]): string[] {
  if (credentials.length === 0) return [palette.quiet('none yet')]
  return table(
    [
      ['service', 'kind', 'kept by', 'for', 'to', 'valid until'].map((text) => ({ text, style: palette.quiet })),
      ...credentials.map(({ service, type, source, did, origins, expires_at, renews }) => [
        { text: service, style: palette.strong },
        type,
        source,
        did ?? 'anybody',
        origins.length === 0 ? 'any' : origins.join(' '),
        `${expires_at === null ? 'no end known' : localTime(expires_at)}${renews ? ', renews itself' : ''}`,
      ]),
    ],
    { columns, spare: [4, 3] },
  )
}
