import { bytes, type Codec, decode, encode, malformed, mapped, option, struct, u8, uint53 } from '../../core/codec.ts'
import { isKithError } from '../../core/errors.ts'
import { keyCodec, MAX_CONTENT_BYTES, originsCodec, typeCodec, unreadable, versionCodec } from './codec.ts'
import { checkKey } from './limits.ts'
import type { CredentialKey, CredentialType } from './types.ts'

/**
 * # A row of the store
 *
 * What may be read while the vault is locked, and the sealed content.
 *
 * ```text
 * row = u8 version=1 || text service || text did || list<text origin> || u8 type || u8 renews
 *       || u64 revision || u64 created || u64 changed || option<u64 expires> || bytes sealed         times in ms since the epoch
 * ```
 *
 * Who can write the store can change what stands beside the sealed part. Nothing is decided by it: whose the credential is, and where it may be sent, is read from
 * inside, and a row that says something else is refused.
 */
export interface CredentialRow {
  readonly key: CredentialKey
  readonly origins: readonly string[]
  readonly type: CredentialType
  readonly renews: boolean
  readonly revision: number
  readonly createdMs: number
  readonly changedMs: number
  readonly expiresMs: number | undefined
  readonly sealed: Uint8Array
}

const VERSION = 1
/** The content and room for the form that the vault gives it. */
const MAX_SEALED_BYTES: number = 2 * MAX_CONTENT_BYTES

const flag: Codec<boolean> = mapped(
  u8,
  (value) => {
    if (value > 1) throw malformed('neither yes nor no')
    return value === 1
  },
  (value) => (value ? 1 : 0),
)

const rowCodec: Codec<CredentialRow & { readonly _version: undefined }> = struct<CredentialRow & { readonly _version: undefined }>({
  _version: versionCodec(VERSION),
  key: keyCodec,
  origins: originsCodec,
  type: typeCodec,
  renews: flag,
  revision: uint53,
  createdMs: uint53,
  changedMs: uint53,
  expiresMs: option(uint53),
  sealed: bytes(MAX_SEALED_BYTES),
})

export function encodeRow(row: CredentialRow): Uint8Array {
  return encode(rowCodec, { ...row, _version: undefined })
}

/** @throws KithError `CREDENTIAL_INVALID`. */
export function decodeRow(value: Uint8Array): CredentialRow {
  try {
    const { _version, ...row } = decode(rowCodec, value)
    checkKey(row.key)
    return row
  } catch (cause) {
    if (isKithError(cause, 'WIRE_MALFORMED') || isKithError(cause, 'CREDENTIAL_INVALID')) throw unreadable(cause)
    throw cause
  }
}
