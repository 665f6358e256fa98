import { equal, type PublicKey } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { parsePublicKey } from '../core/crypto/ed25519.ts'
import { KithError } from '../core/errors.ts'
import { Lru } from '../core/lru.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Store } from '../core/store/types.ts'
import { anchorChain, settleChain } from '../identity/chain.ts'
import { decodeChainState, encodeChainState } from '../identity/chain-store.ts'
import type { DeviceDocument } from '../identity/device-document.ts'
import type { DeviceRoster, RosterChange } from '../identity/device-roster.ts'
import { type Did, didPublicKey, formatDid } from '../identity/did.ts'
import type { Binding, ChainState, ChainStatus } from '../identity/types.ts'
import { DeviceRosters } from './device-rosters.ts'
import {
  CHAIN_NS,
  DEVICE_NS,
  type DeviceRecord,
  decodeDevice,
  decodeKnown,
  encodeDevice,
  encodeKnown,
  KNOWN_NS,
  type KnownRecord,
  linkId,
  linkOfId,
  REVEALED_NS,
} from './known-keys-codec.ts'
import { WriteBehind } from './known-keys-writes.ts'

/**
 * # Known keys: what this node remembers of identities that proved themselves
 *
 * Per DID: its chain as adopted here, whether ML-DSA was seen, when; per device: the highest binding serial and boot. Everything is written only
 * after a PROOF or a verified chain, so a claim leaves no trace. Small records are in memory, chains are read when needed; writes are collected for a moment
 * and reach the store as one atomic batch.
 *
 * Strangers cannot fill it: of identities nobody keeps, the ones seen longest ago are forgotten beyond a limit, and each has a few devices at most.
 * One class, since each of its rules changes the entry, its chain and its devices in one batch.
 */
export interface KnownLimits {
  /** Identities that nobody keeps. */
  readonly strangers: number
  /** Of those, identities that never proved themselves on a link: others passed their papers on. They make room first. */
  readonly told: number
  readonly devicesPerStranger: number
  readonly devicesPerKept: number
  /** Decoded chains in memory. */
  readonly chains: number
}

export const KNOWN_LIMITS: KnownLimits = { strangers: 10_000, told: 4_000, devicesPerStranger: 8, devicesPerKept: 64, chains: 256 }

export interface KnownDevice {
  readonly linkKey: PublicKey
  readonly serial: number
  readonly boot: number
  readonly run: Uint8Array
  readonly lastSeenMs: number
  readonly revoked: boolean
}

export interface KnownPeer {
  readonly did: Did
  readonly kept: boolean
  readonly mldsa: boolean
  readonly anchored: boolean
  readonly forked: boolean
  readonly firstSeenMs: number
  readonly lastSeenMs: number
  readonly index: number
  readonly head: Uint8Array
  readonly devices: readonly KnownDevice[]
}

/** What a PROOF has shown. */
export interface Learned {
  readonly did: Did
  readonly linkKey: PublicKey
  readonly chain: ChainState
  readonly binding: Pick<Binding, 'serial' | 'deviceMldsa'>
  readonly boot: number
  readonly run: Uint8Array
}

export interface KnownComponents {
  readonly store: Store
  readonly clock: Clock
  readonly log: Logger
  readonly limits?: Partial<KnownLimits>
}

interface Entry extends KnownRecord {
  readonly key: Uint8Array
  /** Its later keys, by which others may not be known. */
  readonly revealed: Set<string>
  readonly devices: Map<string, DeviceRecord>
  /** Different after each change of the chain or of what is revoked, also when the identity was forgotten in between. */
  version: number
}

const FRESH = { kept: false, mldsa: false, anchored: false, forked: false } as const

/** Reads the small records. @throws KithError `STORE_FAILED`. */
export async function openKnownKeys(components: KnownComponents): Promise<KnownKeys> {
  const { store, log } = components
  const rosters = await DeviceRosters.open({ store, log, keeps: (did) => known.keeps(did) })
  const known: KnownKeys = new KnownKeys(components, rosters)
  await known.load()
  return known
}

export class KnownKeys {
  readonly #store: Store
  readonly #clock: Clock
  readonly #limits: KnownLimits
  readonly #writes: WriteBehind
  /** The one seen longest ago comes first. */
  readonly #entries: Map<Did, Entry> = new Map()
  readonly #chains: Lru<Did, ChainState>
  /** Later keys of adopted chains: such a key is no identity of its own. */
  readonly #revealed: Map<string, Did> = new Map()
  /** Identities without a device that was linked, the oldest first. */
  readonly #told: Set<Did> = new Set()
  /** Called whenever the chain of an identity that is known here changes; one owner. */
  onChain: (did: Did) => void = () => {}
  /** Called when an identity showed a history that contradicts the one known here (`chain.forks`); one owner. */
  onFork: (chain: ChainState) => void = () => {}
  readonly #rosters: DeviceRosters
  /** Versions of what identities say of their machines. */
  readonly #revisions: Map<Did, number> = new Map()
  /** Called for each machine that was revoked, once it counts; one owner. */
  onRevoked: (did: Did, linkKey: PublicKey) => void = () => {}
  #strangers = 0
  #versions = 0

