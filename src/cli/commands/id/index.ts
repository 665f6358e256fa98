import type { CommandSpec, OptionSpec } from '../../spec.ts'
import { deviceSpecs } from './devices-spec.ts'
import { hardwareSpecs } from './hardware-spec.ts'
import { keystoreSpecs } from './keystore-spec.ts'

import { sharesSpecs } from './shares-spec.ts'

const PASSPHRASE: OptionSpec = { flags: '--passphrase-file <file>', about: 'read the passphrase from a file (0600)', kind: 'text' }
const PIN: OptionSpec = { flags: '--pin-file <file>', about: 'read the PIN of the token with the identity’s key from a file (0600)', kind: 'text' }

export const spec: CommandSpec = {
  name: 'id',
  summary: 'Look at and take care of this node’s identity',
  examples: ['kith id', 'kith id device rotate'],
  json: 'as kith id show',
  load: async () => ({ run: (await import('./show.ts')).show }),
  subcommands: [
    {
      name: 'show',
      summary: 'Print the DID and what is known of this identity',
      examples: ['kith id show', 'kith id show --json'],
      json: '{did, did_key, name, link_key, chain: {index, head}, keys_since, binding_expires_at, passphrase, holds_identity, hardware}',
      load: async () => ({ run: (await import('./show.ts')).show }),
    },
    {
      name: 'document',
      summary: 'Print the DID document (W3C core shape)',
      examples: ['kith id document', 'kith id document --json'],
      json: 'the document',
      load: async () => ({ run: (await import('./show.ts')).document }),
    },
    {
      name: 'chain',
      summary: 'Print the chain of keys of this identity',
      examples: ['kith id chain', 'kith id chain --json'],
      json: '{did, entries: [{index, kind, reason, time, key, post_quantum, next, hash}]}',
      load: async () => ({ run: (await import('./show.ts')).chain }),
    },
    {
      name: 'phrase',
      summary: 'Show the recovery phrase, after the passphrase, on a terminal only',
      about: 'Never in JSON, never in a file or pipe. Whoever has the phrase has the identity.',
      options: [PASSPHRASE],
      examples: ['kith id phrase', 'kith id phrase --home ./node'],
      timeoutMs: 0,
      load: async () => ({ run: (await import('./phrase.ts')).run }),
    },
    {
      name: 'rotate',
      summary: 'Replace the keys of the identity; the DID and the recovery phrase stay',
      about:
        'Reveals the keys the identity committed to before and commits to the next ones. compromised ends what was signed with the old keys at once, scheduled and lost let it run out within 30 days. For a new key of this machine alone: kith id device rotate. Works with the node running or not.',
      options: [{ flags: '--reason <reason>', about: 'scheduled (default), lost or compromised', kind: 'text' }, PASSPHRASE, PIN],
      examples: ['kith id rotate', 'kith id rotate --reason compromised'],
      json: '{did, reason, chain: {index, head}, previous_index, expires_at}',
      timeoutMs: 0,
      load: async () => ({ run: (await import('./rotate.ts')).run }),
    },
    {
      name: 'passphrase',
      summary: 'Change the passphrase, set one, or go without',
      about: 'The node must not be running. The new passphrase is asked twice, or read from --new-passphrase-file.',
      options: [
        PASSPHRASE,
        { flags: '--new-passphrase-file <file>', about: 'read the new passphrase from a file (0600)', kind: 'text' },
        { flags: '--no-passphrase', about: 'from now on without: a random one is kept outside the home', kind: 'flag' },
      ],
      examples: ['kith id passphrase', 'kith id passphrase --no-passphrase'],
      json: '{did, passphrase}',
      timeoutMs: 0,
      load: async () => ({ run: (await import('./passphrase.ts')).run }),
    },
    {
      name: 'unlock',
      summary: 'Give the running node the passphrase, so that it can start its keys',
      options: [PASSPHRASE],
      examples: ['kith id unlock', 'kith id unlock --passphrase-file ./secret'],
      json: '{did, listen: []}',
      timeoutMs: 0,
      load: async () => ({ run: (await import('./device.ts')).unlock }),
    },
    {
      name: 'device',
      summary: 'This identity’s machines and their link keys',
      examples: ['kith id device', 'kith id device rotate'],
      json: 'as kith id device list',
      load: async () => ({ run: (await import('./devices-list.ts')).list }),
      subcommands: [
        ...deviceSpecs,
        {
          name: 'rotate',
          summary: 'Give this machine a new link key',
          about: 'Peers find it again by the DID, also those that are away now: links heal by themselves. Works with the node running or not.',
          options: [PASSPHRASE, PIN],
          examples: ['kith id device rotate', 'kith id device rotate --json'],
          json: '{did, link_key, previous_link_key, serial, expires_at}',
          timeoutMs: 0,
          load: async () => ({ run: (await import('./device.ts')).rotate }),
        },
      ],
    },
    ...keystoreSpecs,
    ...sharesSpecs,
    ...hardwareSpecs,
  ],
}
