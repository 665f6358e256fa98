import { bytesN, type Codec, decode, encode, struct, uint53 } from '../core/codec.ts'
import { MAX_BATCH_OPERATIONS, type Store, type StoreOp } from '../core/store/types.ts'
import { type Did, didPublicKey } from '../identity/did.ts'
import { didCodec } from '../identity/keys.ts'
import type { Place } from './retention.ts'
import type { Topic } from './topic.ts'
import { ID_BYTES } from './wire.ts'

/**
 * The newest entry of each author that a topic dropped for want of space, under `topic hash 16 || author 32`. Without it a node that restarted would take what it
 * dropped for new when somebody repeats it, deliver it again, and keep other entries than its neighbours.
 */
const NAMESPACE = 'gossip/dropped'
const TOPIC_BYTES = 16

const place: Codec<Place> = struct<Place>({ timeMs: uint53, id: bytesN(ID_BYTES) })

function prefixOf({ hash }: Pick<Topic, 'hash'>): Uint8Array {
  return hash.subarray(0, TOPIC_BYTES)
}

function keyOf(topic: Pick<Topic, 'hash'>, author: Did): Uint8Array {
  return Buffer.concat([prefixOf(topic), didPublicKey(author)])
}

/** Belongs in front of the deletion of the entries: torn off in between, they go when they are read again. `undefined`: there is nothing to remember any more. */
export function droppedOperation(topic: Pick<Topic, 'hash'>, author: Did, dropped: Place | undefined): StoreOp {
  const key = keyOf(topic, author)
  if (dropped === undefined) return { type: 'delete', ns: NAMESPACE, key }
  return { type: 'put', ns: NAMESPACE, key, value: encode(place, { timeMs: dropped.timeMs, id: dropped.id }) }
}

/** What was dropped of a topic, by author. @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`. */
export async function loadDropped(store: Store, topic: Pick<Topic, 'hash'>): Promise<ReadonlyMap<Did, Place>> {
  const found = new Map<Did, Place>()
  for await (const { key, value } of store.scan(NAMESPACE, { prefix: prefixOf(topic) }))
    found.set(decode(didCodec, key.slice(TOPIC_BYTES)), decode(place, value))
  return found
}

/** The topic is gone. @throws KithError `STORE_FAILED`. */
export async function clearDropped(store: Store, topic: Pick<Topic, 'hash'>): Promise<void> {
  const rows: StoreOp[] = []
  for await (const { key } of store.scan(NAMESPACE, { prefix: prefixOf(topic) })) rows.push({ type: 'delete', ns: NAMESPACE, key })
  for (let at = 0; at < rows.length; at += MAX_BATCH_OPERATIONS) await store.batch(rows.slice(at, at + MAX_BATCH_OPERATIONS))
}
