import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'socks',
  summary: 'Open a SOCKS5 and HTTP CONNECT proxy whose connections leave at a peer',
  about:
    'Names are resolved by the peer, and its rules decide where connections may go. A program can choose another peer by its user name, or by the host: laptop.kith is the peer laptop itself, db.internal.laptop.kith is db.internal as laptop sees it. UDP goes through SOCKS5 where the peer allows the action datagram. Beyond loopback the proxy asks for the password that is printed once.',
  arguments: [{ name: '<peer>', about: 'DID, a prefix of it, or name' }],
  options: [
    { flags: '--local <address>', about: 'where to listen, as HOST:PORT or unix:/path; default 127.0.0.1:1080', kind: 'text' },
    { flags: '--allow-public-bind', about: 'listen where other machines can connect; they need the password', kind: 'flag' },
    { flags: '--save <name>', about: 'write it to config.toml, so that it opens by itself when the node starts', kind: 'text' },
  ],
  examples: ['kith socks laptop', 'kith socks laptop --local 127.0.0.1:0 --json', 'kith socks laptop --save browse'],
  json: '{id, kind, peer, name, target, local, open, connections, total, bytes_in, bytes_out, since, last_error, password}',
  load: () => import('./handler.ts'),
}
