import { base58Decode, base58Encode } from '../core/base58.ts'
import { equal, type PublicKey } from '../core/bytes.ts'
import { bytesN, type Codec, constant, decode, encode, list, struct, text, u32 } from '../core/codec.ts'
import { sha256 } from '../core/crypto/hash.ts'
import { isKithError, KithError } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import { didCodec, peerClass, publicKey } from './address-book-codec.ts'
import type { PeerClass } from './types.ts'

/**
 * # Invite ticket (PN-12)
 *
 * ```text
 * ticket = "kith1" || base58btc( u8 1 || bytes8 id || secret16 || did32 || link32 || u32 chain_index || bytes8 head_prefix
 *                                || u8 class || u32 expires_s || list<url>(<= 4) || checksum4 )
 * checksum4 = SHA-256(everything before)[0..4]         expires_s = seconds since 1970
 * ```
 *
 * Whoever reads a ticket may use it: it is never logged. It reveals the inviter's DID, machine and addresses.
 */
export interface Ticket {
  readonly id: Uint8Array
  readonly secret: Uint8Array
  readonly did: Did
  readonly linkKey: PublicKey
  readonly chainIndex: number
  /** The first 8 bytes of the hash of that chain entry. */
  readonly headPrefix: Uint8Array
  readonly class: PeerClass
  readonly expiresS: number
  readonly urls: readonly string[]
}

export const TICKET_URLS = 4
const PREFIX = 'kith1'
const CHECKSUM_BYTES = 4

const ticketCodec: Codec<Ticket & { _version: undefined }> = struct<Ticket & { _version: undefined }>({
  _version: constant(1),
  id: bytesN(8),
  secret: bytesN(16),
  did: didCodec,
  linkKey: publicKey,
  chainIndex: u32,
  headPrefix: bytesN(8),
  class: peerClass,
  expiresS: u32,
  urls: list(text(128), TICKET_URLS),
})

export function encodeTicket(ticket: Ticket): string {
  const body = encode(ticketCodec, { ...ticket, _version: undefined })
  return `${PREFIX}${base58Encode(Buffer.concat([body, checksum(body)]))}`
}

/** Spaces and line breaks from pasting are taken out. @throws KithError `INVITE_INVALID`: no ticket, mistyped, or of a later version. Its details never hold the ticket. */
export function decodeTicket(pasted: string): Ticket {
  if (pasted.length > 2_000) throw invalid('that is too long for a ticket')
  const joined = pasted.replace(/\s+/g, '')
  if (!joined.startsWith(PREFIX)) throw invalid('a ticket begins with kith1')
  const bytes = base58Decode(joined.slice(PREFIX.length), ticketCodec.max + CHECKSUM_BYTES)
  if (bytes === undefined || bytes.length <= CHECKSUM_BYTES) throw invalid('the ticket is mistyped or incomplete')
  const body = bytes.subarray(0, -CHECKSUM_BYTES)
  if (!equal(checksum(body), bytes.subarray(-CHECKSUM_BYTES))) throw invalid('the ticket is mistyped or incomplete')
  try {
    const { _version, ...ticket } = decode(ticketCodec, body)
    return ticket
  } catch (error) {
    if (isKithError(error, 'WIRE_MALFORMED') || isKithError(error, 'KEY_INVALID')) throw invalid('the ticket is not one that this version reads', error)
    throw error
  }
}

function checksum(body: Uint8Array): Uint8Array {
  return sha256(body).subarray(0, CHECKSUM_BYTES)
}

function invalid(sentence: string, cause?: unknown): KithError {
  return new KithError('INVITE_INVALID', sentence, { next: 'kith invite (on the other machine, for a new ticket)', cause })
}
