import { parseUtf8, utf8 } from '../../core/bytes.ts'
import { KithError } from '../../core/errors.ts'
import { AccountKey } from '../../site/acme/account-key.ts'
import { keyPem, makeKey } from '../../site/acme/x509.ts'
import type { CertificateStore } from '../../site/certificate-store.ts'
import { parseEncryptedData } from '../../vault/encrypted-data.ts'
import type { Vault } from '../../vault/vault.ts'

export interface AccountParts {
  /** Sealed by the vault, or as it is. */
  readonly form: 'vault' | 'file'
  readonly store: CertificateStore
  readonly vault: Vault
}

/** The key of the account at the authority; made and kept when there is none. @throws KithError `VAULT_LOCKED`, `DECRYPT_FAILED`, `KEY_INVALID`. */
export async function accountKey({ form, store, vault }: AccountParts): Promise<AccountKey> {
  return form === 'vault' ? await sealedKey(store, vault) : await plainKey(store)
}

async function plainKey(store: CertificateStore): Promise<AccountKey> {
  const kept = await store.readAccount('plain')
  if (kept !== undefined) return AccountKey.fromPem(Buffer.from(kept))
  const key = makeKey()
  await store.writeAccount('plain', utf8(keyPem(key)))
  return new AccountKey(key)
}

async function sealedKey(store: CertificateStore, vault: Vault): Promise<AccountKey> {
  if (!vault.unlocked) {
    throw new KithError('VAULT_LOCKED', 'The key of the account at the certificate authority is in the vault, which is locked.', { next: 'kith vault unlock' })
  }
  const kept = await store.readAccount('sealed')
  if (kept !== undefined) {
    const text = parseUtf8(kept)
    if (text === undefined) throw new KithError('DECRYPT_FAILED')
    const pem = vault.decryptSecret(parseEncryptedData(text))
    try {
      return pem.use((bytes) => AccountKey.fromPem(bytes))
    } finally {
      pem.wipe()
    }
  }
  const key = makeKey()
  await store.writeAccount('sealed', utf8(JSON.stringify(vault.encrypt(utf8(keyPem(key))))))
  return new AccountKey(key)
}
