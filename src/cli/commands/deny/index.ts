import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'deny',
  summary: 'Deny a peer an action on this node',
  about:
    'The rule goes before every rule that allows, so it takes effect at once, whatever was allowed before. PEER may also be a class (known, partner, federated) or *.',
  arguments: [
    { name: '<peer>', about: 'DID, a prefix of it, name, class, or *' },
    { name: '<action>', about: 'forward, file, call, open, ping, link, publish, subscribe or mailbox' },
    { name: '[target]', about: 'what it acts on: HOST:PORT for forward, a protocol for open, a topic for publish and subscribe' },
  ],
  examples: ['kith deny laptop forward localhost:5432', 'kith deny partner file'],
  json: '{rules: [{effect, principal, name, action, target}]}, the whole list in order',
  load: () => import('./handler.ts'),
}
