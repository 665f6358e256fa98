import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'network',
  summary: 'Ask the network: who is around, dial, counters, state',
  examples: ['kith network', 'kith network dial laptop'],
  json: 'as kith network status',
  load: async () => ({ run: (await import('./handler.ts')).status }),
  subcommands: [
    {
      name: 'peers',
      summary: 'List nodes that discovery has seen',
      examples: ['kith network peers', 'kith network peers --json'],
      json: '{peers: [{did, name, addresses: [], source, seen_at}]}',
      load: async () => ({ run: (await import('./handler.ts')).peers }),
    },
    {
      name: 'dial',
      summary: 'Connect to a peer now',
      arguments: [{ name: '<peer>', about: 'DID, a prefix of it, or name' }],
      options: [{ flags: '--addr <url>', about: 'where it is, when that is not known yet', kind: 'text' }],
      examples: ['kith network dial laptop', 'kith network dial did:icn:z... --addr tcp://192.0.2.7:4433'],
      json: 'the peer as in kith status --json',
      load: async () => ({ run: (await import('./handler.ts')).dial }),
    },
    {
      name: 'stats',
      summary: 'Print counters of the network',
      examples: ['kith network stats', 'kith network stats --json'],
      json: '{links, connections, streams, bytes_in, bytes_out, isolated_links, admission}',
      load: async () => ({ run: (await import('./handler.ts')).stats }),
    },
    {
      name: 'status',
      summary: 'Print where the node listens and what it can use',
      examples: ['kith network status', 'kith network status --json'],
      json: '{listen: [], schemes: [], links, discovery: {mdns, peers}}',
      load: async () => ({ run: (await import('./handler.ts')).status }),
    },
  ],
}
