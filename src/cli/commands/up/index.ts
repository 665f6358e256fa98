import type { CommandSpec, OptionSpec } from '../../spec.ts'

/** What `up` and `start` share. */
export const UP_OPTIONS: readonly OptionSpec[] = [
  {
    flags: '--listen <url>',
    about: 'address to listen on in this run, such as tcp://0.0.0.0:4433; may be repeated (listen in config.toml keeps it)',
    kind: 'list',
  },
  {
    flags: '--gateway <address>',
    about: 'answer calls by HTTP on this address of the machine, such as 127.0.0.1:8787 (gateway.listen in config.toml keeps it)',
    kind: 'text',
  },
  { flags: '--no-gateway', about: 'answer none by HTTP in this run', kind: 'flag' },
  { flags: '--passphrase-file <file>', about: 'read the passphrase from a file (0600)', kind: 'text' },
]

export const spec: CommandSpec = {
  name: 'up',
  summary: 'Run the node',
  about:
    'In the foreground, until Ctrl-C or kith down. Without --listen it takes the peer port 4433, or the next free one, on all interfaces and remembers it. Without an identity, or while it is locked, the node runs degraded and says what to do.',
  options: [{ flags: '--detach', about: 'run in the background; returns when the node is ready', kind: 'flag' }, ...UP_OPTIONS],
  examples: ['kith up', 'kith up --detach --listen tcp://127.0.0.1:0 --json'],
  json: 'first line {event: "ready", did, listen: [], gateway, control, pid, degraded: []}, then one event a line: {time, event, ...}',
  timeoutMs: 0,
  load: () => import('./handler.ts'),
}
