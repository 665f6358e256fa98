import type { Clock } from '../core/clock.ts'
import { parsePublicKey } from '../core/crypto/ed25519.ts'
import { asKithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Store } from '../core/store/types.ts'
import { type Did, formatDid } from '../identity/did.ts'
import type { WriteBehind } from '../mesh/known-keys-writes.ts'
import { decodeStanding, encodeStanding, newRecord, STANDING_NS, type StandingRecord, standingKey } from './standing-codec.ts'
import { MAX_BAN_MS, type StandingRules } from './violations.ts'

export interface StandingTableComponents {
  readonly store: Store
  readonly clock: Clock
  readonly logger: Logger
  readonly writes: WriteBehind
  readonly rules: () => StandingRules
  /** In the address book or trusted: never forgotten to make room. */
  readonly kept: (did: Did) => boolean
  /** A record was forgotten. */
  readonly onForgotten: (record: StandingRecord) => void
}

/**
 * Who has something against them. Bounded: of those the owner does not know, the one that was quiet longest goes first, told ones before met ones. A ban that
 * runs, or what the owner decided, is never forgotten for a newcomer; when nothing but those is left, the newcomer is not written down: its link ends all the
 * same, and identities that cost nothing are not worth a place.
 */
export class StandingTable {
  readonly #components: StandingTableComponents
  /** The one changed longest ago comes first. */
  readonly #records: Map<Did, StandingRecord> = new Map()
  #told = 0

  constructor(components: StandingTableComponents) {
    this.#components = components
  }

  /** Records that do not decode are left out, with a warning, and deleted. @throws KithError `STORE_FAILED`. */
  async load(): Promise<void> {
    const { store, clock, logger, writes } = this.#components
    const latest = clock.now() + MAX_BAN_MS
    const read: StandingRecord[] = []
    for await (const { key, value } of store.scan(STANDING_NS)) {
      try {
        read.push(notBeyond(decodeStanding(formatDid(parsePublicKey(key)), value), latest))
      } catch (error) {
        logger.warn('a record of standing is damaged and was left out', { error: asKithError(error, 'WIRE_MALFORMED').toJSON() })
        writes.delete(STANDING_NS, key)
      }
    }
    for (const record of read.sort((a, b) => a.lastMs - b.lastMs)) {
      this.#records.set(record.did, record)
      if (record.told) this.#told++
    }
  }

  get size(): number {
    return this.#records.size
  }

  get(did: Did): StandingRecord | undefined {
    return this.#records.get(did)
  }

  all(): Iterable<StandingRecord> {
    return this.#records.values()
  }

  /** The record of a peer, made if need be; `undefined` when there is no room for a stranger's. */
  open(did: Did, how: 'met' | 'told' | 'owner'): StandingRecord | undefined {
    const { rules, kept, clock } = this.#components
    const known = this.#records.get(did)
    if (known !== undefined) {
      if (known.told && how !== 'told') {
        known.told = false
        this.#told--
      }
      return known
    }
    const { tracked, told } = rules()
    const exempt = how === 'owner' || kept(did)
    if (how === 'told' && !exempt && this.#told >= told && !this.#evict((record) => record.told)) return undefined
    if (this.#records.size >= tracked && !this.#evict((record) => record.told) && !this.#evict((record) => !this.#banned(record)) && !exempt) return undefined
    const record = newRecord(did, clock.now(), how === 'told' && !exempt)
    if (record.told) this.#told++
    this.#records.set(did, record)
    return record
  }

  /** Writes it down, as the youngest. */
  save(record: StandingRecord): void {
    if (this.#records.get(record.did) !== record) return
    this.#records.delete(record.did)
    this.#records.set(record.did, record)
    this.#components.writes.put(STANDING_NS, standingKey(record.did), encodeStanding(record))
  }

  forget(record: StandingRecord): void {
    if (!this.#records.delete(record.did)) return
    if (record.told) this.#told--
    this.#components.writes.delete(STANDING_NS, standingKey(record.did))
    this.#components.onForgotten(record)
  }

  /** A ban that others told of comes back with the evidence when it is told again. */
  #banned(record: StandingRecord): boolean {
    const now = this.#components.clock.now()
    const runs = (ban: { readonly untilMs: number } | undefined): boolean => ban !== undefined && ban.untilMs > now
    return runs(record.ban) || [...record.devices.values()].some(({ ban }) => runs(ban))
  }

  #evict(matches: (record: StandingRecord) => boolean): boolean {
    for (const record of this.#records.values()) {
      if (record.held || record.decided || !matches(record) || this.#components.kept(record.did)) continue
      this.forget(record)
      return true
    }
    return false
  }
}

/** A clock that was far ahead when a ban was set must not make it endless. */
function notBeyond(record: StandingRecord, latest: number): StandingRecord {
  const limit = <T extends { readonly untilMs: number }>(ban: T): T => (ban.untilMs > latest ? { ...ban, untilMs: latest } : ban)
  record.atMs = Math.min(record.atMs, latest)
  record.lastMs = Math.min(record.lastMs, latest)
  if (record.ban !== undefined) record.ban = limit(record.ban)
  for (const [key, { device, ban }] of record.devices) record.devices.set(key, { device, ban: limit(ban) })
  return record
}
