import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'metrics',
  summary: 'Print the counters of the running node for Prometheus',
  about:
    'The text exposition format, version 0.0.4, for the textfile collector of a node exporter or a script. What each one means and when to look at it: docs/metrics.md.',
  examples: ['kith metrics', 'kith metrics --json'],
  json: '{content_type, text}',
  load: () => import('./handler.ts'),
}
