import type { Did } from '../identity/did.ts'
import type { StandingRecord } from './standing-codec.ts'
import { isIsolated, running } from './standing-record.ts'
import type { StandingRules } from './violations.ts'

/** What others can see of a record. */
interface Shown {
  readonly isolated: boolean
  /** When the ban of the whole identity ends, 0 for none. */
  readonly peerBan: number
  /** Devices banned now, with the end of each ban. */
  readonly devices: ReadonlyMap<string, number>
}

const NOTHING: Shown = { isolated: false, peerBan: 0, devices: new Map() }

/** Who is not simply good right now: quick to ask on every message, and the place where a change shows. */
export class StandingWatch {
  readonly #shown: Map<Did, Shown> = new Map()
  readonly #devices: Map<string, Did> = new Map()
  #peers = 0
  #isolated = 0

  /** True when what others can see of this peer has changed. */
  show(did: Did, record: StandingRecord | undefined, now: number, rules: StandingRules): boolean {
    const before = this.#shown.get(did) ?? NOTHING
    const after = record === undefined ? NOTHING : shownOf(record, now, rules)
    for (const key of before.devices.keys()) if (!after.devices.has(key) && this.#devices.get(key) === did) this.#devices.delete(key)
    for (const key of after.devices.keys()) this.#devices.set(key, did)
    this.#isolated += Number(after.isolated) - Number(before.isolated)
    this.#peers += Number(after.peerBan > 0) - Number(before.peerBan > 0)
    if (after.isolated || after.peerBan > 0 || after.devices.size > 0) this.#shown.set(did, after)
    else this.#shown.delete(did)
    return !sameShown(before, after)
  }

  get size(): number {
    return this.#shown.size
  }
  get isolated(): number {
    return this.#isolated
  }
  get bannedPeers(): number {
    return this.#peers
  }
  get bannedDevices(): number {
    return this.#devices.size
  }

  has(did: Did): boolean {
    return this.#shown.has(did)
  }

  dids(): readonly Did[] {
    return [...this.#shown.keys()]
  }

  /** Whose record holds the ban of this key. */
  holderOf(key: string): Did | undefined {
    return this.#devices.get(key)
  }
}

function shownOf(record: StandingRecord, now: number, rules: StandingRules): Shown {
  const devices = [...record.devices].filter(([, { ban }]) => running(ban, now) !== undefined).map(([key, { ban }]): [string, number] => [key, ban.untilMs])
  return { isolated: isIsolated(record, now, rules), peerBan: running(record.ban, now)?.untilMs ?? 0, devices: new Map(devices) }
}

function sameShown(a: Shown, b: Shown): boolean {
  if (a.isolated !== b.isolated || a.peerBan !== b.peerBan || a.devices.size !== b.devices.size) return false
  for (const [key, until] of b.devices) if (a.devices.get(key) !== until) return false
  return true
}
