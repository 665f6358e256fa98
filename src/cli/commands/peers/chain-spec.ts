import type { CommandSpec } from '../../spec.ts'

const peer = { name: '<peer>', about: 'DID, a prefix of it, or name' }
const JSON_SHAPE = '{did, name, chain: {status, index, head}}'

/** What a person decides about the keys of a peer. */
export const chainCommands: readonly CommandSpec[] = [
  {
    name: 'anchor',
    summary: 'Vouch for the keys of a peer that nobody but itself has shown',
    about: 'Until then a peer added by its DID is at most known here, whatever class it has. Compare the hash of its last entry by voice first.',
    arguments: [peer],
    options: [{ flags: '--head <hex>', about: 'what its owner reads out of kith id chain: 16 digits of the last hash', kind: 'text' }],
    examples: ['kith peers anchor laptop --head 4f1c9a02be77d310', 'kith peers anchor laptop --yes'],
    json: JSON_SHAPE,
    load: async () => ({ run: (await import('./chain.ts')).anchor }),
  },
  {
    name: 'repin',
    summary: 'Choose between two contradicting histories of a peer’s keys',
    about:
      'Somebody has a copy of its keys. Ask its owner, by voice or in person, which history is the true one; everything the peer was granted waits until then.',
    arguments: [peer],
    options: [{ flags: '--head <hex>', about: '16 digits or more of a hash that only the true history has', kind: 'text' }],
    examples: ['kith peers repin laptop --head 4f1c9a02be77d310', 'kith peers repin laptop --head 4f1c9a02be77d310 --json'],
    json: JSON_SHAPE,
    load: async () => ({ run: (await import('./chain.ts')).repin }),
  },
]
