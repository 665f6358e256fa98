import type { PublicKey } from '../core/bytes.ts'
import { bytesN, type Codec, constant, decode, encode, mapped, struct, u8, u32, uint53 } from '../core/codec.ts'

/**
 * # What is remembered of identities and devices
 *
 * ```text
 * mesh/known    key did 32             01 | u8 flags | u64 first_seen_ms | u64 last_seen_ms | u32 chain index | head 32
 *                                      flags: 1 kept, 2 ML-DSA seen, 4 forked, 8 anchored
 * mesh/device   key did 32 | link 32   01 | u8 flags | u64 serial | u64 boot | run 8 | u64 last_seen_ms           flags: 1 revoked
 * mesh/chain    key did 32             the chain's state (`identity/chain-store.ts`)
 * mesh/revealed key Ed25519 32          did 32 of the chain in which it is a later generation
 * ```
 */
export const KNOWN_NS = 'mesh/known'
export const DEVICE_NS = 'mesh/device'
export const CHAIN_NS = 'mesh/chain'
export const REVEALED_NS = 'mesh/revealed'

export interface KnownRecord {
  /** In the address book, or kept by a person: never forgotten to make room. */
  kept: boolean
  /** A device of it proved itself with ML-DSA: none is accepted without any more. */
  mldsa: boolean
  forked: boolean
  /** Somebody else than the peer vouches for the chain. */
  anchored: boolean
  firstSeenMs: number
  lastSeenMs: number
  index: number
  head: Uint8Array
}

export interface DeviceRecord {
  revoked: boolean
  /** The highest binding serial seen. */
  serial: number
  /** The highest boot seen, and its run. */
  boot: number
  run: Uint8Array
  lastSeenMs: number
}

function flags<Name extends string>(names: readonly Name[]): Codec<Readonly<Record<Name, boolean>>> {
  return mapped(
    u8,
    (bits) => Object.fromEntries(names.map((name, at) => [name, (bits & (1 << at)) !== 0])) as Record<Name, boolean>,
    (value) => names.reduce((bits, name, at) => (value[name] ? bits | (1 << at) : bits), 0),
  )
}

interface KnownRow {
  readonly _version: undefined
  readonly flags: Readonly<Record<'kept' | 'mldsa' | 'forked' | 'anchored', boolean>>
  readonly firstSeenMs: number
  readonly lastSeenMs: number
  readonly index: number
  readonly head: Uint8Array
}

interface DeviceRow {
  readonly _version: undefined
  readonly flags: Readonly<Record<'revoked', boolean>>
  readonly serial: number
  readonly boot: number
  readonly run: Uint8Array
  readonly lastSeenMs: number
}

const knownRow: Codec<KnownRow> = struct<KnownRow>({
  _version: constant(1),
  flags: flags(['kept', 'mldsa', 'forked', 'anchored']),
  firstSeenMs: uint53,
  lastSeenMs: uint53,
  index: u32,
  head: bytesN(32),
})

const deviceRow: Codec<DeviceRow> = struct<DeviceRow>({
  _version: constant(1),
  flags: flags(['revoked']),
  serial: uint53,
  boot: uint53,
  run: bytesN(8),
  lastSeenMs: uint53,
})

export function encodeKnown({ kept, mldsa, forked, anchored, firstSeenMs, lastSeenMs, index, head }: KnownRecord): Uint8Array {
  return encode(knownRow, { firstSeenMs, lastSeenMs, index, head, flags: { kept, mldsa, forked, anchored }, _version: undefined })
}

export function decodeKnown(value: Uint8Array): KnownRecord {
  const { flags: set, _version, ...row } = decode(knownRow, value)
  return { ...row, ...set }
}

export function encodeDevice({ revoked, ...row }: DeviceRecord): Uint8Array {
  return encode(deviceRow, { ...row, flags: { revoked }, _version: undefined })
}

export function decodeDevice(value: Uint8Array): DeviceRecord {
  const { flags: set, _version, ...row } = decode(deviceRow, value)
  return { ...row, ...set }
}

export function linkId(linkKey: PublicKey | Uint8Array): string {
  return Buffer.from(linkKey.buffer, linkKey.byteOffset, linkKey.byteLength).toString('latin1')
}

export function linkOfId(id: string): Uint8Array {
  return Uint8Array.from(Buffer.from(id, 'latin1'))
}
