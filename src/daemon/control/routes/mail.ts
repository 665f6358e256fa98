import { isUtf8 } from 'node:buffer'
import { z } from 'zod'
import type { Assembly } from '../../../assembly/types.ts'
import { isKithError, KithError } from '../../../core/errors.ts'
import type { Did } from '../../../identity/did.ts'
import type { InboxEntry, Mail, OutboxEntry } from '../../../mesh/mailbox/types.ts'
import { callersWords, json, type RoutesOf } from '../route.ts'
import type { MailApi, MailboxShown, MessageListed, OutboxListed } from './mail-api.ts'

const peer = z.string().min(1).max(200)
const nothing = z.object({})
/** One MiB of data in base64. */
const MAX_DATA_CHARS = 1_398_104
const MAX_LIFE_MS = 14 * 86_400_000
const MAX_WAIT_MS = 600_000
const MAX_LISTED = 10_000
const PAGE = 1_000
/** Payloads may be a mebibyte each: a list ends after so many bytes of them. */
const INBOX_PAGE = 16
const MAX_LISTED_BYTES = 16 << 20

export const mailRoutes: RoutesOf<MailApi> = {
  'POST /v1/tell': json(
    z.object({
      peer,
      data: z.base64().max(MAX_DATA_CHARS),
      life_ms: z.number().int().min(1_000).max(MAX_LIFE_MS).optional(),
      wait_ms: z.number().int().min(0).max(MAX_WAIT_MS).optional(),
    }),
    ({ assembly }, input, { signal }) =>
      callersWords(async () => {
        const { mesh, mail } = assembly
        const did = mesh.book.resolve(input.peer)
        const data = Buffer.from(input.data, 'base64')
        const { id, state, forwardSecret } = await mail.tell(did, isUtf8(data) ? data.toString('utf8') : data, {
          signal,
          ...(input.life_ms === undefined ? {} : { lifeMs: input.life_ms }),
          ...(input.wait_ms === undefined ? {} : { waitMs: input.wait_ms }),
        })
        return { id, peer: did, name: nameOf(assembly, did), state, forward_secret: forwardSecret }
      }),
  ),
  'GET /v1/outbox': json(z.object({ limit: z.coerce.number().int().min(1).max(MAX_LISTED).default(1_000) }), ({ assembly }, { limit }) => ({
    messages: outboxOf(assembly.mail, limit).map((entry) => outboxListed(assembly, entry)),
  })),
  'POST /v1/messages/read': json(z.object({ cursors: z.array(z.number().int().min(0)).max(MAX_LISTED) }), async ({ assembly }, { cursors }) => {
    let read = 0
    for (const cursor of cursors) {
      try {
        await assembly.mail.markRead(cursor)
        read++
      } catch (error) {
        // Somebody deleted it meanwhile.
        if (!isKithError(error, 'NOT_FOUND')) throw error
      }
    }
    return { read }
  }),
  'POST /v1/messages/delete': json(z.object({ id: z.string().regex(/^[0-9a-f]{8,32}$/, 'expected the id of a message') }), async ({ assembly }, { id }) => {
    const found = assembly.mail.find(id)
    const [cursor] = found
    const entry = cursor === undefined ? undefined : (await assembly.mail.inbox({ after: cursor - 1, limit: 1 }))[0]
    if (entry === undefined || found.length > 1)
      throw new KithError('NOT_FOUND', found.length > 1 ? `More than one message begins with ${id}.` : `There is no message ${id}.`, {
        next: 'kith inbox --json',
      })
    await assembly.mail.delete(entry.cursor)
    return { id: entry.id, deleted: true as const }
  }),
  'GET /v1/mailbox': json(nothing, ({ assembly }) => shown(assembly)),
  'POST /v1/mailbox/host': json(z.object({ peer }), async ({ assembly }, input) => {
    await callersWords(() => assembly.mail.host(input.peer))
    return shown(assembly)
  }),
  'POST /v1/mailbox/unhost': json(z.object({ peer }), async ({ assembly }, input) => {
    await callersWords(() => assembly.mail.unhost(input.peer))
    return shown(assembly)
  }),
  'POST /v1/mailbox/use': json(z.object({ peers: z.array(peer).max(16) }), async ({ assembly }, input) => {
    await callersWords(() => assembly.mail.useHosts(input.peers))
    return shown(assembly)
  }),
}

/** The newest messages first. */
export async function messagesOf(assembly: Assembly, limit: number): Promise<readonly MessageListed[]> {
  const found: MessageListed[] = []
  let bytes = 0
  let before = Number.MAX_SAFE_INTEGER
  while (found.length < limit && bytes < MAX_LISTED_BYTES) {
    const page: readonly InboxEntry[] = await assembly.mail.inbox({ before, limit: Math.min(INBOX_PAGE, limit - found.length) })
    for (const entry of page) {
      found.push(messageListed(assembly, entry))
      bytes += entry.payload.length
      before = entry.cursor
    }
    if (page.length === 0) break
  }
  return found
}

function outboxOf(mail: Mail, limit: number): readonly OutboxEntry[] {
  const found: OutboxEntry[] = []
  let before = Number.MAX_SAFE_INTEGER
  while (found.length < limit) {
    const page = mail.outbox({ before, limit: Math.min(PAGE, limit - found.length) })
    found.push(...page)
    before = page.at(-1)?.cursor ?? 0
    if (page.length === 0) break
  }
  return found
}

function nameOf({ mesh }: Assembly, did: Did): string | null {
  return mesh.book.get(did)?.name ?? null
}

function time(ms: number): string {
  return new Date(ms).toISOString()
}

function messageListed(assembly: Assembly, { payload, from, timeMs, receivedMs, via, ...entry }: InboxEntry): MessageListed {
  return {
    cursor: entry.cursor,
    id: entry.id,
    from,
    from_name: nameOf(assembly, from),
    time: time(timeMs),
    received_at: time(receivedMs),
    type: entry.type,
    bytes: payload.length,
    text: entry.text ?? null,
    data: Buffer.from(payload).toString('base64'),
    read: entry.read,
    via: via ?? null,
  }
}

function outboxListed(assembly: Assembly, entry: OutboxEntry): OutboxListed {
  return {
    id: entry.id,
    peer: entry.to,
    name: nameOf(assembly, entry.to),
    state: entry.state,
    forward_secret: entry.forwardSecret,
    time: time(entry.timeMs),
    expires_at: time(entry.expiresMs),
    bytes: entry.bytes,
    hosts: entry.hosts,
    last_error: entry.lastError ?? null,
  }
}

function shown(assembly: Assembly): MailboxShown {
  const { hosts, hosting, kept, inbox, pending } = assembly.mail.status()
  const named = (did: Did): { readonly did: string; readonly name: string | null } => ({ did, name: nameOf(assembly, did) })
  return { hosts: hosts.map(named), hosting: hosting.map(named), kept, inbox, pending }
}
