import type { PublicKey } from '../core/bytes.ts'
import { parsePublicKey } from '../core/crypto/ed25519.ts'
import { isKithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Store } from '../core/store/types.ts'
import type { DeviceDocument } from '../identity/device-document.ts'
import { addDocument, type DeviceRoster, decodeRoster, encodeRoster, type RosterChange } from '../identity/device-roster.ts'
import { type Did, didPublicKey, formatDid } from '../identity/did.ts'
import { linkId } from './known-keys-codec.ts'

/**
 * # What identities say of their machines
 *
 * ```text
 * mesh/rosters   key did 32     `identity/device-roster.ts`
 * ```
 *
 * Which link keys are revoked is in memory, for every greeting and message asks; the documents are read when they are shown. A revocation is on the disk before it
 * counts as taken. Of identities that nobody keeps, those whose documents came longest ago are forgotten beyond a limit; the others never.
 */
const ROSTERS_NS = 'mesh/rosters'
/** Identities that nobody keeps. */
export const MAX_STRANGERS = 512

export interface DeviceRostersComponents {
  readonly store: Store
  readonly log: Logger
  /** Whether a person or the address book holds on to this identity. */
  readonly keeps: (did: Did) => boolean
  readonly strangers?: number
}

export class DeviceRosters {
  readonly #components: DeviceRostersComponents
  /** By link key; the identity whose document came last is last. */
  readonly #revoked: Map<Did, ReadonlySet<string>> = new Map()
  /** One change of an identity after the other. */
  #queue: Promise<unknown> = Promise.resolve()

  private constructor(components: DeviceRostersComponents) {
    this.#components = components
  }

  /** @throws KithError `STORE_FAILED`. */
  static async open(components: DeviceRostersComponents): Promise<DeviceRosters> {
    const rosters = new DeviceRosters(components)
    for await (const { key, value } of components.store.scan(ROSTERS_NS)) {
      const roster = readRoster(value)
      if (roster === undefined) components.log.warn('what an identity said of its machines is not readable')
      else rosters.#revoked.set(formatDid(parsePublicKey(key)), revokedIds(roster))
    }
    return rosters
  }

  get size(): number {
    return this.#revoked.size
  }

  /** Whether its identity has revoked this machine, as far as is known here. */
  isRevoked(did: Did, linkKey: Uint8Array): boolean {
    return this.#revoked.get(did)?.has(linkId(linkKey as PublicKey)) === true
  }

  /** Whether the identity has revoked any. */
  hasRevoked(did: Did): boolean {
    return (this.#revoked.get(did)?.size ?? 0) > 0
  }

  /** @throws KithError `STORE_FAILED`. */
  async get(did: Did): Promise<DeviceRoster | undefined> {
    if (!this.#revoked.has(did)) return undefined
    const stored = await this.#components.store.get(ROSTERS_NS, didPublicKey(did))
    return stored === undefined ? undefined : readRoster(stored)
  }

  /** Takes in a verified document. @throws KithError `STORE_FAILED`: nothing has changed then. */
  add(document: DeviceDocument): Promise<RosterChange> {
    const done = this.#queue.then(() => this.#add(document))
    this.#queue = done.catch(() => undefined)
    return done
  }

  async #add(document: DeviceDocument): Promise<RosterChange> {
    const { store } = this.#components
    const { did } = document
    const change = addDocument(await this.get(did), document)
    if (!change.changed) return change
    await store.put(ROSTERS_NS, didPublicKey(did), encodeRoster(change.roster), { durable: true })
    this.#revoked.delete(did)
    this.#revoked.set(did, revokedIds(change.roster))
    await this.#trim(did)
    return change
  }

  async #trim(latest: Did): Promise<void> {
    const { store, keeps, strangers = MAX_STRANGERS } = this.#components
    if (this.#revoked.size <= strangers) return
    const forgettable = [...this.#revoked.keys()].filter((did) => did !== latest && !keeps(did))
    const excess = forgettable.length + (keeps(latest) ? 0 : 1) - strangers
    for (const did of forgettable.slice(0, Math.max(0, excess))) {
      this.#revoked.delete(did)
      await store.delete(ROSTERS_NS, didPublicKey(did), { durable: false })
    }
  }
}

function readRoster(stored: Uint8Array): DeviceRoster | undefined {
  try {
    return decodeRoster(stored)
  } catch (error) {
    if (isKithError(error)) return undefined
    throw error
  }
}

function revokedIds({ revoked }: DeviceRoster): ReadonlySet<string> {
  return new Set([...revoked.values()].map(({ linkKey }) => linkId(linkKey)))
}
