import { concat, type PublicKey } from '../core/bytes.ts'
import { bytesN, type Codec, decode, encode, list, malformed, mapped, option, struct, text, u8, uint53 } from '../core/codec.ts'
import { parsePublicKey } from '../core/crypto/ed25519.ts'
import { type Did, didPublicKey, formatDid } from '../identity/did.ts'
import { PEER_CLASSES } from './constraints.ts'
import type { PeerClass } from './types.ts'

/** One way to a peer's machine (protocol.md: an address is URL, link key and DID). */
export interface BookAddress {
  readonly url: string
  /** Absent until somebody answered there: locate finds it. */
  readonly linkKey: PublicKey | undefined
  /** Ms since the epoch, 0 for never. */
  readonly lastSuccessMs: number
  readonly lastFailureMs: number
}

export interface BookPeer {
  readonly did: Did
  /** Unique in the book, ignoring case. */
  readonly name: string
  readonly class: PeerClass
  /** Class that takes effect when a person confirms the words of a pairing. */
  readonly pending: PeerClass | null
  /** How the peer came here: `invite ID`, `ticket`, `added`. */
  readonly met: string
  readonly sinceMs: number
  readonly addresses: readonly BookAddress[]
}

export const MAX_ADDRESSES = 16
export const MAX_URL = 256

export const peerClass: Codec<PeerClass> = mapped(
  u8,
  (value) => {
    const name = PEER_CLASSES[value]
    if (name === undefined) throw malformed('peer class')
    return name
  },
  (name) => PEER_CLASSES.indexOf(name),
)

export const publicKey: Codec<PublicKey> = mapped(bytesN(32), parsePublicKey, (key) => key)
export const didCodec: Codec<Did> = mapped(publicKey, formatDid, didPublicKey)

const peerCodec = struct<BookPeer>({
  did: didCodec,
  name: text(64),
  class: peerClass,
  pending: mapped(
    option(peerClass),
    (value) => value ?? null,
    (value) => value ?? undefined,
  ),
  met: text(80),
  sinceMs: uint53,
  addresses: list(struct<BookAddress>({ url: text(MAX_URL), linkKey: option(publicKey), lastSuccessMs: uint53, lastFailureMs: uint53 }), MAX_ADDRESSES),
})
const VERSION = Uint8Array.of(1)

export function encodePeer(peer: BookPeer): Uint8Array {
  return concat(VERSION, encode(peerCodec, peer))
}

/** @throws KithError `WIRE_MALFORMED`, `KEY_INVALID`. */
export function decodePeer(bytes: Uint8Array): BookPeer {
  if (bytes[0] !== VERSION[0]) throw malformed('address book of an unknown version')
  return decode(peerCodec, bytes.subarray(1))
}
