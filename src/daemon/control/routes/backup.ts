import { z } from 'zod'
import { fromHex } from '../../../core/bytes.ts'
import type { NodeContext } from '../../context.ts'
import { json, type RoutesOf } from '../route.ts'
import type { BackupApi } from './backup-api.ts'

const id = z.string().regex(/^[0-9a-f]{16}$/)
const digest = z.string().regex(/^[0-9a-f]{64}$/)
const recipient = z.string().regex(/^age1[02-9ac-hj-np-z]{58}$/)

export const backupRoutes: RoutesOf<BackupApi> = {
  'GET /v1/backup': json(z.object({}), async (context) => {
    requireKeys(context)
    return { recipient: await context.backups.recipient(), keep: context.config.current['backup.keep'] }
  }),
  'POST /v1/backup/begin': json(z.object({ recipient: recipient.optional() }), async (context, wanted) => {
    requireKeys(context)
    return await context.backups.begin(wanted)
  }),
  'POST /v1/backup/seal': json(z.object({ id, digest }), (context, input) => {
    requireKeys(context)
    return context.backups.seal(input.id, fromHex(input.digest))
  }),
  'POST /v1/backup/end': json(z.object({ id, bytes: z.int().min(0).optional() }), async (context, input) => {
    await context.backups.end(input.id, input.bytes)
    return {}
  }),
}

/** Without the keys of the machine nothing can be signed. */
function requireKeys({ supervisor }: NodeContext): void {
  const error = supervisor.errorOf('identity')
  if (error !== undefined) throw error
}
