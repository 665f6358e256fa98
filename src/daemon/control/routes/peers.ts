import { z } from 'zod'
import type { BookPeer } from '../../../mesh/address-book.ts'
import type { PeerClass } from '../../../mesh/types.ts'
import type { NodeContext } from '../../context.ts'
import { callersWords, json, type RoutesOf } from '../route.ts'
import type { BookEntry, PeersApi } from './peers-api.ts'

const peer = z.string().min(1).max(200)
const name = z.string().min(1).max(200)
const nothing = z.object({})
const CLASSES = ['known', 'partner', 'federated'] as const satisfies readonly PeerClass[]
const MAX_PINGS = 1_000

export const peersRoutes: RoutesOf<PeersApi> = {
  'POST /v1/invites': json(
    z.object({
      class: z.enum(CLASSES).optional(),
      expires_ms: z.int().min(1_000).optional(),
      uses: z.int().min(1).optional(),
      trust_ticket: z.boolean().default(false),
    }),
    async ({ mesh }, input) => {
      const invite = await callersWords(() =>
        mesh.invites.create({
          trustTicket: input.trust_ticket,
          ...(input.class === undefined ? {} : { class: input.class }),
          ...(input.expires_ms === undefined ? {} : { expiresMs: input.expires_ms }),
          ...(input.uses === undefined ? {} : { uses: input.uses }),
        }),
      )
      return { id: invite.id, ticket: invite.ticket, class: invite.class, uses: invite.uses, expires_at: rfc3339(invite.expiresMs) }
    },
  ),
  'GET /v1/invites': json(nothing, ({ mesh }) => ({
    invites: mesh.invites
      .list()
      .filter(({ state }) => state === 'open')
      .map((invite) => ({ id: invite.id, class: invite.class, uses_left: invite.usesLeft, expires_at: rfc3339(invite.expiresMs) })),
  })),
  'POST /v1/invites/revoke': json(z.object({ id: z.string().min(1).max(64) }), async ({ mesh }, { id }) => {
    await callersWords(() => mesh.invites.revoke(id))
    return { id, revoked: true as const }
  }),
  'POST /v1/join': json(z.object({ ticket: z.string().min(1).max(4_096), name: name.optional() }), async ({ mesh }, input, { signal }) =>
    callersWords(() => mesh.join(input.ticket, { signal, ...(input.name === undefined ? {} : { name: input.name }) })),
  ),
  'POST /v1/confirm': json(z.object({ peer }), async ({ mesh }, input) => {
    const confirmed = await mesh.confirm(input.peer)
    return { did: confirmed.did, name: confirmed.name, class: confirmed.class }
  }),
  'GET /v1/peers': json(nothing, ({ mesh }) => ({ peers: mesh.book.list().map((peer) => bookEntry(mesh, peer)) })),
  'POST /v1/peers/add': json(z.object({ did: peer, urls: z.array(z.string().max(300)).max(16), name: name.optional() }), async ({ mesh }, input) =>
    bookEntry(mesh, await callersWords(() => mesh.book.add(input.did, { urls: input.urls, ...(input.name === undefined ? {} : { name: input.name }) }))),
  ),
  'POST /v1/peers/rename': json(z.object({ peer, name }), async ({ mesh }, input) =>
    bookEntry(mesh, await callersWords(() => mesh.book.rename(input.peer, input.name))),
  ),
  'POST /v1/peers/forget': json(z.object({ peer }), async ({ mesh }, input) => ({ did: await mesh.book.forget(input.peer), forgotten: true as const })),
  'POST /v1/ping': json(z.object({ peer, count: z.int().min(1).max(MAX_PINGS) }), async ({ mesh }, input, { signal }) => {
    const did = mesh.book.resolve(input.peer)
    return { did, rtt_ms: await mesh.ping(input.peer, { count: input.count, signal }) }
  }),
  'POST /v1/why': json(z.object({ peer, action: z.string().max(64).optional(), target: z.string().max(300).optional() }), (context, input) =>
    callersWords(() => why(context, input)),
  ),
}

function why({ mesh }: NodeContext, input: { peer: string; action?: string | undefined; target?: string | undefined }): PeersApi['POST /v1/why']['output'] {
  const { path, ...rest } = mesh.why(input.peer, input.action, input.target)
  return {
    did: mesh.book.resolve(input.peer),
    path: path === null ? null : { scheme: path.scheme, address: path.address, direct: path.direct, via: path.via ?? null },
    pq: path?.postQuantum ?? null,
    ...rest,
  }
}

function bookEntry(mesh: NodeContext['mesh'], entry: BookPeer): BookEntry {
  return {
    did: entry.did,
    name: entry.name,
    class: entry.class,
    pending_class: entry.pending,
    chain: mesh.chainOf(entry.did),
    since: rfc3339(entry.sinceMs),
    addresses: entry.addresses.map(({ url }) => url),
  }
}

/** Times in JSON. */
function rfc3339(ms: number): string {
  return new Date(ms).toISOString()
}
