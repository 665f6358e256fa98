import type { CommandSpec } from '../../spec.ts'
import { UP_OPTIONS } from '../up/index.ts'

export const spec: CommandSpec = {
  name: 'start',
  summary: 'Make an identity if there is none, then run the node',
  about: 'On a terminal it asks once for a passphrase, Enter for none; otherwise there is none. Then it prints three commands to try next.',
  options: [{ flags: '--name <name>', about: 'what peers call this machine, when it is made now', kind: 'text' }, ...UP_OPTIONS],
  examples: ['kith start', 'kith start --home ./node --listen tcp://127.0.0.1:0'],
  json: 'as kith up',
  timeoutMs: 0,
  load: () => import('./handler.ts'),
}
