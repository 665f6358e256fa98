import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'demo',
  summary: 'Show two nodes meeting, step by step, in temporary homes',
  about: 'Everything runs on this machine and is removed afterwards.',
  examples: ['kith demo', 'kith demo --json'],
  json: 'one step a line: {step, command, detail, duration_ms}',
  timeoutMs: 120_000,
  load: () => import('./handler.ts'),
}
