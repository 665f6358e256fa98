import { concat, type PublicKey, toHex } from '../core/bytes.ts'
import { bytesN, type Codec, constant, decode, encode, list, malformed, mapped, option, struct, text, u8, u16, uint53 } from '../core/codec.ts'
import { type Did, didPublicKey } from '../identity/did.ts'
import { publicKeyCodec } from '../identity/keys.ts'
import { FULL_REPUTATION, VIOLATION_KINDS, type ViolationKind } from './violations.ts'

/**
 * # Standing on disk
 *
 * ```text
 * trust/standing   key did 32             01 | u16 reputation | u64 at_ms | u8 flags | u16 bans | u64 last_ms
 *                                         | option<ban> | list<device>(<= 16) | list<proof>(<= 32) | list<violation>(<= 100, newest first)
 *                  ban = u64 until_ms | text reason(<= 256)         device = key 32 | ban
 *                  proof = u8 kind | option<key 32> | hash 32 | u64 time_ms | u8 flags      1 pardoned, 2 device revoked
 *                  violation = u8 kind | u8 weight | u64 time_ms | key 32 | u64 evidence | text protocol(<= 64)
 *                  flags: 1 quarantined, 2 held by the owner, 4 told, 8 the owner decided
 * trust/violation  key u64 evidence       bytes, at most 64 KiB
 * ```
 */
export const STANDING_NS = 'trust/standing'
export const VIOLATION_NS = 'trust/violation'
export const MAX_BANNED_DEVICES = 16
export const MAX_PROOFS = 32
export const MAX_REASON_BYTES = 256

export interface Ban {
  readonly untilMs: number
  readonly reason: string
}

export interface Proof {
  readonly kind: ViolationKind
  /** Absent when the identity's own keys contradict each other. */
  readonly device: PublicKey | undefined
  readonly hash: Uint8Array
  readonly timeMs: number
  readonly pardoned: boolean
  readonly revoked: boolean
}

export interface Violation {
  readonly kind: ViolationKind
  readonly weight: number
  readonly timeMs: number
  readonly device: PublicKey
  /** Number of the kept bytes, 0 for none. */
  readonly evidence: number
  readonly protocol: string
}

/** What is held against one identity. */
export interface StandingRecord {
  readonly did: Did
  reputation: number
  /** From when it recovers. */
  atMs: number
  /** Below the limit, until it has recovered beyond it. */
  quarantined: boolean
  /** In quarantine until the owner releases it. */
  held: boolean
  /** Never met: only evidence passed on by others. */
  told: boolean
  /** The owner has decided about it: never forgotten for strangers. */
  decided: boolean
  /** Bans so far, for the length of the next one. */
  bans: number
  /** When something last happened; the end of a ban counts. */
  lastMs: number
  ban: Ban | undefined
  /** By the key in hex. */
  readonly devices: Map<string, { readonly device: PublicKey; readonly ban: Ban }>
  proofs: readonly Proof[]
  violations: readonly Violation[]
}

type Flag = 'quarantined' | 'held' | 'told' | 'decided'
const FLAGS: readonly Flag[] = ['quarantined', 'held', 'told', 'decided']

function flags<Name extends string>(names: readonly Name[]): Codec<Readonly<Record<Name, boolean>>> {
  return mapped(
    u8,
    (bits) => {
      if (bits >> names.length !== 0) throw malformed('unknown flags')
      return Object.fromEntries(names.map((name, at) => [name, (bits & (1 << at)) !== 0])) as Record<Name, boolean>
    },
    (value) => names.reduce((bits, name, at) => (value[name] ? bits | (1 << at) : bits), 0),
  )
}

const kindCodec: Codec<ViolationKind> = mapped(
  u8,
  (number) => {
    const kind = VIOLATION_KINDS[number]
    if (kind === undefined) throw malformed('kind of a violation')
    return kind
  },
  (kind) => VIOLATION_KINDS.indexOf(kind),
)

const banCodec: Codec<Ban> = struct<Ban>({ untilMs: uint53, reason: text(MAX_REASON_BYTES) })

interface ProofRow extends Omit<Proof, 'pardoned' | 'revoked'> {
  readonly flags: Readonly<Record<'pardoned' | 'revoked', boolean>>
}

const proofCodec: Codec<Proof> = mapped(
  struct<ProofRow>({ kind: kindCodec, device: option(publicKeyCodec), hash: bytesN(32), timeMs: uint53, flags: flags(['pardoned', 'revoked']) }),
  ({ flags: given, ...proof }) => ({ ...proof, ...given }),
  ({ pardoned, revoked, ...proof }) => ({ ...proof, flags: { pardoned, revoked } }),
)

const violationCodec: Codec<Violation> = struct<Violation>({
  kind: kindCodec,
  weight: u8,
  timeMs: uint53,
  device: publicKeyCodec,
  evidence: uint53,
  protocol: text(64),
})

type Fields = Pick<StandingRecord, 'reputation' | 'atMs' | 'bans' | 'lastMs' | 'ban' | 'proofs' | 'violations'>

interface Row extends Fields {
  readonly _version: undefined
  readonly flags: Readonly<Record<Flag, boolean>>
  readonly devices: readonly { readonly device: PublicKey; readonly ban: Ban }[]
}

export const standingCodec: Codec<Row> = struct<Row>({
  _version: constant(1),
  reputation: mapped(
    u16,
    (value) => {
      if (value > FULL_REPUTATION) throw malformed('reputation')
      return value
    },
    (value) => value,
  ),
  atMs: uint53,
  flags: flags(FLAGS),
  bans: u16,
  lastMs: uint53,
  ban: option(banCodec),
  devices: list(struct<{ readonly device: PublicKey; readonly ban: Ban }>({ device: publicKeyCodec, ban: banCodec }), MAX_BANNED_DEVICES),
  proofs: list(proofCodec, MAX_PROOFS),
  violations: list(violationCodec, 100),
})

export function newRecord(did: Did, now: number, told: boolean): StandingRecord {
  return {
    did,
    reputation: FULL_REPUTATION,
    atMs: now,
    quarantined: false,
    held: false,
    told,
    decided: false,
    bans: 0,
    lastMs: now,
    ban: undefined,
    devices: new Map(),
    proofs: [],
    violations: [],
  }
}

export function standingKey(did: Did): Uint8Array {
  return didPublicKey(did)
}

export function encodeStanding(record: StandingRecord): Uint8Array {
  const { reputation, atMs, bans, lastMs, ban, proofs, violations, quarantined, held, told, decided } = record
  const devices = [...record.devices.values()]
  return encode(standingCodec, {
    _version: undefined,
    reputation,
    atMs,
    bans: Math.min(bans, 0xffff),
    lastMs,
    ban,
    proofs,
    violations,
    devices,
    flags: { quarantined, held, told, decided },
  })
}

/** @throws KithError `WIRE_MALFORMED`, `KEY_INVALID`. */
export function decodeStanding(did: Did, bytes: Uint8Array): StandingRecord {
  const { _version, flags: given, devices, ...fields } = decode(standingCodec, bytes)
  return { did, ...fields, ...given, devices: new Map(devices.map((entry) => [toHex(entry.device), entry])) }
}

export function evidenceKey(number: number): Uint8Array {
  const key = Buffer.alloc(8)
  key.writeBigUInt64BE(BigInt(number))
  return concat(key)
}
