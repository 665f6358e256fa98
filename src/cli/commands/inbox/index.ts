import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'inbox',
  summary: 'List the messages and files that peers have sent, newest first',
  about:
    'Messages count as read once they were shown here. Files lie in the directory inbox of the home and are yours to move; who may send them is a rule: kith allow PEER file. Messages are taken from peers in the address book, others as far as their class goes.',
  options: [
    { flags: '-n, --count <n>', about: 'how many of each (default 1000, at most 10000)', kind: 'count' },
    { flags: '--delete <id>', about: 'delete a message, by the first 8 or more digits of its id', kind: 'text' },
  ],
  examples: ['kith inbox', 'kith inbox --count 1 --quiet'],
  json: '{inbox, files: [{name, from, from_name, bytes, sha256, received_at, here}], messages: [{cursor, id, from, from_name, time, received_at, type, bytes, text, data, read, via}], older_messages}; --delete: {id, deleted}; --quiet prints the paths of those that are here, one a line',
  load: () => import('./handler.ts'),
}
