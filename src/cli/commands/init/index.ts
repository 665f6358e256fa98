import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'init',
  summary: 'Make this node’s identity, or keep the one it has',
  about:
    'The recovery phrase is shown once, on a terminal only; kith id phrase shows it again after the passphrase. Running init twice is fine. A restore asks machines of the identity for its history first; without --from it asks nobody, and the identity is used and not changed here. Without a terminal it asks nothing: a passphrase comes from --passphrase-file, ICN_KEYSTORE_PASSPHRASE or the systemd credential kith.passphrase, or there is none (--no-passphrase).',
  options: [
    { flags: '--name <name>', about: 'what peers call this machine (default: its host name)', kind: 'text' },
    { flags: '--words <n>', about: 'length of the recovery phrase: 12, 15, 18, 21 or 24 (default 24)', kind: 'count' },
    { flags: '--restore', about: 'read a recovery phrase instead of making one', kind: 'flag' },
    { flags: '--phrase-file <file>', about: 'with --restore: read the phrase from a file (0600), instead of a question or standard input', kind: 'text' },
    { flags: '--restore-shares', about: 'read shares of it (kith id shares) instead of the phrase', kind: 'flag' },
    {
      flags: '--from <address>',
      about: 'with --restore: where a machine of the identity runs (tcp://HOST:PORT, or its ticket); may be given again',
      kind: 'list',
    },
    { flags: '--did <did>', about: 'with --restore: the identity, when the phrase is newer than it (after a recovery)', kind: 'text' },
    { flags: '--passphrase-file <file>', about: 'read the passphrase from a file (0600)', kind: 'text' },
    { flags: '--no-passphrase', about: 'keep a random passphrase outside the home: whoever is this user can start the node', kind: 'flag' },
  ],
  examples: ['kith init', 'kith init --name desk --no-passphrase'],
  json: '{did, name, home, created}',
  timeoutMs: 0,
  load: () => import('./handler.ts'),
}
