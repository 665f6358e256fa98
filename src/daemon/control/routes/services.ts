import { isAbsolute } from 'node:path'
import { z } from 'zod'
import type { Assembly } from '../../../assembly/types.ts'
import { KithError } from '../../../core/errors.ts'
import type { SendProgress } from '../../../files/index.ts'
import type { Did } from '../../../identity/did.ts'
import type { Mesh } from '../../../mesh/mesh-types.ts'
import type { TunnelStatus, Tunnels } from '../../../tunnel/index.ts'
import { forwardName, type NamedForward } from '../../config/forwards.ts'
import type { NodeContext } from '../../context.ts'
import { isSshServer } from '../../services/ssh-forward.ts'
import type { TunnelsService } from '../../services/tunnels.ts'
import { type CallContext, json, lines, type RoutesOf } from '../route.ts'
import { messagesOf } from './mail.ts'
import type { SendLine, ServicesApi, TunnelListed } from './services-api.ts'

const nothing = z.object({})
const peer = z.string().min(1).max(200)
const place = z.string().max(300)
/** The longest path of Linux; other systems have shorter ones. */
const MAX_PATH = 4_096
const file = z.string().min(1).max(MAX_PATH).refine(isAbsolute, 'expected an absolute path')
/** Progress is told no more often than eyes follow. */
const PROGRESS_MS = 100
const MAX_LISTED = 10_000

export const servicesRoutes: RoutesOf<ServicesApi> = {
  'POST /v1/forwards': json(
    z.object({
      ...{ peer, target: place, local: place.optional(), allow_public_bind: z.boolean().default(false), save: forwardName.optional() },
      ...{ known_hosts: file.optional(), host_key: z.string().max(100).optional(), key_file: file.optional() },
    }),
    async (context, input, { signal }) => {
      if (isSshServer(input.peer)) return await forwardSsh(context, input, signal)
      const { mesh, assembly, tunnels, forwards } = context
      if (input.known_hosts !== undefined || input.host_key !== undefined || input.key_file !== undefined)
        throw new KithError('USAGE', 'known_hosts, host_key and key_file are for servers written ssh://USER@HOST; a peer proves its own key.')
      const { local, target, save, allow_public_bind: bind_public } = input
      const made = await tunnels.forward({
        ...{ peer: mesh.book.resolve(input.peer), target, allowPublicBind: bind_public, signal },
        ...(local === undefined ? {} : { local }),
        ...(save === undefined ? {} : { id: save }),
      })
      if (save !== undefined) {
        await keep(tunnels, forwards, { name: save, kind: 'local', peer: input.peer, target, local: made.local, bind_public })
      }
      await noteOpened(assembly, made, save)
      return listed(made, mesh)
    },
  ),
  'POST /v1/forwards/remote': json(
    z.object({ peer, remote: place, to: place, save: forwardName.optional() }),
    async ({ mesh, assembly, tunnels, forwards }, { peer: who, remote, to, save }, { signal }) => {
      const made = await tunnels.remote({ peer: mesh.book.resolve(who), remote, to, signal, ...(save === undefined ? {} : { id: save }) })
      if (save !== undefined) await keep(tunnels, forwards, { name: save, kind: 'remote', peer: who, remote: made.local, to })
      await noteOpened(assembly, made, save)
      return listed(made, mesh)
    },
  ),
  'POST /v1/socks': json(
    z.object({ peer, local: place.optional(), allow_public_bind: z.boolean().default(false), save: forwardName.optional() }),
    async ({ mesh, assembly, tunnels, forwards }, { peer: who, local, allow_public_bind: allowPublicBind, save }) => {
      if (save !== undefined && allowPublicBind)
        throw new KithError('USAGE', 'A proxy that other machines reach has a new password each time and is not saved.')
      const made = await tunnels.socks({
        ...{ peer: mesh.book.resolve(who), allowPublicBind },
        ...(local === undefined ? {} : { local }),
        ...(save === undefined ? {} : { id: save }),
      })
      if (save !== undefined) await keep(tunnels, forwards, { name: save, kind: 'socks', peer: who, local: made.local })
      await noteOpened(assembly, made, save)
      return { ...listed(made, mesh), password: made.password }
    },
  ),
  'GET /v1/tunnels': json(nothing, ({ mesh, tunnels }) => ({
    tunnels: tunnels.list().map((tunnel) => listed(tunnel, mesh)),
    serving: tunnels.serving().map((served) => ({ ...served, name: mesh.book.list().find(({ did }) => did === served.peer)?.name ?? null })),
  })),
  'POST /v1/tunnels/close': json(
    z.object({ id: z.string().min(1).max(64), forget: z.boolean().default(false) }),
    async ({ assembly, forwards }, { id, forget }) => {
      const ended = await forwards.end(id, forget)
      await assembly.audit.append({ actor: 'owner', action: 'forward.close', subject: id, reason: '', details: { forgotten: forget && !ended.saved } })
      return { id, closed: true as const, ...ended }
    },
  ),
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

interface SshForwardInput {
  readonly peer: string
  readonly target: string
  readonly local?: string | undefined
  readonly allow_public_bind: boolean
  readonly save?: string | undefined
  readonly known_hosts?: string | undefined
  readonly host_key?: string | undefined
  readonly key_file?: string | undefined
}

async function forwardSsh({ mesh, assembly, tunnels, forwards }: NodeContext, input: SshForwardInput, signal: AbortSignal): Promise<TunnelListed> {
  const { peer: server, target, local, allow_public_bind: bind_public, save, known_hosts, host_key, key_file } = input
  const made = await forwards.openSsh({
    ...{ server, target, allowPublicBind: bind_public, signal, knownHosts: known_hosts, hostKey: host_key, keyFile: key_file },
    ...(local === undefined ? {} : { local }),
    ...(save === undefined ? {} : { id: save }),
  })
  if (save !== undefined)
    await keep(tunnels, forwards, { name: save, kind: 'ssh', peer: made.peer, target, local: made.local, bind_public, known_hosts, host_key, key_file })
  await noteOpened(assembly, made, save)
  return listed(made, mesh)
}

/** What cannot be saved is not left open under a name that the next start does not know. */
async function keep(tunnels: Tunnels, forwards: TunnelsService, row: NamedForward): Promise<void> {
  try {
    await forwards.save(row)
  } catch (error) {
    await tunnels.remove(row.name)
    throw error
  }
}

/** What opens a way in or out is the owner's act, whoever uses it later. */
async function noteOpened(assembly: Assembly, { id, kind, peer, target, local }: TunnelStatus, save: string | undefined): Promise<void> {
  const details = { id, kind, target: target.slice(0, 256), local: local.slice(0, 256), saved: save !== undefined }
  await assembly.audit.append({ actor: 'owner', action: 'forward.open', subject: peer, reason: '', details })
}

function listed(tunnel: TunnelStatus, mesh: Mesh): TunnelListed {
  return { ...tunnel, name: tunnel.kind === 'ssh' ? null : (mesh.book.get(tunnel.peer as Did)?.name ?? null) }
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
