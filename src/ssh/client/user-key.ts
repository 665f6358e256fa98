import type { PublicKey } from '../../core/bytes.ts'
import { createSigner } from '../../core/crypto/ed25519.ts'
import { KithError } from '../../core/errors.ts'
import { Secret } from '../../core/secret.ts'
import type { Signer } from '../../core/signer.ts'
import { readStrings } from '../wire.ts'

/**
 * # Private keys of OpenSSH (PROTOCOL.key), not protected by a passphrase
 *
 * ```text
 * "openssh-key-v1" 00 || string cipher || string kdf || string kdf options || uint32 1 || string public key || string private part
 * private part = uint32 check || uint32 check || string "ssh-ed25519" || string key(32) || string seed(32) || key(32) || string comment || 01 02 03 ...
 * ```
 */
const MAGIC = Buffer.from('openssh-key-v1\0', 'latin1')
const MAX_FILE = 16_384
const FRAME = /^-----BEGIN OPENSSH PRIVATE KEY-----\r?\n([A-Za-z0-9+/=\s]+)-----END OPENSSH PRIVATE KEY-----\s*$/

/**
 * An Ed25519 key from a file; the text stays the caller's and should be forgotten.
 * @throws KithError `SSH_KEY_INVALID`, which says what kind of key it is instead.
 */
export function parseUserKey(text: string): Signer {
  if (text.length > MAX_FILE) throw invalid('it is too long for a key')
  const base64 = FRAME.exec(text)?.[1]
  if (base64 === undefined)
    throw invalid(text.includes('PRIVATE KEY-----') ? 'it is a PEM key; ssh-keygen -p -f FILE writes the format of OpenSSH' : 'it is no key')
  const bytes = Buffer.from(base64, 'base64')
  try {
    return signerOf(bytes)
  } finally {
    bytes.fill(0)
  }
}

function signerOf(bytes: Buffer): Signer {
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw invalid('it is no key')
  const head = readStrings(bytes.subarray(MAGIC.length), 3)
  const [cipher] = head?.strings ?? []
  if (head === undefined || cipher === undefined) throw invalid('it is cut off')
  if (Buffer.from(cipher).toString('latin1') !== 'none') throw invalid('it is protected by a passphrase')
  const parts = head.rest.length < 4 ? undefined : readStrings(head.rest.subarray(4), 2)
  const secret = parts?.strings[1]
  if (secret === undefined || secret.length < 8 || !Buffer.from(secret.subarray(0, 4)).equals(Buffer.from(secret.subarray(4, 8))))
    throw invalid('it is damaged')
  const [type, publicKey, pair] = readStrings(secret.subarray(8), 3)?.strings ?? []
  if (type === undefined || Buffer.from(type).toString('latin1') !== 'ssh-ed25519') throw invalid('it is not an Ed25519 key')
  if (publicKey?.length !== 32 || pair?.length !== 64) throw invalid('it is damaged')
  const signer = createSigner('service', Secret.take(new Uint8Array(pair.subarray(0, 32))))
  if (Buffer.from(signer.publicKey).equals(publicKey as PublicKey)) return signer
  signer.close()
  throw invalid('it is damaged')
}

function invalid(reason: string): KithError {
  return new KithError('SSH_KEY_INVALID', `The key cannot be used: ${reason}.`, { details: { reason } })
}