  constructor({ store, clock, log, limits }: KnownComponents, rosters: DeviceRosters) {
    this.#rosters = rosters
    this.#store = store
    this.#clock = clock
    this.#limits = { ...KNOWN_LIMITS, ...limits }
    this.#chains = new Lru(this.#limits.chains)
    this.#writes = new WriteBehind(store, clock, log)
  }

  /** Called once by `openKnownKeys`. */
  async load(): Promise<void> {
    for await (const { key, value } of this.#store.scan(KNOWN_NS)) {
      const did = formatDid(parsePublicKey(key))
      this.#entries.set(did, { key, ...decodeKnown(value), devices: new Map(), revealed: new Set(), version: ++this.#versions })
    }
    for await (const { key, value } of this.#store.scan(DEVICE_NS)) {
      const did = formatDid(parsePublicKey(key.subarray(0, 32)))
      this.#entries.get(did)?.devices.set(linkId(key.subarray(32)), decodeDevice(value))
    }
    for await (const { key, value } of this.#store.scan(REVEALED_NS)) {
      const did = formatDid(parsePublicKey(value))
      this.#revealed.set(linkId(key), did)
      this.#entries.get(did)?.revealed.add(linkId(key))
    }
    const byAge = [...this.#entries].sort(([, a], [, b]) => a.lastSeenMs - b.lastSeenMs)
    this.#entries.clear()
    for (const [did, entry] of byAge) {
      this.#entries.set(did, entry)
      if (!entry.kept) this.#strangers++
      if (entry.devices.size === 0) this.#told.add(did)
    }
  }

  peer(did: Did): KnownPeer | undefined {
    const entry = this.#entries.get(did)
    if (entry === undefined) return undefined
    const { devices, key: _, revealed: __, version: ___, ...record } = entry
    return { did, ...record, devices: [...devices].map(([id, device]) => this.#shown(did, linkOfId(id) as PublicKey, device)) }
  }

  /** Whether it shows two contradicting histories. Asked for every message. */
  isForked(did: Did): boolean {
    return this.#entries.get(did)?.forked === true
  }

  /** How far its chain can be relied on; undefined while none is known. Asked for every message. */
  statusOf(did: Did): ChainStatus | undefined {
    const entry = this.#entries.get(did)
    if (entry === undefined) return undefined
    return entry.forked ? 'forked' : entry.anchored ? 'anchored' : 'first-seen'
  }

  /** Somebody else than the peer vouches for the chain as it is known here. False when none is known or two contradict each other. @throws KithError `STORE_FAILED`. */
  async anchor(did: Did): Promise<boolean> {
    const chain = await this.chain(did)
    const entry = this.#entries.get(did)
    if (chain === undefined || entry === undefined || chain.status === 'forked') return false
    if (chain.status === 'first-seen') {
      this.#setChain(entry, anchorChain(chain))
      this.#writeEntry(entry)
    }
    return true
  }

  device(did: Did, linkKey: PublicKey): KnownDevice | undefined {
    const device = this.#entries.get(did)?.devices.get(linkId(linkKey))
    return device === undefined ? undefined : this.#shown(did, linkKey, device)
  }

  /** The chain as adopted here. A recovery whose delay is over by now has taken effect in it. @throws KithError `STORE_FAILED`. */
  async chain(did: Did): Promise<ChainState | undefined> {
    const chain = await this.#storedChain(did)
    const entry = this.#entries.get(did)
    if (chain?.pending === undefined || entry === undefined) return chain
    const settled = settleChain(chain, this.#clock.now())
    if (settled === chain) return chain
    this.#setChain(entry, settled)
    this.#writeEntry(entry)
    return settled
  }

  async #storedChain(did: Did): Promise<ChainState | undefined> {
    const cached = this.#chains.get(did)
    const key = this.#entries.get(did)?.key
    if (cached !== undefined || key === undefined) return cached
    const pending = this.#writes.pending(CHAIN_NS, key)
    const value = pending === undefined ? await this.#store.get(CHAIN_NS, key) : pending.value
    // Another call may have adopted a longer chain, or forgotten this one, meanwhile.
    const newer = this.#chains.get(did)
    if (newer !== undefined || value === undefined) return newer
    const chain = decodeChainState(value)
    if (this.#entries.get(did)?.index === chain.index) this.#chains.set(did, chain)
    return chain
  }

  /** Changes whenever the chain of an identity or what is revoked of it does; 0 while nothing is known. */
  versionOf(did: Did): number {
    return Math.max(this.#entries.get(did)?.version ?? 0, this.#revisions.get(did) ?? 0)
  }

  /** The identity in whose chain this key is a later generation. */
  revealedBy(key: PublicKey): Did | undefined {
    return this.#revealed.get(linkId(key))
  }

  /** After a PROOF. Serials and boots only rise. */
  learn(learned: Learned): void {
    const now = this.#clock.now()
    const entry = this.#afterGreeting(learned.chain, now)
    entry.lastSeenMs = now
    this.#told.delete(learned.did)
    this.#entries.delete(learned.did)
    this.#entries.set(learned.did, entry)
    if (learned.binding.deviceMldsa !== undefined) entry.mldsa = true
    const id = linkId(learned.linkKey)
    const before = entry.devices.get(id)
    const device: DeviceRecord = {
      revoked: before?.revoked ?? false,
      serial: Math.max(before?.serial ?? 0, learned.binding.serial),
      boot: Math.max(before?.boot ?? 0, learned.boot),
      run: before !== undefined && before.boot > learned.boot ? before.run : learned.run,
      lastSeenMs: now,
    }
    entry.devices.set(id, device)
    this.#writeDevice(entry, id, device)
    this.#trimDevices(entry)
    this.#writeEntry(entry)
    this.#trimStrangers(learned.did)
  }

  /** A chain that was verified from the one known here (`adoptChain`), by whatever way it came. Shorter ones than known are ignored. */
  adopt(chain: ChainState): void {
    this.#writeEntry(this.#adopt(chain, this.#clock.now()))
    this.#trimStrangers(chain.did)
  }

  /** A binding that names an ML-DSA key was verified under the chain known here: from now on this identity is not accepted without. */
  pinPostQuantum(did: Did): void {
    const entry = this.#entries.get(did)
    if (entry === undefined || entry.mldsa) return
    entry.mldsa = true
    this.#writeEntry(entry)
  }

  /** A person's decision between contradicting histories (`repinChain`): stands whatever was known. */
  repin(chain: ChainState): void {
    const entry = this.#adopt(chain, this.#clock.now())
    this.#setChain(entry, chain)
    this.#writeEntry(entry)
  }

  /** Whether a person or the address book holds on to this identity: it is never forgotten to make room. */
  keep(did: Did, kept = true): void {
    const entry = this.#entries.get(did)
    if (entry === undefined || entry.kept === kept) return
    entry.kept = kept
    this.#strangers += kept ? -1 : 1
    this.#writeEntry(entry)
    this.#trimStrangers(did)
  }

  /** Whether a person here or its identity has revoked this machine, seen or not. Asked for every greeting. */
  isRevoked(did: Did, linkKey: PublicKey): boolean {
    return this.#rosters.isRevoked(did, linkKey) || this.#entries.get(did)?.devices.get(linkId(linkKey))?.revoked === true
  }

  keeps(did: Did): boolean {
    return this.#entries.get(did)?.kept === true
  }

  /** What an identity says of its machines, as far as was verified here. @throws KithError `STORE_FAILED`. */
  async roster(did: Did): Promise<DeviceRoster | undefined> {
    return await this.#rosters.get(did)
  }

  /** Takes in a device document that was verified under the chain known here. @throws KithError `STORE_FAILED`. */
  async learnDevices(document: DeviceDocument): Promise<RosterChange> {
    const change = await this.#rosters.add(document)
    if (change.revoked.length === 0) return change
    this.#revisions.set(document.did, ++this.#versions)
    for (const { linkKey } of change.revoked) this.onRevoked(document.did, linkKey)
    return change
  }

  /** From now on this device is refused. */
  revoke(did: Did, linkKey: PublicKey): void {
    const entry = this.#entries.get(did)
    const id = linkId(linkKey)
    const device = entry?.devices.get(id)
    if (entry === undefined || device === undefined) throw new KithError('PEER_UNKNOWN', 'this device was never seen')
    device.revoked = true
    entry.version = ++this.#versions
    this.#writeDevice(entry, id, device)
  }

  /** Forgets everything of an identity: the next meeting is a first one. */
  forget(did: Did): void {
    const entry = this.#entries.get(did)
    if (entry === undefined) return
    if (!entry.kept) this.#strangers--
    const { key } = entry
    this.#entries.delete(did)
    this.#told.delete(did)
    this.#chains.delete(did)
    this.#writes.delete(KNOWN_NS, key)
    this.#writes.delete(CHAIN_NS, key)
    for (const id of entry.devices.keys()) this.#writes.delete(DEVICE_NS, deviceKey(key, id))
    for (const id of entry.revealed) {
      this.#revealed.delete(id)
      this.#writes.delete(REVEALED_NS, linkOfId(id))
    }
  }

  get size(): number {
    return this.#entries.size
  }

  /** Everything learned so far is in the store. @throws KithError `STORE_FAILED`. */
  async flush(): Promise<void> {
    await this.#writes.flush()
  }

  /** Flushes; the store stays open. @throws KithError `STORE_FAILED`. */
  async close(): Promise<void> {
    await this.#writes.close()
  }

  /**
   * What a greeting worked out may be older than what was learned while the other side took its time over the end of it: a recovery that waits since, one that was
   * ended, or one that took effect. Only what goes on from the entry known here is news.
   */
  #afterGreeting(shown: ChainState, now: number): Entry {
    const entry = this.#entries.get(shown.did)
    if (entry === undefined || entry.index < 0) return this.#adopt(shown, now)
    const at = shown.entries[entry.index]
    return shown.index > entry.index && at !== undefined && equal(at.hash, entry.head) ? this.#adopt(shown, now) : entry
  }

  #adopt(shown: ChainState, now: number): Entry {
    const { did } = shown
    let entry = this.#entries.get(did)
    if (entry === undefined) {
      entry = {
        ...FRESH,
        key: didPublicKey(did),
        firstSeenMs: now,
        lastSeenMs: now,
        index: -1,
        head: shown.head,
        devices: new Map(),
        revealed: new Set(),
        version: 0,
      }
      this.#entries.set(did, entry)
      this.#told.add(did)
      this.#strangers++
    }
    if (shown.index < entry.index || this.#chains.get(did) === shown) return entry
    // What was worked out before somebody vouched for the chain, or before it forked, does not take that back.
    if (entry.forked && shown.status !== 'forked') return entry
    this.#setChain(entry, entry.anchored ? anchorChain(shown) : shown)
    return entry
  }

  #setChain(entry: Entry, chain: ChainState): void {
    const contradicted = chain.forks.length > (this.#chains.get(chain.did)?.forks.length ?? 0) || (chain.status === 'forked' && !entry.forked)
    entry.index = chain.index
    entry.head = chain.head
    entry.forked = chain.status === 'forked'
    entry.anchored = chain.status === 'anchored'
    entry.version = ++this.#versions
    this.#chains.set(chain.did, chain)
    this.#writes.put(CHAIN_NS, entry.key, encodeChainState(chain))
    for (const { keys, index } of chain.entries) {
      const id = linkId(keys.ed25519)
      if (index === 0 || this.#revealed.has(id)) continue
      this.#revealed.set(id, chain.did)
      entry.revealed.add(id)
      this.#writes.put(REVEALED_NS, keys.ed25519, entry.key)
    }
    this.onChain(chain.did)
    if (contradicted) this.onFork(chain)
  }

  #shown(did: Did, linkKey: PublicKey, device: DeviceRecord): KnownDevice {
    return { linkKey, ...device, revoked: device.revoked || this.#rosters.isRevoked(did, linkKey) }
  }

  #writeEntry(entry: Entry): void {
    this.#writes.put(KNOWN_NS, entry.key, encodeKnown(entry))
  }

  #writeDevice(entry: Entry, id: string, device: DeviceRecord): void {
    this.#writes.put(DEVICE_NS, deviceKey(entry.key, id), encodeDevice(device))
  }

  #trimDevices(entry: Entry): void {
    const limit = entry.kept ? this.#limits.devicesPerKept : this.#limits.devicesPerStranger
    if (entry.devices.size <= limit) return
    let oldest: [string, DeviceRecord] | undefined
    for (const item of entry.devices) if (!item[1].revoked && (oldest === undefined || item[1].lastSeenMs < oldest[1].lastSeenMs)) oldest = item
    if (oldest === undefined) return
    entry.devices.delete(oldest[0])
    this.#writes.delete(DEVICE_NS, deviceKey(entry.key, oldest[0]))
  }

  /** Those of whom others only told go first: papers are cheap to make, links are not. */
  #trimStrangers(except: Did): void {
    const crowded = this.#strangers > this.#limits.strangers
    if (!crowded && this.#told.size <= this.#limits.told) return
    for (const did of this.#told) {
      if (did === except || this.#entries.get(did)?.kept === true) continue
      this.forget(did)
      return
    }
    if (!crowded) return
    for (const [did, entry] of this.#entries) {
      // A device that a person revoked stays revoked, whoever crowds in.
      if (entry.kept || did === except || isRevoked(entry) || this.#rosters.hasRevoked(did)) continue
      this.forget(did)
      return
    }
  }
}

function isRevoked({ devices }: Entry): boolean {
  for (const { revoked } of devices.values()) if (revoked) return true
  return false
}

function deviceKey(key: Uint8Array, id: string): Uint8Array {
  return Buffer.concat([key, linkOfId(id)])
}
