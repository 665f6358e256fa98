import type { CommandSpec, OptionSpec } from '../../spec.ts'

const DISCONNECT: OptionSpec = {
  flags: '--disconnect-revoked',
  about: 'end connections that came in by what is taken back; without it they go on',
  kind: 'flag',
}
const SCOPE: OptionSpec = { flags: '--scope <scope>', about: 'a flat name such as reports:read; may be given several times', kind: 'list' }
const RESOURCE: OptionSpec = {
  flags: '--resource <name=action>',
  about: 'an action on a resource, as bucket:photos=read; may be given several times',
  kind: 'list',
}
const UNTIL: OptionSpec = { flags: '--until <time>', about: 'when it ends: 2027-01-31, or 2027-01-31T18:00 with Z for UTC', kind: 'text' }
const GRANTEE = 'name or DID of a peer, class, ssh:SHA256:..., key:NAME or ssh-user:NAME'
const LIST = 'kith access list'

export const spec: CommandSpec = {
  name: 'access',
  summary: 'Say who comes in by keys and tokens, and with which scopes',
  about:
    'Scopes say what somebody may call where no rule of kith allow and kith deny does. Files of keys stand in config.toml: access.authorized_keys, access.revocations.',
  examples: [LIST, 'kith access key add ci --scope reports:read'],
  json: 'as kith access list',
  load: async () => ({ run: (await import('./handler.ts')).list }),
  subcommands: [
    {
      name: 'list',
      summary: 'List grants, API keys and SSH keys, from commands and configuration',
      examples: [LIST, 'kith access list --json'],
      json: '{grants: [{principal, name, source, scopes, resources, did}], api_keys: [{name, source, scopes, resources, created_at, expires_at}], ssh_keys: [{fingerprint, authority, comment, principals, from, expires_at, forwarding, place}], ssh_scopes, revoked, refused: [{place, reason}]}',
      load: async () => ({ run: (await import('./handler.ts')).list }),
    },
    {
      name: 'grant',
      summary: 'Give scopes or resources to a peer, a class or a key',
      about: 'They are added to what it has. With --as the key counts as that peer: its rules, its class, its scopes.',
      arguments: [{ name: '<principal>', about: GRANTEE }],
      options: [SCOPE, RESOURCE, { flags: '--as <peer>', about: 'whose key it is', kind: 'text' }],
      examples: ['kith access grant laptop --scope reports:read', 'kith access grant ssh:SHA256:... --as laptop'],
      json: '{grant: {principal, name, source, scopes, resources, did}}',
      load: async () => ({ run: (await import('./handler.ts')).grant }),
    },
    {
      name: 'revoke',
      summary: 'Take scopes back, or everything that was granted by command',
      arguments: [{ name: '<principal>', about: GRANTEE }],
      options: [{ ...SCOPE, about: 'only this one; may be given several times' }, DISCONNECT],
      examples: ['kith access revoke laptop --scope reports:read', 'kith access revoke key:ci --disconnect-revoked'],
      json: '{revoked, disconnected}',
      load: async () => ({ run: (await import('./handler.ts')).revoke }),
    },
    {
      name: 'token',
      summary: 'Print a token that lets one request in as this identity',
      about:
        'It counts once, within five minutes, at the doors of this machine; with --audience at the door of that name. Needs the vault unlocked. Made for: curl -H "Authorization: Bearer $(kith access token)".',
      options: [{ flags: '--audience <name>', about: 'the door it is for, where that is not on this machine: the DID of its node', kind: 'text' }],
      examples: ['kith access token', 'kith access token --audience did:icn:z...'],
      json: '{token}',
      load: async () => ({ run: (await import('./handler.ts')).token }),
    },
    {
      name: 'key',
      summary: 'Make, list and take back API keys',
      examples: ['kith access key list', 'kith access key add ci --scope reports:read --until 2027-01-31'],
      json: 'as kith access key list',
      load: async () => ({ run: (await import('./keys.ts')).list }),
      subcommands: [
        {
          name: 'add',
          summary: 'Make an API key and show it once',
          about: 'Only its hash is kept. Rules name it key:NAME.',
          arguments: [{ name: '<name>', about: 'lower-case letters, digits, dots, dashes and underscores' }],
          options: [SCOPE, RESOURCE, UNTIL],
          examples: ['kith access key add ci --scope reports:read', 'kith access key add backup --scope files:write --until 2027-01-31'],
          json: '{key, api_key: {name, source, scopes, resources, created_at, expires_at}, rules: [rule]}',
          load: async () => ({ run: (await import('./keys.ts')).add }),
        },
        {
          name: 'list',
          summary: 'List the API keys, without the keys',
          examples: ['kith access key list', 'kith access key list --json'],
          json: '{api_keys: [{name, source, scopes, resources, created_at, expires_at}]}',
          load: async () => ({ run: (await import('./keys.ts')).list }),
        },
        {
          name: 'revoke',
          summary: 'Take an API key back at once',
          about: 'What its name was granted, and rules that allow it something, go with it: a later key of that name is another one. Rules that deny stay.',
          arguments: [{ name: '<name>', about: 'its name' }],
          options: [DISCONNECT],
          examples: ['kith access key revoke ci', 'kith access key revoke ci --disconnect-revoked'],
          json: '{revoked, disconnected, rules_removed: [rule], rules_left: [rule]}',
          load: async () => ({ run: (await import('./keys.ts')).revoke }),
        },
      ],
    },
    {
      name: 'ssh',
      summary: 'Add, list, remove and revoke SSH keys and certificate authorities',
      examples: ['kith access ssh list', 'kith access ssh add ~/.ssh/id_ed25519.pub'],
      json: 'as kith access ssh list',
      load: async () => ({ run: (await import('./ssh.ts')).list }),
      subcommands: [
        {
          name: 'add',
          summary: 'Let an Ed25519 key log in, or with --authority the certificates that it signed',
          about: 'The file has one line of a public key, with options before it as in authorized_keys if there are any.',
          arguments: [{ name: '<file>', about: 'file of a public key' }],
          options: [
            { flags: '--authority', about: 'it signs certificates; it does not log in itself', kind: 'flag' },
            { flags: '--principals <names>', about: 'with --authority: one of these, with commas, instead of the user name', kind: 'text' },
            { flags: '--from <addresses>', about: 'only from these addresses and networks, with commas', kind: 'text' },
            { flags: '--no-forwarding', about: 'it forwards no ports', kind: 'flag' },
            UNTIL,
          ],
          examples: ['kith access ssh add ~/.ssh/id_ed25519.pub', 'kith access ssh add ca.pub --authority --principals deploy'],
          json: '{fingerprint, authority}',
          load: async () => ({ run: (await import('./ssh.ts')).add }),
        },
        {
          name: 'list',
          summary: 'List the keys and authorities, from commands and files',
          examples: ['kith access ssh list', 'kith access ssh list --json'],
          json: '{ssh_keys: [{fingerprint, authority, comment, principals, from, expires_at, forwarding, place}], refused: [{place, reason}]}',
          load: async () => ({ run: (await import('./ssh.ts')).list }),
        },
        {
          name: 'remove',
          summary: 'Take out a key or authority that was added by command',
          arguments: [{ name: '<key>', about: 'SHA256:..., as kith access ssh list shows it, or a file of the public key: FILE.pub' }],
          options: [DISCONNECT],
          examples: ['kith access ssh remove SHA256:...', 'kith access ssh remove ann.pub --disconnect-revoked'],
          json: '{revoked, disconnected}',
          load: async () => ({ run: (await import('./ssh.ts')).remove }),
        },
        {
          name: 'revoke',
          summary: 'Revoke a key, or certificates by number or id, wherever they come from',
          about: 'It stays revoked whatever file or authority lets it in.',
          arguments: [{ name: '<what>', about: 'SHA256:..., FILE.pub, serial:N, serial:N-M or id:TEXT' }],
          options: [DISCONNECT],
          examples: ['kith access ssh revoke SHA256:...', 'kith access ssh revoke serial:7 --disconnect-revoked'],
          json: '{revoked, disconnected}',
          load: async () => ({ run: (await import('./ssh.ts')).revoke }),
        },
      ],
    },
  ],
}
