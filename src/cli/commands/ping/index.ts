import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'ping',
  summary: 'Measure round trips to a peer over the link',
  arguments: [{ name: '<peer>', about: 'DID, a prefix of it, or name' }],
  options: [{ flags: '-n, --count <n>', about: 'how many (default 4, at most 1000)', kind: 'count' }],
  examples: ['kith ping laptop', 'kith ping laptop -n 20 --json'],
  json: '{did, rtt_ms: []}',
  load: () => import('./handler.ts'),
}
