import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'backup',
  summary: 'Write an encrypted copy of this node to a file',
  about:
    'Everything but what belongs to this machine alone: its link keys, the passphrase kept outside the home, logs. Works while the node runs, and is of one moment. The file is an age file with a tar archive in it, sealed to the backup key of the recovery phrase: the phrase opens it, on any machine. --recipient adds keys of age that open it too; with --seal-passphrase-file a passphrase opens it instead, and nothing else.',
  arguments: [{ name: '<file>', about: 'where to write; - is standard output' }],
  options: [
    { flags: '--recipient <key>', about: 'a key of age, age1…, that opens the backup too; repeat for more', kind: 'list' },
    { flags: '--seal-passphrase-file <file>', about: 'seal with the passphrase in this file (0600) instead of keys', kind: 'text' },
    { flags: '--passphrase-file <file>', about: 'read the passphrase of this node from a file (0600)', kind: 'text' },
    { flags: '--force', about: 'replace the file when it is there', kind: 'flag' },
  ],
  examples: ['kith backup ~/kith.age', 'kith backup - | ssh host "cat > kith.age"'],
  json: '{path, did, counter, series, created_at, files, content_bytes, bytes, keys, recipient, left_out: []}; nothing with -',
  timeoutMs: 0,
  load: () => import('./handler.ts'),
}
