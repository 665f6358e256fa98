import type { CommandSpec, OptionSpec } from '../../spec.ts'
import { treasurySpecs } from './treasury-spec.ts'

const PASSPHRASE: OptionSpec = { flags: '--passphrase-file <file>', about: 'read the passphrase from a file (0600)', kind: 'text' }
const VAULT: OptionSpec = { flags: '--vault <name>', about: 'another vault than default, the one of the identity’s phrase', kind: 'text' }
const OUT: OptionSpec = { flags: '--out <file>', about: 'write to a new file that only you can read', kind: 'text' }
const KEY_VERSION: OptionSpec = { flags: '--key-version <n>', about: 'version of the key, from 2 on', kind: 'count' }
const FORM = { name: '[file]', about: 'the encrypted form as JSON; standard input without' }
const encrypted = '{key_version, salt, iv, data}'
const views = '{vaults: [{vault, unlocked, since, last_used, locks_at, cached_keys, derivations}]}'

export const spec: CommandSpec = {
  name: 'vault',
  summary: 'Keys, passwords and encryption from the recovery phrase',
  about:
    'A vault is locked until its passphrase is given. The running node then keeps it open until it is locked or was not used for vault.idle_lock_s. Without a running node, derive, encrypt, decrypt, rotate and site-password ask for the passphrase themselves and open it for that one time. Private keys are never shown.',
  examples: ['kith vault', 'kith vault unlock'],
  json: views,
  load: async () => ({ run: (await import('./lifecycle.ts')).status }),
  subcommands: [
    {
      name: 'status',
      summary: 'List the vaults of this home, and which are open',
      examples: ['kith vault status', 'kith vault status --json'],
      json: views,
      load: async () => ({ run: (await import('./lifecycle.ts')).status }),
    },
    {
      name: 'unlock',
      summary: 'Open a vault in the running node',
      about:
        'The default vault opens by the passphrase of the identity. --new makes another one with a phrase of its own, shown once on this terminal and sealed by a passphrase; --restore makes it from a phrase you have. Neither needs a running node.',
      arguments: [{ name: '[vault]', about: 'name of the vault; default without' }],
      options: [
        PASSPHRASE,
        { flags: '--new', about: 'make the vault, with a new phrase', kind: 'flag' },
        { flags: '--restore', about: 'make the vault from a phrase, asked or read from standard input', kind: 'flag' },
        { flags: '--words <n>', about: '12, 15, 18, 21 or 24 (default) words of a new phrase', kind: 'count' },
      ],
      examples: ['kith vault unlock', 'kith vault unlock work --new'],
      json: '{vault, unlocked, created, since, last_used, locks_at, cached_keys, derivations}',
      timeoutMs: 0,
      load: async () => ({ run: (await import('./lifecycle.ts')).unlock }),
    },
    {
      name: 'lock',
      summary: 'Lock a vault, or all of them, and wipe their keys',
      arguments: [{ name: '[vault]', about: 'name of the vault; all without' }],
      examples: ['kith vault lock', 'kith vault lock work'],
      json: '{locked: []}',
      load: async () => ({ run: (await import('./lifecycle.ts')).lock }),
    },
    {
      name: 'phrase',
      summary: 'Show the phrase of a vault, after its passphrase, on a terminal only',
      about: 'Of a vault made by kith vault unlock --new. That of the identity is shown by kith id phrase.',
      arguments: [{ name: '<vault>', about: 'name of the vault' }],
      options: [PASSPHRASE],
      examples: ['kith vault phrase work', 'kith vault phrase work --home ./node'],
      timeoutMs: 0,
      load: async () => ({ run: (await import('./lifecycle.ts')).phrase }),
    },
    {
      name: 'derive',
      summary: 'Show the public key at a path',
      about: "Paths are written like m/74'/0'/1'/0' (the SSH host key) or m/44'/60'/0'/0/0 (Ethereum). The private half never leaves the vault.",
      arguments: [{ name: '<path>', about: 'the path' }],
      options: [VAULT, { flags: '--type <type>', about: 'ed25519 or secp256k1; by the path without', kind: 'text' }, PASSPHRASE],
      examples: ["kith vault derive \"m/74'/0'/1'/0'\"", "kith vault derive \"m/44'/60'/0'/0/0\" --json"],
      json: '{vault, path, type, class, public_key}',
      timeoutMs: 0,
      load: async () => ({ run: (await import('./use.ts')).derive }),
    },
    {
      name: 'encrypt',
      summary: 'Encrypt a file or standard input, at most 1 MiB',
      arguments: [{ name: '[file]', about: 'what to encrypt; standard input without' }],
      options: [VAULT, KEY_VERSION, OUT, PASSPHRASE],
      examples: ['kith vault encrypt token.txt --out token.json', 'kith vault encrypt < token.txt > token.json'],
      json: encrypted,
      timeoutMs: 0,
      load: async () => ({ run: (await import('./use.ts')).encrypt }),
    },
    {
      name: 'decrypt',
      summary: 'Decrypt what kith vault encrypt wrote',
      about: 'The text goes to standard output, or to a new file that only you can read; never into JSON.',
      arguments: [FORM],
      options: [VAULT, OUT, PASSPHRASE],
      examples: ['kith vault decrypt token.json', 'kith vault decrypt --out token.txt < token.json'],
      json: '{file, bytes} with --out',
      timeoutMs: 0,
      load: async () => ({ run: (await import('./use.ts')).decrypt }),
    },
    {
      name: 'rotate',
      summary: 'Encrypt an encrypted form anew, with a later key',
      about: 'Replace the stored form by the result. A form of version 1, which a predecessor made with a password, is taken over with --password-file.',
      arguments: [FORM],
      options: [VAULT, KEY_VERSION, { flags: '--password-file <file>', about: 'the password of a version 1 form (0600)', kind: 'text' }, OUT, PASSPHRASE],
      examples: ['kith vault rotate token.json --key-version 3', 'kith vault rotate old.json --password-file ./old-password'],
      json: encrypted,
      timeoutMs: 0,
      load: async () => ({ run: (await import('./use.ts')).rotate }),
    },
    {
      name: 'site-password',
      summary: 'Show the password of a site',
      about:
        'The same phrase gives the same password on every machine; nothing is stored. Sites are named like example.org. When a password became known, the next --generation replaces it.',
      arguments: [{ name: '<site>', about: 'name of the site' }],
      options: [
        VAULT,
        { flags: '--length <n>', about: '12 to 64 characters; 24 without', kind: 'count' },
        { flags: '--generation <n>', about: '1 (default) is the first', kind: 'count' },
        OUT,
        PASSPHRASE,
      ],
      examples: ['kith vault site-password example.org', 'kith vault site-password example.org --generation 2'],
      json: '{file, bytes} with --out',
      timeoutMs: 0,
      load: async () => ({ run: (await import('./use.ts')).sitePassword }),
    },
    ...treasurySpecs,
  ],
}
