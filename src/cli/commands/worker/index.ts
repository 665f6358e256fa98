import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'worker',
  summary: 'Offer the operations that a module exports',
  about:
    'Runs the module in this process, in the foreground, and offers its operations through the node of this home: as service/op and alias/service/op, under the rules of this node. With --head they are registered at that peer too, whose owner has to allow it once: kith allow PEER offer alias/service. TypeScript runs as it is. SIGTERM or Ctrl-C takes no new calls, lets those that run end for 10 s, and exits with 0. When the module crashes, the node goes on and callers get WORKER_LOST. When a call fails by the fault of an operation, its caller gets CALL_FAILED, and the reason stands here.',
  options: [
    { flags: '--exec <file>', about: 'the module: it exports what defineOperation of kith/call made, or plain objects of that form', kind: 'text' },
    { flags: '--head <peer>', about: 'also register at this peer; may be given up to 16 times', kind: 'list' },
    { flags: '--as <alias>', about: 'name in paths and rules: lower-case letters, digits and dashes (default: the name of the file)', kind: 'text' },
  ],
  examples: ['kith worker --exec ops.ts', 'kith worker --exec ops.ts --head hub --as dev1'],
  json: 'one object a line: {event: "ready", alias, operations: []}, {event: "head", head, name, phase, error, next}, {event: "failed", operation, path, problem}, {event: "drained"}',
  timeoutMs: 0,
  load: () => import('./handler.ts'),
}
