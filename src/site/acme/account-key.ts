import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto'
import { utf8 } from '../../core/bytes.ts'
import { sha256 } from '../../core/crypto/hash.ts'
import { KithError } from '../../core/errors.ts'

interface PublicJwk {
  readonly crv: string
  readonly kty: string
  readonly x: string
  readonly y: string
}

/** The key of an account at an authority: signs requests (RFC 8555, section 6.2) and vouches for challenges. */
export class AccountKey {
  readonly #key: KeyObject
  readonly jwk: PublicJwk
  /** RFC 7638. */
  readonly thumbprint: string

  constructor(key: KeyObject) {
    this.#key = key
    const { crv = '', kty = '', x = '', y = '' } = createPublicKey(key).export({ format: 'jwk' })
    if (crv !== 'P-256') throw new KithError('KEY_INVALID', 'The account key is not an ECDSA key on P-256.')
    this.jwk = { crv, kty, x, y }
    this.thumbprint = Buffer.from(sha256(utf8(JSON.stringify(this.jwk)))).toString('base64url')
  }

  /** @throws KithError `KEY_INVALID`. */
  static fromPem(pem: Buffer | string): AccountKey {
    let key: KeyObject
    try {
      key = createPrivateKey(pem)
    } catch {
      throw new KithError('KEY_INVALID', 'The account key cannot be read.')
    }
    return new AccountKey(key)
  }

  /** A flattened JWS. `payload` undefined: a read (POST-as-GET). `kid` is the account's address, absent in the request that makes the account. */
  sign(header: { readonly url: string; readonly nonce: string; readonly kid?: string }, payload: unknown): string {
    const { url, nonce, kid } = header
    const identity = kid === undefined ? { jwk: this.jwk } : { kid }
    const head = base64url(JSON.stringify({ alg: 'ES256', ...identity, nonce, url }))
    const body = payload === undefined ? '' : base64url(JSON.stringify(payload))
    const signature = sign('sha256', utf8(`${head}.${body}`), { key: this.#key, dsaEncoding: 'ieee-p1363' }).toString('base64url')
    return JSON.stringify({ protected: head, payload: body, signature })
  }

  /** RFC 8555, section 8.1. */
  authorization(token: string): string {
    return `${token}.${this.thumbprint}`
  }
}

function base64url(text: string): string {
  return Buffer.from(text).toString('base64url')
}
