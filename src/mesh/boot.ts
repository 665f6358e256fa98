import { utf8 } from '../core/bytes.ts'
import { decode, encode, uint53 } from '../core/codec.ts'
import type { Store } from '../core/store/types.ts'

const NAMESPACE = 'mesh/self'
const KEY: Uint8Array = utf8('boot')

/**
 * The durable count of this node's starts (PN-7): raised and synced before the first signature of a run. Never below `floor`, which is counted elsewhere:
 * a store that was lost or put back from a copy must not make peers see a clone. @throws KithError `STORE_FAILED`.
 */
export async function nextBoot(store: Store, floor = 1): Promise<number> {
  const bytes = await store.get(NAMESPACE, KEY)
  const boot = Math.max((bytes === undefined ? 0 : decode(uint53, bytes)) + 1, floor)
  await store.put(NAMESPACE, KEY, encode(uint53, boot), { durable: true })
  return boot
}
