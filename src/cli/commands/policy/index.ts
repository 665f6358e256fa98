import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'policy',
  summary: 'List the rules of this node, or try what they say',
  about:
    'The first rule that matches decides. Without one: ping and link are open, protocols and topics follow their own setting, forward, file, call, offer and mailbox are denied. Rules of the configuration (policy.rules) come last.',
  examples: ['kith policy', 'kith policy test laptop forward localhost:5432'],
  json: 'as kith policy list',
  load: async () => ({ run: (await import('./handler.ts')).list }),
  subcommands: [
    {
      name: 'list',
      summary: 'List the rules in the order in which they are tried',
      examples: ['kith policy list', 'kith policy list --json'],
      json: '{rules: [{effect, principal, name, action, target, via, between, until}]}',
      load: async () => ({ run: (await import('./handler.ts')).list }),
    },
    {
      name: 'test',
      summary: 'Say whether a peer may do something, and which rule decides',
      about: 'Exit status 0 when allowed, 4 when denied.',
      arguments: [
        { name: '<peer>', about: 'DID, a prefix of it, name, or at a door without a link ssh:SHA256:... or key:NAME' },
        { name: '<action>', about: 'forward, file, call, offer, open, ping, link, publish, subscribe or mailbox' },
        { name: '[target]', about: 'what it acts on' },
      ],
      options: [
        {
          flags: '--also <principal>',
          about: 'what it has besides its name, such as scope:reports or ssh-user:deploy; may be given more than once',
          kind: 'list',
        },
        { flags: '--via <door>', about: 'by which door it asks: link, ssh, http, socks or raw (default: the one such callers use)', kind: 'text' },
      ],
      examples: ['kith policy test laptop forward localhost:5432', 'kith policy test key:ci call reports/daily --also scope:reports --via http'],
      json: '{did, allowed, rule, next}',
      load: async () => ({ run: (await import('./handler.ts')).test }),
    },
  ],
}
