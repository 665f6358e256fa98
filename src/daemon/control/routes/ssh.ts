import { z } from 'zod'
import { sshUserKey } from '../../services/ssh-forward.ts'
import { json, type RoutesOf } from '../route.ts'
import type { SshApi } from './ssh-api.ts'

const nothing = z.object({})

/** The SSH door. */
export const sshRoutes: RoutesOf<SshApi> = {
  'GET /v1/ssh': json(nothing, async ({ ssh, supervisor }) => {
    const error = supervisor.errorOf('ssh')
    if (error !== undefined) throw error
    return { ssh: ssh.status }
  }),
  'GET /v1/ssh/key': json(nothing, async ({ vaults }) => await sshUserKey(vaults)),
  'GET /v1/ssh/sessions': json(nothing, async ({ ssh }) => ({ sessions: ssh.sessions() })),
  'POST /v1/ssh/close': json(z.object({ id: z.number().int().min(1) }), async ({ ssh }, { id }) => {
    ssh.end(id)
    return { id, closed: true as const }
  }),
}
