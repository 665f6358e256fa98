import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'why',
  summary: 'Explain the path to a peer, or whether it may do something here',
  arguments: [
    { name: '<peer>', about: 'DID, a prefix of it, or name' },
    { name: '[action]', about: 'ping, link, open, forward, file, call, offer, publish, subscribe or mailbox' },
    { name: '[target]', about: 'what it acts on, such as HOST:PORT or a topic' },
  ],
  examples: ['kith why laptop', 'kith why laptop forward localhost:5432', 'kith why laptop publish news'],
  json: '{did, path, chain: {status, index, head}, pq, candidates: [{url, result, reason}], decision, rule, next}',
  load: () => import('./handler.ts'),
}
