import { equal, type PublicKey, toHex } from '../core/bytes.ts'
import type { Did } from '../identity/did.ts'
import { type Ban, MAX_BANNED_DEVICES, type StandingRecord, type Violation } from './standing-codec.ts'
import type { StandingStatus } from './types.ts'
import { FULL_REPUTATION, MAX_BAN_MS, recovered, type StandingRules } from './violations.ts'

/** How long nothing must have happened until the next ban is a first one again. */
const FORGIVEN_MS = MAX_BAN_MS

export function reputationAt(record: StandingRecord, now: number, rules: StandingRules): number {
  return recovered({ value: record.reputation, atMs: record.atMs }, now, rules).value
}

export function running(ban: Ban | undefined, now: number): Ban | undefined {
  return ban !== undefined && ban.untilMs > now ? ban : undefined
}

/** In the quarantine that ends by itself. */
export function isSlow(record: StandingRecord, now: number, rules: StandingRules): boolean {
  return record.quarantined && reputationAt(record, now, rules) < rules.releaseAt
}

export function isIsolated(record: StandingRecord, now: number, rules: StandingRules): boolean {
  return record.held || isSlow(record, now, rules) || record.proofs.some(({ pardoned, revoked }) => !pardoned && !revoked)
}

/** Pays out the recovery up to now, ends a quarantine that was outlived, forgives old bans. */
export function settle(record: StandingRecord, now: number, rules: StandingRules): void {
  const { value, atMs } = recovered({ value: record.reputation, atMs: record.atMs }, now, rules)
  record.reputation = value
  record.atMs = value === FULL_REPUTATION ? now : atMs
  if (record.quarantined && value >= rules.releaseAt) record.quarantined = false
  if (now - record.lastMs > FORGIVEN_MS) record.bans = 0
}

/** Takes a violation in: its penalty, and its place in the history. @returns what fell out of the history. */
export function charge(record: StandingRecord, violation: Violation, rules: StandingRules): readonly Violation[] {
  const now = violation.timeMs
  settle(record, now, rules)
  record.reputation = Math.max(0, record.reputation - violation.weight * rules.penalty)
  record.lastMs = Math.max(record.lastMs, now)
  const before = record.violations
  const recent = [violation, ...before].filter(({ timeMs }) => now - timeMs < rules.retainMs)
  record.violations = recent.slice(0, rules.violationsPerPeer)
  return before.filter((old) => !record.violations.includes(old))
}

/**
 * The longer one of two bans counts. One who makes a device for every ban is banned as a whole, but not for evidence (PN-10, rule 3): `told` bans beyond the last place
 * are left out, since the identity is isolated by the proof anyway.
 */
export function banDevice(record: StandingRecord, device: PublicKey, ban: Ban, now: number, how: 'met' | 'told' = 'met'): void {
  for (const [key, { ban: held }] of record.devices) if (running(held, now) === undefined) record.devices.delete(key)
  const held = record.devices.get(toHex(device))?.ban
  if (held !== undefined && held.untilMs > ban.untilMs) return
  if (held === undefined && record.devices.size >= MAX_BANNED_DEVICES) {
    if (how === 'met') record.ban = ban
  } else record.devices.set(toHex(device), { device, ban })
}

/** Nothing recovers while a ban lasts. */
export function rest(record: StandingRecord, untilMs: number, now: number, rules: StandingRules): void {
  settle(record, now, rules)
  record.atMs = Math.max(record.atMs, untilMs)
  record.lastMs = Math.max(record.lastMs, untilMs)
}

/** The owner decided in its favour: it goes on from where a quarantine ends, or better. */
export function restore(record: StandingRecord, now: number, rules: StandingRules): void {
  settle(record, now, rules)
  record.reputation = Math.max(record.reputation, rules.releaseAt)
  record.atMs = now
  record.lastMs = now
  record.quarantined = false
}

/** Takes out what is over. @returns violations that fell out; whether anything is left that is held against it. */
export function tidy(record: StandingRecord, now: number, rules: StandingRules): { readonly dropped: readonly Violation[]; readonly clean: boolean } {
  settle(record, now, rules)
  const dropped = record.violations.filter(({ timeMs }) => now - timeMs >= rules.retainMs)
  record.violations = record.violations.filter((violation) => !dropped.includes(violation))
  record.ban = running(record.ban, now)
  for (const [key, { ban }] of record.devices) if (running(ban, now) === undefined) record.devices.delete(key)
  const { reputation, violations, bans, proofs, held, ban, devices } = record
  const clean = reputation === FULL_REPUTATION && violations.length === 0 && bans === 0 && proofs.length === 0
  return { dropped, clean: clean && !held && ban === undefined && devices.size === 0 }
}

export function statusOf(did: Did, record: StandingRecord | undefined, now: number, rules: StandingRules): StandingStatus {
  if (record === undefined) return { did, reputation: FULL_REPUTATION, state: 'good', untilMs: undefined, devices: [], violations: [] }
  const devices = [...record.devices.values()]
    .filter(({ ban }) => running(ban, now) !== undefined)
    .map(({ device, ban }) => ({ device, bannedUntilMs: ban.untilMs, reason: ban.reason }))
  const peerBan = running(record.ban, now)
  const ends = [...(peerBan === undefined ? [] : [peerBan.untilMs]), ...devices.map(({ bannedUntilMs }) => bannedUntilMs)]
  return {
    did,
    reputation: reputationAt(record, now, rules),
    state: ends.length > 0 ? 'banned' : isIsolated(record, now, rules) ? 'quarantined' : 'good',
    untilMs: ends.length > 0 ? Math.max(...ends) : undefined,
    devices,
    violations: record.violations.map(({ kind, weight, timeMs }) => ({ kind, weight, timeMs })),
  }
}

export function sameKey(a: PublicKey | undefined, b: PublicKey | undefined): boolean {
  return a === undefined || b === undefined ? a === b : equal(a, b)
}
