import type { CommandSpec } from '../../spec.ts'

const peer = { name: '<peer>', about: 'DID, a prefix of it, or name' }
const json = '{hosts: [{did, name}], hosting: [{did, name}], kept: {messages, bytes}, inbox: {messages, unread, bytes}, pending}'

export const spec: CommandSpec = {
  name: 'mailbox',
  summary: 'Show and choose who keeps messages while a machine is away',
  about:
    'A host keeps sealed messages that it cannot read, and learns when somebody writes to whom, not who. Both sides agree: the host with mailbox host, whoever is away with mailbox use.',
  examples: ['kith mailbox', 'kith mailbox use server'],
  json,
  load: async () => ({ run: (await import('./handler.ts')).show }),
  subcommands: [
    {
      name: 'host',
      summary: 'Keep messages for a peer while it is away',
      arguments: [peer],
      examples: ['kith mailbox host laptop', 'kith mailbox host laptop --json'],
      json,
      load: async () => ({ run: (await import('./handler.ts')).host }),
    },
    {
      name: 'unhost',
      summary: 'Take nothing more in for a peer',
      about: 'What is kept already can be fetched until it expires.',
      arguments: [peer],
      examples: ['kith mailbox unhost laptop', 'kith mailbox unhost laptop --json'],
      json,
      load: async () => ({ run: (await import('./handler.ts')).unhost }),
    },
    {
      name: 'use',
      summary: 'Name the peers, at most three, that keep messages for this node',
      about: 'They replace those named before; with none, nobody keeps anything. Each of them must have agreed with kith mailbox host.',
      arguments: [{ name: '[peer...]', about: 'DIDs, prefixes or names' }],
      examples: ['kith mailbox use server', 'kith mailbox use server desk'],
      json,
      load: async () => ({ run: (await import('./handler.ts')).use }),
    },
  ],
}
