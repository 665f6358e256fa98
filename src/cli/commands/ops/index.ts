import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'ops',
  summary: 'List the operations that can be called, here or at a peer',
  about:
    'Of a peer only those that it lets this node call. --schema shows what one of them takes and gives; --workers shows who offers operations through this node, and where this node is registered.',
  arguments: [{ name: '[peer]', about: 'DID, a prefix of it, or name; without one this node with its workers' }],
  options: [
    { flags: '--schema <operation>', about: 'one operation, as service/op or alias/service/op', kind: 'text' },
    { flags: '--workers', about: 'workers of this node, and heads it is registered at', kind: 'flag' },
  ],
  examples: ['kith ops laptop', 'kith ops laptop --schema node/about --json'],
  json: '{operations: [{path, name, kind, summary, node}]}; with --schema {name, kind, node, summary, input, output, errors, idempotent, clientStream, resumable, deadlineMs}; with --workers {workers: [{alias, did, name, state, operations, services, running, calls, failures, since}], heads: [{did, name, alias, phase, error}]}',
  load: () => import('./handler.ts'),
}
