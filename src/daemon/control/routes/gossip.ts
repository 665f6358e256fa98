import { isUtf8 } from 'node:buffer'
import { z } from 'zod'
import { toHex } from '../../../core/bytes.ts'
import { isKithError, KithError } from '../../../core/errors.ts'
import { nearest } from '../../../core/nearest.ts'
import { isTopicName } from '../../../gossip/topic.ts'
import type { GossipEntry, TopicAccess, TopicStatus } from '../../../gossip/types.ts'
import { CLASS_SCORE } from '../../../mesh/constraints.ts'
import type { Mesh } from '../../../mesh/mesh-types.ts'
import type { PeerClass } from '../../../mesh/types.ts'
import type { NodeContext } from '../../context.ts'
import { callersWords, json, lines, type RoutesOf } from '../route.ts'
import type { AccessName, EntryLine, GossipApi, TopicInput, TopicListed } from './gossip-api.ts'

const topic = z.string().min(1).max(200)
/** One MiB of data in base64. */
const MAX_DATA_CHARS = 1_398_104
const MAX_MEMBERS = 1_000
const ONE = 10_000

export const gossipRoutes: RoutesOf<GossipApi> = {
  'GET /v1/topics': json(z.object({}), ({ mesh, assembly }) => ({ topics: assembly.gossip.topics().map((status) => topicListed(status, mesh)) })),
  'POST /v1/topics/create': json(
    z.object({
      name: topic,
      access: z.enum(['open', 'known', 'partner', 'federated', 'list']),
      members: z.array(z.string().min(1).max(200)).max(MAX_MEMBERS).optional(),
    }),
    ({ mesh, assembly }, input) =>
      callersWords(async () => {
        await assembly.gossip.define({ name: input.name, access: accessOf(input as TopicInput, mesh) })
        const made = assembly.gossip.topics().find(({ name }) => name === input.name)
        if (made === undefined) throw new KithError('INTERNAL', 'a topic was made and is not there')
        return topicListed(made, mesh)
      }),
  ),
  'POST /v1/topics/remove': json(z.object({ name: topic }), async ({ assembly }, { name }) => {
    await assembly.gossip.remove(name)
    return { name, removed: true as const }
  }),
  'POST /v1/publish': json(z.object({ topic, data: z.base64().max(MAX_DATA_CHARS) }), (context, input) =>
    callersWords(async () => {
      const data = Buffer.from(input.data, 'base64')
      try {
        const { gossip } = context.assembly
        const entry = entryLine(await gossip.publish(input.topic, data), context)
        return { ...entry, readers: gossip.topics().find(({ name }) => name === input.topic)?.subscribers ?? 0 }
      } catch (error) {
        throw inWords(error, input.topic, context)
      }
    }),
  ),
  'GET /v1/subscribe': lines(
    z.object({ topic, replay: z.enum(['true', 'false']).default('false') }),
    async function* (context, input, { signal }): AsyncGenerator<EntryLine> {
      try {
        for await (const entry of context.assembly.gossip.subscribe(input.topic, { signal, replay: input.replay === 'true' })) yield entryLine(entry, context)
      } catch (error) {
        throw inWords(error, input.topic, context)
      }
    },
  ),
}

/** Who wants to use a topic that is not there misspelt it or wants to make it; how much is too much is said too. */
function inWords(error: unknown, topic: string, { assembly }: NodeContext): unknown {
  if (isKithError(error, 'ENTRY_TOO_LARGE')) {
    const { bytes, limit } = error.details
    if (typeof bytes !== 'number' || typeof limit !== 'number') return error
    return new KithError('ENTRY_TOO_LARGE', `The entry is larger than a topic carries: ${bytes} of at most ${limit} bytes.`, {
      details: error.details,
      cause: error,
    })
  }
  if (!isKithError(error, 'TOPIC_UNKNOWN') || !isTopicName(topic)) return error
  const meant = nearest(
    topic,
    assembly.gossip.topics().map(({ name }) => name),
  )
  const sentence = `This node knows no topic ${topic}${meant === undefined ? '.' : `; did you mean ${meant}?`}`
  return new KithError('TOPIC_UNKNOWN', sentence, { details: { topic, nearest: meant ?? null }, next: `kith topics create ${topic}`, cause: error })
}

function accessOf({ access, members = [] }: TopicInput, mesh: Mesh): TopicAccess {
  // Whoever makes a list is on it: everybody else would refuse what this node publishes.
  if (access === 'list') return { kind: 'list', members: [...new Set([mesh.did, ...members.map((peer) => mesh.book.resolve(peer))])] }
  if (members.length > 0) throw new KithError('USAGE', `Peers are named for the access list, not for ${access}.`, { next: 'kith topics create --help' })
  return access === 'open' ? { kind: 'open' } : { kind: 'score', min: CLASS_SCORE[access] }
}

const CLASSES: readonly Exclude<PeerClass, 'isolated'>[] = ['known', 'partner', 'federated']

function accessName(access: TopicAccess): AccessName {
  if (access.kind !== 'score') return access.kind
  return CLASSES.find((name) => CLASS_SCORE[name] === access.min) ?? 'score'
}

function topicListed({ access, ...status }: TopicStatus, mesh: Mesh): TopicListed {
  return {
    ...status,
    access: accessName(access),
    min_score: access.kind === 'score' ? access.min / ONE : null,
    members: access.kind === 'list' ? access.members.map((did) => ({ did, name: mesh.book.get(did)?.name ?? null, self: did === mesh.did })) : [],
  }
}

function entryLine(entry: GossipEntry, { mesh, identity }: NodeContext): EntryLine {
  const { id, author, device, data } = entry
  return {
    id: toHex(id),
    topic: entry.topic,
    author,
    author_name: (author === mesh.did ? identity.summary?.name : mesh.book.get(author)?.name) ?? null,
    device: toHex(device),
    time: new Date(entry.timeMs).toISOString(),
    epoch: entry.epoch,
    seq: entry.seq,
    type: entry.type,
    bytes: data.length,
    gap: entry.gap === true,
    lost: entry.lost ?? 0,
    text: isUtf8(data) ? Buffer.from(data).toString('utf8') : null,
    data: Buffer.from(data).toString('base64'),
  }
}
