import { concat } from '../core/bytes.ts'
import {
  bytes,
  bytesN,
  type Codec,
  constant,
  encode,
  list,
  malformed,
  mapped,
  option,
  Reader,
  struct,
  u8,
  u32,
  uint53,
  varintSize,
  Writer,
} from '../core/codec.ts'
import { sha256 } from '../core/crypto/hash.ts'
import { KithError } from '../core/errors.ts'
import { didCodec, keySetCodec, keySetSignatureCodec, signatureCodec } from './keys.ts'
import type { ChainEntry, ChainKind, ChainReason, RecoveryAttestation, RecoveryPolicy } from './types.ts'

/**
 * # The chain on the wire (PN-6)
 *
 * ```text
 * body   = u8 1 || bytes32 did || u32 index || bytes32 previous || u8 kind || u8 reason || u64 time_ms || keys || bytes32 next || option<policy>
 * proofs = signature || option<signature> by the previous keys || list<attestation>(<= 32)
 * entry  = body || proofs                                          named by SHA-256(body): signatures are not hashed (ML-DSA is randomised)
 * chain  = varint count || entries                                 at most 1,000 entries and 4 MiB
 *
 * signature   = bytes64 || option<bytes3309>                       over L("icn/chain/v1") || body
 * policy      = u8 threshold || u8 override || u32 delay_s || list<bytes32 trustee>(<= 32)
 * attestation = bytes32 trustee || bytes16 recovery_id || u64 time_ms || bytes64 || bytes64 over the text form
 * kind        0 inception  1 rotate  2 recover  3 close            reason   0 none  1 scheduled  2 lost  3 compromised
 * ```
 *
 * Decoding says nothing about validity; `chain.ts` does.
 */
export const CHAIN_LABEL = 'icn/chain/v1'
export const MAX_ENTRIES = 1000
export const MAX_CHAIN_BYTES: number = 4 * 1024 * 1024
const MAX_TRUSTEES = 32

const KINDS: readonly ChainKind[] = ['inception', 'rotate', 'recover', 'close']
const REASONS: readonly ChainReason[] = ['none', 'scheduled', 'lost', 'compromised']

function oneOf<T extends string>(names: readonly T[]): Codec<T> {
  return mapped(
    u8,
    (number) => {
      const name = names[number]
      if (name === undefined) throw malformed('unknown value', { number })
      return name
    },
    (name) => names.indexOf(name),
  )
}

export const policyCodec: Codec<RecoveryPolicy> = struct<RecoveryPolicy>({
  threshold: u8,
  override: u8,
  delayS: u32,
  trustees: list(didCodec, MAX_TRUSTEES),
})

/** The signed part of an entry. */
export type ChainBody = Pick<ChainEntry, 'did' | 'index' | 'previous' | 'kind' | 'reason' | 'timeMs' | 'keys' | 'next' | 'policy'>
export type ChainProofs = Pick<ChainEntry, 'signature' | 'previousSignature' | 'attestations'>

const bodyCodec: Codec<ChainBody & { _version: undefined }> = struct<ChainBody & { _version: undefined }>({
  _version: constant(1),
  did: didCodec,
  index: u32,
  previous: bytesN(32),
  kind: oneOf(KINDS),
  reason: oneOf(REASONS),
  timeMs: uint53,
  keys: keySetCodec,
  next: bytesN(32),
  policy: option(policyCodec),
})

const proofsCodec: Codec<ChainProofs> = struct<ChainProofs>({
  signature: keySetSignatureCodec,
  previousSignature: option(keySetSignatureCodec),
  attestations: list(
    struct<RecoveryAttestation>({ trustee: didCodec, recoveryId: bytesN(16), timeMs: uint53, signature: signatureCodec, textSignature: signatureCodec }),
    MAX_TRUSTEES,
  ),
})

/** The bytes that are signed and hashed. @throws TypeError when a field does not fit. */
export function encodeBody(body: ChainBody): Uint8Array {
  return encode(bodyCodec, { ...body, _version: undefined })
}

export function assembleEntry(bodyBytes: Uint8Array, body: ChainBody, proofs: ChainProofs): ChainEntry {
  return { ...body, ...proofs, body: bodyBytes, hash: sha256(bodyBytes) }
}

/** What an entry takes in a chain. */
export function entryBytes(entry: ChainEntry): number {
  return entry.body.length + proofsCodec.size(entry)
}

/** @throws TypeError beyond 1,000 entries or 4 MiB. */
export function encodeChain(entries: readonly ChainEntry[]): Uint8Array {
  if (entries.length > MAX_ENTRIES) throw new TypeError(`at most ${MAX_ENTRIES} entries`)
  const count = new Writer(varintSize(entries.length))
  count.varint(entries.length)
  const encoded = concat(count.bytes, ...entries.flatMap((entry) => [entry.body, encode(proofsCodec, entry)]))
  if (encoded.length > MAX_CHAIN_BYTES) throw new TypeError(`at most ${MAX_CHAIN_BYTES} bytes`)
  return encoded
}

/** Entries in order, unverified. @throws KithError `CHAIN_INVALID` for anything but the canonical encoding of at least one entry. */
export function decodeChain(encoded: Uint8Array): readonly ChainEntry[] {
  if (encoded.length > MAX_CHAIN_BYTES) throw invalidChain('it is longer than 4 MiB')
  try {
    const reader = new Reader(encoded)
    const count = reader.varint()
    if (count < 1 || count > MAX_ENTRIES) throw malformed('number of entries', { count })
    const entries: ChainEntry[] = []
    for (let i = 0; i < count; i++) entries.push(readEntry(reader))
    if (reader.left !== 0) throw malformed('bytes left over', { left: reader.left })
    return entries
  } catch (error) {
    if (error instanceof KithError) throw invalidChain('it is malformed', error)
    throw error
  }
}

function readEntry(reader: Reader): ChainEntry {
  const start = reader.at
  const { _version, ...body } = bodyCodec.read(reader)
  const bodyBytes = reader.bytes.slice(start, reader.at)
  return assembleEntry(bodyBytes, body, proofsCodec.read(reader))
}

/** One entry inside another structure: varint length || entry. */
export const entryCodec: Codec<ChainEntry> = mapped(
  bytes(256 * 1024),
  (encoded) => {
    const reader = new Reader(encoded)
    const entry = readEntry(reader)
    if (reader.left !== 0) throw malformed('bytes left over', { left: reader.left })
    return entry
  },
  (entry) => concat(entry.body, encode(proofsCodec, entry)),
)

export function invalidChain(reason: string, cause?: unknown): KithError {
  return new KithError('CHAIN_INVALID', `the identity chain does not verify: ${reason}`, { details: { reason }, cause })
}
