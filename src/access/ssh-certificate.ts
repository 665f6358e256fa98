import { equal, type PublicKey } from '../core/bytes.ts'
import { verify } from '../core/crypto/ed25519.ts'
import { type AddressPatterns, parseAddressPatterns } from './address-pattern.ts'
import { parseKeyBlob, SshReader, unreadable } from './ssh-wire.ts'

/**
 * # SSH certificates (OpenSSH, PROTOCOL.certkeys), of Ed25519 keys signed by Ed25519 keys
 *
 * ```text
 * string "ssh-ed25519-cert-v01@openssh.com" || string nonce || string key32 || uint64 serial || uint32 type (1 user, 2 host) || string key id
 * || string list of principals || uint64 valid after || uint64 valid before (seconds; the second excluded)
 * || string critical options || string extensions || string reserved || string signing key (a key blob)
 * || string signature (string "ssh-ed25519" || string sig64, over everything before it)
 * ```
 */
export interface SshCertificate {
  readonly key: PublicKey
  readonly serial: bigint
  readonly type: 'user' | 'host'
  readonly keyId: string
  readonly principals: readonly string[]
  /** Seconds since 1970; the end is excluded, and 2^64 - 1 is none. */
  readonly validAfter: bigint
  readonly validBefore: bigint
  readonly criticalOptions: ReadonlyMap<string, string>
  readonly extensions: ReadonlySet<string>
  /** Who signed it. */
  readonly authority: PublicKey
}

export const CERTIFICATE_TYPE = 'ssh-ed25519-cert-v01@openssh.com'
/** What sshd takes as a key in a message, rounded down. */
export const MAX_CERTIFICATE = 16_384
const MAX_PRINCIPALS = 256
const MAX_NAME = 256
const SIGNATURE = 'ssh-ed25519'

/** Reads a certificate and checks that its signing key signed it; whether that key may is another question. @throws KithError `SSH_FORMAT`. */
export function parseCertificate(bytes: Uint8Array): SshCertificate {
  if (bytes.length > MAX_CERTIFICATE) throw unreadable('it is too long for a certificate')
  const reader = new SshReader(bytes)
  const kind = reader.text(64)
  if (kind !== CERTIFICATE_TYPE) throw unreadable(`it is not an ${CERTIFICATE_TYPE}`)
  reader.string(MAX_NAME)
  const key = keyOf(reader.string(32))
  const serial = reader.u64()
  const type = typeOf(reader.u32())
  const keyId = reader.text(MAX_NAME)
  const principals = namesOf(reader.string(MAX_CERTIFICATE))
  const [validAfter, validBefore] = [reader.u64(), reader.u64()]
  const criticalOptions = optionsOf(reader.string(MAX_CERTIFICATE))
  const extensions = new Set(optionsOf(reader.string(MAX_CERTIFICATE)).keys())
  if (reader.string(MAX_CERTIFICATE).length !== 0) throw unreadable('a part of it is reserved and not empty')
  const authority = parseKeyBlob(reader.string(256))
  const signed = bytes.subarray(0, reader.at)
  const signature = reader.string(256)
  reader.end()
  if (equal(authority, key)) throw unreadable('its key signed itself')
  if (!verifyBlob(authority, signed, signature)) throw unreadable('its signature is not that of its signing key')
  return { key, serial, type, keyId, principals, validAfter, validBefore, criticalOptions, extensions, authority }
}

/** A signature as SSH carries it. False for anything that is not a good one. */
function verifyBlob(key: PublicKey, message: Uint8Array, blob: Uint8Array): boolean {
  const reader = new SshReader(blob)
  if (reader.text(64) !== SIGNATURE) return false
  const signature = reader.string(64)
  reader.end()
  return verify(key, message, signature)
}

function keyOf(bytes: Uint8Array): PublicKey {
  const blob = Buffer.alloc(51)
  blob.writeUInt32BE(11, 0)
  blob.write(SIGNATURE, 4, 'latin1')
  blob.writeUInt32BE(bytes.length, 15)
  if (bytes.length !== 32) throw unreadable('its key is not 32 bytes')
  blob.set(bytes, 19)
  return parseKeyBlob(blob)
}

function typeOf(type: number): 'user' | 'host' {
  if (type === 1) return 'user'
  if (type === 2) return 'host'
  throw unreadable('it is neither for users nor for hosts')
}

function namesOf(bytes: Uint8Array): readonly string[] {
  const reader = new SshReader(bytes)
  const names: string[] = []
  while (!reader.ended) {
    if (names.length >= MAX_PRINCIPALS) throw unreadable(`it names more than ${MAX_PRINCIPALS} principals`)
    names.push(reader.text(MAX_NAME))
  }
  return names
}

/** Names in order, each once, as the format demands; a value is a string inside the string. */
function optionsOf(bytes: Uint8Array): ReadonlyMap<string, string> {
  const reader = new SshReader(bytes)
  const options = new Map<string, string>()
  let last = ''
  while (!reader.ended) {
    const name = reader.text(MAX_NAME)
    if (name <= last) throw unreadable('its options are not in order, each once')
    last = name
    const data = reader.string(MAX_CERTIFICATE)
    const inner = new SshReader(data)
    options.set(name, data.length === 0 ? '' : inner.text(MAX_CERTIFICATE))
    if (data.length !== 0) inner.end()
  }
  return options
}

/** When, where and as whom a certificate is shown. */
export interface CertificateUse {
  readonly nowMs: number
  readonly address: string
}

/**
 * Why a certificate whose signing key may sign does not count now; `undefined` when it does. Principals are the caller's question: who may sign says which count.
 * An empty list of principals is no certificate for everybody here: OpenSSH took it for one until 2010, and people make such by accident.
 */
export function whyNotValid(certificate: SshCertificate, { nowMs, address }: CertificateUse): string | undefined {
  const { type, principals, validAfter, validBefore, criticalOptions } = certificate
  const now = BigInt(Math.floor(nowMs / 1_000))
  if (type !== 'user') return 'it is a certificate of a host'
  if (principals.length === 0) return 'it names no principals'
  if (now < validAfter) return 'it is not valid yet'
  if (now >= validBefore) return 'it has expired'
  for (const [name, value] of criticalOptions) {
    if (name === 'source-address') {
      const patterns = sourceAddresses(value)
      if (patterns?.matches(address) !== true) return 'it is not for this address'
    } else if (name === 'force-command') return 'it forces a command, and there is no shell here to run one in'
    else return `its critical option ${name.slice(0, 40)} is not known here`
  }
  return undefined
}

function sourceAddresses(text: string): AddressPatterns | undefined {
  try {
    return parseAddressPatterns(text, { wildcards: false })
  } catch {
    return undefined
  }
}

/** Ms since 1970 from which on it counts no more; `undefined`: never. */
export function certificateEnd({ validBefore }: SshCertificate): number | undefined {
  const ms = validBefore * 1_000n
  return ms > BigInt(Number.MAX_SAFE_INTEGER) ? undefined : Number(ms)
}
