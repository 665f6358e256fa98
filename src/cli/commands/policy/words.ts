import type { OptionSpec } from '../../spec.ts'

export const PRINCIPAL = 'DID, a prefix of it, name, class (known, partner, federated), *, ssh:SHA256:..., key:NAME, scope:NAME or ssh-user:NAME'

/** When and by which doors a rule counts. */
export const RULE_OPTIONS: readonly OptionSpec[] = [
  { flags: '--via <door>', about: 'only by this door: link, ssh, http, socks or raw; may be given more than once', kind: 'list' },
  { flags: '--between <times>', about: 'only at this time of day, by the clock of the node: 08:00-18:00, or over midnight 22:00-06:00', kind: 'text' },
  { flags: '--until <time>', about: 'only before this moment: 2027-01-31, or 2027-01-31T18:00 with Z for UTC', kind: 'text' },
]
