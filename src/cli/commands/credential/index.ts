import type { CommandSpec, OptionSpec } from '../../spec.ts'

const PASSPHRASE: OptionSpec = { flags: '--passphrase-file <file>', about: 'while no node runs: read the passphrase from a file (0600)', kind: 'text' }
const DID: OptionSpec = { flags: '--did <did>', about: 'only on behalf of this identity; it goes before the one for all', kind: 'text' }

export const spec: CommandSpec = {
  name: 'credential',
  summary: 'Keep credentials of services, sealed by the vault',
  about:
    'A secret goes in by a file or standard input and never comes out: nothing here shows one. Works with the node running, its vault unlocked, or on the files.',
  examples: ['kith credential', 'kith credential add vast-ai --type bearer --secret-file ./token'],
  json: 'as kith credential list',
  options: [PASSPHRASE],
  timeoutMs: 0,
  load: async () => ({ run: (await import('./handler.ts')).list }),
  subcommands: [
    {
      name: 'add',
      summary: 'Keep a credential of a service',
      about:
        'The secret file has a line for each secret of its kind: api-key, bearer: the token. basic: the password. s3: the secret key, then the session token if there is one. oidc: the access token (may be empty), the refresh token, the client secret. custom: NAME=VALUE lines. --secret-file - reads standard input, or asks without echo.',
      arguments: [{ name: '<service>', about: 'lower-case letters, digits, dots and dashes' }],
      options: [
        { flags: '--type <type>', about: 'api-key, basic, bearer, s3, oidc or custom', kind: 'text' },
        { flags: '--secret-file <file>', about: 'where the secret is (0600), or - for standard input', kind: 'text' },
        DID,
        { flags: '--origin <url>', about: 'send it to this scheme and host only; may be given several times', kind: 'list' },
        { flags: '--expires <time>', about: 'when it runs out, as 2027-01-31T12:00:00Z', kind: 'text' },
        { flags: '--header <name>', about: 'of an api-key (default x-api-key)', kind: 'text' },
        { flags: '--username <name>', about: 'of a basic one', kind: 'text' },
        { flags: '--access-key <id>', about: 'of an s3 one', kind: 'text' },
        { flags: '--region <name>', about: 'what an s3 one signs for (default us-east-1)', kind: 'text' },
        { flags: '--sign-for <service>', about: 'what an s3 one signs for, as AWS names it (default s3)', kind: 'text' },
        { flags: '--scheme <name>', about: 'of a custom one', kind: 'text' },
        { flags: '--token-endpoint <url>', about: 'where an oidc one is renewed', kind: 'text' },
        { flags: '--client-id <id>', about: 'of an oidc one', kind: 'text' },
        { flags: '--replace', about: 'put it in the place of the one that is there', kind: 'flag' },
        PASSPHRASE,
      ],
      examples: [
        'kith credential add vast-ai --type bearer --secret-file ./token',
        'kith credential add store --type s3 --access-key AKIDEXAMPLE --secret-file -',
      ],
      json: '{service, did, type, source, origins, revision, created_at, changed_at, expires_at, renews}',
      timeoutMs: 0,
      load: async () => ({ run: (await import('./handler.ts')).add }),
    },
    {
      name: 'list',
      summary: 'List the credentials, without their secrets',
      options: [PASSPHRASE],
      examples: ['kith credential list', 'kith credential list --json'],
      json: '{credentials: [{service, did, type, source, origins, revision, created_at, changed_at, expires_at, renews}]}',
      timeoutMs: 0,
      load: async () => ({ run: (await import('./handler.ts')).list }),
    },
    {
      name: 'show',
      summary: 'Show what is known of the credentials of a service, without their secrets',
      arguments: [{ name: '<service>', about: 'its name' }],
      options: [PASSPHRASE],
      examples: ['kith credential show vast-ai', 'kith credential show vast-ai --json'],
      json: 'as kith credential list, of this service',
      timeoutMs: 0,
      load: async () => ({ run: (await import('./handler.ts')).show }),
    },
    {
      name: 'remove',
      summary: 'Forget a credential; what is handed out ends within five minutes',
      arguments: [{ name: '<service>', about: 'its name' }],
      options: [DID, PASSPHRASE],
      examples: ['kith credential remove vast-ai', 'kith credential remove vast-ai --json'],
      json: '{service, did, removed}',
      timeoutMs: 0,
      load: async () => ({ run: (await import('./handler.ts')).remove }),
    },
  ],
}
