import { equal } from '../../core/bytes.ts'
import { bytesN, type Codec, constant, decode, encode, list, malformed, mapped, struct, uint53 } from '../../core/codec.ts'
import { parsePublicKey } from '../../core/crypto/ed25519.ts'
import { KithError } from '../../core/errors.ts'
import { type Did, didPublicKey, formatDid } from '../../identity/did.ts'
import { type Carrier, type DevicePapers, MESSAGE_TYPE, type Messages } from '../../mesh/messages/types.ts'
import { type BlobRef, HASH_BYTES, isBlobSize } from './layout.ts'

/**
 * # Grants: who may fetch a blob from whom
 *
 * A sender that gave the same file to others allows them to pass it on to one more recipient. The grant is a record envelope (PN-7, class 3) of the sender's device
 * on the topic `blob:transfer`, shown point to point and never gossiped; its payload:
 *
 * ```text
 * u8 1 || bytes32 root || u64 size || bytes32 sha256 || bytes32 recipient || u64 expires_ms || varint n || n x bytes32 provider (n <= 16, distinct)
 * ```
 *
 * A provider obeys it only when the sender is the one from whom it has that content itself, it is named, and the other side of the link is the recipient. So a grant
 * for a file somebody only knows the hash of is worth nothing: nobody has it from them.
 */
export const GRANT_TOPIC = 'blob:transfer'
export const MAX_PROVIDERS = 16
/** Envelope and payload, hybrid signature included. */
export const MAX_GRANT_BYTES = 8_192
/** A day: an interrupted transfer asks for a fresh one anyway. */
export const GRANT_LIFE_MS = 86_400_000
const MAX_GRANT_LIFE_MS = 7 * GRANT_LIFE_MS
/** How far the clocks of honest machines may be apart (PN-7). */
const SKEW_MS = 600_000

export interface GrantClaim extends BlobRef {
  /** Of the whole content: what a provider finds the file by that it was sent. */
  readonly sha256: Uint8Array
  readonly recipient: Did
  readonly providers: readonly Did[]
  readonly expiresMs: number
}

/** A grant whose signature was checked. */
export interface Grant extends GrantClaim {
  readonly issuer: Did
  /** The device that signed it. */
  readonly device: Uint8Array
}

const did: Codec<Did> = mapped(
  bytesN(32),
  (key) => formatDid(parsePublicKey(key)),
  (value) => didPublicKey(value),
)

interface GrantFields extends GrantClaim {
  readonly _version?: undefined
}

export const grantPayload: Codec<GrantFields> = struct<GrantFields>({
  _version: constant(0x01),
  root: bytesN(HASH_BYTES),
  size: mapped(
    uint53,
    (size) => {
      if (!isBlobSize(size)) throw malformed('no blob is so large', { size })
      return size
    },
    (size) => size,
  ),
  sha256: bytesN(HASH_BYTES),
  recipient: did,
  expiresMs: uint53,
  providers: mapped(
    list(did, MAX_PROVIDERS),
    (all) => {
      if (new Set(all).size !== all.length) throw malformed('a provider twice')
      return all
    },
    (all) => all,
  ),
})

/** What grants need of signed messages. */
export type GrantMessages = Pick<Messages, 'signRecord' | 'readRecord' | 'verifyRecord'> & {
  readonly directory: Pick<Messages['directory'], 'papers' | 'learn'>
}

/** Signs a grant with this machine's key. @throws TypeError for a claim beyond its limits. */
export function signGrant(messages: GrantMessages, claim: GrantClaim): Uint8Array {
  return messages.signRecord({ topic: GRANT_TOPIC, type: MESSAGE_TYPE.blob, payload: encode(grantPayload, claim) }).bytes
}

/**
 * Checks signature, form and dates of a grant that came over `carrier`'s link. Whether it is obeyed is for the reader to decide.
 * @throws KithError as `Messages.verifyRecord`; `BLOB_GRANT_INVALID`.
 */
export async function readGrant(messages: GrantMessages, bytes: Uint8Array, carrier: Carrier, now: number): Promise<Grant> {
  const record = await messages.verifyRecord(bytes, GRANT_TOPIC, carrier)
  if (record.type !== MESSAGE_TYPE.blob) throw new KithError('BLOB_GRANT_INVALID', 'a record of another type')
  const { root, size, sha256, recipient, providers, expiresMs } = decode(grantPayload, record.payload)
  if (expiresMs > record.timeMs + MAX_GRANT_LIFE_MS) throw new KithError('BLOB_GRANT_INVALID', 'it would hold longer than any')
  if (now >= expiresMs + SKEW_MS) throw new KithError('BLOB_GRANT_INVALID', 'it has run out')
  return { root, size, sha256, recipient, providers, expiresMs, issuer: record.from, device: record.device }
}

/** Whether a grant is about this blob. */
export function isFor(grant: GrantClaim, blob: BlobRef): boolean {
  return grant.size === blob.size && equal(grant.root, blob.root)
}

/** Whether a grant that was good when it was shown has not run out since. */
export function stillHolds(grant: GrantClaim, now: number): boolean {
  return now < grant.expiresMs + SKEW_MS
}

/** Papers as they travel with an opening, for a provider that has not met the device. */
export async function papersOf(messages: GrantMessages, grant: Grant): Promise<Pick<DevicePapers, 'binding' | 'chain'> | undefined> {
  return await messages.directory.papers(grant.issuer, grant.device as Carrier['device'])
}
