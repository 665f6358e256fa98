import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'forward',
  summary: 'Reach a port on a peer’s side through a port of this machine',
  about:
    'The peer dials HOST:PORT as it sees it, if its rules allow that; a refusal says what its owner would have to run. Without --local it listens on 127.0.0.1 with the same port, or any free one when that is taken. The forward lasts until kith tunnels close or until the node stops.',
  arguments: [{ name: '<peer:host:port>', about: 'peer (DID, a prefix of it, or name), and the target as the peer sees it; an IPv6 address in brackets' }],
  options: [
    { flags: '--local <address>', about: 'where to listen on this machine, as HOST:PORT; port 0 for any free one', kind: 'text' },
    { flags: '--allow-public-bind', about: 'listen where other machines can connect', kind: 'flag' },
  ],
  examples: ['kith forward laptop:localhost:8080', 'kith forward laptop:db.internal:5432 --local 127.0.0.1:15432', 'kith forward laptop:[::1]:8080 --json'],
  json: '{id, kind, peer, name, target, local, connections, total, since, last_error}',
  load: () => import('./handler.ts'),
}
