import { utf8 } from '../core/bytes.ts'
import { hmacSha512Into } from '../core/crypto/kdf.ts'
import { KithError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import { withNode } from './node.ts'
import { HARDENED, parsePath } from './paths.ts'

/**
 * # SLIP-0010 for Ed25519
 *
 * ```text
 * node = key(32) || chain code(32)
 * root        = HMAC-SHA-512("ed25519 seed", seed)
 * child i'    = HMAC-SHA-512(chain code, 00 || key || u32 (i + 2^31))
 * ```
 *
 * The result is an RFC 8032 seed, used as it is. Ed25519 knows hardened children only. The nodes on the way live in the key slab, one in the place of the other.
 */
const CURVE = utf8('ed25519 seed')
const KEY_BYTES = 32
const ZERO = Uint8Array.of(0)

/**
 * The 32-byte seed at `path` below a BIP39 seed (16 to 64 bytes, as SLIP-0010 allows).
 * @throws KithError `PATH_INVALID` for a malformed path or one with a part that is not hardened; `SECRET_WIPED`.
 */
export function deriveEd25519(seed: Secret, path: string): Secret {
  return walk(seed, path, KEY_BYTES)
}

/** Key and chain code (64 bytes) at `path`. @throws as `deriveEd25519`. */
export function deriveNode(seed: Secret, path: string): Secret {
  return walk(seed, path, KEY_BYTES * 2)
}

function walk(seed: Secret, path: string, length: number): Secret {
  const indices = parsePath(path)
  if (indices.some((index) => index < HARDENED)) throw new KithError('PATH_INVALID', "an Ed25519 path has only hardened parts, written with '", { details: {} })
  return withNode(seed, CURVE, length, ({ node, key, chainCode }) => {
    for (const index of indices) hmacSha512Into(node, chainCode, [ZERO, key, u32(index)])
  })
}

function u32(index: number): Uint8Array {
  const number = Buffer.alloc(4)
  number.writeUInt32BE(index)
  return number
}
