import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'invite',
  summary: 'Make a one-time ticket that pairs another machine with this one',
  about:
    'Whoever has the ticket can pair once, until it expires; show it only to the person it is for. A class above known waits for confirm, when both sides have compared the four words.',
  options: [
    { flags: '--class <class>', about: 'what the other machine becomes: known (default), partner or federated', kind: 'text' },
    { flags: '--expires <duration>', about: 'how long the ticket can be used (default 10m)', kind: 'duration' },
    { flags: '--uses <n>', about: 'how many machines may use it (default 1)', kind: 'count' },
    { flags: '--trust-ticket', about: 'give the class at once, without confirm', kind: 'flag' },
    { flags: '--list', about: 'list tickets that can still be used', kind: 'flag' },
    { flags: '--revoke <id>', about: 'end a ticket', kind: 'text' },
  ],
  examples: ['kith invite', 'kith invite --class partner --expires 1h', 'kith invite --list'],
  json: '{id, ticket, class, uses, expires_at}; --list: {invites: [{id, class, uses_left, expires_at}]}; --revoke: {id, revoked}',
  load: () => import('./handler.ts'),
}
