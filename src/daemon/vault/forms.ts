import { toHex } from '../../core/bytes.ts'
import { KithError } from '../../core/errors.ts'
import { Secret } from '../../core/secret.ts'
import { type EncryptedData, parseEncryptedData } from '../../vault/encrypted-data.ts'
import type { DerivedKey } from '../../vault/key-cache.ts'
import { pathClass } from '../../vault/paths.ts'
import type { DerivedView } from '../control/routes/vault-api.ts'

const LINE_FEED = 0x0a

/** What of a key anybody may see. @throws KithError `USAGE` for a symmetric one. */
export function viewDerived(id: string, { path, type, publicKey }: DerivedKey): DerivedView {
  if (publicKey === undefined)
    throw new KithError('USAGE', 'A symmetric key has no public half to show; kith vault encrypt and decrypt use it.', { next: 'kith vault encrypt --help' })
  return { vault: id, path, type, class: pathClass(path), public_key: toHex(publicKey) }
}

/** Splits what an import is given. @throws KithError `USAGE`, `DECRYPT_FAILED`. */
export function splitImport(body: Secret): { readonly password: Secret; readonly form: EncryptedData } {
  return body.use((bytes) => {
    const end = bytes.indexOf(LINE_FEED)
    if (end < 1) throw new KithError('USAGE', 'An import is a password, a line feed, and the encrypted form.')
    const form = parseEncryptedData(bytes.toString('utf8', end + 1))
    const password = Secret.alloc(end)
    password.fill((target) => bytes.copy(target, 0, 0, end))
    return { password, form }
  })
}
