import { compare, equal, type PublicKey, toHex } from '../core/bytes.ts'
import { bytes, type Codec, constant, decode, encode, list, struct, uint53 } from '../core/codec.ts'
import {
  type DeviceDocument,
  type DeviceStatus,
  decodeDeviceDocument,
  deviceStatusCodec,
  encodeDeviceDocument,
  type ListedDevice,
  MAX_DEVICES,
  MAX_DOCUMENT_BYTES,
  type RevocationReason,
} from './device-document.ts'
import type { Did } from './did.ts'
import { publicKeyCodec } from './keys.ts'

/**
 * # Device roster: what all verified documents of an identity say together
 *
 * ```text
 * list        the document of the highest (chain_index, version); of two that are equal in both, the one with the smaller hash
 * revoked     the union over every document ever adopted: it only grows
 * stored      u8 1 || list<bytes document>(<= 4) || list<bytes32 link_key || u8 reason || u64 since_ms>(<= 512)
 * ```
 *
 * Both parts depend on the set of documents alone, not on the order in which they came, so all verifiers of the same documents agree, after any partition. Where two
 * documents contradict each other about a device, the one that revokes wins: to refuse a good machine costs its owner a new link key, to accept a stolen one costs
 * everybody. Documents that are not the list's own but revoke something it does not are kept, at most three of them, to be passed on.
 */
export interface RevokedDevice {
  readonly linkKey: PublicKey
  readonly reason: RevocationReason
  readonly sinceMs: number
}

export interface DeviceRoster {
  readonly did: Did
  /** Gives the list of machines. */
  readonly latest: DeviceDocument
  /** Others that are passed on beside it, in the order of their hashes. */
  readonly others: readonly DeviceDocument[]
  /** By link key in hexadecimal digits. */
  readonly revoked: ReadonlyMap<string, RevokedDevice>
}

const MAX_OTHERS = 3
/** Twice what one document can hold: an identity that contradicts itself without end harms nobody else. */
const MAX_REVOKED: number = 2 * MAX_DEVICES

export interface RosterChange {
  readonly roster: DeviceRoster
  /** Devices that were not revoked before. */
  readonly revoked: readonly RevokedDevice[]
  /** Whether anything is different. */
  readonly changed: boolean
}

/** Takes in a verified document (`verifyDeviceDocument`). */
export function addDocument(known: DeviceRoster | undefined, document: DeviceDocument): RosterChange {
  if (known === undefined) {
    const revoked = new Map<string, RevokedDevice>()
    const added = collect(revoked, document)
    return { roster: { did: document.did, latest: document, others: [], revoked }, revoked: added, changed: true }
  }
  if (known.did !== document.did) throw new TypeError('the document is of another identity')
  if ([known.latest, ...known.others].some(({ hash }) => equal(hash, document.hash))) return { roster: known, revoked: [], changed: false }
  const revoked = new Map(known.revoked)
  const latest = later(known.latest, document)
  // Keys that were replaced since cannot have filled the room that the present ones need.
  if (latest === document && document.chainIndex > known.latest.chainIndex) makeRoom(revoked, document)
  const added = collect(revoked, document)
  const others = toPassOn(latest, [known.latest, document, ...known.others])
  const changed = differs(revoked, known.revoked) || latest !== known.latest || others.some((other) => !known.others.includes(other))
  return { roster: changed ? { did: known.did, latest, others, revoked } : known, revoked: added, changed }
}

/** What the owner is shown, and the next document begins with: the list, and everything that was ever revoked. In the order of the link keys. */
export function listedDevices({ latest, revoked }: DeviceRoster): readonly ListedDevice[] {
  const devices = new Map(latest.devices.map((device) => [toHex(device.linkKey), device]))
  for (const [key, { linkKey, reason, sinceMs }] of revoked) {
    const listed = devices.get(key)
    devices.set(key, { linkKey, name: listed?.name ?? '', capabilities: listed?.capabilities ?? 0n, status: reason, sinceMs })
  }
  return [...devices.values()].sort((a, b) => compare(a.linkKey, b.linkKey))
}

/** Documents to give to whoever is behind, the list's own first. */
export function documentsOf({ latest, others }: DeviceRoster): readonly Uint8Array[] {
  return [latest, ...others].map(encodeDeviceDocument)
}

