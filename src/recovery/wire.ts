import { concat, equal } from '../core/bytes.ts'
import { type Codec, constant, decode, encode, malformed, mapped, struct } from '../core/codec.ts'
import { sha256 } from '../core/crypto/hash.ts'
import { isKithError, KithError } from '../core/errors.ts'
import { cancellationCodec, type RecoveryCancellation } from '../identity/chain-cancellation.ts'
import { entryCodec } from '../identity/chain-codec.ts'
import type { ChainEntry } from '../identity/types.ts'

/**
 * # What is said about recoveries, over links, on `identity:recovery` and by file
 *
 * ```text
 * message = 01 01 || bytes entry (PN-6, kind recover) with 0..32 attestations        a request, what has been attested of it, the complete recovery
 *         | 01 02 || cancellation (`identity/chain-cancellation.ts`)                 with 1..32 words
 * text    = "kithrec1" || base64url( message || SHA-256(message)[0..4] )             pasted with any spaces and line breaks
 * ```
 *
 * Everything in it proves itself. What two nodes know of one recovery is merged by the union of the attestations, or words, that verify.
 */
export type RecoveryMessage = { readonly kind: 'recovery'; readonly entry: ChainEntry } | { readonly kind: 'end'; readonly cancellation: RecoveryCancellation }

/** Two keys with post-quantum halves, their signatures, 32 attestations and a policy of 32 trustees take less. */
export const MAX_MESSAGE_BYTES: number = 20 * 1024
const MAX_TEXT_CHARS = 64 * 1024
const PREFIX = 'kithrec1'
const CHECKSUM_BYTES = 4
const LINE = 100

const recovery: Codec<{ _version: undefined; entry: ChainEntry }> = struct<{ _version: undefined; entry: ChainEntry }>({
  _version: constant(1, 1),
  entry: entryCodec,
})
const end: Codec<{ _version: undefined; cancellation: RecoveryCancellation }> = struct<{ _version: undefined; cancellation: RecoveryCancellation }>({
  _version: constant(1, 2),
  cancellation: mapped(
    cancellationCodec,
    ({ _version, ...cancellation }) => cancellation,
    (cancellation) => ({ _version: undefined, ...cancellation }),
  ),
})

export function encodeMessage(message: RecoveryMessage): Uint8Array {
  return message.kind === 'recovery'
    ? encode(recovery, { _version: undefined, entry: message.entry })
    : encode(end, { _version: undefined, cancellation: message.cancellation })
}

/** Nothing is verified but the form. @throws KithError `WIRE_MALFORMED`. */
export function decodeMessage(encoded: Uint8Array): RecoveryMessage {
  if (encoded.length > MAX_MESSAGE_BYTES) throw malformed('longer than a recovery message', { length: encoded.length })
  if (encoded[1] === 2) {
    const { cancellation } = decode(end, encoded)
    if (cancellation.words.length === 0) throw malformed('a cancellation without words')
    return { kind: 'end', cancellation }
  }
  const { entry } = decode(recovery, encoded)
  if (entry.kind !== 'recover') throw malformed('not an entry of a recovery')
  return { kind: 'recovery', entry }
}

/** For files and for pasting, in lines. */
export function messageText(message: Uint8Array): string {
  const text = `${PREFIX}${Buffer.from(concat(message, checksum(message))).toString('base64url')}`
  return text.match(new RegExp(`.{1,${LINE}}`, 'g'))?.join('\n') ?? text
}

/** @throws KithError `RECOVERY_INVALID`. */
export function parseMessageText(pasted: string): Uint8Array {
  if (pasted.length > MAX_TEXT_CHARS) throw unreadable('it is too long')
  const joined = pasted.replace(/\s+/g, '')
  if (!joined.startsWith(PREFIX)) throw unreadable(`it does not begin with ${PREFIX}`)
  const encoded = joined.slice(PREFIX.length)
  const decoded = Uint8Array.from(Buffer.from(encoded, 'base64url'))
  if (Buffer.from(decoded).toString('base64url') !== encoded || decoded.length <= CHECKSUM_BYTES) throw unreadable('something is missing or mistyped')
  const message = decoded.subarray(0, decoded.length - CHECKSUM_BYTES)
  if (!equal(checksum(message), decoded.subarray(message.length))) throw unreadable('something is missing or mistyped')
  try {
    decodeMessage(message)
  } catch (error) {
    if (isKithError(error)) throw unreadable('it is of another version, or damaged', error)
    throw error
  }
  return message
}

function checksum(message: Uint8Array): Uint8Array {
  return sha256(message).subarray(0, CHECKSUM_BYTES)
}

function unreadable(reason: string, cause?: unknown): KithError {
  return new KithError('RECOVERY_INVALID', `This is no recovery text: ${reason}.`, { details: { reason }, cause })
}
