import { z } from 'zod'
import { KithError } from '../../../core/errors.ts'
import { capabilityBits, DEVICE_CAPABILITIES, isDeviceCapability } from '../../../identity/device-capabilities.ts'
import { REVOCATION_REASONS } from '../../../identity/device-document.ts'
import { readDeviceRequest, requestCode } from '../../../identity/device-request.ts'
import { deviceText, MAX_TEXT_CHARS, readDeviceText } from '../../../identity/device-text.ts'
import type { NodeContext } from '../../context.ts'
import type { IdentitySummary } from '../../identity/describe.ts'
import { json, type RoutesOf, withSecret } from '../route.ts'
import type { DevicesApi } from './devices-api.ts'

const nothing = z.object({})
const text = z.string().max(MAX_TEXT_CHARS)
const name = z.string().min(1).max(64)

export const devicesRoutes: RoutesOf<DevicesApi> = {
  'GET /v1/devices': json(nothing, async (context) => {
    running(context)
    return { devices: await context.devices.list(), holds_identity: !context.devices.deviceOnly }
  }),
  'POST /v1/devices/show': json(z.object({ request: text }), (context, { request }) => running(context).show(request)),
  'POST /v1/devices/approve': withSecret(
    z.object({ id: z.string().length(64), name: name.optional(), capabilities: z.string().max(200).optional() }),
    async (context, wanted, secret) => {
      const capabilities = parseCapabilities(wanted.capabilities)
      const grant = await running(context).approve(secret, wanted.id, { capabilities, ...(wanted.name === undefined ? {} : { name: wanted.name }) })
      return { grant: deviceText('grant', grant) }
    },
  ),
  'POST /v1/devices/approve-waiting': withSecret(nothing, async (context, _input, secret) => ({ renewed: await running(context).approveWaiting(secret) })),
  'POST /v1/devices/revoke': withSecret(z.object({ device: name, reason: z.enum(REVOCATION_REASONS) }), async (context, { device, reason }, secret) => {
    const { linkKey, name: called } = await running(context).revoke(secret, device, reason)
    return { link_key: linkKey, name: called }
  }),
  'POST /v1/devices/renew': json(nothing, async (context) => {
    await running(context).renewFromOthers(true)
    return summary(context)
  }),
  'POST /v1/devices/renewal-request': json(nothing, async (context) => {
    const request = await running(context).renewalRequest()
    return { request: deviceText('request', request), code: requestCode(readDeviceRequest(request, context.clock.now())) }
  }),
  'POST /v1/devices/take-renewal': json(z.object({ grant: text }), async (context, { grant }) => {
    await running(context).takeRenewal(readDeviceText('grant', grant))
    return summary(context)
  }),
}

/** Of a list of names with commas; absent: everything. @throws KithError `USAGE`. */
export function parseCapabilities(list: string | undefined): bigint {
  if (list === undefined || list === 'all') return 0n
  const names = list.split(',')
  if (!names.every(isDeviceCapability))
    throw new KithError('USAGE', `Capabilities are ${DEVICE_CAPABILITIES.join(', ')}, with commas between them, or all.`, {
      next: 'kith id device approve --help',
    })
  return capabilityBits(names)
}

function running(context: NodeContext): NodeContext['devices'] {
  const error = context.supervisor.errorOf('devices')
  if (error !== undefined) throw error
  return context.devices
}

function summary(context: NodeContext): IdentitySummary {
  return context.identity.summary as IdentitySummary
}
