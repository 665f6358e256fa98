import type { CommandSpec } from '../../spec.ts'

const peer = { name: '<peer>', about: 'DID, a prefix of it, or name' }
const reason = { flags: '--reason <text>', about: 'why; it stands in the audit log', kind: 'text' } as const
const listed = 'did, name, class, class_from, score, reputation, state, until'
const shown = `{${listed}, direct, transitive, paths: [{via, via_name, first, second, contribution}], path_count, introducer, said: {weight, labels, expires_at}, devices: [{device, banned_until, reason}], violations: [{kind, weight, time}]}`

export const spec: CommandSpec = {
  name: 'trust',
  summary: 'Show and change how far peers are trusted',
  about:
    'Weights and scores are from 0 to 1. A class (known, partner, federated) is your word and counts first; for everybody else the score decides, from your own weights and from what those say whom you trust. Misbehaviour lowers a peer’s limits whatever you said.',
  examples: ['kith trust', 'kith trust show laptop'],
  json: `{peers: [{${listed}}]}`,
  load: async () => ({ run: (await import('./handler.ts')).list }),
  subcommands: [
    {
      name: 'list',
      summary: 'List everybody who is trusted, or held to account',
      examples: ['kith trust list', 'kith trust list --json'],
      json: `{peers: [{${listed}}]}`,
      load: async () => ({ run: (await import('./handler.ts')).list }),
    },
    {
      name: 'show',
      summary: 'Show a peer’s score and where it comes from',
      arguments: [peer],
      examples: ['kith trust show laptop', 'kith trust show laptop --json'],
      json: shown,
      load: async () => ({ run: (await import('./handler.ts')).show }),
    },
    {
      name: 'set',
      summary: 'Decide how far a peer is trusted here',
      about: 'Nobody else is told. A class also puts the peer into the address book.',
      arguments: [peer, { name: '<weight>', about: '0 to 1, or known, partner, federated, isolated' }],
      examples: ['kith trust set laptop partner', 'kith trust set laptop 0.8'],
      json: shown,
      load: async () => ({ run: (await import('./handler.ts')).set }),
    },
    {
      name: 'attest',
      summary: 'Decide how far a peer is trusted, and say so to others',
      about: 'Signed, and public to everybody who reads trust:attestations; those who trust you count it. It holds for a year or until it is revoked.',
      arguments: [peer, { name: '<weight>', about: '0 to 1, or a class' }],
      options: [{ flags: '--label <word>', about: 'what for; may be given up to ten times', kind: 'list' }],
      examples: ['kith trust attest laptop 0.8', 'kith trust attest laptop partner --label "met in person"'],
      json: shown,
      load: async () => ({ run: (await import('./handler.ts')).attest }),
    },
    {
      name: 'revoke',
      summary: 'Take back a weight, and what was said of it',
      about: 'The class in the address book stays; kith peers forget takes that back too.',
      arguments: [peer],
      examples: ['kith trust revoke laptop', 'kith trust revoke laptop --json'],
      json: shown,
      load: async () => ({ run: (await import('./handler.ts')).revoke }),
    },
    {
      name: 'graph',
      summary: 'List who trusts a peer and whom it trusts, as far as is known here',
      arguments: [peer],
      examples: ['kith trust graph laptop', 'kith trust graph laptop --json'],
      json: '{did, edges: [{source, source_name, target, target_name, weight, labels, created_at, expires_at}]}',
      load: async () => ({ run: (await import('./handler.ts')).graph }),
    },
    {
      name: 'ban',
      summary: 'End a peer’s links and refuse it for a while',
      about: 'On this node only. Without --for an hour, longer each time; at most 30 days.',
      arguments: [peer],
      options: [reason, { flags: '--for <time>', about: 'how long, such as 1h or 7d', kind: 'duration' }],
      examples: ['kith trust ban laptop --reason "floods the topic"', 'kith trust ban laptop --reason stolen --for 720h'],
      json: shown,
      load: async () => ({ run: (await import('./handler.ts')).ban }),
    },
    {
      name: 'unban',
      summary: 'Let a banned peer link again',
      arguments: [peer],
      options: [reason],
      examples: ['kith trust unban laptop --reason "it was a mistake"', 'kith trust unban laptop --reason fixed'],
      json: shown,
      load: async () => ({ run: (await import('./handler.ts')).unban }),
    },
    {
      name: 'pardon',
      summary: 'Drop everything that is held against a peer',
      about: 'Bans, quarantine, violations and proofs. Its reputation goes on from 0.6.',
      arguments: [peer],
      options: [reason],
      examples: ['kith trust pardon laptop --reason "new disk, new key"', 'kith trust pardon laptop --reason fixed'],
      json: shown,
      load: async () => ({ run: (await import('./handler.ts')).pardon }),
    },
  ],
}
