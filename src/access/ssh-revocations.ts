import { createHash } from 'node:crypto'
import { toHex } from '../core/bytes.ts'
import { isKithError } from '../core/errors.ts'
import { badLine } from './authorized-keys.ts'
import type { SshCertificate } from './ssh-certificate.ts'
import { blobFingerprint, fingerprint, keyBlob, parseBase64, parsePublicKeyLine, SshReader, unreadable } from './ssh-wire.ts'

/**
 * # Revocation lists
 *
 * Two forms, told apart by the first bytes. OpenSSH's binary one (PROTOCOL.krl), as `ssh-keygen -k` makes it; a signature on it is not asked for, the file is the owner's:
 *
 * ```text
 * "SSHKRL\n" 00 || uint32 1 || uint64 version || uint64 date || uint64 flags || string reserved || string comment || sections
 * section = u8 type || string data         1 certificates   2 keys   3 SHA-1 of keys   5 SHA-256 of keys   4 signature, last   255 extension
 * certificates = string signing key, or empty for any || string reserved || parts
 * part = u8 type || string data            20 serials   21 from, to   22 offset, mpint of bits   23 key ids   39 extension
 * ```
 *
 * And text, the words of `ssh-keygen -k`'s specifications: a public key, `key: ...`, `sha256: ...`, `hash: SHA256:...`, `SHA256:...`, `serial: N`, `serial: N-M`, `id: ...`; serials
 * and ids are those of any signing key.
 */
export interface Revocations {
  key(key: Uint8Array): boolean
  /** The certificate itself, its key, or whoever signed it. */
  certificate(certificate: SshCertificate): boolean
  readonly size: number
}

const MAGIC = Buffer.from('SSHKRL\n\0', 'latin1')
export const MAX_REVOCATIONS_BYTES: number = 4 << 20
const MAX_ENTRIES = 200_000
const MAX_BITMAP = 1 << 17
const MAX_TEXT_LINE = 16_384

interface SerialRange {
  readonly from: bigint
  readonly to: bigint
}

/** What is revoked of one signing key, or of any. */
interface OfAuthority {
  readonly serials: Set<bigint>
  readonly ranges: SerialRange[]
  readonly ids: Set<string>
}

class RevocationList implements Revocations {
  /** Key blobs, latin1. */
  readonly #keys: Set<string> = new Set()
  readonly #sha1: Set<string> = new Set()
  readonly #fingerprints: Set<string> = new Set()
  /** By the fingerprint of the signing key; `''` is any. */
  readonly #of: Map<string, OfAuthority> = new Map()
  size = 0

  key(key: Uint8Array): boolean {
    const blob = keyBlob(key)
    if (this.#fingerprints.has(blobFingerprint(blob)) || this.#keys.has(Buffer.from(blob).toString('latin1'))) return true
    return this.#sha1.size > 0 && this.#sha1.has(createHash('sha1').update(blob).digest('hex'))
  }

  certificate(certificate: SshCertificate): boolean {
    if (this.key(certificate.key) || this.key(certificate.authority)) return true
    return [fingerprint(certificate.authority), ''].some((of) => {
      const { serials, ranges, ids } = this.#of.get(of) ?? {}
      // Serial 0 is none: whoever does not number certificates would revoke all of them at once.
      const numbered =
        certificate.serial !== 0n &&
        (serials?.has(certificate.serial) === true || ranges?.some(({ from, to }) => certificate.serial >= from && certificate.serial <= to) === true)
      return numbered || ids?.has(certificate.keyId) === true
    })
  }

  addKey(blob: Uint8Array): void {
    this.#count()
    this.#keys.add(Buffer.from(blob).toString('latin1'))
  }

  addFingerprint(text: string): void {
    this.#count()
    this.#fingerprints.add(text)
  }

  addSha1(hex: string): void {
    this.#count()
    this.#sha1.add(hex)
  }

  addSerials(authority: string, from: bigint, to: bigint): void {
    this.#count()
    if (from > to) throw unreadable('a range of serials ends before it begins')
    if (from === to) this.#authority(authority).serials.add(from)
    else this.#authority(authority).ranges.push({ from, to })
  }

  addId(authority: string, id: string): void {
    this.#count()
    this.#authority(authority).ids.add(id)
  }

  #authority(of: string): OfAuthority {
    const known = this.#of.get(of)
    if (known !== undefined) return known
    const made: OfAuthority = { serials: new Set(), ranges: [], ids: new Set() }
    this.#of.set(of, made)
    return made
  }

  #count(): void {
    if (++this.size > MAX_ENTRIES) throw unreadable(`it revokes more than ${MAX_ENTRIES} things`)
  }
}

/** Reads a list of either form. @throws KithError `SSH_FORMAT` for a binary one, `ACCESS_INVALID` with file and line for a text. */
export function parseRevocations(bytes: Uint8Array, file: string): Revocations {
  if (bytes.length > MAX_REVOCATIONS_BYTES) throw unreadable('it is too long for a list of what is revoked')
  const list = new RevocationList()
  if (MAGIC.equals(bytes.subarray(0, MAGIC.length))) readBinary(bytes, list)
  else readText(bytes, file, list)
  return list
}

function readBinary(bytes: Uint8Array, list: RevocationList): void {
  const reader = new SshReader(bytes.subarray(MAGIC.length))
  if (reader.u32() !== 1) throw unreadable('it is of another version of the format')
  for (let i = 0; i < 3; i++) reader.u64()
  reader.string(MAX_REVOCATIONS_BYTES)
  reader.string(MAX_REVOCATIONS_BYTES)
  while (!reader.ended) {
    const type = reader.u8()
    // The signature is over the rest of the list and comes last, with a key before it.
    if (type === 4) skipSignatures(reader)
    else readSection(type, new SshReader(reader.string(MAX_REVOCATIONS_BYTES)), list)
  }
}

