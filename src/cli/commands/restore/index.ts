import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'restore',
  summary: 'Put a backup into a home',
  about:
    'The backup is read, verified and completed aside, then exchanged with the home as one; whatever fails before leaves the home as it was. The identity and everything kept is back; this machine gets new link keys, and peers find it by the DID. It does not change the identity’s keys before it has learned the newest ones from others. The node must not be running. Without a phrase or key given, the recovery phrase is asked for.',
  arguments: [{ name: '<file>', about: 'what kith backup wrote; - is standard input' }],
  options: [
    { flags: '--phrase-file <file>', about: 'read the recovery phrase from a file (0600)', kind: 'text' },
    { flags: '--key-file <file>', about: 'a key file of age (0600), of a key given with --recipient', kind: 'text' },
    { flags: '--seal-passphrase-file <file>', about: 'the passphrase that the backup was sealed with, from a file (0600)', kind: 'text' },
    { flags: '--passphrase-file <file>', about: 'the passphrase that the node had then, from a file (0600)', kind: 'text' },
    { flags: '--new-passphrase-file <file>', about: 'a new passphrase for the node, from a file (0600)', kind: 'text' },
    { flags: '--no-passphrase', about: 'from now on without: a random one is kept outside the home', kind: 'flag' },
    { flags: '--force', about: 'move what is in the home to safety/ in it, and restore in its place', kind: 'flag' },
    { flags: '--allow-rollback', about: 'restore although a newer backup is known', kind: 'flag' },
  ],
  examples: ['kith restore ~/kith.age', 'kith restore ~/kith.age --home ./again --phrase-file ./words'],
  json: '{did, name, home, link_key, replaced_link_key, counter, created_at, files, content_bytes, safety, passphrase, still_sealed: [], newer}',
  timeoutMs: 0,
  load: () => import('./handler.ts'),
}
