import { isKithError, KithError } from '../../core/errors.ts'
import type { Secret } from '../../core/secret.ts'
import { readCredential, readPassphraseFile, takeSecretVariable } from '../passphrase.ts'

/** Like `ICN_KEYSTORE_PASSPHRASE`: no `KITH_*` name, since those are settings, which are shown. */
export const PIN_VARIABLE = 'ICN_TOKEN_PIN'
export const PIN_CREDENTIAL = 'kith.pin'

export interface PinOptions {
  /** `--pin-file`, or the setting `hardware.pin_file`. */
  readonly file?: string | undefined
  /** Default `process.env`. */
  readonly environment?: NodeJS.ProcessEnv
}

/** A file with a PIN. The caller wipes it. @throws KithError `HOME_UNSAFE`, `TOKEN_PIN_REQUIRED` when it is missing, empty or no PIN. */
export function readPinFile(path: string): Secret {
  try {
    return readPassphraseFile(path)
  } catch (cause) {
    if (!isKithError(cause, 'PASSPHRASE_REQUIRED')) throw cause
    throw new KithError('TOKEN_PIN_REQUIRED', `There is no PIN in ${path}.`, { details: cause.details, next: 'kith id hardware unlock --pin-file FILE', cause })
  }
}

/**
 * Where the PIN of a token comes from, in the order of passphrases: one given by a person, a file that was named, `ICN_TOKEN_PIN`, the systemd credential
 * `kith.pin`. A PIN that the token refused is not tried again: a few wrong ones lock a token.
 */
export class PinStore {
  readonly #options: PinOptions
  #given: Secret | undefined
  #fromEnvironment: Secret | undefined
  #refused: Secret | undefined

  constructor(options: PinOptions = {}) {
    this.#options = options
  }

  /** Keeps a copy in guarded memory until `forget`. */
  give(pin: Secret): void {
    this.forget()
    this.#given = pin.clone()
  }

  forget(): void {
    for (const pin of [this.#given, this.#refused]) pin?.wipe()
    this.#given = undefined
    this.#refused = undefined
  }

  /** Whether a person gave one. */
  get given(): boolean {
    return this.#given !== undefined
  }

  /** Whether there is one to try. @throws KithError as `readPinFile`. */
  get known(): boolean {
    const pin = this.read()
    pin?.wipe()
    return pin !== undefined
  }

  /** A copy, which the caller wipes. @throws KithError `HOME_UNSAFE`, `TOKEN_PIN_REQUIRED` for a file that is named and cannot be used. */
  read(): Secret | undefined {
    const pin = this.#read()
    if (pin === undefined || this.#refused?.equals(pin) !== true) return pin
    pin.wipe()
    return undefined
  }

  /** The token refused what `read` gave last. */
  refuse(): void {
    const pin = this.#read()
    this.#refused?.wipe()
    this.#refused = pin
  }

  close(): void {
    this.forget()
    this.#fromEnvironment?.wipe()
    this.#fromEnvironment = undefined
  }

  #read(): Secret | undefined {
    const environment = this.#options.environment ?? process.env
    this.#fromEnvironment = takeSecretVariable(PIN_VARIABLE, environment) ?? this.#fromEnvironment
    if (this.#given !== undefined) return this.#given.clone()
    if (this.#options.file !== undefined) return readPinFile(this.#options.file)
    return this.#fromEnvironment?.clone() ?? readCredential(PIN_CREDENTIAL, environment)
  }
}
