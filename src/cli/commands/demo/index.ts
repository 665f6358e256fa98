import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'demo',
  summary: 'Show two nodes meeting and sharing a port and a file, step by step',
  about: 'Everything runs on this machine, in temporary homes that are removed afterwards.',
  examples: ['kith demo', 'kith demo --json'],
  json: 'one step a line: {step, command, detail, duration_ms}',
  timeoutMs: 120_000,
  load: () => import('./handler.ts'),
}
