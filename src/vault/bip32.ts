import { utf8 } from '../core/bytes.ts'
import { hmacSha512Into } from '../core/crypto/kdf.ts'
import { KithError } from '../core/errors.ts'
import { leaseKey } from '../core/key-slab.ts'
import type { Secret } from '../core/secret.ts'
import { type Node, withNode } from './node.ts'
import { ETHEREUM, HARDENED, parsePath } from './paths.ts'
import { addScalars, isScalar, publicKeyOfScalar } from './secp256k1.ts'

/**
 * # BIP-32 for secp256k1
 *
 * ```text
 * node = key(32) || chain code(32)
 * root        = HMAC-SHA-512("Bitcoin seed", seed)
 * child i'    = HMAC-SHA-512(chain code, 00 || key || u32 (i + 2^31))           left half + key mod n || right half
 * child i     = HMAC-SHA-512(chain code, public key(33) || u32 i)               the same
 * ```
 *
 * A left half of n or more, or a sum of 0, is no key (it happens once in 2^127): that path has none, and the standard says to take the next index.
 * Private keys stay in locked memory; OpenSSL holds one while it computes its public key, and clears it.
 */
const CURVE = utf8('Bitcoin seed')
const KEY_BYTES = 32
const ZERO = Uint8Array.of(0)

/** The 32-byte private key at `path`. @throws KithError `PATH_INVALID`, also for a path that has no key; `SECRET_WIPED`. */
export function deriveSecp256k1(seed: Secret, path: string): Secret {
  return walk(seed, path, KEY_BYTES)
}

/** Key and chain code (64 bytes) at `path`. @throws as `deriveSecp256k1`. */
export function deriveSecp256k1Node(seed: Secret, path: string): Secret {
  return walk(seed, path, KEY_BYTES * 2)
}

/** The private key of the first Ethereum account, m/44'/60'/0'/0/0. */
export function deriveEthereum(seed: Secret): Secret {
  return deriveSecp256k1(seed, ETHEREUM)
}

function walk(seed: Secret, path: string, length: number): Secret {
  const indices = parsePath(path)
  return withNode(seed, CURVE, length, (node) => {
    if (!isScalar(node.key)) throw noKey(path)
    const parent = leaseKey(KEY_BYTES)
    try {
      for (const index of indices) if (!step(node, parent.bytes, index)) throw noKey(path)
    } finally {
      parent.release()
    }
  })
}

/** Turns a node into its child. False when there is none. */
function step({ node, key, chainCode }: Node, parent: Buffer, index: number): boolean {
  const number = Buffer.alloc(4)
  number.writeUInt32BE(index)
  key.copy(parent)
  const parts = index >= HARDENED ? [ZERO, parent, number] : [publicKeyOfScalar(parent), number]
  hmacSha512Into(node, chainCode, parts)
  if (!below(key)) return false
  addScalars(key, parent)
  return isScalar(key)
}

/** A left half of zero is allowed: the child then has its parent's key. */
function below(key: Uint8Array): boolean {
  return isScalar(key) || key.every((byte) => byte === 0)
}

function noKey(path: string): KithError {
  return new KithError('PATH_INVALID', 'there is no key at this path; take the next index', { details: { path } })
}
