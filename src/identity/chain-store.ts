import { bytes, bytesN, type Codec, constant, decode, encode, list, malformed, mapped, option, struct, u8, uint53 } from '../core/codec.ts'
import { restoreChainState } from './chain.ts'
import { decodeChain, encodeChain, entryCodec, MAX_CHAIN_BYTES, MAX_ENTRIES } from './chain-codec.ts'
import type { CancelledRecovery, ChainEntry, ChainFork, ChainState, ChainStatus, PendingRecovery } from './types.ts'

/**
 * # A chain's state at rest
 *
 * ```text
 * u8 version || u8 status || bytes chain || list<u64 adopted_ms> || list<entry kept || entry other> || option<entry || u64 since || u64 due || u8 overrides>
 *      || in version 2: list<bytes32 previous || bytes16 recovery_id>(1..16), recoveries that trustees ended
 * version 1 without, 2 with such recoveries        status  0 first-seen  1 anchored  2 forked
 * ```
 *
 * For the own store and keystore only: what is read back is taken as verified, since `adoptChain` wrote it.
 */
const STATUSES: readonly ChainStatus[] = ['first-seen', 'anchored', 'forked']
const MAX_FORKS = 4
const MAX_CANCELLED = 16
const PLAIN = 1
const WITH_CANCELLED = 2

interface Stored {
  readonly status: ChainStatus
  readonly entries: readonly ChainEntry[]
  readonly adoptedMs: readonly number[]
  readonly forks: readonly ChainFork[]
  readonly pending: PendingRecovery | undefined
}

interface StoredCancelled extends Stored {
  readonly cancelled: readonly CancelledRecovery[]
}

const flag: Codec<boolean> = mapped(
  u8,
  (value) => {
    if (value > 1) throw malformed('flag')
    return value === 1
  },
  (value) => (value ? 1 : 0),
)

const fields: { readonly [K in keyof Stored]-?: Codec<Stored[K]> } = {
  status: mapped(
    u8,
    (value) => {
      const status = STATUSES[value]
      if (status === undefined) throw malformed('status')
      return status
    },
    (status) => STATUSES.indexOf(status),
  ),
  entries: mapped(bytes(MAX_CHAIN_BYTES), decodeChain, encodeChain),
  adoptedMs: list(uint53, MAX_ENTRIES),
  forks: list(struct<ChainFork>({ kept: entryCodec, other: entryCodec }), MAX_FORKS),
  pending: option(struct<PendingRecovery>({ entry: entryCodec, sinceMs: uint53, dueMs: uint53, overrides: flag })),
}
const plain: Codec<Stored & { _version: undefined }> = struct<Stored & { _version: undefined }>({ _version: constant(PLAIN), ...fields })
const withCancelled: Codec<StoredCancelled & { _version: undefined }> = struct<StoredCancelled & { _version: undefined }>({
  _version: constant(WITH_CANCELLED),
  ...fields,
  cancelled: list(struct<CancelledRecovery>({ previous: bytesN(32), recoveryId: bytesN(16) }), MAX_CANCELLED),
})

export function encodeChainState(state: ChainState): Uint8Array {
  const { status, entries, adoptedMs, forks, pending, cancelled } = state
  const stored = { _version: undefined, status, entries, adoptedMs, forks, pending }
  return cancelled.length === 0 ? encode(plain, stored) : encode(withCancelled, { ...stored, cancelled })
}

/** @throws KithError `WIRE_MALFORMED`, `CHAIN_INVALID` when the stored bytes were damaged. */
export function decodeChainState(bytesStored: Uint8Array): ChainState {
  const stored = bytesStored[0] === WITH_CANCELLED ? decode(withCancelled, bytesStored) : { ...decode(plain, bytesStored), cancelled: [] }
  if (stored.adoptedMs.length !== stored.entries.length) throw malformed('number of adoption times')
  if (bytesStored[0] === WITH_CANCELLED && stored.cancelled.length === 0) throw malformed('version 2 without a cancelled recovery')
  return restoreChainState(stored)
}
