import { equal, type PublicKey, type Signature } from '../../core/bytes.ts'
import { isPublicKey, parsePublicKey, SIGNATURE_BYTES, verify } from '../../core/crypto/ed25519.ts'
import { KithError } from '../../core/errors.ts'
import type { Secret } from '../../core/secret.ts'
import type { KeyAttestation } from '../../core/signer.ts'
import * as ck from './cryptoki.ts'
import { gone, pinLocked, tokenFailure, WITHOUT_TOKEN } from './failure.ts'
import { type CryptokiLoader, quietly, useModule } from './module.ts'
import { formatTokenUri, type TokenUri } from './uri.ts'

/** Gives the PIN each time it is needed; the caller wipes what it gets. `last`: the token will lock after one more wrong one. */
export type PinSource = (token: { readonly label: string; readonly last: boolean }) => Secret | undefined

export interface TokenName {
  readonly label: string
  readonly manufacturer: string
  readonly model: string
  readonly serial: string
}

/** Of one private key, as its token states it. */
interface KeyObject {
  readonly handle: Buffer
  readonly id: Uint8Array
  readonly label: string
}

/** More keys of one name are a mistake anyhow. */
const MAX_FOUND = 16

/** One logged-in session with one token. Every call is synchronous: it blocks the process for as long as the token takes. */
export class TokenSession {
  readonly #cryptoki: ck.Cryptoki
  readonly #release: () => void
  readonly #slot: Buffer
  readonly #session: Buffer
  readonly #uri: string
  readonly name: TokenName

