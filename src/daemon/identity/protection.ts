import type { Passphrase } from '../../identity/passphrase.ts'
import type { PassphraseMode } from '../status.ts'

/**
 * log2 of scrypt's N under a random passphrase of 256 bits: nobody guesses that, so stretching it would only make every start slow.
 * A person's passphrase gets the full factor.
 */
export const STORED_WORK_FACTOR = 12

/** How the keys of a home are protected, by where its passphrase came from. */
export function modeOf({ source }: Pick<Passphrase, 'source'>): PassphraseMode {
  if (source === 'state') return 'stored'
  return source === 'tpm' || source === 'keyring' ? source : 'passphrase'
}

/** Whether the machine opens the keys without a person. */
export function isUnattended(mode: PassphraseMode): boolean {
  return mode !== 'passphrase'
}

/** The cost for key files that are written under this passphrase, as an option to spread. */
export function workFactorFor({ random }: Pick<Passphrase, 'random'>): { workFactor?: number } {
  return random === true ? { workFactor: STORED_WORK_FACTOR } : {}
}

/** For people. */
export const PROTECTIONS: { readonly [M in PassphraseMode]: string } = {
  passphrase: 'asked',
  stored: 'none asked: a random one is kept outside the home',
  tpm: 'none asked: sealed by the TPM of this machine',
  keyring: 'none asked: in the keyring of your session',
}
