import { z } from 'zod'
import type { NodeContext } from '../../context.ts'
import { ROTATION_REASONS } from '../../identity/rotate.ts'
import { viewDevice } from '../../identity/view.ts'
import { json, type RoutesOf, withSecret } from '../route.ts'
import type { IdentityApi } from './identity-api.ts'

const nothing = z.object({})

export const identityRoutes: RoutesOf<IdentityApi> = {
  'GET /v1/identity': json(nothing, async (context) => {
    requireKeys(context)
    return viewDevice(context.identity.device, context.identity.mode, await context.devices.others())
  }),
  'POST /v1/identity/unlock': withSecret(nothing, async (context, _input, secret) => {
    if (secret !== undefined) context.identity.give(secret)
    await context.supervisor.retry('identity')
    requireKeys(context)
    return { did: context.identity.device.did, listen: context.status().listen }
  }),
  'POST /v1/identity/create': withSecret(
    z.object({ name: z.string().max(200).optional(), words: z.coerce.number().int().optional() }),
    async (context, wanted, secret) => {
      const summary = await context.identity.create(wanted, secret)
      await context.supervisor.retry('identity')
      return summary
    },
  ),
  'POST /v1/identity/renew': withSecret(nothing, async (context, _input, secret) => {
    requireKeys(context)
    return await context.identity.renew(secret)
  }),
  'POST /v1/identity/rotate': withSecret(nothing, async (context, _input, secret) => {
    requireKeys(context)
    const previous = context.identity.summary?.link_key ?? ''
    return { ...(await context.identity.rotate(secret)), previous_link_key: previous }
  }),
  'POST /v1/identity/rotate-identity': withSecret(z.object({ reason: z.enum(ROTATION_REASONS) }), async (context, { reason }, secret) => {
    requireKeys(context)
    return await context.identity.rotateIdentity(secret, reason)
  }),
}

function requireKeys({ supervisor }: NodeContext): void {
  const error = supervisor.errorOf('identity')
  if (error !== undefined) throw error
}