  /**
   * Finds the one token that `uri` names, and logs in when the token asks for it, unless there is nothing to be done but to look at it (`none`).
   * @throws KithError `TOKEN_UNAVAILABLE`, `TOKEN_PIN_REQUIRED`, `TOKEN_PIN_WRONG`, `TOKEN_PIN_LOCKED`, `TOKEN_FAILED`.
   */
  constructor(uri: TokenUri, options: { readonly load: CryptokiLoader; readonly pin: PinSource | 'none'; readonly write: boolean }) {
    if (uri.modulePath === undefined) {
      throw new KithError('TOKEN_UNAVAILABLE', 'it is not known through which module the token is reached', {
        details: { uri: formatTokenUri(uri) },
        next: 'give --module PATH, or the setting hardware.module',
      })
    }
    this.#uri = formatTokenUri(uri)
    const { cryptoki, release } = useModule(uri.modulePath, options.load)
    this.#cryptoki = cryptoki
    this.#release = release
    try {
      const { slot, info } = this.#findToken(uri)
      this.#slot = slot
      this.name = nameOf(info)
      this.#session = this.#call('opening a session', () => cryptoki.C_OpenSession(slot, ck.CKF_SERIAL_SESSION | (options.write ? ck.CKF_RW_SESSION : 0)))
      try {
        if (options.pin !== 'none') this.#login(info, options.pin)
      } catch (error) {
        quietly(() => cryptoki.C_CloseSession(this.#session))
        throw error
      }
    } catch (error) {
      release()
      throw error
    }
  }

  /**
   * The one Ed25519 key pair that `uri` names: its public key and its address with everything that tells it from others. `undefined` when there is none.
   * @throws KithError `TOKEN_KEY_MISSING` when several match or the public half is not there, `TOKEN_KEY_UNSAFE` when the key could leave the token.
   */
  find(uri: TokenUri): { readonly publicKey: PublicKey; readonly uri: TokenUri } | undefined {
    const found = this.#objects(ck.CKO_PRIVATE_KEY, uri)
    if (found.length === 0) return undefined
    const key = this.#single(found)
    const { sensitive, nonExtractable } = this.attest(key)
    if (!sensitive || !nonExtractable || !this.#flag(key.handle, ck.CKA_SIGN)) {
      throw new KithError('TOKEN_KEY_UNSAFE', undefined, { details: { uri: this.#uri }, next: 'let a new key be made: give another object= name' })
    }
    return this.#named(key, uri)
  }

  /** Makes a key pair that never leaves the token. @throws KithError `TOKEN_FAILED`, `TOKEN_UNAVAILABLE` for a token without Ed25519. */
  generate(uri: TokenUri, id: Uint8Array): { readonly publicKey: PublicKey; readonly uri: TokenUri } {
    const label = uri.object ?? DEFAULT_LABEL
    const both = [
      { type: ck.CKA_KEY_TYPE, value: ck.CKK_EC_EDWARDS },
      { type: ck.CKA_TOKEN, value: true },
      { type: ck.CKA_LABEL, value: label },
      { type: ck.CKA_ID, value: Buffer.from(id) },
    ]
    this.#call('making a key', () =>
      this.#cryptoki.C_GenerateKeyPair(
        this.#session,
        { mechanism: ck.CKM_EC_EDWARDS_KEY_PAIR_GEN },
        [...both, { type: ck.CKA_EC_PARAMS, value: ck.ED25519_PARAMS }, { type: ck.CKA_VERIFY, value: true }],
        [
          ...both,
          { type: ck.CKA_PRIVATE, value: true },
          { type: ck.CKA_SENSITIVE, value: true },
          { type: ck.CKA_EXTRACTABLE, value: false },
          { type: ck.CKA_SIGN, value: true },
        ],
      ),
    )
    const made = this.find({ ...uri, object: label, id })
    if (made === undefined)
      throw new KithError('TOKEN_FAILED', 'the token made a key and does not show it', { details: { uri: this.#uri }, next: 'kith doctor' })
    return made
  }

  /** The private key that signs for `publicKey`. @throws KithError `TOKEN_KEY_MISSING`. */
  privateKey(uri: TokenUri): KeyObject {
    return this.#single(this.#objects(ck.CKO_PRIVATE_KEY, uri))
  }

  /**
   * Ed25519 (CKM_EDDSA without parameters: RFC 8032 pure). What comes back is verified before anybody sees it: a faulty signature can give the key away, and
   * one by another key helps nobody.
   * @throws KithError `TOKEN_UNAVAILABLE` when the token was pulled, `TOKEN_KEY_MISSING`, `TOKEN_FAILED`.
   */
  sign(key: KeyObject, publicKey: PublicKey, message: Uint8Array): Signature {
    this.#present()
    const signature = this.#call('signing', () => {
      this.#cryptoki.C_SignInit(this.#session, { mechanism: ck.CKM_EDDSA }, key.handle)
      return Uint8Array.from(this.#cryptoki.C_Sign(this.#session, Buffer.from(message), Buffer.alloc(SIGNATURE_BYTES)))
    })
    if (!verify(publicKey, message, signature)) {
      throw new KithError('TOKEN_FAILED', 'the token gave a signature that does not verify', { details: { uri: this.#uri }, next: WITHOUT_TOKEN })
    }
    return signature as Signature
  }

  attest(key: KeyObject): KeyAttestation {
    const { handle } = key
    const { flags } = this.#call('looking at EdDSA', () => this.#cryptoki.C_GetMechanismInfo(this.#slot, ck.CKM_EDDSA))
    return {
      place: 'token',
      hardware: (flags & ck.CKF_HW) !== 0,
      sensitive: this.#flag(handle, ck.CKA_SENSITIVE) && this.#flag(handle, ck.CKA_ALWAYS_SENSITIVE),
      nonExtractable: !this.#flag(handle, ck.CKA_EXTRACTABLE) && this.#flag(handle, ck.CKA_NEVER_EXTRACTABLE),
      madeThere: this.#flag(handle, ck.CKA_LOCAL),
      token: this.name,
    }
  }

  /** Logs out and ends the session. Idempotent by its caller. */
  close(): void {
    quietly(() => this.#cryptoki.C_Logout(this.#session))
    quietly(() => this.#cryptoki.C_CloseSession(this.#session))
    this.#release()
  }

  #findToken(uri: TokenUri): { slot: Buffer; info: ck.CryptokiTokenInfo } {
    const slots = this.#call('looking for tokens', () => this.#cryptoki.C_GetSlotList(true))
    let cause: unknown
    const found = slots.flatMap((slot) => {
      try {
        const info = this.#cryptoki.C_GetTokenInfo(slot)
        return (info.flags & ck.CKF_TOKEN_INITIALIZED) !== 0 && matches(nameOf(info), uri) ? [{ slot, info }] : []
      } catch (error) {
        // A broken token is not the one that is wanted, or else is not there.
        cause = error
        return []
      }
    })
    const [token, other] = found
    if (token === undefined) throw gone(this.#uri, cause)
    if (other === undefined) return token
    throw new KithError('TOKEN_UNAVAILABLE', `${found.length} tokens match`, { details: { uri: this.#uri }, next: 'name the one with token= or serial=' })
  }

  #login(info: ck.CryptokiTokenInfo, source: PinSource): void {
    const { flags } = info
    if ((flags & ck.CKF_LOGIN_REQUIRED) === 0) return
    if ((flags & ck.CKF_USER_PIN_LOCKED) !== 0) throw pinLocked({ uri: this.#uri })
    if ((flags & ck.CKF_PROTECTED_AUTHENTICATION_PATH) !== 0) {
      this.#loginWith(undefined)
      return
    }
    const pin = source({ label: this.name.label, last: (flags & ck.CKF_USER_PIN_FINAL_TRY) !== 0 })
    if (pin === undefined) {
      throw new KithError('TOKEN_PIN_REQUIRED', undefined, {
        details: { uri: this.#uri },
        next: 'give it with --pin-file FILE, ICN_TOKEN_PIN or the credential kith.pin; to a running node: kith id hardware unlock',
      })
    }
    try {
      // The binding takes a string: this copy of the PIN is one that cannot be wiped.
      this.#loginWith(pin.use((bytes) => bytes.toString('utf8')))
    } finally {
      pin.wipe()
    }
  }

  #loginWith(pin: string | undefined): void {
    try {
      if (pin === undefined) this.#cryptoki.C_Login(this.#session, ck.CKU_USER)
      else this.#cryptoki.C_Login(this.#session, ck.CKU_USER, pin)
    } catch (error) {
      if (ck.returnValue(error) !== ck.CKR_USER_ALREADY_LOGGED_IN) throw tokenFailure('the login', this.#uri, error)
    }
  }

  /** A module may go on with what it has in memory after its token was pulled; the key counts as gone with the token. */
  #present(): void {
    let name: TokenName
    try {
      name = nameOf(this.#cryptoki.C_GetTokenInfo(this.#slot))
    } catch (error) {
      throw gone(this.#uri, error)
    }
    if (!matches(name, { token: this.name.label, serial: this.name.serial })) throw gone(this.#uri)
  }

  #objects(kind: number, uri: TokenUri): KeyObject[] {
    const template: ck.Attribute[] = [
      { type: ck.CKA_CLASS, value: kind },
      { type: ck.CKA_KEY_TYPE, value: ck.CKK_EC_EDWARDS },
      { type: ck.CKA_TOKEN, value: true },
      ...(uri.object === undefined ? [] : [{ type: ck.CKA_LABEL, value: uri.object }]),
      ...(uri.id === undefined ? [] : [{ type: ck.CKA_ID, value: Buffer.from(uri.id) }]),
    ]
    const handles = this.#call('looking for the key', () => {
      this.#cryptoki.C_FindObjectsInit(this.#session, template)
      try {
        return this.#cryptoki.C_FindObjects(this.#session, MAX_FOUND)
      } finally {
        this.#cryptoki.C_FindObjectsFinal(this.#session)
      }
    })
    return handles.map((handle) => ({
      handle,
      id: Uint8Array.from(this.#attribute(handle, ck.CKA_ID)),
      label: this.#attribute(handle, ck.CKA_LABEL).toString(),
    }))
  }

  #single(found: readonly KeyObject[]): KeyObject {
    const [key, other] = found
    if (key !== undefined && other === undefined) return key
    const sentence = key === undefined ? 'the key is not in the token' : `${found.length} keys of the token match`
    throw new KithError('TOKEN_KEY_MISSING', sentence, {
      details: { uri: this.#uri, found: found.length },
      next: key === undefined ? WITHOUT_TOKEN : 'name the one with object= or id=',
    })
  }

  #named({ id, label }: KeyObject, uri: TokenUri): { publicKey: PublicKey; uri: TokenUri } {
    const { serial, label: token } = this.name
    const publicKey = this.#publicKey({ id, object: label })
    return { publicKey, uri: { ...stripped({ token, serial, object: label, id }), ...(uri.modulePath === undefined ? {} : { modulePath: uri.modulePath }) } }
  }

  /** CKA_EC_POINT is an OCTET STRING around the point, or the bare point in older tokens. */
  #publicKey(uri: TokenUri): PublicKey {
    const { handle } = this.#single(this.#objects(ck.CKO_PUBLIC_KEY, uri))
    const point = this.#attribute(handle, ck.CKA_EC_POINT)
    const raw = point.length === 34 && equal(point.subarray(0, 2), Uint8Array.of(0x04, 0x20)) ? point.subarray(2) : point
    if (!isPublicKey(raw))
      throw new KithError('TOKEN_KEY_UNSAFE', 'the key in the token is not an Ed25519 key', { details: { uri: this.#uri }, next: 'name another key' })
    return parsePublicKey(raw)
  }

  #attribute(object: Buffer, type: number): Buffer {
    const [attribute] = this.#call('reading an attribute', () => this.#cryptoki.C_GetAttributeValue(this.#session, object, [{ type }]))
    return attribute?.value ?? Buffer.alloc(0)
  }

  #flag(object: Buffer, type: number): boolean {
    return this.#attribute(object, type)[0] === 1
  }

  #call<T>(doing: string, run: () => T): T {
    try {
      return run()
    } catch (error) {
      throw tokenFailure(doing, this.#uri, error)
    }
  }
}

export const DEFAULT_LABEL = 'kith'

function nameOf(info: ck.CryptokiTokenInfo): TokenName {
  return { label: info.label.trimEnd(), manufacturer: info.manufacturerID.trimEnd(), model: info.model.trimEnd(), serial: info.serialNumber.trimEnd() }
}

function matches(name: TokenName, uri: TokenUri): boolean {
  const same = (wanted: string | undefined, actual: string): boolean => wanted === undefined || wanted === actual
  return same(uri.token, name.label) && same(uri.manufacturer, name.manufacturer) && same(uri.model, name.model) && same(uri.serial, name.serial)
}

/** Without what a token leaves empty. */
function stripped({ token, serial, object, id }: Required<Pick<TokenUri, 'token' | 'serial' | 'object' | 'id'>>): TokenUri {
  return {
    ...(token === '' ? {} : { token }),
    ...(serial === '' ? {} : { serial }),
    ...(object === '' ? {} : { object }),
    ...(id.length === 0 ? {} : { id }),
  }
}
