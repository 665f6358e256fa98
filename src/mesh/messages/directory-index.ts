import type { PublicKey } from '../../core/bytes.ts'
import { bytes, type Codec, decode, encode, struct, u8, uint53 } from '../../core/codec.ts'
import type { Store } from '../../core/store/types.ts'
import { type Did, formatDid } from '../../identity/did.ts'
import type { WriteBehind } from '../known-keys-writes.ts'

/**
 * # Which papers are kept
 *
 * ```text
 * mesh/machines  did 32 | device 32 -> u64 serial | u64 last_ms | u8 mldsa          small, in memory too
 * mesh/papers    did 32 | device 32 -> bytes binding (PN-4)                          up to 16 KiB, read when needed
 * ```
 * Chains are in the known keys, so that there is one opinion about each identity.
 *
 * Papers are cheap to make, so strangers have a share that they cannot exceed: the ones used longest ago make room. Machines of identities that the owner keeps
 * are never displaced by them.
 */
export const MACHINES_NS = 'mesh/machines'
export const PAPERS_NS = 'mesh/papers'

export interface DirectoryLimits {
  /** All machines, unless more are of identities that the owner keeps. */
  readonly machines: number
  readonly machinesPerStranger: number
  readonly machinesPerKept: number
  /** Keys in memory. */
  readonly keys: number
}

export const DIRECTORY_LIMITS: DirectoryLimits = { machines: 10_000, machinesPerStranger: 8, machinesPerKept: 64, keys: 2_048 }

/** What is remembered of a machine without its papers. */
export interface Machine {
  readonly serial: number
  readonly lastMs: number
  /** It has shown an ML-DSA key: without one it is not accepted any more. */
  readonly mldsa: boolean
}

const machineCodec: Codec<{ serial: number; lastMs: number; mldsa: number }> = struct<{ serial: number; lastMs: number; mldsa: number }>({
  serial: uint53,
  lastMs: uint53,
  mldsa: u8,
})

export const papersCodec: Codec<Uint8Array> = bytes(16 * 1024)

export interface IndexComponents {
  readonly store: Store
  readonly writes: WriteBehind
  readonly limits: DirectoryLimits
  /** Whether a person or the address book holds on to this identity. */
  readonly keeps: (did: Did) => boolean
}

interface Identity {
  readonly did: Did
  /** By link key. */
  readonly machines: Map<string, Machine>
}

/**
 * Machines by identity; of both, what was used longest ago comes first. Senders are named by a text of 64 Latin-1 characters: the DID's key, then the link key.
 */
export class DirectoryIndex {
  readonly #components: IndexComponents
  readonly #identities: Map<string, Identity> = new Map()
  #size = 0

  constructor(components: IndexComponents) {
    this.#components = components
  }

  /** @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`. */
  async load(): Promise<void> {
    const rows: { sender: string; machine: Machine }[] = []
    for await (const { key, value } of this.#components.store.scan(MACHINES_NS)) {
      const { serial, lastMs, mldsa } = decode(machineCodec, value)
      rows.push({ sender: textOf(key), machine: { serial, lastMs, mldsa: mldsa === 1 } })
    }
    rows.sort((a, b) => a.machine.lastMs - b.machine.lastMs)
    for (const { sender, machine } of rows) this.#set(sender, machine)
  }

  get(sender: string): Machine | undefined {
    return this.#identities.get(sender.slice(0, 32))?.machines.get(sender.slice(32))
  }

  /** Senders of an identity. */
  of(did: Uint8Array): readonly string[] {
    const text = textOf(did)
    return [...(this.#identities.get(text)?.machines.keys() ?? [])].map((device) => text + device)
  }

  get size(): number {
    return this.#size
  }

  /** Keeps papers, and lets go of others for which there is no room; those are told to `dropped`. */
  put(sender: string, machine: Machine, binding: Uint8Array, dropped: (sender: string) => void): void {
    const { writes } = this.#components
    const identity = this.#set(sender, machine)
    const key = bytesOf(sender)
    writes.put(MACHINES_NS, key, encode(machineCodec, { serial: machine.serial, lastMs: machine.lastMs, mldsa: machine.mldsa ? 1 : 0 }))
    writes.put(PAPERS_NS, key, encode(papersCodec, binding))
    this.#trim(sender, identity, dropped)
  }

  #set(sender: string, machine: Machine): Identity {
    const text = sender.slice(0, 32)
    const device = sender.slice(32)
    const identity = this.#identities.get(text) ?? { did: formatDid(bytesOf(text) as PublicKey), machines: new Map<string, Machine>() }
    if (!identity.machines.delete(device)) this.#size++
    identity.machines.set(device, machine)
    this.#identities.delete(text)
    this.#identities.set(text, identity)
    return identity
  }

  #trim(sender: string, { did, machines }: Identity, dropped: (sender: string) => void): void {
    const { limits, keeps } = this.#components
    const text = sender.slice(0, 32)
    const limit = keeps(did) ? limits.machinesPerKept : limits.machinesPerStranger
    for (const device of machines.keys()) {
      if (machines.size <= limit) break
      this.#remove(text, device, dropped)
    }
    if (this.#size <= limits.machines) return
    for (const [other, identity] of this.#identities) {
      if (other === text || keeps(identity.did)) continue
      for (const device of identity.machines.keys()) {
        this.#remove(other, device, dropped)
        return
      }
    }
  }

  #remove(did: string, device: string, dropped: (sender: string) => void): void {
    const machines = this.#identities.get(did)?.machines
    if (machines?.delete(device) !== true) return
    this.#size--
    if (machines.size === 0) this.#identities.delete(did)
    const key = bytesOf(did + device)
    this.#components.writes.delete(MACHINES_NS, key)
    this.#components.writes.delete(PAPERS_NS, key)
    dropped(did + device)
  }
}

export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}

export function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'latin1'))
}
