import { concat, utf8 } from '../bytes.ts'
import { KithError } from '../errors.ts'
import type { Random } from '../random.ts'
import { Secret } from '../secret.ts'
import { openOnce, sealOnce, TAG_BYTES } from './aead.ts'
import { hmacSha256 } from './hash.ts'
import { isXwingPublicKey, XWING_CIPHERTEXT_BYTES, xwingDecapsulate, xwingEncapsulate } from './xwing.ts'

/**
 * # HPKE (RFC 9180), base mode, one message per encapsulation
 *
 * ```text
 * KEM 0x647a X-Wing        KDF 0x0001 HKDF-SHA256        AEAD 0x0003 ChaCha20-Poly1305
 *
 * suite       "HPKE" || 647a || 0001 || 0003
 * context     00 || LabeledExtract("", "psk_id_hash", "") || LabeledExtract("", "info_hash", info)
 * secret      LabeledExtract(shared_secret, "secret", "")
 * key, nonce  LabeledExpand(secret, "key" | "base_nonce", context, 32 | 12)
 * sealed      enc 1120, and ciphertext || tag 16 under sequence number 0
 * ```
 *
 * What is sealed here are keys, so plaintexts are `Secret`s of one byte or more. Whoever sealed is not authenticated: base mode proves nothing about the sender.
 */
export const HPKE_ENC_BYTES: number = XWING_CIPHERTEXT_BYTES
export const HPKE_OVERHEAD_BYTES: number = TAG_BYTES

const SUITE = Uint8Array.of(0x48, 0x50, 0x4b, 0x45, 0x64, 0x7a, 0x00, 0x01, 0x00, 0x03)
const VERSION = utf8('HPKE-v1')
const EMPTY = new Uint8Array(0)
const MODE_BASE = Uint8Array.of(0)
const KEY_BYTES = 32
const NONCE_BYTES = 12

export interface HpkeContext {
  /** What key and message are for; both sides know it. */
  readonly info: Uint8Array
  /** What is authenticated beside the plaintext. */
  readonly aad: Uint8Array
}

export interface HpkeSealed {
  /** 1,120 bytes. */
  readonly enc: Uint8Array
  readonly ciphertext: Uint8Array
}

/** @throws KithError `KEY_INVALID` when the public key fails its checks, `SECRET_WIPED`. */
export function hpkeSeal(publicKey: Uint8Array, { info, aad }: HpkeContext, plaintext: Secret, random: Random): HpkeSealed {
  if (!isXwingPublicKey(publicKey)) throw new KithError('KEY_INVALID', 'The bytes are not an X-Wing public key.')
  const { ciphertext: enc, sharedSecret } = xwingEncapsulate(publicKey, random)
  const { key, nonce } = schedule(sharedSecret, info)
  try {
    return { enc, ciphertext: plaintext.use((bytes) => sealOnce(key, aad, bytes, nonce)) }
  } finally {
    key.wipe()
  }
}

/** `undefined` for everything that was not sealed to this key, with this info and this aad. @throws KithError `SECRET_WIPED`; TypeError for a seed that is not 32 bytes. */
export function hpkeOpen(seed: Secret, { info, aad }: HpkeContext, { enc, ciphertext }: HpkeSealed): Secret | undefined {
  if (enc.length !== HPKE_ENC_BYTES || ciphertext.length <= TAG_BYTES) return undefined
  const sharedSecret = decapsulate(seed, enc)
  if (sharedSecret === undefined) return undefined
  const { key, nonce } = schedule(sharedSecret, info)
  try {
    const opened = openOnce(key, aad, ciphertext, nonce)
    return opened === undefined ? undefined : Secret.take(opened)
  } finally {
    key.wipe()
  }
}

/** A small-order X25519 part is a wrong ciphertext like any other. */
function decapsulate(seed: Secret, enc: Uint8Array): Secret | undefined {
  try {
    return xwingDecapsulate(seed, enc)
  } catch (error) {
    if (error instanceof KithError && error.code === 'DECRYPT_FAILED') return undefined
    throw error
  }
}

/** RFC 9180, 5.1. Wipes the shared secret. */
function schedule(sharedSecret: Secret, info: Uint8Array): { key: Secret; nonce: Uint8Array } {
  const context = concat(MODE_BASE, labeledExtract(EMPTY, 'psk_id_hash', EMPTY), labeledExtract(EMPTY, 'info_hash', info))
  const secret = Secret.take(sharedSecret.use((bytes) => labeledExtract(bytes, 'secret', EMPTY)))
  sharedSecret.wipe()
  try {
    return secret.use((prk) => ({
      key: Secret.take(labeledExpand(prk, 'key', context, KEY_BYTES)),
      nonce: labeledExpand(prk, 'base_nonce', context, NONCE_BYTES),
    }))
  } finally {
    secret.wipe()
  }
}

/** RFC 9180, 4: HKDF-Extract is one HMAC under the salt; an empty salt is the same key as zeros. */
function labeledExtract(salt: Uint8Array, label: string, ikm: Uint8Array): Uint8Array {
  return hmacSha256(salt, VERSION, SUITE, utf8(label), ikm)
}

/** One block of HKDF-Expand gives 32 bytes, which is all that is asked for. */
function labeledExpand(prk: Uint8Array, label: string, info: Uint8Array, length: number): Uint8Array {
  const block = hmacSha256(prk, Uint8Array.of(0, length), VERSION, SUITE, utf8(label), info, Uint8Array.of(1))
  if (length === block.length) return block
  const out = block.slice(0, length)
  block.fill(0)
  return out
}
