import type { CommandSpec, OptionSpec } from '../../spec.ts'

const PASSPHRASE: OptionSpec = { flags: '--passphrase-file <file>', about: 'read the passphrase from a file (0600)', kind: 'text' }
const PIN: OptionSpec = { flags: '--pin-file <file>', about: 'read the PIN of the token from a file (0600)', kind: 'text' }
const PKCS11: OptionSpec = { flags: '--pkcs11 <uri>', about: 'address of the key, such as "pkcs11:token=home;object=kith" (RFC 7512)', kind: 'text' }
const MODULE: OptionSpec = { flags: '--module <path>', about: 'PKCS#11 module of the token, such as /usr/lib/softhsm/libsofthsm2.so', kind: 'text' }
const REASON: OptionSpec = { flags: '--reason <reason>', about: 'scheduled (default), lost or compromised', kind: 'text' }

const PINS = 'The PIN comes from --pin-file, ICN_TOKEN_PIN, the systemd credential kith.pin, or is asked.'

export const hardwareSpecs: readonly CommandSpec[] = [
  {
    name: 'hardware',
    summary: 'Keep the identity’s key in a PKCS#11 token',
    about:
      'A key in a token signs but is never given out. The post-quantum half of the identity stays in the key file, because tokens do not sign with ML-DSA yet. Needs the package pkcs11js beside kith.',
    examples: ['kith id hardware', 'kith id hardware show --json'],
    json: 'as kith id hardware show',
    load: async () => ({ run: (await import('./hardware.ts')).show }),
    subcommands: [
      {
        name: 'show',
        summary: 'Tell which keys are in tokens, and what the token says of the present one',
        about: `With --attest the token is opened and asked. ${PINS}`,
        options: [{ flags: '--attest', about: 'ask the token', kind: 'flag' }, PASSPHRASE, PIN],
        examples: ['kith id hardware show', 'kith id hardware show --attest'],
        json: '{did, keys: [{generation, public_key, uri, current}], attestation: {place, hardware, sensitive, nonExtractable, madeThere, token}}',
        timeoutMs: 0,
        load: async () => ({ run: (await import('./hardware.ts')).show }),
      },
      {
        name: 'init',
        summary: 'Make this node’s identity with its first key in a token',
        about: `Like kith init, for a home without an identity. The key is made in the token unless it has one of that address. The recovery phrase holds the keys after the one in the token: with it and a copy of identity.age (kith id export) the identity outlives the token. ${PINS}`,
        options: [
          PKCS11,
          MODULE,
          { flags: '--name <name>', about: 'what peers call this machine (default: its host name)', kind: 'text' },
          { flags: '--words <n>', about: 'length of the recovery phrase: 12, 15, 18, 21 or 24 (default 24)', kind: 'count' },
          PIN,
          PASSPHRASE,
          { flags: '--no-passphrase', about: 'keep a random passphrase outside the home: whoever is this user can start the node', kind: 'flag' },
        ],
        examples: [
          'kith id hardware init --pkcs11 "pkcs11:token=home" --module /usr/lib/softhsm/libsofthsm2.so',
          'kith id hardware init --pkcs11 "pkcs11:token=home" --module /usr/lib/hsm.so --pin-file ./pin',
        ],
        json: '{did, name, home, created, uri, made}',
        timeoutMs: 0,
        load: async () => ({ run: (await import('./hardware-init.ts')).run }),
      },
      {
        name: 'commit',
        summary: 'Rotate, and commit to a key in a token as the next one',
        about: `What the identity committed to before cannot be changed, so the way into hardware takes two rotations: this one, and the next kith id rotate, after which the key in the token signs. To stay in hardware, rotate with this command each time. ${PINS}`,
        options: [PKCS11, MODULE, REASON, PIN, PASSPHRASE],
        examples: [
          'kith id hardware commit --pkcs11 "pkcs11:token=home;object=next" --module /usr/lib/hsm.so',
          'kith id hardware commit --pkcs11 "pkcs11:token=home" --module /usr/lib/hsm.so --reason lost',
        ],
        json: '{did, reason, chain: {index, head}, uri, made}',
        timeoutMs: 0,
        load: async () => ({ run: (await import('./hardware.ts')).commit }),
      },
      {
        name: 'leave',
        summary: 'Go on without a token that is lost',
        about:
          'Reveals the next keys, which are in the key file, with the reason lost. While no node runs, also in a home that has just imported the identity; a running node does the same by kith id rotate --reason lost.',
        options: [PASSPHRASE],
        examples: ['kith id hardware leave', 'kith id hardware leave --passphrase-file ./secret'],
        json: '{did, chain: {index, head}}',
        timeoutMs: 0,
        load: async () => ({ run: (await import('./hardware-leave.ts')).run }),
      },
      {
        name: 'unlock',
        summary: 'Give the running node the PIN of the token',
        about: 'It is kept in guarded memory until kith id hardware lock or until the node stops.',
        options: [PIN],
        examples: ['kith id hardware unlock', 'kith id hardware unlock --pin-file ./pin'],
        json: '{pin}',
        timeoutMs: 0,
        load: async () => ({ run: (await import('./hardware.ts')).unlock }),
      },
      {
        name: 'lock',
        summary: 'Let the running node forget the PIN of the token',
        examples: ['kith id hardware lock', 'kith id hardware lock --json'],
        json: '{pin}',
        load: async () => ({ run: (await import('./hardware.ts')).lock }),
      },
    ],
  },
  {
    name: 'seal',
    summary: 'Let the TPM or the keyring of this machine give the passphrase',
    about:
      'Without a flag: tells what is sealed. The key files keep their passphrase, so that yours goes on opening them. --tpm binds it to what this machine boots (PCRs); after an update of firmware, Secure Boot or kernel run it again with the passphrase. One that nobody knows (--no-passphrase) is moved out of the state directory: write it down with --recovery-file.',
    options: [
      { flags: '--tpm', about: 'seal it by the TPM (tpm2-tools)', kind: 'flag' },
      { flags: '--keyring', about: 'keep it in the keyring of the desktop (secret-tool)', kind: 'flag' },
      { flags: '--off', about: 'from now on nothing is sealed', kind: 'flag' },
      { flags: '--pcr <list>', about: 'PCRs of the policy (default 0,7: firmware and Secure Boot)', kind: 'text' },
      { flags: '--recovery-file <file>', about: 'write the passphrase into a new file, to be kept elsewhere', kind: 'text' },
      PASSPHRASE,
    ],
    examples: ['kith id seal --tpm', 'kith id seal --tpm --pcr 0,2,7 --recovery-file ./keep-me-elsewhere'],
    json: '{did, sealed, pcrs, random}',
    timeoutMs: 0,
    load: async () => ({ run: (await import('./seal.ts')).run }),
  },
]
