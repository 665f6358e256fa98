import type { CommandSpec, OptionSpec } from '../../spec.ts'

const PASSPHRASE: OptionSpec = { flags: '--passphrase-file <file>', about: 'read the passphrase of this node from a file (0600)', kind: 'text' }

export const spec: CommandSpec = {
  name: 'snapshot',
  summary: 'Keep encrypted copies of this node in its own home',
  about: 'Backups in HOME/snapshots, numbered and dated: against mistakes, not against the loss of the disk. backup.keep says how many stay.',
  examples: ['kith snapshot', 'kith snapshot create'],
  json: 'as kith snapshot list',
  load: async () => ({ run: (await import('./handler.ts')).list }),
  subcommands: [
    {
      name: 'create',
      summary: 'Make a snapshot, and remove the oldest beyond backup.keep',
      options: [{ flags: '--recipient <key>', about: 'a key of age, age1…, that opens it too; repeat for more', kind: 'list' }, PASSPHRASE],
      examples: ['kith snapshot create', 'kith snapshot create --json'],
      json: '{name, path, did, counter, series, created_at, files, content_bytes, bytes, keys, recipient, left_out: [], removed: []}',
      timeoutMs: 0,
      load: async () => ({ run: (await import('./handler.ts')).create }),
    },
    {
      name: 'list',
      summary: 'List the snapshots, newest first',
      examples: ['kith snapshot list', 'kith snapshot list --json'],
      json: '{snapshots: [{name, path, bytes, created_at, counter}]}',
      load: async () => ({ run: (await import('./handler.ts')).list }),
    },
    {
      name: 'verify',
      summary: 'Read a snapshot or backup to its end and check everything in it, without restoring',
      about: 'The newest snapshot, one of this name, or any file that kith backup wrote. Opens with the phrase of this home, or what is given.',
      arguments: [{ name: '[snapshot]', about: 'name of a snapshot, or path of a backup (with a / in it)' }],
      options: [
        PASSPHRASE,
        { flags: '--phrase-file <file>', about: 'read a recovery phrase from a file (0600)', kind: 'text' },
        { flags: '--key-file <file>', about: 'a key file of age (0600)', kind: 'text' },
        { flags: '--seal-passphrase-file <file>', about: 'the passphrase it was sealed with, from a file (0600)', kind: 'text' },
      ],
      examples: ['kith snapshot verify', 'kith snapshot verify ./kith.age --phrase-file ./words'],
      json: '{path, did, counter, series, created_at, kith, files, content_bytes, keys}',
      timeoutMs: 0,
      load: async () => ({ run: (await import('./handler.ts')).verify }),
    },
    {
      name: 'prune',
      summary: 'Remove all snapshots but the newest',
      options: [{ flags: '--keep <n>', about: 'how many stay (default: backup.keep)', kind: 'count' }],
      examples: ['kith snapshot prune', 'kith snapshot prune --keep 2'],
      json: '{removed: [], kept}',
      load: async () => ({ run: (await import('./handler.ts')).prune }),
    },
  ],
}
