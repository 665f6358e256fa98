import { hmacSha512Into } from '../core/crypto/kdf.ts'
import { leaseKey } from '../core/key-slab.ts'
import { Secret } from '../core/secret.ts'

/** A place in a tree of keys: views of the same 64 bytes, in locked memory. */
export interface Node {
  readonly node: Buffer
  readonly key: Buffer
  readonly chainCode: Buffer
}

const NODE_BYTES = 64
const KEY_BYTES = 32
const MIN_SEED_BYTES = 16
const MAX_SEED_BYTES = 64

/**
 * Makes the root of a curve's tree, HMAC-SHA-512(curve, seed), lets `walk` turn it into the wanted node, and gives its first `length` bytes in guarded memory.
 * @throws TypeError for a seed outside 16 to 64 bytes; KithError `SECRET_WIPED`.
 */
export function withNode(seed: Secret, curve: Uint8Array, length: number, walk: (node: Node) => void): Secret {
  if (seed.length < MIN_SEED_BYTES || seed.length > MAX_SEED_BYTES) throw new TypeError('a seed of 16 to 64 bytes')
  const lease = leaseKey(NODE_BYTES)
  const node = lease.bytes
  try {
    seed.use((bytes) => hmacSha512Into(node, curve, [bytes]))
    walk({ node, key: node.subarray(0, KEY_BYTES), chainCode: node.subarray(KEY_BYTES) })
    const out = Secret.alloc(length)
    out.fill((target) => node.copy(target, 0, 0, length))
    return out
  } finally {
    lease.release()
  }
}
