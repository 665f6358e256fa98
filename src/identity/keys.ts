import type { Signature } from '../core/bytes.ts'
import { bytesN, type Codec, encode, mapped, option, struct } from '../core/codec.ts'
import { createSigner, parsePublicKey, publicKeyOfSeed } from '../core/crypto/ed25519.ts'
import type { HybridSigner } from '../core/crypto/hybrid.ts'
import { hashLabeled } from '../core/crypto/labels.ts'
import { createPostQuantumSigner, MLDSA_PUBLIC_KEY_BYTES, MLDSA_SIGNATURE_BYTES, mldsaPublicKeyOfSeed } from '../core/crypto/mldsa.ts'
import { KithError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'
import { Secret } from '../core/secret.ts'
import type { KeyRole, Signer } from '../core/signer.ts'
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
  readonly ed25519: Secret | TokenKey
  readonly mldsa: Secret | undefined
}

/** Seeds that are all in memory: those of machines, and of identities without hardware. */
export interface SoftwareSeeds extends KeySeeds {
  readonly ed25519: Secret
}

/** An Ed25519 key that never leaves a PKCS#11 token. Nothing of it is secret. */
export interface TokenKey {
  readonly kind: 'token'
  /** RFC 7512, at most 512 bytes, never with a PIN. */
  readonly uri: string
  readonly publicKey: KeySet['ed25519']
}

/** Gives the signer of a key in a token, for the role `identity`; its public key is the one asked for. @throws KithError `TOKEN_*`. */
export type TokenOpener = (key: TokenKey) => Signer

export function isTokenKey(key: Secret | TokenKey): key is TokenKey {
  return !(key instanceof Secret)
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
export function randomKeySeeds(random: Random, options: { mldsa?: boolean } = {}): SoftwareSeeds {
  return { ed25519: Secret.random(32, random), mldsa: options.mldsa === false ? undefined : Secret.random(32, random) }
}

export function publicKeysOf(seeds: KeySeeds): KeySet {
  const { ed25519 } = seeds
  return {
    ed25519: isTokenKey(ed25519) ? ed25519.publicKey : publicKeyOfSeed(ed25519),
    mldsa: seeds.mldsa === undefined ? undefined : mldsaPublicKeyOfSeed(seeds.mldsa),
  }
}

/**
 * Signers for one role. Takes ownership of the seeds: they are wiped here. A key in a token is opened through `tokens`.
 * @throws KithError `TOKEN_UNAVAILABLE` for a key in a token when there is no `tokens`, and what `tokens` throws; TypeError for a token under another role.
 */
export function openKeySet(role: KeyRole, seeds: KeySeeds, tokens?: TokenOpener): HybridSigner {
  try {
    const ed25519 = isTokenKey(seeds.ed25519) ? openToken(role, seeds.ed25519, tokens) : createSigner(role, seeds.ed25519)
    return { ed25519, mldsa: seeds.mldsa === undefined ? undefined : createPostQuantumSigner(role, seeds.mldsa) }
  } finally {
    wipeSeeds(seeds)
  }
}

function openToken(role: KeyRole, key: TokenKey, tokens: TokenOpener | undefined): Signer {
  if (role !== 'identity') throw new TypeError('only keys of an identity live in a token')
  if (tokens === undefined) {
    throw new KithError('TOKEN_UNAVAILABLE', 'the key of this identity is in a token, and nothing here opens tokens', { details: { uri: key.uri } })
  }
  return tokens(key)
}

export function closeKeySet(signer: HybridSigner): void {
  signer.ed25519.close()
  signer.mldsa?.close()
}

export function wipeSeeds(seeds: KeySeeds): void {
  if (!isTokenKey(seeds.ed25519)) seeds.ed25519.wipe()
  seeds.mldsa?.wipe()
}

export function cloneSeeds(seeds: SoftwareSeeds): SoftwareSeeds
export function cloneSeeds(seeds: KeySeeds): KeySeeds
export function cloneSeeds(seeds: KeySeeds): KeySeeds {
  return { ed25519: isTokenKey(seeds.ed25519) ? seeds.ed25519 : seeds.ed25519.clone(), mldsa: seeds.mldsa?.clone() }
}

export function keysOfSigner(signer: HybridSigner): KeySet {
  return { ed25519: signer.ed25519.publicKey, mldsa: signer.mldsa?.publicKey }
}

/** What an entry says about the key set after it. */
export function commitNext(next: KeySet): Uint8Array {
  return hashLabeled('icn/chain-next/v1', encode(keySetCodec, next))
}
