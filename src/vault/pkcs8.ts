import { Secret } from '../core/secret.ts'

/** RFC 8410 section 7: version 0, the algorithm 1.3.101.112, and the seed as OCTET STRING in an OCTET STRING. */
const PREFIX: readonly number[] = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20]
const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
const BEGIN = '-----BEGIN PRIVATE KEY-----\n'
const END = '\n-----END PRIVATE KEY-----\n'

/**
 * An Ed25519 seed as the text file that OpenSSL and most libraries read (PKCS#8, RFC 7468). No string of it is made; the caller wipes it. The seed stays the caller's.
 * @throws TypeError for anything but 32 bytes.
 */
export function ed25519Pem(seed: Secret): Secret {
  if (seed.length !== 32) throw new TypeError('an Ed25519 seed has 32 bytes')
  const length = PREFIX.length + seed.length
  const pem = Secret.alloc(BEGIN.length + (length / 3) * 4 + END.length)
  seed.use((bytes) =>
    pem.fill((target) => {
      const byteAt = (at: number): number => (at < PREFIX.length ? (PREFIX[at] as number) : (bytes[at - PREFIX.length] as number))
      let at = target.write(BEGIN, 'latin1')
      for (let from = 0; from < length; from += 3) {
        const three = (byteAt(from) << 16) | (byteAt(from + 1) << 8) | byteAt(from + 2)
        for (let shift = 18; shift >= 0; shift -= 6) at = target.writeUInt8(BASE64.charCodeAt((three >> shift) & 63), at)
      }
      target.write(END, at, 'latin1')
    }),
  )
  return pem
}
