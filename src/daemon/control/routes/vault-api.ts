import type { EncryptedData } from '../../../vault/encrypted-data.ts'
import type { KeyType } from '../../../vault/key-cache.ts'
import type { VaultView } from '../../vault/service.ts'
import type { Json, Nothing, WithSecret } from '../route.ts'

/** What a derivation shows: never a private half. */
export interface DerivedView {
  readonly vault: string
  readonly path: string
  readonly type: KeyType
  readonly class: string
  /** Hexadecimal digits: 32 bytes of Ed25519, or 33 of secp256k1, compressed. */
  readonly public_key: string
}

interface InVault {
  /** Default `default`. */
  readonly vault?: string
}

/** A secret on its way back: sealed to `reply_key` (64 hexadecimal digits), a key of the caller for this one answer; base64. */
export interface Sealed {
  readonly sealed: string
}

export interface VaultApi {
  'GET /v1/vault': Json<Nothing, { readonly vaults: readonly VaultView[] }>
  'POST /v1/vault/unlock': WithSecret<InVault, VaultView>
  /** Without a name: every vault. */
  'POST /v1/vault/lock': Json<InVault, { readonly locked: readonly string[] }>
  'POST /v1/vault/derive': Json<InVault & { readonly path: string; readonly type?: KeyType }, DerivedView>
  /** The body is what is to be encrypted. */
  'POST /v1/vault/encrypt': WithSecret<InVault & { readonly key_version?: number }, EncryptedData>
  'POST /v1/vault/decrypt': Json<InVault & { readonly data: EncryptedData; readonly reply_key: string }, Sealed>
  'POST /v1/vault/rotate': Json<InVault & { readonly data: EncryptedData; readonly key_version?: number }, EncryptedData>
  /** The body is the password, a line feed, and the JSON of the version 1 form. */
  'POST /v1/vault/import': WithSecret<InVault, EncryptedData>
  'POST /v1/vault/site-password': Json<
    InVault & { readonly site: string; readonly version?: number; readonly length?: number; readonly reply_key: string },
    Sealed
  >
}
