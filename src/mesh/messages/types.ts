import type { PublicKey } from '../../core/bytes.ts'
import type { HybridKey } from '../../core/crypto/hybrid.ts'
import type { KithError } from '../../core/errors.ts'
import type { StoreOp } from '../../core/store/types.ts'
import type { RecoveryCancellation } from '../../identity/chain-cancellation.ts'
import type { DeviceRoster, RosterChange } from '../../identity/device-roster.ts'
import type { Did } from '../../identity/did.ts'
import type { ChainEntry, ChainState } from '../../identity/types.ts'
import type { Waiting } from '../mesh-types.ts'
import type { StreamContext } from '../types.ts'

declare const verified: unique symbol

/** Ed25519 alone, or with ML-DSA-65 where both must verify. The byte stands inside what is signed. */
export type Suite = 'ed25519' | 'hybrid'

export type Destination = { readonly kind: 'did'; readonly did: Did } | { readonly kind: 'topic'; readonly topic: string }

interface VerifiedBase {
  readonly [verified]: true
  /** H("icn/envelope-id/v1", body): never covers the signature. 32 bytes. */
  readonly id: Uint8Array
  readonly suite: Suite
  readonly from: Did
  /** The link key of the machine that signed. */
  readonly device: PublicKey
  readonly to: Destination
  readonly timeMs: number
  /** What the payload is; u16, see `MESSAGE_TYPE`. */
  readonly type: number
  readonly payload: Uint8Array
  /** The whole envelope as it was signed, for those who keep or pass it on. */
  readonly bytes: Uint8Array
}

/** Meant for a link that is open now (PN-7, class 1). */
export interface LiveMessage extends VerifiedBase {
  readonly class: 'live'
  readonly session: Uint8Array
  readonly seq: number
}

/** Meant for a peer who may be offline (class 2). */
export interface StoredMessage extends VerifiedBase {
  readonly class: 'stored'
  /** 16 bytes, the same in every resend. */
  readonly msgId: Uint8Array
  readonly expiresMs: number
}

/** Meant for everybody who reads a topic, for as long as it is kept (class 3). */
export interface RecordMessage extends VerifiedBase {
  readonly class: 'record'
  /** The signer's boot count. */
  readonly epoch: number
  readonly seq: number
}

/**
 * A message whose signature, sender, addressee and class rule were checked. Only the verifier of `mesh/` makes one (E5): a handler cannot be given raw input.
 */
export type VerifiedMessage = LiveMessage | StoredMessage | RecordMessage

/** What stands in a record, before anything of it was checked: for dedup and routing, never for decisions about the author. */
export interface RecordHead {
  readonly id: Uint8Array
  readonly suite: Suite
  readonly from: Did
  readonly device: PublicKey
  readonly topic: string
  readonly timeMs: number
  readonly type: number
  readonly epoch: number
  readonly seq: number
  readonly payload: Uint8Array
}

/** Registered payload types (u16). 1 to 7 are those of the founding texts; applications use 0x8000 and above. */
export const MESSAGE_TYPE = {
  gossip: 1,
  ledger: 2,
  trust: 3,
  contract: 4,
  rpc: 5,
  control: 6,
  encrypted: 7,
  text: 0x0100,
  peerRecord: 0x0101,
  chain: 0x0102,
  blob: 0x0103,
  evidence: 0x0104,
  devices: 0x0105,
  recovery: 0x0105,
} as const

/** What proves which keys a machine signs with: its identity's chain and the binding. Self-proving, so anyone may pass them on. */
export interface DevicePapers {
  readonly did: Did
  readonly binding: Uint8Array
  readonly chain: Uint8Array
}

/** A machine whose papers were verified here. */
export interface DeviceKeys {
  readonly did: Did
  readonly device: PublicKey
  readonly key: HybridKey
  readonly notBeforeMs: number
  /** Where it ends: the binding's own date, or 30 days after its identity replaced the keys that made it. */
  readonly notAfterMs: number
  readonly revoked: boolean
  /** X-Wing public key of the binding, for sealing when no prekey is known. */
  readonly fallbackKem: Uint8Array | undefined
}

