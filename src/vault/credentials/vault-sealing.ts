import { parseUtf8, utf8 } from '../../core/bytes.ts'
import { KithError } from '../../core/errors.ts'
import { parseEncryptedData } from '../encrypted-data.ts'
import type { Vault } from '../vault.ts'
import type { Sealing } from './types.ts'

/** Seals with the vault's current encryption key, in the JSON form of `EncryptedData`. */
export function vaultSealing(vault: Vault): Sealing {
  return {
    seal: (content) => utf8(JSON.stringify(vault.encrypt(content))),
    open(sealed) {
      const text = parseUtf8(sealed)
      if (text === undefined) throw new KithError('DECRYPT_FAILED')
      return vault.decryptSecret(parseEncryptedData(text))
    },
    get locked() {
      return !vault.unlocked
    },
    onLock: (listener) => vault.onLock(() => listener()),
  }
}