function skipSignatures(reader: SshReader): void {
  reader.string(4_096)
  reader.string(4_096)
  while (!reader.ended) {
    if (reader.u8() !== 4) throw unreadable('something follows its signature')
    reader.string(4_096)
    reader.string(4_096)
  }
}

function readSection(type: number, data: SshReader, list: RevocationList): void {
  if (type === 1) readCertificates(data, list)
  if (type === 255) skipExtension(data)
  while (!data.ended) {
    if (type === 2) list.addKey(data.string(MAX_TEXT_LINE))
    else if (type === 3) list.addSha1(toHex(exactly(data, 20)))
    else if (type === 5) list.addFingerprint(`SHA256:${Buffer.from(exactly(data, 32)).toString('base64').replace(/=+$/, '')}`)
    else throw unreadable(`it has a section of the unknown kind ${type}`)
  }
}

function exactly(reader: SshReader, length: number): Uint8Array {
  const bytes = reader.string(length)
  if (bytes.length !== length) throw unreadable('a digest has a wrong length')
  return bytes
}

function readCertificates(data: SshReader, list: RevocationList): void {
  const key = data.string(MAX_TEXT_LINE)
  const authority = key.length === 0 ? '' : blobFingerprint(key)
  data.string(MAX_TEXT_LINE)
  while (!data.ended) {
    const type = data.u8()
    const part = new SshReader(data.string(MAX_REVOCATIONS_BYTES))
    if (type === 0x22) readBitmap(part, authority, list)
    else if (type === 0x39) skipExtension(part)
    else
      while (!part.ended) {
        if (type === 0x20) addOne(list, authority, part.u64())
        else if (type === 0x21) list.addSerials(authority, part.u64(), part.u64())
        else if (type === 0x23) list.addId(authority, part.text(1_024))
        else throw unreadable(`it has a part of the unknown kind ${type}`)
      }
  }
}

function addOne(list: RevocationList, authority: string, serial: bigint): void {
  list.addSerials(authority, serial, serial)
}

/** Bit n of the number, counted from its low end, is the serial offset + n. Runs of bits are kept as ranges. */
function readBitmap(part: SshReader, authority: string, list: RevocationList): void {
  const offset = part.u64()
  const bits = part.string(MAX_BITMAP)
  part.end()
  const isSet = (n: number): boolean => (((bits[bits.length - 1 - (n >> 3)] as number) >> (n & 7)) & 1) === 1
  const length = bits.length * 8
  let from = 0
  while (from < length) {
    if (!isSet(from)) {
      from++
      continue
    }
    let to = from
    while (to + 1 < length && isSet(to + 1)) to++
    list.addSerials(authority, offset + BigInt(from), offset + BigInt(to))
    from = to + 1
  }
}

function skipExtension(part: SshReader): void {
  const name = part.text(256)
  const critical = part.u8()
  part.string(MAX_REVOCATIONS_BYTES)
  part.end()
  if (critical !== 0) throw unreadable(`it depends on the unknown extension ${name.slice(0, 40)}`)
}

function readText(bytes: Uint8Array, file: string, list: RevocationList): void {
  for (const [index, raw] of Buffer.from(bytes).toString('utf8').split('\n').entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    try {
      readLine(line, list)
    } catch (error) {
      if (error instanceof TypeError) throw badLine(file, index + 1, error.message, error)
      if (isKithError(error, 'SSH_FORMAT')) throw badLine(file, index + 1, String(error.details?.reason), error)
      throw error
    }
  }
}

/** @throws TypeError, KithError `SSH_FORMAT`. */
function readLine(line: string, list: RevocationList): void {
  if (line.length > MAX_TEXT_LINE) throw new TypeError('the line is too long')
  const [, word, rest = ''] = /^(serial|id|key|sha256|hash):[ \t]*(.*)$/.exec(line) ?? []
  if (word === 'serial') {
    const match = /^(0x[0-9a-fA-F]{1,16}|[0-9]{1,20})(?:-(0x[0-9a-fA-F]{1,16}|[0-9]{1,20}))?$/.exec(rest)
    const [from, to] = [BigInt(match?.[1] ?? 0), BigInt(match?.[2] ?? match?.[1] ?? 0)]
    if (match === null || from === 0n || to >= 1n << 64n) throw new TypeError('a serial is a number from 1 on, or two with a dash between them')
    list.addSerials('', from, to)
  } else if (word === 'id') {
    if (rest === '') throw new TypeError('the id is missing')
    list.addId('', rest)
  } else if (word === 'hash' || /^SHA256:/.test(line)) {
    const text = (word === 'hash' ? rest : line).split(/[ \t]/)[0] ?? ''
    if (!/^SHA256:[A-Za-z0-9+/]{43}$/.test(text)) throw new TypeError('a fingerprint is SHA256: and 43 characters')
    list.addFingerprint(text)
  } else {
    addKeyLine(word === undefined ? line : rest, list)
  }
}

/** A key of any kind: what is revoked need not be one that could log in. */
function addKeyLine(line: string, list: RevocationList): void {
  const [type = '', body = ''] = line.split(/[ \t]+/)
  const blob = type === 'ssh-ed25519' ? keyBlob(parsePublicKeyLine(line)) : parseBase64(body)
  if (!/^(ssh|ecdsa|sk)-[a-z0-9@.-]+$/.test(type) || blob === undefined) throw new TypeError('expected a public key, SHA256:..., serial: N or id: TEXT')
  list.addKey(blob)
}
