import { bytes, type Codec, constant, decode, encode, list, malformed, mapped, option, struct, u8, uint53 } from '../core/codec.ts'
import { restoreChainState } from './chain.ts'
import { decodeChain, encodeChain, entryCodec, MAX_CHAIN_BYTES, MAX_ENTRIES } from './chain-codec.ts'
import type { ChainEntry, ChainFork, ChainState, ChainStatus, PendingRecovery } from './types.ts'

/**
 * # A chain's state at rest
 *
 * ```text
 * u8 1 || u8 status || bytes chain || list<u64 adopted_ms> || list<entry kept || entry other> || option<entry || u64 since || u64 due || u8 overrides>
 * status  0 first-seen  1 anchored  2 forked
 * ```
 *
 * For the own store and keystore only: what is read back is taken as verified, since `adoptChain` wrote it.
 */
const STATUSES: readonly ChainStatus[] = ['first-seen', 'anchored', 'forked']
const MAX_FORKS = 4

interface Stored {
  readonly _version: undefined
  readonly status: ChainStatus
  readonly entries: readonly ChainEntry[]
  readonly adoptedMs: readonly number[]
  readonly forks: readonly ChainFork[]
  readonly pending: PendingRecovery | undefined
}

const flag: Codec<boolean> = mapped(
  u8,
  (value) => {
    if (value > 1) throw malformed('flag')
    return value === 1
  },
  (value) => (value ? 1 : 0),
)

export const chainStateCodec: Codec<ChainState> = mapped(
  struct<Stored>({
    _version: constant(1),
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
  }),
  (stored) => {
    if (stored.adoptedMs.length !== stored.entries.length) throw malformed('number of adoption times')
    return restoreChainState(stored)
  },
  (state) => ({
    _version: undefined,
    status: state.status,
    entries: state.entries,
    adoptedMs: state.adoptedMs,
    forks: state.forks,
    pending: state.pending,
  }),
)

export function encodeChainState(state: ChainState): Uint8Array {
  return encode(chainStateCodec, state)
}

/** @throws KithError `WIRE_MALFORMED`, `CHAIN_INVALID` when the stored bytes were damaged. */
export function decodeChainState(stored: Uint8Array): ChainState {
  return decode(chainStateCodec, stored)
}
