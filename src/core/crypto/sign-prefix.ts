import type { KeyRole } from '../signer.ts'

/**
 * The first bytes of a message tell its protocol (protocol.md, PN-1). Each role has a closed list; a signer refuses everything else,
 * so a signature made in one protocol can never be presented in another.
 *
 * ```text
 * 08..1f | label (that many ASCII bytes) | ...    everything native           identity, link
 * 00 | 32 bytes                    (33 exactly)   encrypted stream            link
 * 20 x 64 | "TLS 1.3, " | ...                     TLS CertificateVerify       link
 * 30 | DER length = rest of the message | ...     X.509 TBSCertificate        link
 * "libp2p-tls-handshake:" | ...                   QUIC certificate extension  link
 * "ICN_RECOVERY_ATTESTATION:" | ...               recovery, text form         identity
 * anything                                        SSH, tokens                 service: keys that sign in one foreign protocol and nothing else
 * ```
 */
const TLS = Buffer.concat([Buffer.alloc(64, 0x20), Buffer.from('TLS 1.3, ')])
const LIBP2P_TLS = Buffer.from('libp2p-tls-handshake:')
const RECOVERY = Buffer.from('ICN_RECOVERY_ATTESTATION:')

/** Whether a key of `role` may sign `message`. */
export function maySign(role: KeyRole, message: Uint8Array): boolean {
  const first = message[0]
  if (first === undefined) return false
  if (role === 'service') return true
  if (first >= 0x08 && first <= 0x1f) return hasLabel(message, first)
  if (role === 'identity') return startsWith(message, RECOVERY)
  switch (first) {
    case 0x00:
      return message.length === 33
    case 0x20:
      return startsWith(message, TLS)
    case 0x30:
      return isWholeSequence(message)
    case 0x6c:
      return startsWith(message, LIBP2P_TLS)
    default:
      return false
  }
}

function hasLabel(message: Uint8Array, length: number): boolean {
  if (message.length < 1 + length) return false
  for (let i = 1; i <= length; i++) {
    const byte = message[i] as number
    if (byte < 0x21 || byte > 0x7e) return false
  }
  return true
}

function startsWith(message: Uint8Array, prefix: Buffer): boolean {
  return message.length > prefix.length && prefix.compare(message, 0, prefix.length) === 0
}

/** A DER SEQUENCE in definite, shortest length form that fills the message (X.690, 10.1). */
function isWholeSequence(message: Uint8Array): boolean {
  const first = message[1]
  if (first === undefined || first === 0x80) return false
  if (first < 0x80) return message.length === 2 + first
  const width = first & 0x7f
  if (width > 4 || message.length < 2 + width) return false
  let length = 0
  for (let i = 0; i < width; i++) length = length * 256 + (message[2 + i] as number)
  return length >= 0x80 && message[2] !== 0 && message.length === 2 + width + length
}
