import type { CommandSpec, OptionSpec } from '../../spec.ts'

const PASSPHRASE: OptionSpec = { flags: '--passphrase-file <file>', about: 'while no node runs: read the passphrase from a file (0600)', kind: 'text' }
const NAME = { name: '<name>', about: 'lower-case letters, digits, dots and dashes' }

export const treasurySpecs: readonly CommandSpec[] = [
  {
    name: 'treasury',
    summary: 'Keys of treasuries: random, sealed by the vault, not exportable but by one command',
    examples: ['kith vault treasury', 'kith vault treasury create food-coop'],
    options: [PASSPHRASE],
    json: 'as kith vault treasury list',
    timeoutMs: 0,
    load: async () => ({ run: (await import('./treasury.ts')).list }),
    subcommands: [
      {
        name: 'create',
        summary: 'Make the key of a treasury',
        about: 'Random, and in no recovery phrase: a backup of the home is its only other copy.',
        arguments: [NAME],
        options: [PASSPHRASE],
        examples: ['kith vault treasury create food-coop', 'kith vault treasury create food-coop --json'],
        json: '{name, did, created_at}',
        timeoutMs: 0,
        load: async () => ({ run: (await import('./treasury.ts')).create }),
      },
      {
        name: 'list',
        summary: 'List the treasuries with their DIDs',
        options: [PASSPHRASE],
        examples: ['kith vault treasury list', 'kith vault treasury list --json'],
        json: '{treasuries: [{name, did, created_at}]}',
        timeoutMs: 0,
        load: async () => ({ run: (await import('./treasury.ts')).list }),
      },
      {
        name: 'export',
        summary: 'Write the private key of a treasury to a file',
        about:
          'Whoever has the file spends what the treasury has, and nobody can take that back. The node must not be running: no running node gives such a key out, to anybody. The file is PKCS#8 in PEM, 0600.',
        arguments: [NAME],
        options: [
          { flags: '--out <file>', about: 'a file that is not there yet', kind: 'text' },
          { flags: '--i-understand-the-risks', about: 'without it nothing is exported', kind: 'flag' },
          { flags: '--passphrase-file <file>', about: 'read the passphrase from a file (0600)', kind: 'text' },
        ],
        examples: [
          'kith vault treasury export food-coop --out ./food-coop.pem --i-understand-the-risks',
          'kith vault treasury export food-coop --out /media/safe/key.pem --i-understand-the-risks --json',
        ],
        json: '{name, out}',
        timeoutMs: 0,
        load: async () => ({ run: (await import('./treasury.ts')).exportKey }),
      },
    ],
  },
]
