import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'mcp',
  summary: 'Offer operations as tools to a program on this machine (Model Context Protocol on stdin and stdout)',
  about:
    'For the configuration of a client that starts its tool servers itself. What a model may call is what the key may: make one for it (kith access key add). Without a key the calls are yours, so the operations are named, with * at the end for several.',
  options: [
    { flags: '--key-file <file>', about: 'API key (0600) on whose behalf the tools are called', kind: 'text' },
    { flags: '--tools <name>', about: 'service/op, or service/*; may be repeated. With a key: fewer than it may call', kind: 'list' },
  ],
  examples: ['kith mcp --key-file ~/.config/assistant.key', 'kith mcp --tools notes/read --tools calendar/*'],
  json: 'the Model Context Protocol on standard output, JSON-RPC one message per line',
  timeoutMs: 0,
  load: () => import('./handler.ts'),
}
