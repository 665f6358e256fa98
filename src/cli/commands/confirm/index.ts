import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'confirm',
  summary: 'Say that the words matched: the class promised by the ticket takes effect',
  arguments: [{ name: '<peer>', about: 'DID, a prefix of it, or name' }],
  examples: ['kith confirm laptop', 'kith confirm did:icn:z... --json'],
  json: '{did, name, class}',
  load: () => import('./handler.ts'),
}
