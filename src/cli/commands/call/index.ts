import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'call',
  summary: 'Call an operation of a peer, of a worker, or of this node',
  about:
    'Without JSON the input is empty; with - it is read from standard input. --stream prints each item of a subscription as it comes, one JSON value a line, until it ends or Ctrl-C cancels it there too. Exit status 2 when the input does not fit, 4 when the peer refuses, 5 when the deadline passed.',
  arguments: [
    { name: '<path>', about: 'PEER/service/op, PEER/alias/service/op for a worker of that peer, alias/service/op for a worker here, or service/op here' },
    { name: '[json]', about: 'the input, or - for standard input' },
  ],
  options: [
    { flags: '--stream', about: 'print items as they come', kind: 'flag' },
    { flags: '--deadline <duration>', about: 'give up after this long, here and there, like 10s', kind: 'duration' },
    { flags: '--after <id>', about: 'with --stream: take a resumable subscription up behind this event', kind: 'text' },
    { flags: '--raw', about: 'print text without quotes and bytes as they are', kind: 'flag' },
  ],
  examples: ['kith call laptop/node/about', `kith call laptop/fs/read '{"path":"notes.txt"}' --raw`],
  json: 'what the operation answered, one value; with --stream one value a line',
  timeoutMs: 0,
  load: () => import('./handler.ts'),
}
