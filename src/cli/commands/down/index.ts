import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'down',
  summary: 'Stop the node',
  about: 'Streams in use may finish within shutdown.drain; returns when the node has stopped.',
  examples: ['kith down', 'kith down --home ./node --json'],
  json: '{stopped, pid}; stopped is false when no node was running',
  timeoutMs: 60_000,
  load: () => import('./handler.ts'),
}
