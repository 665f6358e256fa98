import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'join',
  summary: 'Pair with the machine that made a ticket',
  about:
    'Both sides then show the same four words; compare them before you rely on the pairing. With - the ticket is read from standard input and stays out of the shell history.',
  arguments: [{ name: '<ticket>', about: 'the ticket, or - to read it from standard input' }],
  options: [{ flags: '--name <name>', about: 'what to call the other machine here', kind: 'text' }],
  examples: ['kith join -', 'kith join kith1... --name desk'],
  json: '{did, name, words, class, pending}',
  load: () => import('./handler.ts'),
}
