import type { PublicKey } from '../../core/bytes.ts'
import { malformed } from '../../core/codec.ts'
import { parsePublicKey } from '../../core/crypto/ed25519.ts'
import { isKithError } from '../../core/errors.ts'
import { Lru } from '../../core/lru.ts'
import { type Did, formatDid } from '../../identity/did.ts'
import type { Envelope } from './envelope.ts'

interface Sender {
  readonly did: Did
  readonly device: PublicKey
}

/** Spelling a DID and checking a point cost as much as a signature check: the same few senders come again and again. */
const senders: Lru<string, Sender> = new Lru(4_096)

/** Whom an envelope names: valid keys, nothing more. @throws KithError `WIRE_MALFORMED`. */
export function senderNamed(envelope: Envelope): Sender {
  const known = senders.get(envelope.sender)
  if (known !== undefined) return known
  try {
    const sender = { did: formatDid(parsePublicKey(envelope.from)), device: parsePublicKey(envelope.device) }
    senders.set(envelope.sender, sender)
    return sender
  } catch (error) {
    if (isKithError(error, 'KEY_INVALID')) throw malformed('the sender is no valid key')
    throw error
  }
}
