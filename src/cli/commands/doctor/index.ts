import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'doctor',
  summary: 'Look for what could keep this node from working',
  about: 'Checks versions, keystore, permissions, memory locking, clock, ports, UDP, multicast and QUIC. Exit status 1 when something is wrong.',
  examples: ['kith doctor', 'kith doctor --json'],
  json: '{checks: [{name, ok, detail, next}]}',
  load: () => import('./handler.ts'),
}
