import { MAX_POLL_US } from '../transport/mux/poller.ts'
import { constraintTable } from './constraints.ts'
import { DEFAULT_PREFER, type MeshConfig } from './mesh-types.ts'
import { RESERVED_NAMES } from './policy.ts'
import { parseRule, type RuleText, ruleText } from './policy-rules.ts'
import type { Guard } from './policy-target.ts'
import type { ConstraintSet, PeerClass } from './types.ts'

/** A configuration with its defaults, checked as a whole before any of it counts. */
export interface Settings {
  readonly prefer: readonly string[]
  readonly requirePq: boolean
  readonly pollUs: number
  readonly constraints: Readonly<Record<PeerClass, ConstraintSet>>
  readonly ownPorts: () => readonly number[]
  readonly rules: readonly RuleText[]
  readonly drainMs: number
}

const GUARD: Guard = { reservedName: (name) => RESERVED_NAMES.includes(name), ownPort: () => false }

/** @throws TypeError with the name of the bad value. */
export function meshSettings(config: MeshConfig): Settings {
  const prefer = config.prefer ?? DEFAULT_PREFER
  if (!Array.isArray(prefer) || !prefer.every((scheme) => typeof scheme === 'string' && /^[a-z][a-z0-9+.-]{0,15}$/.test(scheme))) {
    throw new TypeError('prefer must be a list of schemes like tcp or quic')
  }
  const ownPorts = listed(config.ownPorts ?? [])
  const drainMs = config.drainMs ?? 2_000
  if (!(Number.isInteger(drainMs) && drainMs >= 0 && drainMs <= 60_000)) throw new TypeError('drainMs must be a whole number from 0 to 60000')
  const pollUs = config.pollUs ?? 0
  if (!(Number.isInteger(pollUs) && pollUs >= 0 && pollUs <= MAX_POLL_US)) throw new TypeError(`pollUs must be a whole number from 0 to ${MAX_POLL_US}`)
  const rules = (config.rules ?? []).map((rule) => ruleText(parseRule(rule, GUARD)))
  const constraints = constraintTable(config.limits)
  return { prefer: [...new Set(prefer)], requirePq: config.requirePq ?? false, pollUs, constraints, ownPorts, rules, drainMs }
}

function listed(ports: NonNullable<MeshConfig['ownPorts']>): () => readonly number[] {
  if (typeof ports === 'function') return ports
  if (!ports.every((port) => Number.isInteger(port) && port >= 1 && port <= 65_535)) throw new TypeError('ownPorts must be ports')
  const kept = [...ports]
  return () => kept
}
