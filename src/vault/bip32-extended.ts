import { createHash } from 'node:crypto'
import { base58Decode, base58Encode } from '../core/base58.ts'
import { sha256 } from '../core/crypto/hash.ts'
import { KithError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import { deriveSecp256k1Node } from './bip32.ts'
import { parsePath } from './paths.ts'
import { isCompressedPoint, isScalar, publicKeyOfScalar } from './secp256k1.ts'

/**
 * # Extended keys (BIP-32, serialization format)
 *
 * ```text
 * base58( version 4 || depth 1 || fingerprint of the parent 4 || index 4 || chain code 32 || key 33 || checksum 4 )
 *
 * version      0488b21e public "xpub"   key = compressed point
 *              0488ade4 private "xprv"  key = 00 || scalar
 * fingerprint  first bytes of RIPEMD-160(SHA-256(parent's point)); zeros at depth 0        checksum    first bytes of SHA-256(SHA-256(all before))
 * ```
 *
 * Public ones are written, for programs that watch addresses. Private ones are read and never written. An extended public key together with the private key
 * of any child that is not hardened gives the parent's private key.
 */
export interface ExtendedKey {
  readonly depth: number
  /** 0 at depth 0. */
  readonly fingerprint: number
  readonly index: number
  readonly chainCode: Uint8Array
  /** Compressed, 33 bytes. */
  readonly publicKey: Uint8Array
  /** Absent in a public one. The caller wipes it. */
  readonly privateKey: Secret | undefined
}

const PUBLIC = 0x0488b21e
const PRIVATE = 0x0488ade4
const BODY_BYTES = 78
const CHECKSUM_BYTES = 4

/** @throws KithError `KEY_INVALID` for anything but a well-formed extended key of the main network with a key that is one. */
export function parseExtendedKey(text: string): ExtendedKey {
  const bytes = base58Decode(text, BODY_BYTES + CHECKSUM_BYTES)
  if (bytes === undefined || bytes.length !== BODY_BYTES + CHECKSUM_BYTES) throw invalid('its length is wrong')
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  try {
    const body = all.subarray(0, BODY_BYTES)
    if (!checksum(body).equals(all.subarray(BODY_BYTES))) throw invalid('its checksum does not match')
    const depth = body.readUInt8(4)
    const fingerprint = body.readUInt32BE(5)
    const index = body.readUInt32BE(9)
    if (depth === 0 && (fingerprint !== 0 || index !== 0)) throw invalid('a root has neither parent nor index')
    return { depth, fingerprint, index, chainCode: Uint8Array.from(body.subarray(13, 45)), ...keyOf(body.readUInt32BE(0), body.subarray(45)) }
  } finally {
    all.fill(0)
  }
}

/** The extended public key at `path`, for a program that watches what comes to the addresses below it. @throws KithError `PATH_INVALID`, `SECRET_WIPED`. */
export function extendedPublicKey(seed: Secret, path: string): string {
  const indices = parsePath(path)
  const body = Buffer.alloc(BODY_BYTES)
  body.writeUInt32BE(PUBLIC, 0)
  body.writeUInt8(indices.length, 4)
  const index = indices.at(-1)
  if (index !== undefined) {
    publicAt(seed, path.slice(0, path.lastIndexOf('/')), (point) => hash160(point).copy(body, 5, 0, 4))
    body.writeUInt32BE(index, 9)
  }
  publicAt(seed, path, (point, chainCode) => {
    chainCode.copy(body, 13)
    point.copy(body, 45)
  })
  return base58Encode(Buffer.concat([body, checksum(body)]))
}

function keyOf(version: number, key: Buffer): Pick<ExtendedKey, 'publicKey' | 'privateKey'> {
  if (version === PUBLIC) {
    if (!isCompressedPoint(key)) throw invalid('its key is not a point of the curve')
    return { publicKey: Uint8Array.from(key), privateKey: undefined }
  }
  if (version !== PRIVATE) throw invalid('its version is not known')
  const scalar = key.subarray(1)
  if (key[0] !== 0 || !isScalar(scalar)) throw invalid('its key is out of range')
  return { publicKey: Uint8Array.from(publicKeyOfScalar(scalar)), privateKey: Secret.take(scalar) }
}

function publicAt(seed: Secret, path: string, read: (point: Buffer, chainCode: Buffer) => void): void {
  const node = deriveSecp256k1Node(seed, path)
  try {
    node.use((bytes) => read(publicKeyOfScalar(bytes.subarray(0, 32)), bytes.subarray(32)))
  } finally {
    node.wipe()
  }
}

function checksum(body: Uint8Array): Buffer {
  return Buffer.from(sha256(sha256(body))).subarray(0, CHECKSUM_BYTES)
}

function hash160(point: Uint8Array): Buffer {
  return createHash('ripemd160').update(sha256(point)).digest()
}

function invalid(reason: string): KithError {
  return new KithError('KEY_INVALID', `not an extended key: ${reason}`, { details: { reason } })
}
