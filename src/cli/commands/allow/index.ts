import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'allow',
  summary: 'Allow a peer an action on this node',
  about:
    'The rule goes before the first one that denies all of it, so it takes effect at once; narrower denials stay. PEER may also be a class (known, partner, federated) or *.',
  arguments: [
    { name: '<peer>', about: 'DID, a prefix of it, name, class, or *' },
    { name: '<action>', about: 'forward, file, call, open, ping, link, publish, subscribe or mailbox' },
    { name: '[target]', about: 'what it acts on: HOST:PORT for forward, a protocol for open, a topic for publish and subscribe' },
  ],
  examples: ['kith allow laptop forward localhost:5432', 'kith allow partner file'],
  json: '{rules: [{effect, principal, name, action, target}]}, the whole list in order',
  load: () => import('./handler.ts'),
}
