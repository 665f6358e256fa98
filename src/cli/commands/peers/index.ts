import type { CommandSpec } from '../../spec.ts'
import { chainCommands } from './chain-spec.ts'

const peer = { name: '<peer>', about: 'DID, a prefix of it, or name' }

export const spec: CommandSpec = {
  name: 'peers',
  summary: 'List and change the address book',
  examples: ['kith peers', 'kith peers rename laptop desk'],
  json: '{peers: [{did, name, class, pending_class, chain: {status, index, head}, since, addresses: []}]}',
  load: async () => ({ run: (await import('./handler.ts')).list }),
  subcommands: [
    {
      name: 'add',
      summary: 'Add a peer by its DID and addresses, without a ticket',
      about: 'The peer becomes known here; to accept your links it must know you too.',
      arguments: [
        { name: '<did>', about: 'the peer’s DID' },
        { name: '[url...]', about: 'where it listens' },
      ],
      options: [{ flags: '--name <name>', about: 'what to call it', kind: 'text' }],
      examples: ['kith peers add did:icn:z... tcp://192.0.2.7:4433', 'kith peers add did:icn:z... tcp://desk.example:4433 --name desk'],
      json: '{did, name, class, pending_class, chain: {status, index, head}, since, addresses: []}',
      load: async () => ({ run: (await import('./handler.ts')).add }),
    },
    {
      name: 'rename',
      summary: 'Give a peer another name',
      arguments: [peer, { name: '<name>', about: 'letters, digits and . _ -' }],
      examples: ['kith peers rename laptop desk', 'kith peers rename did:icn:z... desk'],
      json: '{did, name, class, pending_class, chain: {status, index, head}, since, addresses: []}',
      load: async () => ({ run: (await import('./handler.ts')).rename }),
    },
    {
      name: 'forget',
      summary: 'Remove a peer, its class and its rules',
      arguments: [peer],
      examples: ['kith peers forget laptop', 'kith peers forget laptop --yes'],
      json: '{did, forgotten}',
      load: async () => ({ run: (await import('./handler.ts')).forget }),
    },
    ...chainCommands,
  ],
}
