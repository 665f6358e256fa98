import { utf8 } from '../core/bytes.ts'
import { hmacSha512 } from '../core/crypto/kdf.ts'
import { KithError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
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
 * The result is an RFC 8032 seed, used as it is. Ed25519 knows hardened children only. Every node lives in guarded memory and is wiped once its child exists.
 */
const CURVE = utf8('ed25519 seed')
const KEY_BYTES = 32
const MIN_SEED_BYTES = 16
const MAX_SEED_BYTES = 64

/**
 * The 32-byte seed at `path` below a BIP39 seed (16 to 64 bytes, as SLIP-0010 allows).
 * @throws KithError `PATH_INVALID` for a malformed path or one with a part that is not hardened; `SECRET_WIPED`.
 */
export function deriveEd25519(seed: Secret, path: string): Secret {
  const node = deriveNode(seed, path)
  try {
    const key = Secret.alloc(KEY_BYTES)
    node.use((bytes) => key.fill((target) => bytes.copy(target, 0, 0, KEY_BYTES)))
    return key
  } finally {
    node.wipe()
  }
}

/** Key and chain code (64 bytes) at `path`. @throws as `deriveEd25519`. */
export function deriveNode(seed: Secret, path: string): Secret {
  const indices = parsePath(path)
  if (indices.some((index) => index < HARDENED)) throw new KithError('PATH_INVALID', "an Ed25519 path has only hardened parts, written with '", { details: {} })
  if (seed.length < MIN_SEED_BYTES || seed.length > MAX_SEED_BYTES) throw new TypeError('a seed of 16 to 64 bytes')
  let node = seed.use((bytes) => hmacSha512(CURVE, bytes))
  for (const index of indices) {
    const parent = node
    node = child(parent, index)
    parent.wipe()
  }
  return node
}

function child(parent: Secret, index: number): Secret {
  const number = Buffer.alloc(4)
  number.writeUInt32BE(index)
  return parent.use((bytes) => hmacSha512(bytes.subarray(KEY_BYTES), Uint8Array.of(0), bytes.subarray(0, KEY_BYTES), number))
}
