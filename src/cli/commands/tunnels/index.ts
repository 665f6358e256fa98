import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'tunnels',
  summary: 'List the forwards of this machine, or close one',
  examples: ['kith tunnels', 'kith tunnels close f1'],
  json: '{tunnels: [{id, kind, peer, name, target, local, connections, total, since, last_error: {code, message, next}}]}',
  load: async () => ({ run: (await import('./handler.ts')).list }),
  subcommands: [
    {
      name: 'close',
      summary: 'Stop listening for a forward and end its connections',
      arguments: [{ name: '<id>', about: 'as kith tunnels lists it' }],
      examples: ['kith tunnels close f1', 'kith tunnels close f2 --json'],
      json: '{id, closed}',
      load: async () => ({ run: (await import('./handler.ts')).close }),
    },
  ],
}