/** Which machines belong to which identity, as far as papers were verified here. Bounded; links, known keys and told papers feed it. */
export interface DeviceDirectory {
  /**
   * Keys of a machine of this identity; `undefined` when its papers were never seen, or do not hold any more (identity closed, keys compromised). A revoked or
   * expired one is told as such.
   */
  keys(did: Did, device: PublicKey): Promise<DeviceKeys | undefined>
  /** All machines of an identity that may be sealed to now. */
  devicesOf(did: Did): Promise<readonly DeviceKeys[]>
  /**
   * Verifies and keeps papers, whoever told them. `chain` may be a tail that goes on where the chain known here ends, or empty when that one is meant. A binding
   * that has run out is kept too: what was signed while it was valid stays valid.
   * @throws KithError `CHAIN_*` (`CHAIN_STALE`: the binding needs more of the chain than was told), `BINDING_*`, `DEVICE_REVOKED`, `DOWNGRADE_REFUSED`,
   * `WIRE_MALFORMED`.
   */
  learn(papers: DevicePapers): Promise<DeviceKeys>
  /** Papers to pass on, with at most 64 KiB of the chain after entry `haveIndex` (default: from the first one). */
  papers(did: Did, device: PublicKey, haveIndex?: number): Promise<DevicePapers | undefined>
  /** This machine's own. */
  own(): DevicePapers
  /** Whether its identity, or a person here, has revoked this machine, whether it was ever seen or not. */
  isRevoked(did: Did, device: PublicKey): boolean
  /** What an identity says of its machines, as far as was verified here. */
  roster(did: Did): Promise<DeviceRoster | undefined>
  /**
   * Verifies and keeps a device document, whoever told it; what it revokes is refused from then on.
   * @throws KithError `DEVICE_DOCUMENT_INVALID`, `CHAIN_STALE` when more of the chain is needed first, `STORE_FAILED`.
   */
  learnDevices(document: Uint8Array): Promise<RosterChange>
  /** Told of each machine that its identity has revoked, once it is refused here. The listener does not throw. Returns the way to stop. */
  onRevoked(listener: (did: Did, device: PublicKey) => void): () => void
  /** The history of keys of an identity, as it is known here now. */
  chainOf(did: Did): Promise<ChainState | undefined>
  /** Takes entries of a history, whoever told them, without the papers of a machine. @throws KithError `CHAIN_*`, `STORE_FAILED`. */
  learnChain(did: Did, entries: readonly ChainEntry[]): Promise<ChainState>
  /** Takes the end of a recovery that a quorum of trustees signed. @throws KithError `CHAIN_INVALID`, `CHAIN_STALE`, `STORE_FAILED`. */
  cancelRecovery(cancellation: RecoveryCancellation): Promise<ChainState>
  /** Why nothing a machine signs is accepted any more, whatever its date; undefined while it is, or when nothing is known of it. */
  faultOf(did: Did, device: PublicKey): Promise<KithError | undefined>
}

export interface RecordOptions {
  readonly topic: string
  readonly type: number
  readonly payload: Uint8Array
  /** Default `ed25519`; `hybrid` needs a device with ML-DSA. */
  readonly suite?: Suite
}

export interface MessageHandlerOptions {
  /** Signed at least so. Default `ed25519`. */
  readonly suite?: Suite
}

export interface LiveHandlerOptions extends MessageHandlerOptions {
  /** From whom. `book` (default): peers in the address book. `everyone`: whoever is linked; the handler decides. */
  readonly access?: 'book' | 'everyone'
}

/** A stored message that may be taken in now. Until `commit` or `release` is called, a second copy of it is refused with `REPLAY_PENDING`. */
export interface StoredCheck {
  readonly message: StoredMessage
  /** Belongs into the same store batch as what is done with the message: then it is accepted exactly once. */
  readonly mark: readonly StoreOp[]
  /** The batch with `mark` has been written. Idempotent. */
  commit(): void
  /** The message was not taken in after all: it may come again. Idempotent; without effect after `commit`. */
  release(): void
}

/**
 * Two different things that one machine signed under the same number (PN-7): no correct node does that, so the two envelopes prove by themselves that this machine
 * does not follow the rules, or that its key was copied (PN-10, rule 3).
 */
export interface Equivocation {
  readonly did: Did
  readonly device: PublicKey
  /** The envelopes as they were signed, the one with the smaller id first. */
  readonly proof: readonly [Uint8Array, Uint8Array]
}

export type LiveHandler = (message: LiveMessage, context: StreamContext) => void | Promise<void>

/** Counters of refusals by reason: what a person on call looks at. Never evidence against anybody (PN-10). */
export interface MessageCounters {
  readonly accepted: number
  readonly refused: Readonly<Record<string, number>>
}

