import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { KithError } from '../core/errors.ts'
import { siteContext } from '../transport/front/site-tls.ts'
import type { TlsCertificate } from '../transport/front/types.ts'
import type { Identifier } from './acme/identifiers.ts'

/** A certificate chain with its key that were found to fit, and what the leaf says. */
export interface CertificateFile extends TlsCertificate {
  readonly key: string
  readonly cert: string
  /** Names and addresses it is for, as it lists them. */
  readonly names: readonly string[]
  readonly notBefore: number
  readonly notAfter: number
}

export interface ReadOptions {
  /** PEM. */
  readonly key: string
  /** PEM, leaf first. */
  readonly cert: string
  /** What it must be for. */
  readonly identifiers?: readonly Identifier[]
  /** Undefined: its dates are not looked at. */
  readonly now?: number
}

const MAX_CHAIN = 16
const BLOCK = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]{1,65536}?-----END CERTIFICATE-----/g

/** @throws KithError `CERTIFICATE_INVALID` with `details.reason`: `cert`, `key`, `mismatch`, `names`, `dates`. Never a part of the key. */
export function readCertificate({ key, cert, identifiers = [], now }: ReadOptions): CertificateFile {
  const chain = cert.match(BLOCK) ?? []
  const leaf = chain.length > MAX_CHAIN ? undefined : parseLeaf(chain[0])
  if (leaf === undefined) throw invalid('cert', 'The certificate is not one in PEM form.')
  const privateKey = parseKey(key)
  if (privateKey === undefined) throw invalid('key', 'The private key is not one in PEM form, or has a passphrase.')
  if (!leaf.checkPrivateKey(privateKey)) throw invalid('mismatch', 'The certificate is for another private key.')
  const missing = identifiers.find(({ type, value }) => (type === 'dns' ? leaf.checkHost(value, { subject: 'never' }) : leaf.checkIP(value)) === undefined)
  if (missing !== undefined) throw invalid('names', `The certificate is not for ${missing.value}.`)
  const [notBefore, notAfter] = [Date.parse(leaf.validFrom), Date.parse(leaf.validTo)]
  if (!Number.isFinite(notBefore) || !(notAfter > notBefore)) throw invalid('dates', 'The dates of the certificate are none.')
  if (now !== undefined && now >= notAfter) throw invalid('dates', 'The certificate has run out.')
  const usable = { key, cert: `${chain.join('\n')}\n` }
  checkContext(usable)
  return { ...usable, names: namesOf(leaf), notBefore, notAfter }
}

/** What TLS does not take would be noticed by those who come, not by the owner. */
function checkContext(certificate: TlsCertificate): void {
  try {
    siteContext(certificate)
  } catch {
    throw invalid('cert', 'The certificates behind the first one, or the kind of key, are not such as TLS can be spoken with.')
  }
}

function parseLeaf(text: string | undefined): X509Certificate | undefined {
  try {
    return text === undefined ? undefined : new X509Certificate(text)
  } catch {
    return undefined
  }
}

function parseKey(text: string): KeyObject | undefined {
  try {
    return createPrivateKey(text)
  } catch {
    return undefined
  }
}

/** `DNS:a.example, IP Address:192.0.2.1` as the runtime writes it; names that need quotes are left out. */
function namesOf({ subjectAltName }: X509Certificate): readonly string[] {
  const entries = subjectAltName?.split(', ') ?? []
  return entries.flatMap((entry) => /^(?:DNS|IP Address):([A-Za-z0-9.:*_-]{1,253})$/.exec(entry)?.[1] ?? [])
}

function invalid(reason: string, message: string): KithError {
  return new KithError('CERTIFICATE_INVALID', message, { details: { reason }, next: 'kith doctor' })
}