/** Notes what a document revokes; of two dates or reasons for one device the earlier and, at the same time, the graver stands. */
function collect(revoked: Map<string, RevokedDevice>, document: DeviceDocument): readonly RevokedDevice[] {
  const added: RevokedDevice[] = []
  for (const { linkKey, status, sinceMs } of document.devices) {
    if (status === 'active') continue
    const key = toHex(linkKey)
    const before = revoked.get(key)
    const found = { linkKey, reason: status, sinceMs }
    if (before === undefined) {
      if (revoked.size >= MAX_REVOKED) continue
      revoked.set(key, found)
      added.push(found)
    } else if (sinceMs < before.sinceMs || (sinceMs === before.sinceMs && GRAVITY[status] > GRAVITY[before.reason])) revoked.set(key, found)
  }
  return added
}

function makeRoom(revoked: Map<string, RevokedDevice>, document: DeviceDocument): void {
  const listed = new Set(revokedIn(document))
  const fresh = [...listed].filter((key) => !revoked.has(key)).length
  for (const key of [...revoked.keys()]) {
    if (revoked.size + fresh <= MAX_REVOKED) return
    if (!listed.has(key)) revoked.delete(key)
  }
}

/** An entry that was made anew is another object. */
function differs(a: ReadonlyMap<string, RevokedDevice>, b: ReadonlyMap<string, RevokedDevice>): boolean {
  return a.size !== b.size || [...a].some(([key, device]) => b.get(key) !== device)
}

const GRAVITY: Readonly<Record<RevocationReason, number>> = { removed: 0, lost: 1, compromised: 2 }

function later(a: DeviceDocument, b: DeviceDocument): DeviceDocument {
  const order = a.chainIndex - b.chainIndex || a.version - b.version || compare(b.hash, a.hash)
  return order >= 0 ? a : b
}

/** Those that revoke what the latest does not, without those that add nothing to the ones before them. */
function toPassOn(latest: DeviceDocument, candidates: readonly DeviceDocument[]): readonly DeviceDocument[] {
  const seen = new Set(revokedIn(latest))
  const kept: DeviceDocument[] = []
  const rest = candidates.filter((document) => document !== latest).sort((a, b) => (later(a, b) === a ? -1 : 1))
  for (const document of rest) {
    if (kept.length === MAX_OTHERS) break
    const news = revokedIn(document).filter((key) => !seen.has(key))
    if (news.length === 0) continue
    for (const key of news) seen.add(key)
    kept.push(document)
  }
  return kept
}

function revokedIn({ devices }: DeviceDocument): readonly string[] {
  return devices.filter(({ status }) => status !== 'active').map(({ linkKey }) => toHex(linkKey))
}

interface StoredRoster {
  readonly _version: undefined
  readonly documents: readonly Uint8Array[]
  readonly revoked: readonly { readonly linkKey: PublicKey; readonly reason: DeviceStatus; readonly sinceMs: number }[]
}

const rosterCodec: Codec<StoredRoster> = struct<StoredRoster>({
  _version: constant(1),
  documents: list(bytes(MAX_DOCUMENT_BYTES), MAX_OTHERS + 1),
  revoked: list(struct({ linkKey: publicKeyCodec, reason: deviceStatusCodec, sinceMs: uint53 }), MAX_REVOKED),
})

/** For the own store only: what is read back is taken as verified. */
export function encodeRoster(roster: DeviceRoster): Uint8Array {
  return encode(rosterCodec, { _version: undefined, documents: documentsOf(roster), revoked: [...roster.revoked.values()] })
}

/** @throws KithError `WIRE_MALFORMED`, `DEVICE_DOCUMENT_INVALID` when the stored bytes were damaged. */
export function decodeRoster(stored: Uint8Array): DeviceRoster | undefined {
  const { documents, revoked } = decode(rosterCodec, stored)
  const [latest, ...others] = documents.map(decodeDeviceDocument)
  if (latest === undefined) return undefined
  const entries = revoked.flatMap(({ linkKey, reason, sinceMs }): [string, RevokedDevice][] =>
    reason === 'active' ? [] : [[toHex(linkKey), { linkKey, reason, sinceMs }]],
  )
  return { did: latest.did, latest, others, revoked: new Map(entries) }
}
