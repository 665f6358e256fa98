import { isAbsolute } from 'node:path'
import { z } from 'zod'
import type { SendProgress } from '../../../files/index.ts'
import type { Mesh } from '../../../mesh/mesh-types.ts'
import type { TunnelStatus } from '../../../tunnel/index.ts'
import type { NodeContext } from '../../context.ts'
import { type CallContext, json, lines, type RoutesOf } from '../route.ts'
import { messagesOf } from './mail.ts'
import type { SendLine, ServicesApi, TunnelListed } from './services-api.ts'

const nothing = z.object({})
const peer = z.string().min(1).max(200)
/** The longest path of Linux; other systems have shorter ones. */
const MAX_PATH = 4_096
/** Progress is told no more often than eyes follow. */
const PROGRESS_MS = 100
const MAX_LISTED = 10_000

export const servicesRoutes: RoutesOf<ServicesApi> = {
  'POST /v1/forwards': json(
    z.object({ peer, target: z.string().max(300), local: z.string().max(300).optional(), allow_public_bind: z.boolean().default(false) }),
    async ({ mesh, tunnels }, input, { signal }) => {
      const { local } = input
      const made = await tunnels.forward({
        peer: mesh.book.resolve(input.peer),
        target: input.target,
        allowPublicBind: input.allow_public_bind,
        signal,
        ...(local === undefined ? {} : { local }),
      })
      return listed(made, mesh)
    },
  ),
  'GET /v1/tunnels': json(nothing, ({ mesh, tunnels }) => ({ tunnels: tunnels.list().map((tunnel) => listed(tunnel, mesh)) })),
  'POST /v1/tunnels/close': json(z.object({ id: z.string().min(1).max(64) }), async ({ tunnels }, { id }) => {
    await tunnels.remove(id)
    return { id, closed: true as const }
  }),
  'POST /v1/send': lines(
    z.object({
      peer,
      path: z.string().min(1).max(MAX_PATH).refine(isAbsolute, 'expected an absolute path'),
      resume: z.boolean().default(false),
    }),
    (context, input, call) => sending(context, input, call),
  ),
  'GET /v1/inbox': json(z.object({ limit: z.coerce.number().int().min(1).max(MAX_LISTED).default(1_000) }), async ({ mesh, files, assembly }, { limit }) => {
    const messages = await messagesOf(assembly, limit)
    return {
      inbox: files.inbox,
      files: (await files.list({ limit })).map((entry) => ({ ...entry, from_name: mesh.book.get(entry.from)?.name ?? null })),
      messages,
      older_messages: Math.max(0, assembly.mail.status().inbox.messages - messages.length),
    }
  }),
}

function listed(tunnel: TunnelStatus, mesh: Mesh): TunnelListed {
  return { ...tunnel, name: mesh.book.get(tunnel.peer)?.name ?? null }
}

/** Progress at intervals, when there is some, then the receipt. */
async function* sending(context: NodeContext, input: { peer: string; path: string; resume: boolean }, { signal }: CallContext): AsyncGenerator<SendLine> {
  const { mesh, files, clock } = context
  const { path, resume } = input
  let latest: SendProgress | undefined
  const onProgress = (progress: SendProgress): void => {
    latest = progress
  }
  const sent = files.send(mesh.book.resolve(input.peer), { path, resume, signal, onProgress })
  let over = false
  let wake = (): void => {}
  const end = (): void => {
    over = true
    wake()
  }
  // How it went is asked below; this only ends the waiting.
  sent.then(end, end)
  while (!over) {
    await new Promise<void>((resolve) => {
      const timer = clock.after(PROGRESS_MS, resolve)
      wake = () => {
        timer.cancel()
        resolve()
      }
    })
    if (latest === undefined) continue
    const { bytes, total, resumed } = latest
    latest = undefined
    yield { event: 'progress', bytes, total_bytes: total, resumed_bytes: resumed }
  }
  const { bytes, sha256, durationMs, name, resumed, providers } = await sent
  yield { event: 'stored', bytes, sha256, duration_ms: durationMs, name, resumed, providers }
}
