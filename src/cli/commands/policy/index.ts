import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'policy',
  summary: 'List the rules of this node, or try what they say',
  about:
    'The first rule that matches decides. Without one: ping and link are open, protocols and topics follow their own setting, forward, file, call and mailbox are denied.',
  examples: ['kith policy', 'kith policy test laptop forward localhost:5432'],
  json: 'as kith policy list',
  load: async () => ({ run: (await import('./handler.ts')).list }),
  subcommands: [
    {
      name: 'list',
      summary: 'List the rules in the order in which they are tried',
      examples: ['kith policy list', 'kith policy list --json'],
      json: '{rules: [{effect, principal, name, action, target}]}',
      load: async () => ({ run: (await import('./handler.ts')).list }),
    },
    {
      name: 'test',
      summary: 'Say whether a peer may do something, and which rule decides',
      about: 'Exit status 0 when allowed, 4 when denied.',
      arguments: [
        { name: '<peer>', about: 'DID, a prefix of it, or name' },
        { name: '<action>', about: 'forward, file, call, open, ping, link, publish, subscribe or mailbox' },
        { name: '[target]', about: 'what it acts on' },
      ],
      examples: ['kith policy test laptop forward localhost:5432', 'kith policy test laptop file --json'],
      json: '{did, allowed, rule, next}',
      load: async () => ({ run: (await import('./handler.ts')).test }),
    },
  ],
}
