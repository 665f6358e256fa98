import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'logs',
  summary: 'Show what the node has logged',
  about: 'The newest lines since the node started, or the last ones of a node that is not running; older ones are in the log directory of the home.',
  options: [
    { flags: '-f, --follow', about: 'go on with new lines until interrupted', kind: 'flag' },
    { flags: '-n, --count <n>', about: 'how many lines (default 200, at most 2000)', kind: 'count' },
    { flags: '--level <level>', about: 'least important level: debug, info, warn or error', kind: 'text' },
  ],
  examples: ['kith logs -n 50', 'kith logs --follow --level warn'],
  json: 'one object a line: {level, time, event, ...}',
  timeoutMs: 0,
  load: () => import('./handler.ts'),
}
