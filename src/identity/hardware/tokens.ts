import { refused } from '../../core/crypto/ed25519.ts'
import { maySign } from '../../core/crypto/sign-prefix.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import { type Random, systemRandom } from '../../core/random.ts'
import type { Secret } from '../../core/secret.ts'
import type { Signer } from '../../core/signer.ts'
import type { TokenKey, TokenOpener } from '../keys.ts'
import { type CryptokiLoader, loadCryptoki } from './module.ts'
import { type PinOptions, PinStore } from './pin.ts'
import { type TokenName, TokenSession } from './session.ts'
import { formatTokenUri, parseTokenUri, type TokenUri } from './uri.ts'

export interface TokensOptions extends PinOptions {
  /** Module to use instead of the one in a key's address: an absolute path. */
  readonly module?: string | undefined
  /** Default: `pkcs11js`, if it is installed. */
  readonly load?: CryptokiLoader
  /** For the ids of new keys. */
  readonly random?: Random
}

/**
 * The keys of one home that live in PKCS#11 tokens. Signers of one token share one session; it is logged out when the last of them is closed, so nothing
 * stays logged in between two pieces of work.
 */
export class Tokens {
  #options: TokensOptions
  #pins: PinStore
  readonly #sessions = new Map<string, { readonly session: TokenSession; users: number }>()

  constructor(options: TokensOptions = {}) {
    this.#options = options
    this.#pins = new PinStore(options)
  }

  /** Settings that became known later than the home was opened; a PIN that was given is forgotten. */
  configure(options: Pick<TokensOptions, 'module' | 'file' | 'environment'>): void {
    this.#options = { ...this.#options, ...options }
    this.#pins.close()
    this.#pins = new PinStore(this.#options)
  }

  /** A PIN from a person, kept in guarded memory until `forgetPin` or `close`. Takes a copy. */
  givePin(pin: Secret): void {
    this.#pins.give(pin)
  }

  forgetPin(): void {
    this.#pins.forget()
  }

  /** Whether a PIN is at hand that the token has not refused. */
  get hasPin(): boolean {
    return this.#pins.known
  }

  /** The signer of a key in a token. The token is looked for, and the PIN read, now. @throws KithError `TOKEN_*`. */
  readonly open: TokenOpener = (key) => this.#open(key)

  /**
   * The key that the address names, made when the token has none. The address that comes back tells it from every other key, and names the module.
   * @throws KithError `USAGE`, `TOKEN_*`.
   */
  ensure(text: string): { readonly key: TokenKey; readonly made: boolean } {
    const uri = this.#located(parseTokenUri(text))
    const session = this.#session(uri, true)
    try {
      const found = session.find(uri)
      const random = this.#options.random ?? systemRandom
      const { publicKey, uri: whole } = found ?? session.generate(uri, uri.id ?? random.bytes(16))
      return { key: { kind: 'token', uri: formatTokenUri(whole), publicKey }, made: found === undefined }
    } finally {
      session.close()
    }
  }

  /** Whether the token that an address names is there, and what it calls itself. Asks for no PIN. @throws KithError `USAGE`, `TOKEN_*`. */
  look(text: string): TokenName {
    const uri = this.#located(parseTokenUri(text))
    const session = new TokenSession(uri, { load: this.#options.load ?? loadCryptoki, pin: 'none', write: false })
    session.close()
    return session.name
  }

  /** Forgets PINs. Signers that are still open go on until they are closed. */
  close(): void {
    this.#pins.close()
  }

  #open(key: TokenKey): Signer {
    const uri = this.#located(parseTokenUri(key.uri))
    const { object: _object, id: _id, ...token } = uri
    const name = formatTokenUri(token)
    const shared = this.#sessions.get(name) ?? { session: this.#session(uri, false), users: 0 }
    this.#sessions.set(name, shared)
    shared.users++
    const release = (): void => {
      shared.users--
      if (shared.users > 0) return
      if (this.#sessions.get(name) === shared) this.#sessions.delete(name)
      shared.session.close()
    }
    try {
      return createTokenSigner(shared.session, key, uri, release)
    } catch (error) {
      release()
      throw error
    }
  }

  #located(uri: TokenUri): TokenUri {
    const { module } = this.#options
    return module === undefined ? uri : { ...uri, modulePath: module }
  }

  #session(uri: TokenUri, write: boolean): TokenSession {
    try {
      return new TokenSession(uri, { load: this.#options.load ?? loadCryptoki, pin: ({ label, last }) => this.#pin(label, last), write })
    } catch (error) {
      if (isKithError(error, 'TOKEN_PIN_WRONG')) this.#pins.refuse()
      throw error
    }
  }

  /** The last try before a token locks belongs to a person: one that lies in a file is not spent on it. */
  #pin(label: string, last: boolean): Secret | undefined {
    if (!last || this.#pins.given) return this.#pins.read()
    throw new KithError('TOKEN_PIN_WRONG', `the token ${label} locks after one more wrong PIN, so none is tried unasked`, { next: 'kith id hardware unlock' })
  }
}

/** A signer for the role `identity` over a session. `release` is called once, on close. @throws KithError `TOKEN_KEY_MISSING`. */
function createTokenSigner(session: TokenSession, key: TokenKey, uri: TokenUri, release: () => void): Signer {
  const object = session.privateKey(uri)
  const publicKey = key.publicKey
  let closed = false
  const use = (): void => {
    if (closed) throw new KithError('SECRET_WIPED')
  }
  return {
    role: 'identity',
    publicKey,
    sign(message) {
      use()
      if (!maySign('identity', message)) throw refused('identity', message)
      return session.sign(object, publicKey, message)
    },
    attest() {
      use()
      return session.attest(object)
    },
    close() {
      if (closed) return
      closed = true
      release()
    },
  }
}
