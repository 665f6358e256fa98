import { z } from 'zod'
import type { Did } from '../../../identity/did.ts'
import { json, type RoutesOf } from '../route.ts'
import type { AuditApi } from './audit-api.ts'

const MAX_ROWS = 1_000

export const auditRoutes: RoutesOf<AuditApi> = {
  'GET /v1/audit': json(
    z.object({ limit: z.coerce.number().int().min(1).max(MAX_ROWS).default(100), before: z.coerce.number().int().min(0).optional() }),
    async ({ mesh, assembly }, { limit, before }) => ({
      rows: (await assembly.audit.list({ limit, ...(before === undefined ? {} : { before }) })).map(({ timeMs, details, ...row }) => ({
        ...row,
        time: new Date(timeMs).toISOString(),
        name: mesh.book.get(row.subject as Did)?.name ?? null,
        details: details ?? {},
      })),
    }),
  ),
  'POST /v1/audit/verify': json(
    z.object({
      noted: z
        .string()
        .regex(/^\d{1,15}:[0-9a-f]{64}$/, 'expected NUMBER:HASH as kith audit verify prints it')
        .optional(),
    }),
    async ({ assembly }, { noted }) => {
      const [seq = '', hash = ''] = noted?.split(':') ?? []
      const { brokenAt, ...verdict } = await assembly.audit.verify(noted === undefined ? undefined : { seq: Number(seq), hash })
      return { ok: brokenAt === undefined, ...verdict, broken_at: brokenAt ?? null }
    },
  ),
}
