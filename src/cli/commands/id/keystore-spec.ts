import type { CommandSpec, OptionSpec } from '../../spec.ts'

const PASSPHRASE: OptionSpec = { flags: '--passphrase-file <file>', about: 'read the passphrase from a file (0600)', kind: 'text' }
const FILE_PASSPHRASE: OptionSpec = {
  flags: '--file-passphrase-file <file>',
  about: 'read the passphrase of the exported file from a file (0600)',
  kind: 'text',
}
const FROM: OptionSpec = { flags: '--from <address>', about: 'where a machine of this identity runs, as tcp://HOST:PORT; may be given again', kind: 'list' }

/** The key files' life: `kith id upgrade-pq|export|import|rotation`. */
export const keystoreSpecs: readonly CommandSpec[] = [
  {
    name: 'upgrade-pq',
    summary: 'Give an identity without a post-quantum key one; the DID stays',
    about:
      'The key comes by the chain, where keys are promised one rotation ahead: an identity whose next keys have none either rotates twice. Doing it again changes nothing. There is no way back: from then on nobody accepts an entry without it. Works with the node running or not.',
    options: [PASSPHRASE],
    examples: ['kith id upgrade-pq', 'kith id upgrade-pq --json'],
    json: '{did, rotations, may_rotate, chain: {index, head}}',
    timeoutMs: 0,
    load: async () => ({ run: (await import('./upgrade-pq.ts')).run }),
  },
  {
    name: 'export',
    summary: 'Write the identity, without this machine’s keys, into one sealed file',
    about:
      'The file holds the present and next keys, the phrase and the history; never keys of a machine. It is sealed by a passphrase of its own, asked twice or read from a file, or with --with-phrase by the recovery phrase. Nothing that exists is overwritten.',
    arguments: [{ name: '<file>', about: 'where to write; must not exist' }],
    options: [PASSPHRASE, FILE_PASSPHRASE, { flags: '--with-phrase', about: 'sealed so that the recovery phrase opens it, and nothing else', kind: 'flag' }],
    examples: ['kith id export ./ann.kith', 'kith id export ./ann.kith --with-phrase'],
    json: '{did, file, chain: {index, head}}',
    timeoutMs: 0,
    load: async () => ({ run: (await import('./export.ts')).run }),
  },
  {
    name: 'import',
    summary: 'Make this home one of an exported identity, with new keys of this machine',
    about:
      'The file is opened first; nothing is touched when its passphrase is wrong. Over key files of the same identity it asks, and copies them into safety/ in the home before. This machine uses the identity; one machine should change it: with --rotation it is this one. The node must not be running.',
    arguments: [{ name: '<file>', about: 'an exported identity' }],
    options: [
      FILE_PASSPHRASE,
      { flags: '--with-phrase', about: 'open the file by the recovery phrase: asked, or read from standard input', kind: 'flag' },
      { flags: '--replace', about: 'replace the key files that are here, without asking', kind: 'flag' },
      { flags: '--rotation', about: 'from now on this machine changes the identity’s keys', kind: 'flag' },
      { flags: '--name <name>', about: 'what peers call this machine (default: its host name)', kind: 'text' },
      PASSPHRASE,
      { flags: '--no-passphrase', about: 'keep a random passphrase outside the home: whoever is this user can start the node', kind: 'flag' },
    ],
    examples: ['kith id import ./ann.kith', 'kith id import ./ann.kith --with-phrase --rotation'],
    json: '{did, name, home, may_rotate, safety_copy}',
    timeoutMs: 0,
    load: async () => ({ run: (await import('./import.ts')).run }),
  },
  {
    name: 'rotation',
    summary: 'Which machine changes this identity’s keys: this one, or another',
    about:
      'A machine that was restored without its history, or imported, uses the identity and does not rotate it: it could contradict what another machine did. take asks linked peers and the addresses of --from for the history, takes the keys of its end from the recovery phrase and makes this machine one that rotates; give leaves that to another one.',
    options: [PASSPHRASE],
    examples: ['kith id rotation', 'kith id rotation take --from tcp://192.0.2.7:7411'],
    json: 'as kith id rotation status',
    timeoutMs: 0,
    load: async () => ({ run: (await import('./rotation.ts')).status }),
    subcommands: [
      {
        name: 'status',
        summary: 'Say whether this machine changes the identity’s keys',
        options: [PASSPHRASE],
        examples: ['kith id rotation status', 'kith id rotation status --json'],
        json: '{did, may_rotate, chain: {index, head}}',
        timeoutMs: 0,
        load: async () => ({ run: (await import('./rotation.ts')).status }),
      },
      {
        name: 'take',
        summary: 'Learn the identity’s history from others and change its keys from here',
        options: [FROM, PASSPHRASE],
        examples: ['kith id rotation take', 'kith id rotation take --from tcp://192.0.2.7:7411'],
        json: 'as kith id rotation status',
        timeoutMs: 0,
        load: async () => ({ run: (await import('./rotation.ts')).take }),
      },
      {
        name: 'give',
        summary: 'Leave changes of the identity’s keys to another machine',
        options: [PASSPHRASE],
        examples: ['kith id rotation give', 'kith id rotation give --json'],
        json: 'as kith id rotation status',
        timeoutMs: 0,
        load: async () => ({ run: (await import('./rotation.ts')).give }),
      },
    ],
  },
  {
    name: 'duress',
    summary: 'A second passphrase that opens another identity, for when one is made to give it',
    about:
      'The identity behind it is made at random and knows nobody; opened by it, the node runs as that one with a store of its own, and nothing of the first is touched. Every home has a directory .spare, whether a second passphrase is set or not. What it does not hide is in docs/limits.md: read that first. The node must not be running.',
    options: [PASSPHRASE],
    examples: ['kith id duress', 'kith id duress set'],
    json: 'as kith id duress status',
    timeoutMs: 0,
    load: async () => ({ run: (await import('./duress.ts')).status }),
    subcommands: [
      {
        name: 'status',
        summary: 'Say whether a second passphrase is set',
        options: [PASSPHRASE],
        examples: ['kith id duress status', 'kith id duress status --json'],
        json: '{did, set}',
        timeoutMs: 0,
        load: async () => ({ run: (await import('./duress.ts')).status }),
      },
      {
        name: 'set',
        summary: 'Set the second passphrase, or replace it and the identity behind it',
        options: [
          { flags: '--second-passphrase-file <file>', about: 'read the second passphrase from a file (0600)', kind: 'text' },
          { flags: '--run <command>', about: 'run by /bin/sh when it opens, without a word', kind: 'text' },
          PASSPHRASE,
        ],
        examples: ['kith id duress set', 'kith id duress set --run "curl https://example.org/help"'],
        json: 'as kith id duress status',
        timeoutMs: 0,
        load: async () => ({ run: (await import('./duress.ts')).set }),
      },
      {
        name: 'remove',
        summary: 'Remove the second passphrase and the identity behind it',
        options: [PASSPHRASE],
        examples: ['kith id duress remove', 'kith id duress remove --json'],
        json: 'as kith id duress status',
        timeoutMs: 0,
        load: async () => ({ run: (await import('./duress.ts')).remove }),
      },
    ],
  },
]
