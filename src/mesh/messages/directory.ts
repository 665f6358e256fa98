import { equal, type PublicKey } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { decode } from '../../core/codec.ts'
import type { HybridKey } from '../../core/crypto/hybrid.ts'
import { KithError } from '../../core/errors.ts'
import { Lru } from '../../core/lru.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Store } from '../../core/store/types.ts'
import { type BindingTerms, bindingEnd, checkBinding, decodeBinding, encodeBinding, verifyBinding } from '../../identity/binding.ts'
import { adoptChain, cancelRecovery, settleChain } from '../../identity/chain.ts'
import type { RecoveryCancellation } from '../../identity/chain-cancellation.ts'
import { decodeChain } from '../../identity/chain-codec.ts'
import { decodeDeviceDocument, verifyDeviceDocument } from '../../identity/device-document.ts'
import type { DeviceRoster, RosterChange } from '../../identity/device-roster.ts'
import { type Did, didPublicKey } from '../../identity/did.ts'
import type { Binding, ChainEntry, ChainState, Device } from '../../identity/types.ts'
import { trusteeChains } from '../adopt-shown.ts'
import { encodeEntriesFrom } from '../hello-chain.ts'
import { contradicts } from '../hello-knowledge.ts'
import type { AuthenticatedLink } from '../hello-types.ts'
import type { KnownKeys } from '../known-keys.ts'
import { WriteBehind } from '../known-keys-writes.ts'
import { bytesOf, DIRECTORY_LIMITS, DirectoryIndex, type DirectoryLimits, PAPERS_NS, papersCodec, textOf } from './directory-index.ts'
import type { DeviceDirectory, DeviceKeys, DevicePapers } from './types.ts'

export interface DirectoryComponents {
  readonly device: () => Device
  readonly known: KnownKeys
  readonly store: Store
  readonly clock: Clock
  readonly logger: Logger
  readonly keeps: (did: Did) => boolean
  readonly limits?: Partial<DirectoryLimits>
}

/** A machine's keys, held against its identity's chain as it is known now. */
export interface Entry extends DeviceKeys {
  readonly sender: string
  readonly terms: BindingTerms
  readonly hash: Uint8Array
  /** What its identity lets it do (`device-capabilities.ts`). */
  readonly capabilities: bigint
  /** Why nothing this machine signs is accepted, whatever its date. */
  readonly fault: KithError | undefined
  /** What it was judged by. */
  readonly version: number
  readonly judgedMs: number
  readonly ownChain: ChainState | undefined
}

/** This machine, for as long as its device stays as it is. */
interface Own {
  readonly device: Device
  readonly binding: Uint8Array
  readonly chain: ChainState
  readonly entry: Entry
  readonly papers: DevicePapers
}

/** Recoveries take effect with time alone, so a judgement is made anew after this. */
const JUDGED_FOR_MS = 3_600_000
/** A tail of a chain that comes with papers. Longer ones come in several. */
export const MAX_CHAIN_TAIL_BYTES: number = 64 * 1024
const NO_BYTES: Uint8Array = new Uint8Array(0)

/**
 * # Device directory: whose machine signed this
 *
 * Papers prove themselves: a binding that the identity's keys signed, and the chain that says which keys those are. They come from links and from whoever tells them,
 * are verified once, and kept durably within bounds (`directory-index.ts`). A machine's keys are judged again whenever something new is known of its identity: a
 * rotation, a compromise, a second history, a revocation.
 *
 * What a machine signed holds when its date lies before the end of its binding. Its beginning is not asked: a newer binding of the same machine replaces the older
 * one here, and the identity vouches for the key itself, which could write any date.
 */
export class Directory implements DeviceDirectory {
  readonly #components: DirectoryComponents
  readonly #writes: WriteBehind
  readonly #index: DirectoryIndex
  readonly #entries: Lru<string, Entry>
  /** The last learning of each identity that is under way: one at a time. */
  readonly #learning: Map<Did, Promise<unknown>> = new Map()
  readonly #onRevoked: Set<(did: Did, device: PublicKey) => void> = new Set()
  #own: Own | undefined

  private constructor(components: DirectoryComponents) {
    const limits = { ...DIRECTORY_LIMITS, ...components.limits }
    this.#components = components
    this.#writes = new WriteBehind(components.store, components.clock, components.logger)
    this.#index = new DirectoryIndex({ store: components.store, writes: this.#writes, limits, keeps: components.keeps })
    this.#entries = new Lru(limits.keys)
  }

