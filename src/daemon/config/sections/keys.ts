import { type Section, setting } from '../setting.ts'
import { flag, whole, wholePathOrNone } from '../values.ts'

/** The keys of the identity and of this machine, their token, backups and vaults. */
export interface KeySettings {
  readonly 'hardware.module': string
  readonly 'hardware.pin_file': string
  readonly 'identity.rotate_after_days': number
  readonly 'identity.rotate_unattended': boolean
  readonly 'identity.link_key_days': number
  readonly 'backup.keep': number
  readonly 'vault.idle_lock_s': number
}

export const KEYS: Section<KeySettings> = {
  'hardware.module': setting({
    schema: wholePathOrNone('file'),
    fallback: '',
    dynamic: false,
    about: 'PKCS#11 module by which the token with the identity’s key is reached; empty: the one in the key’s address.',
  }),
  'hardware.pin_file': setting({
    schema: wholePathOrNone('file'),
    fallback: '',
    dynamic: false,
    about: 'File (0600) with the PIN of that token; empty: ICN_TOKEN_PIN, the credential kith.pin, or kith id hardware unlock.',
  }),
  'identity.rotate_after_days': setting({
    schema: whole(0, 3_650),
    fallback: 365,
    dynamic: true,
    about: 'Age of the identity’s keys, in days, from which status asks to replace them (kith id rotate); 0 never asks.',
  }),
  'identity.rotate_unattended': setting({
    schema: flag,
    fallback: false,
    dynamic: true,
    about: 'Replace the identity’s keys at that age without asking, where the node can open the identity by itself.',
  }),
  'identity.link_key_days': setting({
    schema: whole(0, 3_650),
    fallback: 30,
    dynamic: true,
    about: 'Age of this machine’s link key, in days, from which it is replaced at a quiet moment, where the node can open the identity by itself; 0 never.',
  }),
  'backup.keep': setting({
    schema: whole(1, 1_000),
    fallback: 7,
    dynamic: true,
    about: 'How many snapshots are kept; a new one takes the place of the oldest.',
  }),
  'vault.idle_lock_s': setting({
    schema: whole(0, 2_592_000),
    fallback: 3_600,
    dynamic: true,
    about: 'Seconds without use after which a vault locks by itself; 0 never does.',
  }),
}
