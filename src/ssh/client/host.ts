import { parseCertificate } from '../../access/ssh-certificate.ts'
import { blobFingerprint, keyBlob } from '../../access/ssh-wire.ts'
import { KithError } from '../../core/errors.ts'
import { CERTIFICATE_ALGORITHM, KEY_ALGORITHM } from '../wire.ts'
import type { HostVerdict, KnownHosts } from './known-hosts.ts'
import type { SshUrl } from './url.ts'

/** By what a server is known: an entry of known_hosts, or a fingerprint the owner typed. One of them has to hold; nothing is accepted on first sight. */
export interface HostTrust {
  readonly knownHosts?: KnownHosts
  /** `SHA256:...` of the plain host key. */
  readonly fingerprint?: string
}

/** Types of host keys that the library can verify, in the order they are wanted. */
const TYPES: readonly string[] = [KEY_ALGORITHM, 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521', 'rsa-sha2-512', 'rsa-sha2-256']

/** What the server is asked for: types that are known of it come first, so that a known host is not taken for a changed one. */
export function wantedTypes({ host, port }: SshUrl, { knownHosts }: HostTrust): readonly string[] {
  const known = knownHosts?.types(host, port) ?? []
  const isKnown = (type: string): boolean => known.includes(type.startsWith('rsa-') ? 'ssh-rsa' : type)
  const ordered = [...TYPES.filter(isKnown), ...TYPES.filter((type) => !isKnown(type))]
  return knownHosts?.hasAuthority(host, port) === true ? [CERTIFICATE_ALGORITHM, ...ordered] : ordered
}

export interface CheckedHost {
  readonly fingerprint: string
  /** The plain key of a certificate. */
  readonly subject?: Buffer
}

/** @throws KithError `SSH_HOST_KEY_UNKNOWN`, `SSH_HOST_KEY_CHANGED`, `SSH_HOST_KEY_REVOKED`. */
export function checkHost(shown: Buffer, url: SshUrl, trust: HostTrust, nowMs: number): CheckedHost {
  const length = shown.length < 4 ? 0 : shown.readUInt32BE(0)
  if (shown.toString('latin1', 4, 4 + length) === CERTIFICATE_ALGORITHM) return checkCertificate(shown, url, trust, nowMs)
  const fingerprint = blobFingerprint(shown)
  const verdict = trust.knownHosts?.check(url.host, url.port, shown) ?? 'unknown'
  if (verdict === 'revoked') throw refused(verdict, url, fingerprint)
  if (trust.fingerprint !== undefined) {
    if (trust.fingerprint === fingerprint) return { fingerprint }
    throw refused('changed', url, fingerprint)
  }
  if (verdict === 'known') return { fingerprint }
  throw refused(verdict, url, fingerprint)
}

function checkCertificate(shown: Buffer, url: SshUrl, { knownHosts, fingerprint: pinned }: HostTrust, nowMs: number): CheckedHost {
  const { key, type, principals, validAfter, validBefore, criticalOptions, authority } = parseCertificate(shown)
  const subject = Buffer.from(keyBlob(key))
  const fingerprint = blobFingerprint(subject)
  const { host, port } = url
  const verdicts: readonly (HostVerdict | undefined)[] = [knownHosts?.authority(host, port, keyBlob(authority)), knownHosts?.check(host, port, subject)]
  if (verdicts.includes('revoked')) throw refused('revoked', url, fingerprint)
  const now = BigInt(Math.floor(nowMs / 1_000))
  const holds = type === 'host' && principals.includes(host) && now >= validAfter && now < validBefore && criticalOptions.size === 0
  // A certificate that does not hold is worth what the key in it is worth.
  if ((holds && verdicts[0] === 'known') || verdicts[1] === 'known' || pinned === fingerprint) {
    if (pinned === undefined || pinned === fingerprint) return { fingerprint, subject }
    throw refused('changed', url, fingerprint)
  }
  throw refused(verdicts[1] === 'changed' ? 'changed' : 'unknown', url, fingerprint)
}

const CODES = { unknown: 'SSH_HOST_KEY_UNKNOWN', changed: 'SSH_HOST_KEY_CHANGED', revoked: 'SSH_HOST_KEY_REVOKED' } as const

function refused(verdict: keyof typeof CODES, { host, port }: SshUrl, fingerprint: string): KithError {
  return new KithError(CODES[verdict], undefined, { details: { host, port, fingerprint }, next: `ssh-keyscan -p ${port} ${host}` })
}
