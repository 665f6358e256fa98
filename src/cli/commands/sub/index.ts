import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'sub',
  summary: 'Read a topic, one entry a line',
  about: 'Goes on until interrupted (exit status 130) or until -n entries came. Entries come after those that they refer to, each once, whoever brought them.',
  arguments: [{ name: '<topic>', about: 'as in kith topics' }],
  options: [
    { flags: '--replay', about: 'first the entries that are kept here already', kind: 'flag' },
    { flags: '-n, --count <n>', about: 'end after so many entries', kind: 'count' },
  ],
  examples: ['kith sub news', 'kith sub news --replay -n 10 --json'],
  json: 'one object a line: {id, topic, author, author_name, device, time, epoch, seq, type, bytes, gap, lost, text, data}; --quiet prints the entries alone, base64 where one is not text',
  timeoutMs: 0,
  load: () => import('./handler.ts'),
}