/** Signed messages between machines (PN-7). */
export interface Messages extends AsyncDisposable {
  readonly directory: DeviceDirectory
  /** Epoch of the records signed in this run: the durable count of starts. */
  readonly epoch: number
  /**
   * Sends a live message over the link with a peer; dials if needed. At most once: resolves when the link has taken it.
   * @throws as `Mesh.open`; KithError `MESSAGE_TOO_LARGE`.
   */
  send(peer: string, type: number, payload: Uint8Array, options?: Waiting & { readonly suite?: Suite }): Promise<void>
  /** Serves live messages of a type; the returned function ends that. @throws TypeError when the type has a handler. */
  handle(type: number, handler: LiveHandler, options?: LiveHandlerOptions): () => void
  /** Signs a record of this machine with the next (epoch, seq). @throws KithError `MESSAGE_TOO_LARGE`. */
  signRecord(options: RecordOptions): RecordMessage
  /** Reads a record without checking its signature or its author's key. @throws KithError `WIRE_MALFORMED`. */
  readRecord(bytes: Uint8Array): RecordHead
  /** A record that this node verified before and kept in its own store: read again, not checked again. @throws KithError `WIRE_MALFORMED`. */
  restoreRecord(bytes: Uint8Array): RecordMessage
  /**
   * Checks a record that came over `carrier`'s link; topic rules, dedup, rates and a malformed envelope's price are the caller's. A signature that is false under
   * the key of the device it names is charged to the carrier. Records are checked in the order of the calls of one carrier, a bounded time per turn of the event loop.
   * @throws KithError `WIRE_MALFORMED`, `VERSION_UNSUPPORTED`, `DEVICE_UNKNOWN` (`fetchPapers` and try again), `SIGNATURE_INVALID`, `BINDING_EXPIRED` (newer papers
   * may help), `BINDING_INVALID`, `DEVICE_REVOKED`, `NOT_FOR_US` (another topic), `SEQUENCE_INVALID`, `MESSAGE_EARLY`, `DOWNGRADE_REFUSED`, `SUITE_REQUIRED`, `BANNED`,
   * `BUDGET_EXCEEDED` (too many of this carrier's wait already).
   */
  verifyRecord(bytes: Uint8Array, topic: string, carrier: Carrier | undefined, options?: MessageHandlerOptions): Promise<RecordMessage>
  /** Signs a message for a peer who may be offline. @throws TypeError for a life beyond 14 days. @throws KithError `MESSAGE_TOO_LARGE`, `UNSUPPORTED`. */
  signStored(options: StoredOptions): StoredMessage
  /**
   * Checks a stored message that was opened here. Give `carrier` only where the link's own machine must have signed it: whoever passes on what it cannot open is
   * not to blame for what is inside.
   * @throws KithError as `verifyRecord`; `MESSAGE_EXPIRED`, `MESSAGE_STALE` (longer life than 14 days), `REPLAYED`, `REPLAY_PENDING`, `REPLAY_FULL`, `RATE_LIMITED`.
   */
  verifyStored(bytes: Uint8Array, carrier: Carrier | undefined, options?: MessageHandlerOptions): Promise<StoredCheck>
  /**
   * Asks a peer for the papers of a machine (`icn/papers/1`), verifies and keeps them.
   * @throws KithError `DEVICE_UNKNOWN` when it does not have or show them; as `DeviceDirectory.learn`; as `Mesh.open`.
   */
  fetchPapers(peer: string, did: Did, device: PublicKey, options?: Waiting): Promise<DeviceKeys>
  /**
   * Who may be shown whose papers, beyond our own, the asker's own, and those of book peers to book peers: whoever is given somebody's records (gossip) needs
   * them to check these. One rule that agrees is enough. Returns the way to end it.
   */
  showPapers(rule: (asker: Did, did: Did, device: PublicKey) => boolean): () => void
  /** Told of a machine that signed two live messages under one number; for records see `EquivocationIndex`. Returns the way to stop. */
  onEquivocation(listener: (found: Equivocation) => void): () => void
  readonly counters: MessageCounters
}

/** The link that brought some bytes: first-hand violations are its own. */
export interface Carrier {
  readonly peer: Did
  readonly device: PublicKey
}

export interface StoredOptions {
  readonly to: Did
  readonly type: number
  readonly payload: Uint8Array
  /** 16 bytes; the same again for a resend. */
  readonly msgId: Uint8Array
  readonly timeMs: number
  /** At most 14 days after `timeMs`. */
  readonly expiresMs: number
  /** Default: `hybrid` where this device has ML-DSA. */
  readonly suite?: Suite
}
