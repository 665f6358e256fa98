import { base58Decode, base58Encode } from '../core/base58.ts'
import { type Brand, concat, type PublicKey } from '../core/bytes.ts'
import { parsePublicKey } from '../core/crypto/ed25519.ts'
import { isKithError, KithError } from '../core/errors.ts'
import { Lru } from '../core/lru.ts'

/**
 * The name of an identity: `did:icn:z` followed by the base58btc form of the 32-byte Ed25519 key it began with.
 * One key has exactly one accepted spelling, so string equality is key equality and a DID may be the key of a map.
 * The name outlives its key: after a rotation the DID stays and the chain says which keys speak for it (`chain.ts`).
 */
export type Did = Brand<string, 'Did'>

const ICN = 'did:icn:z'
const KEY = 'did:key:z'
/** Multicodec `ed25519-pub` (0xed) as a varint, in front of the key in a `did:key`. */
const ED25519_PUB = Uint8Array.of(0xed, 0x01)
const KEY_BYTES = 32

/** Keys of DIDs that were read lately: base58 is long division, and costs half as much as a signature. */
const keys: Lru<string, PublicKey> = new Lru(4_096)

/**
 * Reads a DID. A `did:key` of an Ed25519 key is accepted as input and gives the same identity as its `did:icn`.
 * @throws KithError `DID_INVALID` for any other method or base, a second spelling, a wrong length or bytes that are no valid point.
 */
export function parseDid(text: string): Did {
  return formatDid(publicKeyOf(text))
}

export function isDid(text: string): text is Did {
  if (!text.startsWith(ICN)) return false
  try {
    publicKeyOf(text)
    return true
  } catch {
    return false
  }
}

/** The canonical spelling of a key that was already checked (`parsePublicKey`). */
export function formatDid(key: PublicKey): Did {
  return `${ICN}${base58Encode(key)}` as Did
}

/** The same identity in the `did:key` method, for software that knows only that one. */
export function formatDidKey(did: Did): string {
  return `${KEY}${base58Encode(concat(ED25519_PUB, didPublicKey(did)))}`
}

/** The key the DID began with: entry 0 of its chain. Not necessarily the key that speaks for it today. */
export function didPublicKey(did: Did): PublicKey {
  const known = keys.get(did)
  // A copy: what a caller does to its bytes is its own affair.
  if (known !== undefined) return Uint8Array.from(known) as PublicKey
  const key = publicKeyOf(did)
  keys.set(did, Uint8Array.from(key) as PublicKey)
  return key
}

/** For tables and prompts: the first twelve characters that tell DIDs apart, `z` included. A unique prefix of this kind is accepted wherever a peer is named. */
export function shortDid(did: Did): string {
  return did.slice(ICN.length - 1, ICN.length + 11)
}

function publicKeyOf(text: string): PublicKey {
  const method = text.startsWith(ICN) ? ICN : text.startsWith(KEY) ? KEY : undefined
  if (method === undefined) throw invalid('it begins with neither did:icn:z nor did:key:z')
  const tag = method === KEY ? ED25519_PUB : new Uint8Array(0)
  const spelled = text.slice(method.length)
  const bytes = base58Decode(spelled, tag.length + KEY_BYTES)
  if (bytes === undefined) throw invalid('it is not base58btc of the right length')
  if (tag.some((byte, at) => bytes[at] !== byte)) throw invalid('it names no Ed25519 key')
  if (base58Encode(bytes) !== spelled) throw invalid('it is not the one canonical spelling')
  try {
    return parsePublicKey(bytes.subarray(tag.length))
  } catch (error) {
    if (isKithError(error, 'KEY_INVALID')) throw invalid('its bytes are no valid Ed25519 key', error)
    throw error
  }
}

function invalid(reason: string, cause?: unknown): KithError {
  return new KithError('DID_INVALID', `not a usable DID: ${reason}`, { details: { reason }, next: 'kith id show (prints the DID of a node)', cause })
}
