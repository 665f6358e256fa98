import { type Metrics, silentMetrics } from '../core/observe/metrics.ts'
import type { ViolationKind } from './violations.ts'

/** Why a report changed nothing. */
export type Unheld = 'banned' | 'warned' | 'full' | 'own'

export interface StandingMetrics {
  violation(kind: ViolationKind): void
  unheld(why: Unheld): void
  banned(cause: 'violations' | 'evidence' | 'owner'): void
  clipped(): void
  state(now: { readonly devices: number; readonly peers: number; readonly quarantined: number; readonly records: number; readonly evidenceBytes: number }): void
}

/** What a person on call looks at when peers misbehave. */
export function standingMetrics(metrics: Metrics = silentMetrics): StandingMetrics {
  const violations = metrics.counter('kith_violations_total', 'Violations seen on links or proved by evidence, by kind.', ['kind'])
  const unheld = metrics.counter('kith_violations_unheld_total', 'Violations that changed no standing, by reason.', ['reason'])
  const bans = metrics.counter('kith_bans_total', 'Bans that began, by cause.', ['cause'])
  const clipped = metrics.counter('kith_evidence_clipped_total', 'Evidence of violations that was cut to 64 KiB.')
  const devices = metrics.gauge('kith_banned_devices', 'Device keys banned now.')
  const peers = metrics.gauge('kith_banned_peers', 'Identities banned now with all their devices.')
  const quarantined = metrics.gauge('kith_quarantined_peers', 'Identities that get the limits of strangers for what they did.')
  const records = metrics.gauge('kith_standing_records', 'Identities with something held against them.')
  const bytes = metrics.gauge('kith_violation_evidence_bytes', 'Bytes kept that show violations.')
  return {
    violation: (kind) => violations.add(1, { kind }),
    unheld: (reason) => unheld.add(1, { reason }),
    banned: (cause) => bans.add(1, { cause }),
    clipped: () => clipped.add(),
    state(now) {
      devices.set(now.devices)
      peers.set(now.peers)
      quarantined.set(now.quarantined)
      records.set(now.records)
      bytes.set(now.evidenceBytes)
    },
  }
}
