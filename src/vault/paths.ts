import { utf8 } from '../core/bytes.ts'
import { sha256 } from '../core/crypto/hash.ts'
import { KithError } from '../core/errors.ts'

/**
 * # Paths
 *
 * Every key that comes from the recovery phrase has a place in one tree. `m/74'` is this project's branch (74 is unallocated in SLIP-0044).
 *
 * ```text
 * m/74'/0'/0'/0'    identity key, generation 0: the key the DID is made of
 * m/74'/0'/0'/n'    key of worker n >= 1 (link keys of devices are random and never come from here)
 * m/74'/0'/1'/0'    SSH host key
 * m/74'/0'/1'/1'    SSH user key: how this node logs in elsewhere
 * m/74'/0'/1'/2'    key that signs timestamp tokens, and nothing else
 * m/74'/0'/2'/v'    identity key, generation v >= 1 (PN-6)
 * m/74'/0'/3'/v'    ML-DSA-65 seed of the identity, generation v >= 0 (PN-6)
 * m/74'/1'/v'/s'    password of a site, version v + 1; s = the first four bytes of SHA-256(site), big-endian, without the top bit
 * m/74'/2'/0'/k'    encryption key, version k + 2 (version 1 was made from a password)
 * m/74'/2'/1'/0'    backup key, X25519
 * m/74'/2'/2'/0'    key that seals treasury keys, and nothing else
 * m/44'/60'/0'/0/0  Ethereum, secp256k1
 * ```
 */
export const IDENTITY = "m/74'/0'/0'/0'"
export const SSH_HOST = "m/74'/0'/1'/0'"
export const SSH_USER = "m/74'/0'/1'/1'"
export const TOKEN = "m/74'/0'/1'/2'"
export const BACKUP = "m/74'/2'/1'/0'"
export const TREASURY = "m/74'/2'/2'/0'"
export const ETHEREUM = "m/44'/60'/0'/0/0"

export const HARDENED = 0x8000_0000
/** Deeper than any named path; bounds the work a foreign path can ask for. */
const MAX_DEPTH = 16
const SEGMENT = /^(0|[1-9][0-9]{0,9})('?)$/

/** Child numbers from the root; hardened ones have the top bit set. */
export type PathIndices = readonly number[]

/**
 * Reads `m`, `m/0'`, `m/74'/0'/2'/5'`. One spelling per path: no leading zeros, no other mark for hardened, no trailing slash.
 * @throws KithError `PATH_INVALID`.
 */
export function parsePath(path: string): PathIndices {
  const [root, ...segments] = path.split('/', MAX_DEPTH + 2)
  if (root !== 'm') throw invalid('it does not begin with m')
  if (segments.length > MAX_DEPTH) throw invalid(`it is deeper than ${MAX_DEPTH}`)
  return segments.map((segment, at) => {
    const match = SEGMENT.exec(segment)
    if (match === null) throw invalid(`part ${at + 1} is not a number with an optional '`)
    const index = Number(match[1])
    if (index >= HARDENED) throw invalid(`part ${at + 1} is not below 2^31`)
    return match[2] === "'" ? index + HARDENED : index
  })
}

/** The identity's Ed25519 key of a generation. @throws KithError `PATH_INVALID` for a generation outside 0..2^31-1. */
export function identityKeyPath(generation: number): string {
  return checked(generation, 0) === 0 ? IDENTITY : `m/74'/0'/2'/${generation}'`
}

/** The identity's ML-DSA-65 seed of a generation. @throws KithError `PATH_INVALID`. */
export function identityMldsaPath(generation: number): string {
  return `m/74'/0'/3'/${checked(generation, 0)}'`
}

/** @throws KithError `PATH_INVALID` for worker 0, whose key would be the identity's own. */
export function workerPath(worker: number): string {
  return `m/74'/0'/0'/${checked(worker, 1)}'`
}

/** Versions begin at 2. @throws KithError `PATH_INVALID`. */
export function encryptionKeyPath(version: number): string {
  return `m/74'/2'/0'/${checked(version, 2) - 2}'`
}

/**
 * Where the password of a site comes from. Version 1 is the first; the next one replaces a password that became known.
 * @param site hashed as it is; `siteName` gives it its one form. @throws KithError `PATH_INVALID`.
 */
export function sitePasswordPath(site: string, version = 1): string {
  const digest = sha256(utf8(site))
  const index = new DataView(digest.buffer, digest.byteOffset).getUint32(0) & 0x7fff_ffff
  return `m/74'/1'/${checked(version, 1) - 1}'/${index}'`
}

/** What a path is for: all that an audit log says of it. */
export type PathClass = 'identity' | 'worker' | 'ssh' | 'token' | 'site-password' | 'encryption' | 'backup' | 'treasury' | 'ethereum' | 'other'

/** Beginnings of paths, most telling first. */
const CLASSES: readonly (readonly [string, PathClass])[] = [
  [IDENTITY, 'identity'],
  ["m/74'/0'/0'/", 'worker'],
  [TOKEN, 'token'],
  ["m/74'/0'/1'/", 'ssh'],
  ["m/74'/0'/2'/", 'identity'],
  ["m/74'/0'/3'/", 'identity'],
  ["m/74'/1'/", 'site-password'],
  ["m/74'/2'/0'/", 'encryption'],
  ["m/74'/2'/1'/", 'backup'],
  ["m/74'/2'/2'/", 'treasury'],
  ["m/44'/60'/", 'ethereum'],
]

/** The class of a well-formed path. */
export function pathClass(path: string): PathClass {
  return CLASSES.find(([start]) => (start.endsWith('/') ? path.startsWith(start) : path === start || path.startsWith(`${start}/`)))?.[1] ?? 'other'
}

function checked(index: number, least: number): number {
  if (!Number.isInteger(index) || index < least || index >= HARDENED) throw invalid(`an index is a whole number from ${least} below 2^31`)
  return index
}

function invalid(reason: string): KithError {
  return new KithError('PATH_INVALID', `not a derivation path: ${reason}`, { details: { reason } })
}
