import { z } from 'zod'
import { json, type RoutesOf } from '../route.ts'
import type { CertificatesApi } from './certificates-api.ts'

const nothing = z.object({})

/** The certificate of the front door. */
export const certificatesRoutes: RoutesOf<CertificatesApi> = {
  'GET /v1/certificate': json(nothing, async ({ certificates }) => ({ certificate: certificates.status })),
  'POST /v1/certificate/renew': json(nothing, async ({ certificates }) => ({ certificate: await certificates.renew() })),
}
