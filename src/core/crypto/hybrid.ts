import type { Signature } from '../bytes.ts'
import type { PostQuantumSigner, Signer } from '../signer.ts'
import { verify } from './ed25519.ts'
import { verifyMldsa } from './mldsa.ts'

/**
 * A hybrid signature is Ed25519 and ML-DSA-65 over the same bytes; it stands when both do. Which of them a key set has is fixed by the key set,
 * never by the signature: a missing half where the key has one, or a half the key cannot check, makes it invalid.
 */
export interface HybridSigner {
  readonly ed25519: Signer
  readonly mldsa: PostQuantumSigner | undefined
}

export interface HybridKey {
  readonly ed25519: Uint8Array
  readonly mldsa: Uint8Array | undefined
}

export interface HybridSignature {
  readonly ed25519: Signature
  readonly mldsa: Uint8Array | undefined
}

/** @throws KithError `SIGNER_REFUSED`, `SECRET_WIPED`. */
export function signHybrid(signer: HybridSigner, message: Uint8Array): HybridSignature {
  return { ed25519: signer.ed25519.sign(message), mldsa: signer.mldsa?.sign(message) }
}

export function verifyHybrid(key: HybridKey, message: Uint8Array, signature: { ed25519: Uint8Array; mldsa: Uint8Array | undefined }): boolean {
  if ((key.mldsa === undefined) !== (signature.mldsa === undefined)) return false
  if (!verify(key.ed25519, message, signature.ed25519)) return false
  return key.mldsa === undefined || signature.mldsa === undefined || verifyMldsa(key.mldsa, message, signature.mldsa)
}
