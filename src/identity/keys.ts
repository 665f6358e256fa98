import type { Signature } from '../core/bytes.ts'
import { bytesN, type Codec, encode, mapped, option, struct } from '../core/codec.ts'
import { createSigner, parsePublicKey, publicKeyOfSeed } from '../core/crypto/ed25519.ts'
import type { HybridSigner } from '../core/crypto/hybrid.ts'
import { hashLabeled } from '../core/crypto/labels.ts'
import { createPostQuantumSigner, MLDSA_PUBLIC_KEY_BYTES, MLDSA_SIGNATURE_BYTES, mldsaPublicKeyOfSeed } from '../core/crypto/mldsa.ts'
import type { Random } from '../core/random.ts'
import { Secret } from '../core/secret.ts'
import type { KeyRole } from '../core/signer.ts'
import { type Did, didPublicKey, formatDid } from './did.ts'
import type { KeySet, KeySetSignature } from './types.ts'

/**
 * Key sets (PN-6): an Ed25519 key and, by default, an ML-DSA-65 key beside it.
 *
 * ```text
 * keys = bytes32 ed25519 || option<bytes1952> mldsa            commitment = SHA-256( L("icn/chain-next/v1") || keys )
 * ```
 */
export interface KeySeeds {
  readonly ed25519: Secret
  readonly mldsa: Secret | undefined
}

export const publicKeyCodec: Codec<KeySet['ed25519']> = mapped(bytesN(32), parsePublicKey, (key) => key)

/** A DID as its 32-byte key. */
export const didCodec: Codec<Did> = mapped(publicKeyCodec, formatDid, didPublicKey)

export const keySetCodec: Codec<KeySet> = struct<KeySet>({ ed25519: publicKeyCodec, mldsa: option(bytesN(MLDSA_PUBLIC_KEY_BYTES)) })

export const signatureCodec: Codec<Signature> = mapped(
  bytesN(64),
  (bytes) => bytes as Signature,
  (signature) => signature,
)

export const keySetSignatureCodec: Codec<KeySetSignature> = struct<KeySetSignature>({
  ed25519: signatureCodec,
  mldsa: option(bytesN(MLDSA_SIGNATURE_BYTES)),
})

/** Fresh seeds for identities and devices that do not come from a phrase. */
export function randomKeySeeds(random: Random, options: { mldsa?: boolean } = {}): KeySeeds {
  return { ed25519: Secret.random(32, random), mldsa: options.mldsa === false ? undefined : Secret.random(32, random) }
}

export function publicKeysOf(seeds: KeySeeds): KeySet {
  return { ed25519: publicKeyOfSeed(seeds.ed25519), mldsa: seeds.mldsa === undefined ? undefined : mldsaPublicKeyOfSeed(seeds.mldsa) }
}

/** Signers for one role. Takes ownership of the seeds: they are wiped here. */
export function openKeySet(role: KeyRole, seeds: KeySeeds): HybridSigner {
  const ed25519 = createSigner(role, seeds.ed25519)
  return { ed25519, mldsa: seeds.mldsa === undefined ? undefined : createPostQuantumSigner(role, seeds.mldsa) }
}

export function closeKeySet(signer: HybridSigner): void {
  signer.ed25519.close()
  signer.mldsa?.close()
}

export function wipeSeeds(seeds: KeySeeds): void {
  seeds.ed25519.wipe()
  seeds.mldsa?.wipe()
}

export function cloneSeeds(seeds: KeySeeds): KeySeeds {
  return { ed25519: seeds.ed25519.clone(), mldsa: seeds.mldsa?.clone() }
}

export function keysOfSigner(signer: HybridSigner): KeySet {
  return { ed25519: signer.ed25519.publicKey, mldsa: signer.mldsa?.publicKey }
}

/** What an entry says about the key set after it. */
export function commitNext(next: KeySet): Uint8Array {
  return hashLabeled('icn/chain-next/v1', encode(keySetCodec, next))
}
