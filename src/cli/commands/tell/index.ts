import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'tell',
  summary: 'Send a peer a message, also while it is away',
  about:
    'Sealed so that only the machines of the peer can read it. When the peer is away it goes to the mailbox hosts that the peer has named, and this node goes on trying until it has arrived or expired. Without TEXT, or with -, standard input is the message.',
  arguments: [
    { name: '[peer]', about: 'DID, a prefix of it, or name' },
    { name: '[text]', about: 'the message, or - for standard input' },
  ],
  options: [
    { flags: '--life <time>', about: 'how long it is worth delivering (default and most 14d)', kind: 'duration' },
    { flags: '--wait <time>', about: 'how long to wait for the first attempts (default 10s, 0s not at all)', kind: 'duration' },
    { flags: '--list', about: 'list what was told and how far it has come', kind: 'flag' },
  ],
  examples: ['kith tell laptop "the mill is open"', 'kith tell laptop - --life 1d', 'kith tell --list'],
  json: '{id, peer, name, state, forward_secret}, state one of waiting, deposited, delivered, expired; --list: {messages: [{id, peer, name, state, forward_secret, time, expires_at, bytes, hosts, last_error}]}',
  timeoutMs: 60_000,
  load: () => import('./handler.ts'),
}
