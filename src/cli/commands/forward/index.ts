import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'forward',
  summary: 'Reach a port on a peer’s side through a port of this machine, or the other way round',
  about:
    'The peer dials HOST:PORT (or unix:/path) as it sees it, if its rules allow that; a refusal says what its owner would have to run. Without --local it listens on 127.0.0.1 with the same port, or any free one when that is taken. With --remote the peer listens, on its loopback unless another address is written, and what connects there ends at --to on this side. A forward outlives its link and lasts until kith tunnels close or until the node stops; with --save it comes back with the node. For ssh://USER@HOST[:PORT] the far side is an ordinary SSH server, whose host key has to be known; a connection that was lost is made again by the next one.',
  arguments: [
    {
      name: '<peer:target>',
      about:
        'peer (DID, a prefix of it, or name) and, behind a colon, HOST:PORT or unix:/path on its side; with --remote PORT or HOST:PORT where it listens; IPv6 in brackets; or ssh://USER@HOST[:PORT]',
    },
    { name: '[target]', about: 'with ssh:// only: HOST:PORT or unix:/path as that server sees it' },
  ],
  options: [
    { flags: '--local <address>', about: 'where to listen on this machine, as HOST:PORT (port 0 for any free one) or unix:/path', kind: 'text' },
    { flags: '--allow-public-bind', about: 'listen where other machines can connect', kind: 'flag' },
    { flags: '--remote', about: 'let the peer listen, and carry what it accepts to --to', kind: 'flag' },
    { flags: '--to <target>', about: 'with --remote: HOST:PORT or unix:/path as this machine sees it', kind: 'text' },
    { flags: '--known-hosts <file>', about: 'with ssh://: where the key of the server stands (default ~/.ssh/known_hosts)', kind: 'text' },
    { flags: '--host-key <fingerprint>', about: 'with ssh://: the key of the server, as SHA256:...', kind: 'text' },
    {
      flags: '--key-file <file>',
      about: 'with ssh://: an Ed25519 key without passphrase to log in by, its certificate beside it as FILE-cert.pub (default: the one of kith ssh key)',
      kind: 'text',
    },
    { flags: '--save <name>', about: 'write it to config.toml, so that it opens by itself when the node starts', kind: 'text' },
  ],
  examples: [
    'kith forward laptop:localhost:8080',
    'kith forward laptop:db.internal:5432 --local 127.0.0.1:15432 --save db',
    'kith forward laptop:unix:/run/postgresql/.s.PGSQL.5432 --local unix:/tmp/.s.PGSQL.5432',
    'kith forward --remote laptop:8080 --to localhost:3000',
    'kith forward ssh://alice@bastion.example wiki.internal:80 --local 127.0.0.1:8080',
    'kith forward laptop:[::1]:8080 --json',
  ],
  json: '{id, kind, peer, name, target, local, open, connections, total, bytes_in, bytes_out, since, last_error}',
  load: () => import('./handler.ts'),
}
