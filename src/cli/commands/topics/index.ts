import type { CommandSpec } from '../../spec.ts'

const listed = '{name, access, min_score, members: [{did, name, self}], entries, bytes, subscribers, subscribed, held, broken}'

export const spec: CommandSpec = {
  name: 'topics',
  summary: 'List, make and remove topics',
  about:
    'A topic is made on each machine that takes part: nobody can make one for somebody else, and entries of an unknown topic are refused. Those of the node itself, such as identity:updates, stay as they are.',
  examples: ['kith topics', 'kith topics create news --access partner'],
  json: `{topics: [${listed}]}`,
  load: async () => ({ run: (await import('./handler.ts')).list }),
  subcommands: [
    {
      name: 'list',
      summary: 'List the topics of this node',
      examples: ['kith topics list', 'kith topics list --json'],
      json: `{topics: [${listed}]}`,
      load: async () => ({ run: (await import('./handler.ts')).list }),
    },
    {
      name: 'create',
      summary: 'Make a topic on this node',
      about:
        'Who may publish and read here is the access; kith allow and kith deny with publish or subscribe make exceptions. Making the same topic twice is fine.',
      arguments: [
        { name: '<name>', about: 'letters, digits and . _ : / -' },
        { name: '[peer...]', about: 'with --access list: DIDs, prefixes or names' },
      ],
      options: [{ flags: '--access <who>', about: 'open, known (default), partner, federated or list', kind: 'text' }],
      examples: ['kith topics create news --access known', 'kith topics create board alice bob --access list'],
      json: listed,
      load: async () => ({ run: (await import('./handler.ts')).create }),
    },
    {
      name: 'remove',
      summary: 'Forget a topic and what is kept of it here',
      arguments: [{ name: '<name>', about: 'as in kith topics' }],
      examples: ['kith topics remove news', 'kith topics remove news --yes'],
      json: '{name, removed}',
      load: async () => ({ run: (await import('./handler.ts')).remove }),
    },
  ],
}
