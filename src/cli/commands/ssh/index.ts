import type { CommandSpec } from '../../spec.ts'

const status = {
  json: '{ssh: {listen, host_key: {fingerprint, public_key, certified}, known_hosts, sessions, folders: []} | null}',
  load: async () => ({ run: (await import('./handler.ts')).status }),
} as const satisfies Partial<CommandSpec>

export const spec: CommandSpec = {
  name: 'ssh',
  summary: 'Show the SSH door, who is logged in, and the key of this node',
  about:
    'OpenSSH clients log in where ssh.listen says, with keys and certificates that kith access knows: forwards, SFTP of configured folders, calls of operations. There is no shell.',
  examples: ['kith ssh', 'kith ssh sessions'],
  ...status,
  subcommands: [
    { name: 'status', summary: 'Show where the door listens', examples: ['kith ssh status', 'kith ssh status --json'], ...status },
    {
      name: 'host-key',
      summary: 'Print the line for known_hosts, and the fingerprint',
      about: 'Who logs in for the first time compares the fingerprint, or puts the line into known_hosts beforehand.',
      examples: ['kith ssh host-key', 'kith ssh host-key --quiet'],
      json: '{fingerprint, public_key, certified, known_hosts}',
      load: async () => ({ run: (await import('./handler.ts')).hostKey }),
    },
    {
      name: 'key',
      summary: 'Print the key by which this node logs in elsewhere, as a line for authorized_keys',
      about: 'kith forward ssh://USER@HOST shows this key unless --key-file says another. It comes from the vault, which has to be open.',
      examples: ['kith ssh key', 'kith ssh key --quiet'],
      json: '{authorized_keys, fingerprint}',
      load: async () => ({ run: (await import('./handler.ts')).key }),
    },
    {
      name: 'sessions',
      summary: 'List who is logged in',
      examples: ['kith ssh sessions', 'kith ssh sessions --json'],
      json: '{sessions: [{id, caller, user, remote_address, transport, since, channels, pq}]}',
      load: async () => ({ run: (await import('./handler.ts')).sessions }),
    },
    {
      name: 'close',
      summary: 'End a session',
      about: 'The key may log in again; kith access takes it away for good.',
      examples: ['kith ssh close 3', 'kith ssh close 3 --json'],
      arguments: [{ name: '<id>', about: 'number that kith ssh sessions shows' }],
      json: '{id, closed}',
      load: async () => ({ run: (await import('./handler.ts')).close }),
    },
  ],
}
