import type { CommandSpec, OptionSpec } from '../../spec.ts'

const PASSPHRASE: OptionSpec = { flags: '--passphrase-file <file>', about: 'read the passphrase from a file (0600)', kind: 'text' }
const ID = { name: '<recovery>', about: 'its id, or the beginning of it' }
const person = '{did, name}'
const policy = `{threshold, override, delay_s, trustees: [${person}]}`
const one = `{id, of: ${person}, stage, role, requested_at, policy: ${policy}, attested_by: [], cancelled_by: [], new_key, complete_at, effective_at, overrides, attested_here, cancelled_here, words}`
const setup = `{did, in_force: ${policy} | null, later: {policy, from} | null}`

export const spec: CommandSpec = {
  name: 'recovery',
  summary: 'Let people you trust give you your identity back',
  about:
    'You name trustees beforehand. When your keys are lost, they attest new ones after speaking with you; after a delay in which you could object, the DID is yours again.',
  examples: ['kith recovery', 'kith recovery setup --threshold 2 --delay 3d bob carol dave'],
  json: `{setup: ${setup}, recoveries: [${one}]}`,
  load: async () => ({ run: (await import('./status.ts')).status }),
  subcommands: [
    {
      name: 'setup',
      summary: 'Name the trustees of your identity, how many it takes, and how long it waits',
      about:
        'Stands in your history, and opens the keys you committed to: a thief of the present ones cannot change it. A change takes effect after the delay of what it replaces. Choose people who know your voice and who do not all lose their keys at once. Works with the node running or not; without it, name DIDs.',
      arguments: [{ name: '<trustee...>', about: 'DIDs, prefixes of them, or names' }],
      options: [
        { flags: '--threshold <m>', about: 'how many must attest', kind: 'count' },
        { flags: '--delay <time>', about: 'how long you can still object, 1d to 365d (default 3d)', kind: 'duration' },
        { flags: '--override <k>', about: 'so many attest what not even a rotation stops; for a thief who has your phrase (default: none)', kind: 'count' },
        PASSPHRASE,
      ],
      examples: ['kith recovery setup --threshold 2 bob carol dave', 'kith recovery setup --threshold 3 --override 5 --delay 7d bob carol dave erin frank'],
      json: setup,
      timeoutMs: 0,
      load: async () => ({ run: (await import('./setup.ts')).run }),
    },
    {
      name: 'status',
      summary: 'Show who may recover this identity, and every recovery that is known here',
      examples: ['kith recovery status', 'kith recovery status --json'],
      json: `{setup: ${setup}, recoveries: [${one}]}`,
      load: async () => ({ run: (await import('./status.ts')).status }),
    },
    {
      name: 'initiate',
      summary: 'Ask for a lost identity, from an empty home',
      about:
        'The home gets a throw-away identity for its links, and new keys from a new phrase for the lost one. Pair with one trustee at least (kith join), then run it again: it finds the history, asks, and shows the words to read out. Running it twice is one request.',
      arguments: [{ name: '<did>', about: 'the lost identity' }],
      options: [
        { flags: '--name <name>', about: 'what peers call this machine (default: its host name)', kind: 'text' },
        { flags: '--no-passphrase', about: 'keep a random passphrase outside the home', kind: 'flag' },
        PASSPHRASE,
      ],
      examples: ['kith recovery initiate did:icn:z6Mk... --home ./new', 'kith recovery initiate did:icn:z6Mk... --home ./new --no-passphrase'],
      json: `${one}, or {did, throw_away, initiated: false} while no node runs`,
      timeoutMs: 0,
      load: async () => ({ run: (await import('./initiate.ts')).run }),
    },
    {
      name: 'show',
      summary: 'Show one recovery: who asks, what would happen, and the words to compare',
      arguments: [ID],
      examples: ['kith recovery show 3f2a91c0', 'kith recovery show 3f2a91c0 --json'],
      json: one,
      load: async () => ({ run: (await import('./trustee.ts')).show }),
    },
    {
      name: 'attest',
      summary: 'As a trustee: say that the new keys are their owner’s',
      about: 'Speak with the person first, by voice or face to face, on a way you know from before. They read four words; only when they are these, attest.',
      arguments: [{ name: '<recovery>', about: 'its id, the beginning of it, or a file with its text (- for standard input)' }],
      options: [{ flags: '--words <words>', about: 'the four words as the person read them out; asked on a terminal', kind: 'text' }, PASSPHRASE],
      examples: ['kith recovery attest 3f2a91c0', 'kith recovery attest request.txt --words "apple river stone cloud"'],
      json: one,
      timeoutMs: 0,
      load: async () => ({ run: (await import('./trustee.ts')).attest }),
    },
    {
      name: 'cancel',
      summary: 'Stop a recovery: your own by new keys, as a trustee by your word',
      about:
        'As the owner it rotates the identity, which ends every recovery of it at once; it works with the node running or not. As a trustee name the recovery: it ends once as many trustees say so as had to attest it.',
      arguments: [{ name: '[recovery]', about: 'as a trustee: its id or the beginning of it' }],
      options: [PASSPHRASE],
      examples: ['kith recovery cancel', 'kith recovery cancel 3f2a91c0'],
      json: `${one}, or as kith id rotate`,
      timeoutMs: 0,
      load: async () => ({ run: (await import('./cancel.ts')).run }),
    },
    {
      name: 'export',
      summary: 'Print a recovery as text, to carry it by hand',
      about: 'A request for a trustee who is not linked, an attestation for whoever asked. It proves itself and holds no secret.',
      arguments: [ID],
      options: [{ flags: '--qr', about: 'as a QR code too, where the terminal is wide enough', kind: 'flag' }],
      examples: ['kith recovery export 3f2a91c0', 'kith recovery export 3f2a91c0 --quiet'],
      json: '{id, texts: []}',
      load: async () => ({ run: (await import('./trustee.ts')).exportText }),
    },
    {
      name: 'import',
      summary: 'Take a recovery that was brought as text',
      arguments: [{ name: '<file>', about: 'its text; - for standard input' }],
      examples: ['kith recovery import request.txt', 'kith recovery import -'],
      json: one,
      load: async () => ({ run: (await import('./trustee.ts')).importText }),
    },
    {
      name: 'finalize',
      summary: 'After the delay: make this home one of the recovered identity',
      about:
        'The node starts again as that identity, with new keys of this machine. Everything the old keys certified is refused everywhere. The throw-away identity stays beside it as a safety copy.',
      options: [PASSPHRASE],
      examples: ['kith recovery finalize', 'kith recovery finalize --json'],
      json: '{did, index, recovery_id}',
      timeoutMs: 0,
      load: async () => ({ run: (await import('./initiate.ts')).finalize }),
    },
    {
      name: 'phrase',
      summary: 'Show the new phrase of the identity that is being recovered, on a terminal only',
      about: 'Before finalize; afterwards kith id phrase shows it. The phrase from before the loss opens nothing any more.',
      options: [PASSPHRASE],
      examples: ['kith recovery phrase', 'kith recovery phrase --home ./new'],
      timeoutMs: 0,
      load: async () => ({ run: (await import('./initiate.ts')).phrase }),
    },
  ],
}
