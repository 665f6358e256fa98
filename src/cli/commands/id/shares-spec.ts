import type { CommandSpec } from '../../spec.ts'

export const sharesSpecs: readonly CommandSpec[] = [
  {
    name: 'shares',
    summary: 'Cut the recovery phrase into shares, any few of which give it back',
    about:
      'Shown once, after the passphrase, on a terminal only: never in JSON, a file or a pipe. Give each share to another person or place. Fewer than the threshold tell nothing; as many are the identity: kith init --restore-shares. Each cutting is a set of its own and does not end the sets before.',
    options: [
      { flags: '--threshold <n>', about: 'how many give the phrase back (default 3)', kind: 'count' },
      { flags: '--shares <n>', about: 'how many there are, at most 16 (default 5)', kind: 'count' },
      { flags: '--passphrase-file <file>', about: 'read the passphrase from a file (0600)', kind: 'text' },
    ],
    examples: ['kith id shares --threshold 3 --shares 5', 'kith id shares check'],
    timeoutMs: 0,
    load: async () => ({ run: (await import('./shares.ts')).show }),
    subcommands: [
      {
        name: 'check',
        summary: 'Try whether shares give the phrase of this identity back, without showing it',
        about: 'Asks the shares without echo, or reads them from standard input, a line each. Good to do once a year.',
        options: [{ flags: '--passphrase-file <file>', about: 'read the passphrase from a file (0600)', kind: 'text' }],
        examples: ['kith id shares check', 'kith id shares check --json'],
        json: '{ok, did}',
        timeoutMs: 0,
        load: async () => ({ run: (await import('./shares.ts')).check }),
      },
    ],
  },
]
