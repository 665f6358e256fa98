import type { CommandSpec, OptionSpec } from '../../spec.ts'

const PASSPHRASE: OptionSpec = { flags: '--passphrase-file <file>', about: 'read the passphrase from a file (0600)', kind: 'text' }
const OUT: OptionSpec = { flags: '--out <file>', about: 'write the text into a file instead of printing it', kind: 'text' }
const QR: OptionSpec = { flags: '--qr', about: 'show it as QR codes; a wide terminal needs fewer of them', kind: 'flag' }
const CAPABILITIES: OptionSpec = {
  flags: '--capabilities <list>',
  about: 'what it may do: link, records, with a comma between them; default all',
  kind: 'text',
}

/** Subcommands of `kith id device` that are about more than this machine. */
export const deviceSpecs: readonly CommandSpec[] = [
  {
    name: 'list',
    summary: 'List the machines of this identity',
    about: 'With what each may do, when its binding ends, when it was last linked here, and which were revoked.',
    examples: ['kith id device list', 'kith id device list --json'],
    json: '{devices: [{name, link_key, status, capabilities: [], since, expires_at, serial, last_seen, linked, self, waiting}], holds_identity}',
    load: async () => ({ run: (await import('./devices-list.ts')).list }),
  },
  {
    name: 'add',
    summary: 'Make this a machine of an identity whose keys are on another one',
    about:
      'Makes keys and a request to carry to the machine with the identity (kith id device approve), which gives a grant to take here with --grant. The same again shows the same request. The identity’s keys never come to this machine.',
    options: [
      { flags: '--name <name>', about: 'what to call this machine; default its host name', kind: 'text' },
      CAPABILITIES,
      { flags: '--grant <file>', about: 'take the grant from a file, or - for standard input', kind: 'text' },
      OUT,
      QR,
      PASSPHRASE,
      { flags: '--no-passphrase', about: 'without one: a random one is kept outside the home', kind: 'flag' },
    ],
    examples: ['kith id device add --name phone --out request.txt', 'kith id device add --grant grant.txt'],
    json: '{request: [], code, name}; --grant: {did, name, link_key, expires_at}',
    timeoutMs: 0,
    load: async () => ({ run: (await import('./devices-add.ts')).add }),
  },
  {
    name: 'approve',
    summary: 'Let a machine belong to this identity, or renew its binding',
    about:
      'Shows name, capabilities and six words; the other machine shows the same words. Compare them before you say yes. --renewals answers the machines that asked over a link. Works with the node running or not.',
    arguments: [{ name: '[request]', about: 'the file with the request, or - for standard input' }],
    options: [
      { flags: '--code <words>', about: 'the six words, instead of a question', kind: 'text' },
      { flags: '--name <name>', about: 'another name than the machine asks for', kind: 'text' },
      CAPABILITIES,
      { flags: '--renewals', about: 'renew the bindings of all machines that wait for it', kind: 'flag' },
      OUT,
      QR,
      PASSPHRASE,
      { flags: '--pin-file <file>', about: 'read the PIN of the token from a file (0600)', kind: 'text' },
    ],
    examples: ['kith id device approve request.txt --out grant.txt', 'kith id device approve --renewals'],
    json: '{grant: [], name, link_key, code, capabilities: []}; --renewals: {renewed: []}',
    timeoutMs: 0,
    load: async () => ({ run: (await import('./devices-approve.ts')).approve }),
  },
  {
    name: 'revoke',
    summary: 'Take a machine out of this identity, for good',
    about: 'Peers learn it and refuse the machine: its links, its binding, and what it signs. It cannot be undone; the machine would need new keys.',
    arguments: [{ name: '<machine>', about: 'its name, its link key, or the first eight digits of that' }],
    options: [
      { flags: '--reason <reason>', about: 'removed (default), lost or compromised', kind: 'text' },
      PASSPHRASE,
      { flags: '--pin-file <file>', about: 'read the PIN of the token from a file (0600)', kind: 'text' },
    ],
    examples: ['kith id device revoke phone --reason lost', 'kith id device revoke phone --yes'],
    json: '{link_key, name, reason}',
    timeoutMs: 0,
    load: async () => ({ run: (await import('./devices-approve.ts')).revoke }),
  },
  {
    name: 'renew',
    summary: 'Certify this machine’s link key anew',
    about:
      'Happens by itself from ten days after the last time on, whenever the identity is unlocked, or the machine that holds it is linked. Without a link: --request makes a file for kith id device approve there, --grant takes its answer.',
    options: [
      { flags: '--request <file>', about: 'write what this machine asks into a file', kind: 'text' },
      { flags: '--grant <file>', about: 'take the grant from a file, or - for standard input', kind: 'text' },
      PASSPHRASE,
      { flags: '--pin-file <file>', about: 'read the PIN of the token from a file (0600)', kind: 'text' },
    ],
    examples: ['kith id device renew', 'kith id device renew --grant grant.txt'],
    json: '{did, link_key, serial, expires_at}; --request: {request, code}',
    timeoutMs: 0,
    load: async () => ({ run: (await import('./devices-renew.ts')).renew }),
  },
]
