import { utf8 } from '../core/bytes.ts'
import { decode, encode, uint53 } from '../core/codec.ts'
import type { Store } from '../core/store/types.ts'

const NAMESPACE = 'mesh/self'
const KEY: Uint8Array = utf8('boot')

/** The durable count of this node's starts (PN-7): raised and synced before the first signature of a run. @throws KithError `STORE_FAILED`. */
export async function nextBoot(store: Store): Promise<number> {
  const bytes = await store.get(NAMESPACE, KEY)
  const boot = (bytes === undefined ? 0 : decode(uint53, bytes)) + 1
  await store.put(NAMESPACE, KEY, encode(uint53, boot), { durable: true })
  return boot
}
