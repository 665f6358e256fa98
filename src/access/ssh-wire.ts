import type { PublicKey } from '../core/bytes.ts'
import { isPublicKey, parsePublicKey } from '../core/crypto/ed25519.ts'
import { sha256 } from '../core/crypto/hash.ts'
import { KithError } from '../core/errors.ts'

/**
 * # SSH's own encoding (RFC 4251, section 5)
 *
 * ```text
 * uint32 and uint64 big-endian || string = uint32 length || bytes
 * key blob of Ed25519 (RFC 8709) = string "ssh-ed25519" || string key32
 * ```
 */
export const ED25519 = 'ssh-ed25519'
const KEY_BYTES = 32

/** What was read is not what it says it is: a certificate, a revocation list, a key. */
export function unreadable(reason: string): KithError {
  return new KithError('SSH_FORMAT', `not readable: ${reason}`, { details: { reason } })
}

export class SshReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get at(): number {
    return this.#at
  }

  get ended(): boolean {
    return this.#at === this.#bytes.length
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1))
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4))
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8))
  }

  /** A view of the same memory. @throws KithError `SSH_FORMAT`. */
  string(limit: number): Uint8Array {
    const length = this.u32()
    if (length > limit) throw unreadable('a part is too long')
    const from = this.#take(length)
    return this.#bytes.subarray(from, from + length)
  }

  /** Printable ASCII and UTF-8 without control characters. @throws KithError `SSH_FORMAT`. */
  text(limit: number): string {
    const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(this.string(limit))
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
    if (/[\u0000-\u001f\u007f\ufffd]/.test(text)) throw unreadable('a text has characters that no text has')
    return text
  }

  end(): void {
    if (!this.ended) throw unreadable('something follows its end')
  }

  #take(length: number): number {
    const at = this.#at
    if (this.#bytes.length - at < length) throw unreadable('it is cut off')
    this.#at += length
    return at
  }
}

/** `string "ssh-ed25519" || string key32`: what fingerprints hash. */
export function keyBlob(key: Uint8Array): Uint8Array {
  const blob = Buffer.alloc(4 + ED25519.length + 4 + KEY_BYTES)
  blob.writeUInt32BE(ED25519.length, 0)
  blob.write(ED25519, 4, 'latin1')
  blob.writeUInt32BE(KEY_BYTES, 4 + ED25519.length)
  blob.set(key, 8 + ED25519.length)
  return blob
}

/** `SHA256:` and 43 characters of base64, as `ssh-keygen -l` prints it. */
export function fingerprint(key: Uint8Array): `SHA256:${string}` {
  return blobFingerprint(keyBlob(key))
}

export function blobFingerprint(blob: Uint8Array): `SHA256:${string}` {
  return `SHA256:${Buffer.from(sha256(blob)).toString('base64').replace(/=+$/, '')}`
}

/** The Ed25519 key of a blob. @throws KithError `SSH_FORMAT` for another kind of key and for a point that is none. */
export function parseKeyBlob(blob: Uint8Array): PublicKey {
  const reader = new SshReader(blob)
  const type = reader.text(64)
  if (type !== ED25519) throw unreadable(`it is a key of another kind, ${type.replaceAll(/[^a-z0-9@.-]/g, '?').slice(0, 40)}`)
  const key = reader.string(KEY_BYTES)
  reader.end()
  if (!isPublicKey(key)) throw unreadable('its key is no point of the curve that a key may be')
  return parsePublicKey(key)
}

/** Strict base64 with its padding; `undefined` for anything else. */
export function parseBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return undefined
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : undefined
}

/** `ssh-ed25519 AAAA... comment`: the key. @throws KithError `SSH_FORMAT`. */
export function parsePublicKeyLine(line: string): PublicKey {
  const [type, body] = line.trim().split(/[ \t]+/)
  if (type !== ED25519) throw unreadable(`expected ${ED25519} and its key`)
  const blob = body === undefined ? undefined : parseBase64(body)
  if (blob === undefined) throw unreadable('the key is not base64')
  return parseKeyBlob(blob)
}

/** As it stands in `authorized_keys`. */
export function formatPublicKey(key: Uint8Array, comment = ''): string {
  return `${ED25519} ${Buffer.from(keyBlob(key)).toString('base64')}${comment === '' ? '' : ` ${comment}`}`
}
