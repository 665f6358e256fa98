import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'tunnels',
  summary: 'List the forwards and proxies of this machine, or close one',
  about:
    'Below them stands what peers reach through this machine at the moment. With --watch the list is shown again every two seconds, as one JSON value a line with --json.',
  options: [{ flags: '--watch', about: 'show it again every two seconds, until it is ended', kind: 'flag' }],
  examples: ['kith tunnels', 'kith tunnels --watch', 'kith tunnels close f1'],
  json: '{tunnels: [{id, kind, peer, name, target, local, open, connections, total, bytes_in, bytes_out, since, last_error: {code, message, next}}], serving: [{peer, name, target, connections, bytes_in, bytes_out}]}',
  timeoutMs: 0,
  load: async () => ({ run: (await import('./handler.ts')).list }),
  subcommands: [
    {
      name: 'close',
      summary: 'Stop listening for a forward and end its connections',
      arguments: [{ name: '<id>', about: 'as kith tunnels lists it' }],
      options: [{ flags: '--forget', about: 'take a saved one out of config.toml too', kind: 'flag' }],
      examples: ['kith tunnels close f1', 'kith tunnels close db --forget', 'kith tunnels close f2 --json'],
      json: '{id, closed, saved}',
      load: async () => ({ run: (await import('./handler.ts')).close }),
    },
  ],
}
