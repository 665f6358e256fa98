import { concat, equal, type PublicKey } from '../../core/bytes.ts'
import { bytesN, type Codec, constant, decode, encode, malformed, mapped, option, struct, uint53 } from '../../core/codec.ts'
import { parsePublicKey } from '../../core/crypto/ed25519.ts'
import { sha256 } from '../../core/crypto/hash.ts'
import { type HybridKey, type HybridSignature, type HybridSigner, signHybrid, verifyHybrid } from '../../core/crypto/hybrid.ts'
import { labeled } from '../../core/crypto/labels.ts'
import { MLDSA_SIGNATURE_BYTES } from '../../core/crypto/mldsa.ts'
import { isXwingPublicKey, XWING_PUBLIC_KEY_BYTES } from '../../core/crypto/xwing.ts'
import { KithError } from '../../core/errors.ts'
import type { Did } from '../../identity/did.ts'
import { signatureCodec } from '../../identity/keys.ts'
import { didCodec } from '../address-book-codec.ts'
import { KID_BYTES } from './sealed-codec.ts'

/**
 * # Prekey: a key for messages to one machine, for a week (PN-9)
 *
 * ```text
 * body = u8 1 | did 32 | device 32 | kid 8 | xwing_pk 1216 | u64 not_before | u64 not_after         kid = SHA-256(xwing_pk)[0..8]
 * proof = sig 64 | option<3309>                                                                      by the device, over L("icn/prekey/v1") || body
 * ```
 */
const LABEL = 'icn/prekey/v1'
const DAY_MS = 86_400_000
export const PREKEY_LIFE_MS: number = 7 * DAY_MS

export interface Prekey {
  readonly did: Did
  readonly device: PublicKey
  /** 8 bytes. */
  readonly kid: Uint8Array
  /** X-Wing, 1,216 bytes. */
  readonly key: Uint8Array
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

interface Body extends Prekey {
  readonly _version?: undefined
}

const bodyCodec: Codec<Body> = struct<Body>({
  _version: constant(1),
  did: didCodec,
  device: mapped(bytesN(32), parsePublicKey, (key) => key),
  kid: bytesN(KID_BYTES),
  key: bytesN(XWING_PUBLIC_KEY_BYTES),
  notBeforeMs: uint53,
  notAfterMs: uint53,
})
const proofCodec: Codec<HybridSignature> = struct<HybridSignature>({ ed25519: signatureCodec, mldsa: option(bytesN(MLDSA_SIGNATURE_BYTES)) })

const BODY_BYTES: number = bodyCodec.max
export const MAX_PREKEY_BYTES: number = BODY_BYTES + proofCodec.max

export function kidOf(publicKey: Uint8Array): Uint8Array {
  return sha256(publicKey).slice(0, KID_BYTES)
}

/** @throws KithError `SIGNER_REFUSED`, `SECRET_WIPED`. */
export function signPrekey(prekey: Prekey, signer: HybridSigner): Uint8Array {
  const { did, device, kid, key, notBeforeMs, notAfterMs } = prekey
  const body = encode(bodyCodec, { did, device, kid, key, notBeforeMs, notAfterMs })
  return concat(body, encode(proofCodec, signHybrid(signer, labeled(LABEL, body))))
}

/** The fields of a prekey whose signature was checked before. @throws KithError `WIRE_MALFORMED`, `KEY_INVALID`. */
export function decodePrekey(encoded: Uint8Array): Prekey {
  const { _version, ...prekey } = decode(bodyCodec, encoded.subarray(0, BODY_BYTES))
  const life = prekey.notAfterMs - prekey.notBeforeMs
  if (life <= 0 || life > PREKEY_LIFE_MS) throw malformed('life of the prekey', { lifeMs: life })
  if (!equal(prekey.kid, kidOf(prekey.key))) throw malformed('key id')
  if (!isXwingPublicKey(prekey.key)) throw new KithError('KEY_INVALID', 'The bytes are not an X-Wing public key.')
  return prekey
}

/** @throws KithError `WIRE_MALFORMED`, `KEY_INVALID`, `SIGNATURE_INVALID` when the machine of `key` did not make it. */
export function verifyPrekey(encoded: Uint8Array, key: HybridKey): Prekey {
  const prekey = decodePrekey(encoded)
  const proof = decode(proofCodec, encoded.subarray(BODY_BYTES))
  if (!equal(prekey.device, key.ed25519) || !verifyHybrid(key, labeled(LABEL, encoded.subarray(0, BODY_BYTES)), proof)) {
    throw new KithError('SIGNATURE_INVALID', 'the machine that a prekey names did not sign it')
  }
  return prekey
}
