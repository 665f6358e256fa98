import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'inbox',
  summary: 'List the files that peers have sent, newest first',
  about: 'They lie in the directory inbox of the home and are yours to move. Who may send is a rule: kith allow PEER file.',
  options: [{ flags: '-n, --count <n>', about: 'how many (default 1000, at most 10000)', kind: 'count' }],
  examples: ['kith inbox', 'kith inbox --count 1 --quiet'],
  json: '{inbox, files: [{name, from, from_name, bytes, sha256, received_at, here}]}; --quiet prints the paths of those that are here, one a line',
  load: () => import('./handler.ts'),
}