  /** @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`. */
  static async open(components: DirectoryComponents): Promise<Directory> {
    const directory = new Directory(components)
    await directory.#index.load()
    return directory
  }

  /** Machines that are remembered. */
  get size(): number {
    return this.#index.size
  }

  /** A machine whose keys are at hand and need no new judgement; for the rest ask `resolve`. */
  peek(sender: string, now: number): Entry | undefined {
    const own = this.#ownPapers()
    if (sender === own.entry.sender) return own.entry
    const entry = this.#entries.get(sender)
    if (entry === undefined || now - entry.judgedMs > JUDGED_FOR_MS || entry.version !== this.#components.known.versionOf(entry.did)) return undefined
    return entry.ownChain === undefined || entry.ownChain === own.chain ? entry : undefined
  }

  /** @throws KithError `STORE_FAILED`. */
  async resolve(sender: string): Promise<Entry | undefined> {
    const known = this.peek(sender, this.#components.clock.now())
    if (known !== undefined) return known
    const machine = this.#index.get(sender)
    if (machine === undefined) return undefined
    const key = bytesOf(sender)
    const pending = this.#writes.pending(PAPERS_NS, key)
    const stored = pending === undefined ? await this.#components.store.get(PAPERS_NS, key) : pending.value
    if (stored === undefined) return undefined
    const binding = decodeBinding(decode(papersCodec, stored))
    // Read before the chain, so that what changes meanwhile shows as another version.
    const version = this.#components.known.versionOf(binding.did)
    const chain = await this.#chainOf(binding.did)
    if (chain === undefined) return undefined
    const entry = this.#judge(sender, binding, chain, version)
    this.#entries.set(sender, entry)
    return entry
  }

  async keys(did: Did, device: PublicKey): Promise<DeviceKeys | undefined> {
    const entry = await this.resolve(senderOf(did, device))
    return entry === undefined || (entry.fault !== undefined && !entry.revoked) ? undefined : entry
  }

  async devicesOf(did: Did): Promise<readonly DeviceKeys[]> {
    const now = this.#components.clock.now()
    const own = this.#ownPapers().entry
    const senders = new Set([...(did === own.did ? [own.sender] : []), ...this.#index.of(didPublicKey(did))])
    const found: DeviceKeys[] = []
    for (const sender of senders) {
      const entry = await this.resolve(sender)
      if (entry !== undefined && entry.fault === undefined && now < entry.notAfterMs) found.push(entry)
    }
    return found
  }

  async learn(papers: DevicePapers): Promise<DeviceKeys> {
    return await this.#inTurn(papers.did, () => this.#learn(papers))
  }

  async learnChain(did: Did, entries: readonly ChainEntry[]): Promise<ChainState> {
    return await this.#inTurn(did, async () => this.#adoptEntries(did, await this.#chainOf(did), entries))
  }

  async cancelRecovery(cancellation: RecoveryCancellation): Promise<ChainState> {
    const { did, words } = cancellation
    const { known, clock } = this.#components
    return await this.#inTurn(did, async () => {
      const before = await this.#chainOf(did)
      if (before === undefined) throw behind(did, before, 0)
      const trustees = await trusteeChains([{ attestations: words }], known)
      const state = cancelRecovery(before, cancellation, { now: clock.now(), chainOf: (trustee) => trustees.get(trustee) })
      if (state !== before) known.adopt(state)
      return state
    })
  }

  async faultOf(did: Did, device: PublicKey): Promise<KithError | undefined> {
    // The papers that brought a new chain may certify this very machine anew.
    return await this.#inTurn(did, async () => (await this.resolve(senderOf(did, device)))?.fault)
  }

  onRevoked(listener: (did: Did, device: PublicKey) => void): () => void {
    this.#onRevoked.add(listener)
    return () => void this.#onRevoked.delete(listener)
  }

  /** For whoever hears it from the known keys. */
  revoked(did: Did, device: PublicKey): void {
    for (const listener of [...this.#onRevoked]) listener(did, device)
  }

  isRevoked(did: Did, device: PublicKey): boolean {
    return this.#components.known.isRevoked(did, device)
  }

  async roster(did: Did): Promise<DeviceRoster | undefined> {
    return await this.#components.known.roster(did)
  }

  async learnDevices(document: Uint8Array): Promise<RosterChange> {
    const { known, clock } = this.#components
    const { did, chainIndex } = decodeDeviceDocument(document)
    return await this.#inTurn(did, async () => {
      const chain = await this.#chainOf(did)
      if (chain === undefined) throw behind(did, chain, chainIndex)
      return await known.learnDevices(verifyDeviceDocument(document, { chain, now: clock.now() }))
    })
  }

  /** One after the other for each identity: what one learned the next goes on from. */
  async #inTurn<T>(did: Did, work: () => Promise<T>): Promise<T> {
    const before = this.#learning.get(did)
    const learning = (async () => {
      await before?.catch(() => undefined)
      return await work()
    })()
    this.#learning.set(did, learning)
    try {
      return await learning
    } finally {
      if (this.#learning.get(did) === learning) this.#learning.delete(did)
    }
  }

  async papers(did: Did, device: PublicKey, haveIndex = -1): Promise<DevicePapers | undefined> {
    const own = this.#ownPapers()
    const sender = senderOf(did, device)
    if (sender === own.entry.sender) return haveIndex < 0 ? own.papers : { ...own.papers, chain: tailOf(own.chain, haveIndex) }
    if (this.#index.get(sender) === undefined) return undefined
    const key = bytesOf(sender)
    const pending = this.#writes.pending(PAPERS_NS, key)
    const stored = pending === undefined ? await this.#components.store.get(PAPERS_NS, key) : pending.value
    const chain = await this.#chainOf(did)
    if (stored === undefined || chain === undefined) return undefined
    return { did, binding: decode(papersCodec, stored), chain: tailOf(chain, haveIndex) }
  }

  own(): DevicePapers {
    return this.#ownPapers().papers
  }

  /** A link has proved itself: its greeting showed valid papers. */
  linked(link: Pick<AuthenticatedLink, 'did' | 'linkKey' | 'binding' | 'chain'>): void {
    const { binding, chain, did, linkKey } = link
    const sender = senderOf(did, linkKey)
    const machine = this.#index.get(sender)
    const now = this.#components.clock.now()
    const known = this.#entries.get(sender)
    if (machine === undefined || machine.serial !== binding.serial || now - machine.lastMs > JUDGED_FOR_MS) {
      this.#keep(sender, binding, encodeBinding(binding), now)
    } else if (known !== undefined && equal(known.hash, binding.hash) && known.version === this.#components.known.versionOf(did)) return
    this.#entries.set(sender, this.#judge(sender, binding, chain, this.#components.known.versionOf(did)))
  }

  /** The chain of an identity as it is known here now. */
  async chainOf(did: Did): Promise<ChainState | undefined> {
    return await this.#chainOf(did)
  }

  /** @throws KithError `STORE_FAILED`. */
  async close(): Promise<void> {
    await this.#writes.close()
  }

  async #learn(papers: DevicePapers): Promise<Entry> {
    const { known, clock } = this.#components
    const { did } = papers
    const binding = decodeBinding(papers.binding)
    if (binding.did !== did) throw new KithError('BINDING_INVALID', 'the binding belongs to another identity')
    const chain = await this.#adopt(did, papers.chain, binding.chainIndex)
    const sender = senderOf(did, binding.linkKey)
    const current = await this.resolve(sender)
    if (current !== undefined && (equal(current.hash, binding.hash) || binding.serial < current.terms.serial)) {
      if (current.fault !== undefined) throw current.fault
      return current
    }
    const seen = known.device(did, binding.linkKey)
    const now = clock.now()
    verifyBinding(papers.binding, {
      chain,
      // A binding that has run out was valid once: that is enough for what was signed then.
      now: Math.min(now, bindingEnd(binding, chain) - 1),
      minSerial: Math.max(seen?.serial ?? 0, this.#index.get(sender)?.serial ?? 0),
      revoked: () => known.isRevoked(did, binding.linkKey),
    })
    if (binding.deviceMldsa === undefined && (this.#index.get(sender)?.mldsa === true || known.peer(did)?.mldsa === true)) {
      throw new KithError('DOWNGRADE_REFUSED', undefined, { details: { did } })
    }
    if (binding.deviceMldsa !== undefined) known.pinPostQuantum(did)
    this.#keep(sender, binding, papers.binding, now)
    const entry = this.#judge(sender, binding, chain, known.versionOf(did))
    this.#entries.set(sender, entry)
    return entry
  }

  /** The identity's chain, with what was told of it. @throws KithError `CHAIN_*`, `STORE_FAILED`. */
  async #adopt(did: Did, told: Uint8Array, needIndex: number): Promise<ChainState> {
    // All of it is verified before anything else runs, so a longer one comes in several steps.
    if (told.length > MAX_CHAIN_TAIL_BYTES) {
      throw new KithError('CHAIN_INVALID', 'the chain that came with the papers is too long to be taken at once', { details: { length: told.length } })
    }
    const before = await this.#chainOf(did)
    const chain = told.length === 0 ? before : await this.#adoptEntries(did, before, decodeChain(told))
    if (chain === undefined || chain.index < needIndex) throw behind(did, chain, needIndex)
    return chain
  }

  async #adoptEntries(did: Did, before: ChainState | undefined, entries: readonly ChainEntry[]): Promise<ChainState> {
    const { known, clock } = this.#components
    if (known.revealedBy(didPublicKey(did)) !== undefined) {
      throw new KithError('CHAIN_INVALID', 'this key is a later key of another identity, not an identity of its own')
    }
    const [first] = entries
    if (first !== undefined && before !== undefined && first.index > before.index + 1) throw behind(did, before, first.index - 1)
    const trustees = await trusteeChains(entries, known)
    const { state } = adoptChain(before, entries, { now: clock.now(), did, chainOf: (trustee) => trustees.get(trustee) })
    if (state !== before) known.adopt(state)
    if (contradicts(state, entries)) throw new KithError('CHAIN_FORKED', undefined, { details: { did, index: state.index } })
    return state
  }

  #keep(sender: string, binding: Binding, encoded: Uint8Array, now: number): void {
    const before = this.#index.get(sender)
    const machine = { serial: Math.max(binding.serial, before?.serial ?? 0), lastMs: now, mldsa: binding.deviceMldsa !== undefined || before?.mldsa === true }
    this.#index.put(sender, machine, encoded, (dropped) => this.#entries.delete(dropped))
  }

  #judge(sender: string, binding: Binding, chain: ChainState, version: number): Entry {
    const { known, clock, device } = this.#components
    const { did, chainIndex, chainHead, serial, notBeforeMs, notAfterMs, linkKey, deviceMldsa, fallbackKem, hash } = binding
    const terms: BindingTerms = { did, chainIndex, chainHead, serial, notBeforeMs, notAfterMs, linkKey }
    const revoked = known.isRevoked(did, linkKey)
    let fault: KithError | undefined
    try {
      // At its own beginning no date is against it: what is left are the rules that no date changes.
      checkBinding(terms, { chain, now: notBeforeMs, revoked: () => revoked })
    } catch (error) {
      if (!(error instanceof KithError)) throw error
      fault = error
    }
    const key: HybridKey = { ed25519: linkKey, mldsa: deviceMldsa }
    const ends = bindingEnd(terms, chain)
    const ownChain = did === device().did ? device().chain : undefined
    return {
      did,
      device: linkKey,
      key,
      notBeforeMs,
      notAfterMs: ends,
      revoked,
      capabilities: binding.capabilities,
      fallbackKem,
      sender,
      terms,
      hash,
      fault,
      version,
      judgedMs: clock.now(),
      ownChain,
    }
  }

  /** Of the own identity, the longer one of what this device was given and what others showed. */
  async #chainOf(did: Did): Promise<ChainState | undefined> {
    const { known, device, clock } = this.#components
    const stored = await known.chain(did)
    const learned = stored === undefined ? undefined : settleChain(stored, clock.now())
    const own = device()
    if (did !== own.did) return learned
    return learned === undefined || learned.index < own.chain.index ? own.chain : learned
  }

  #ownPapers(): Own {
    const device = this.#components.device()
    const { binding, chain, did } = device
    const version = this.#components.known.versionOf(did)
    if (this.#own?.device === device && this.#own.binding === binding && this.#own.chain === chain && this.#own.entry.version === version) return this.#own
    const decoded = decodeBinding(binding)
    const sender = senderOf(did, decoded.linkKey)
    const papers = { did, binding, chain: tailOf(chain, -1) }
    this.#own = { device, binding, chain, papers, entry: this.#judge(sender, decoded, chain, version) }
    return this.#own
  }
}

export function senderOf(did: Did, device: Uint8Array): string {
  return textOf(didPublicKey(did)) + textOf(device)
}

/** Entries after `haveIndex`, as many as go with papers; empty when there are none. */
function tailOf(chain: ChainState, haveIndex: number): Uint8Array {
  return encodeEntriesFrom(chain.entries, haveIndex + 1, MAX_CHAIN_TAIL_BYTES) ?? NO_BYTES
}

function behind(did: Did, chain: ChainState | undefined, needIndex: number): KithError {
  return new KithError('CHAIN_STALE', 'more of the identity’s chain is needed here first', { details: { did, haveIndex: chain?.index ?? -1, needIndex } })
}
