import { blobFingerprint, keyBlob } from '../access/ssh-wire.ts'
import { equal } from '../core/bytes.ts'
import { KithError } from '../core/errors.ts'
import type { Signer } from '../core/signer.ts'
import type { HostKeys } from './key-exchange.ts'
import type { LibraryHostKey } from './library.ts'
import { CERTIFICATE_ALGORITHM, KEY_ALGORITHM, keyOfCertificate } from './wire.ts'

/** A door's host key as other programs name it. */
export interface HostKeyView {
  readonly fingerprint: string
  /** `ssh-ed25519 AAAA...`, the end of a line of `known_hosts`. */
  readonly public_key: string
  readonly certified: boolean
}

export function describeHostKey(publicKey: Uint8Array, certified: boolean): HostKeyView {
  const blob = keyBlob(publicKey)
  return { fingerprint: blobFingerprint(blob), public_key: `${KEY_ALGORITHM} ${Buffer.from(blob).toString('base64')}`, certified }
}

/** A line of `known_hosts` for a door at `host`:`port`. */
export function knownHostsLine(host: string, port: number, { public_key }: HostKeyView): string {
  return `${port === 22 ? host : `[${host}]:${port}`} ${public_key}`
}

/** The signer in the form the library uses; a door with a host certificate offers both. @throws KithError `SSH_KEY_INVALID` for a certificate of another key. */
export function libraryHostKeys(signer: Signer, certificate: Uint8Array | undefined): HostKeys {
  const plain = libraryHostKey(signer, keyBlob(signer.publicKey))
  if (certificate === undefined) return { plain }
  return { plain, certified: libraryHostKey(signer, certificate) }
}

function libraryHostKey(signer: Signer, shown: Uint8Array): LibraryHostKey {
  const blob = Buffer.from(shown)
  return {
    type: KEY_ALGORITHM,
    getPublicSSH: () => blob,
    sign(data) {
      try {
        return Buffer.from(signer.sign(data))
      } catch (cause) {
        return cause instanceof Error ? cause : new Error('the host key cannot sign')
      }
    },
  }
}

/** Longest line of a certificate file that is read. */
const MAX_LINE = 16_384

/**
 * Reads a host certificate as `ssh-keygen -h -s CA` writes it (`*-cert.pub`).
 * @throws KithError `SSH_KEY_INVALID` when it is none, or not of this key.
 */
export function parseHostCertificate(text: string, publicKey: Uint8Array): Uint8Array {
  const [algorithm, base64] = text.slice(0, MAX_LINE).trim().split(/\s+/)
  const blob = Buffer.from(base64 ?? '', 'base64')
  const subject = algorithm === CERTIFICATE_ALGORITHM ? keyOfCertificate(blob) : undefined
  if (subject === undefined) throw new KithError('SSH_KEY_INVALID', 'The host certificate is not an Ed25519 certificate of OpenSSH.')
  if (!equal(subject, publicKey)) throw new KithError('SSH_KEY_INVALID', 'The host certificate was made for another key.', { next: 'kith ssh host-key' })
  return new Uint8Array(blob)
}
