import { createHash, hash } from 'node:crypto'
import { concat } from '../bytes.ts'
import { KithError } from '../errors.ts'
import type { Random } from '../random.ts'
import { Secret } from '../secret.ts'
import { encapsulate, isEncapsulationKey, MLKEM_CIPHERTEXT_BYTES, MLKEM_ENCAPSULATION_KEY_BYTES, MLKEM_SEED_BYTES, mlKem768OfSeed } from './mlkem.ts'
import { x25519, x25519PublicKey } from './x25519.ts'

/**
 * # X-Wing (draft-connolly-cfrg-xwing-kem): ML-KEM-768 and X25519 in one KEM
 *
 * ```text
 * secret key   seed (32);  SHAKE256(seed, 96) = ML-KEM seed (64) || X25519 scalar (32)
 * public key   ML-KEM encapsulation key (1,184) || X25519 public key (32)                      1,216 bytes
 * ciphertext   ML-KEM ciphertext (1,088) || ephemeral X25519 public key (32)                   1,120 bytes
 * secret       SHA3-256(ss_m || ss_x || ct_x || pk_x || "\./" "/^\")                              32 bytes
 * ```
 *
 * Stricter than the draft in one point: an X25519 result of all zeros (a small-order key) is refused.
 */
const XWING_SEED_BYTES = 32
export const XWING_PUBLIC_KEY_BYTES: number = MLKEM_ENCAPSULATION_KEY_BYTES + 32
export const XWING_CIPHERTEXT_BYTES: number = MLKEM_CIPHERTEXT_BYTES + 32
const LABEL = Uint8Array.of(0x5c, 0x2e, 0x2f, 0x2f, 0x5e, 0x5c)

/** @throws KithError `SECRET_WIPED`; TypeError when the seed is not 32 bytes. */
export function xwingPublicKey(seed: Secret): Uint8Array {
  const { mlkem, scalar } = expand(seed)
  try {
    return concat(mlkem.encapsulationKey, scalar.use(publicPoint))
  } finally {
    mlkem.close()
    scalar.wipe()
  }
}

export function isXwingPublicKey(bytes: Uint8Array): boolean {
  return bytes.length === XWING_PUBLIC_KEY_BYTES && isEncapsulationKey(bytes.subarray(0, MLKEM_ENCAPSULATION_KEY_BYTES))
}

/** @throws KithError `KEY_INVALID` when the public key fails its checks. */
export function xwingEncapsulate(publicKey: Uint8Array, random: Random): { ciphertext: Uint8Array; sharedSecret: Secret } {
  if (!isXwingPublicKey(publicKey)) throw new KithError('KEY_INVALID', 'The bytes are not an X-Wing public key.')
  const point = publicKey.subarray(MLKEM_ENCAPSULATION_KEY_BYTES)
  const scalar = Secret.random(32, random)
  try {
    const ephemeral = scalar.use(publicPoint)
    const secretX = exchange(scalar, point)
    if (secretX === undefined) throw new KithError('KEY_INVALID', 'The X25519 part of the key is of small order.')
    const { ciphertext, sharedSecret } = encapsulate(publicKey.subarray(0, MLKEM_ENCAPSULATION_KEY_BYTES))
    return { ciphertext: concat(ciphertext, ephemeral), sharedSecret: combine(sharedSecret, secretX, ephemeral, point) }
  } finally {
    scalar.wipe()
  }
}

/**
 * The shared secret; a wrong ciphertext gives another secret (implicit rejection).
 * @throws KithError `DECRYPT_FAILED` for a small-order X25519 part, `SECRET_WIPED`; TypeError for a wrong length.
 */
export function xwingDecapsulate(seed: Secret, ciphertext: Uint8Array): Secret {
  if (ciphertext.length !== XWING_CIPHERTEXT_BYTES) throw new TypeError(`a ciphertext has ${XWING_CIPHERTEXT_BYTES} bytes, not ${ciphertext.length}`)
  const ephemeral = ciphertext.subarray(MLKEM_CIPHERTEXT_BYTES)
  const { mlkem, scalar } = expand(seed)
  try {
    const secretX = exchange(scalar, ephemeral)
    if (secretX === undefined) throw new KithError('DECRYPT_FAILED')
    return combine(mlkem.decapsulate(ciphertext.subarray(0, MLKEM_CIPHERTEXT_BYTES)), secretX, ephemeral, scalar.use(publicPoint))
  } finally {
    mlkem.close()
    scalar.wipe()
  }
}

function expand(seed: Secret): { mlkem: ReturnType<typeof mlKem768OfSeed>; scalar: Secret } {
  if (seed.length !== XWING_SEED_BYTES) throw new TypeError(`a seed has ${XWING_SEED_BYTES} bytes, not ${seed.length}`)
  const wide = seed.use((bytes) =>
    createHash('shake256', { outputLength: MLKEM_SEED_BYTES + 32 })
      .update(bytes)
      .digest(),
  )
  const mlkemSeed = Secret.take(wide.subarray(0, MLKEM_SEED_BYTES))
  const scalar = Secret.take(wide.subarray(MLKEM_SEED_BYTES))
  const mlkem = mlKem768OfSeed(mlkemSeed)
  mlkemSeed.wipe()
  return { mlkem, scalar }
}

function publicPoint(scalar: Uint8Array): Uint8Array {
  const point = new Uint8Array(32)
  x25519PublicKey(point, scalar)
  return point
}

/** `undefined` when the result is all zeros. */
function exchange(scalar: Secret, point: Uint8Array): Secret | undefined {
  const shared = Secret.alloc(32)
  let usable = false
  scalar.use((bytes) =>
    shared.fill((target) => {
      usable = x25519(target, bytes, point)
    }),
  )
  if (usable) return shared
  shared.wipe()
  return undefined
}

/** Wipes both inputs. */
function combine(secretM: Secret, secretX: Secret, ciphertextX: Uint8Array, publicX: Uint8Array): Secret {
  const input = Secret.alloc(32 + 32 + 32 + 32 + LABEL.length)
  input.fill((target) => {
    secretM.use((bytes) => target.set(bytes, 0))
    secretX.use((bytes) => target.set(bytes, 32))
    target.set(ciphertextX, 64)
    target.set(publicX, 96)
    target.set(LABEL, 128)
  })
  secretM.wipe()
  secretX.wipe()
  const shared = Secret.take(input.use((bytes) => hash('sha3-256', bytes, 'buffer')))
  input.wipe()
  return shared
}
