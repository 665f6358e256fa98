import { toHex } from '../../../core/bytes.ts'
import { systemClock } from '../../../core/clock.ts'
import { SealingKey } from '../../../core/crypto/sealed-box.ts'
import { isKithError, KithError } from '../../../core/errors.ts'
import { systemRandom } from '../../../core/random.ts'
import type { Secret } from '../../../core/secret.ts'
import type { ControlClient } from '../../../daemon/control/client.ts'
import { callersWords } from '../../../daemon/control/route.ts'
import type { DerivedView } from '../../../daemon/control/routes/vault-api.ts'
import { checkVaultName, DEFAULT_VAULT, missing, openVaultFile } from '../../../daemon/vault/files.ts'
import { splitImport, viewDerived } from '../../../daemon/vault/forms.ts'
import type { Home } from '../../../identity/home.ts'
import { openIdentity } from '../../../identity/keystore.ts'
import type { EncryptedData } from '../../../vault/encrypted-data.ts'
import type { KeyType } from '../../../vault/key-cache.ts'
import { createVault, type Vault } from '../../../vault/vault.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'
import { findPassphrase, homeView } from '../../passphrase.ts'

/** What the commands do with a vault, wherever it is open. Secrets that come back are the caller's to wipe. */
export interface Desk {
  derive(path: string, type: KeyType | undefined): Promise<DerivedView>
  encrypt(plaintext: Secret, version: number | undefined): Promise<EncryptedData>
  decrypt(data: EncryptedData): Promise<Secret>
  rotate(data: EncryptedData, version: number | undefined): Promise<EncryptedData>
  /** `body`: the password, a line feed, and the JSON of the form. */
  import(body: Secret): Promise<EncryptedData>
  sitePassword(site: string, options: { readonly version?: number; readonly length?: number }): Promise<Secret>
}

/** Works with a vault: the running node's, which must be open, else one opened here for this one time. */
export async function withVault<T>(context: CommandContext, options: Options, run: (desk: Desk) => Promise<T>): Promise<T> {
  const name = checkVaultName(options.text('vault') ?? DEFAULT_VAULT)
  const client = await context.daemon()
  try {
    await client.call('GET /v1/health', {})
  } catch (error) {
    if (!isKithError(error, 'DAEMON_NOT_RUNNING')) throw error
    return await withOwnVault(context, options, name, run)
  }
  return await run(daemonDesk(client, name))
}

function daemonDesk(client: ControlClient, vault: string): Desk {
  const opened = async (ask: (replyKey: string) => Promise<{ readonly sealed: string }>): Promise<Secret> => {
    using key = new SealingKey(systemRandom)
    const { sealed } = await ask(toHex(key.publicKey))
    const secret = key.open(Buffer.from(sealed, 'base64'))
    if (secret === undefined) throw new KithError('CONTROL_FAILED', 'The daemon gave an answer that does not open.', { next: 'kith status' })
    return secret
  }
  return {
    derive: (path, type) => client.call('POST /v1/vault/derive', { vault, path, ...(type === undefined ? {} : { type }) }),
    encrypt: (plaintext, version) => client.callWithSecret('POST /v1/vault/encrypt', { vault, ...versionOf(version) }, plaintext),
    decrypt: (data) => opened((reply_key) => client.call('POST /v1/vault/decrypt', { vault, data, reply_key })),
    rotate: (data, version) => client.call('POST /v1/vault/rotate', { vault, data, ...versionOf(version) }),
    import: (body) => client.callWithSecret('POST /v1/vault/import', { vault }, body),
    sitePassword: (site, options) => opened((reply_key) => client.call('POST /v1/vault/site-password', { vault, site, reply_key, ...options })),
  }
}

function versionOf(version: number | undefined): { readonly key_version?: number } {
  return version === undefined ? {} : { key_version: version }
}

async function withOwnVault<T>(context: CommandContext, options: Options, name: string, run: (desk: Desk) => Promise<T>): Promise<T> {
  const home = await homeView(context.home)
  if (home === undefined) throw new KithError('IDENTITY_MISSING', `There is no identity in ${context.home}.`, { next: 'kith init' })
  const phrase = await readVaultPhrase(context, options, home, name)
  using vault = createVault({ clock: systemClock, id: name })
  try {
    await vault.unlock({ phrase })
  } finally {
    phrase.wipe()
  }
  return await run(ownDesk(vault, name))
}

/** The phrase of a vault, from its file. @throws KithError `VAULT_MISSING`, `PASSPHRASE_WRONG`, `NOT_FOUND` for an identity without a phrase. */
export async function readVaultPhrase(context: CommandContext, options: Options, home: Home, name: string): Promise<Secret> {
  const passphrase = await findPassphrase(context, options)
  try {
    if (name !== DEFAULT_VAULT) return await openVaultFile(home.paths.root, name, passphrase.secret)
    using identity = await openIdentity(home, { passphrase: passphrase.secret })
    const phrase = identity.phrase()
    if (phrase === undefined) throw new KithError('NOT_FOUND', 'This identity was not made from a phrase.', { next: missing('NAME').next ?? '' })
    return phrase
  } finally {
    passphrase.secret.wipe()
  }
}

function ownDesk(vault: Vault, name: string): Desk {
  return {
    derive: async (path, type) => viewDerived(name, vault.derive(path, type === undefined ? {} : { type })),
    encrypt: async (plaintext, version) => vault.encrypt(plaintext, version),
    decrypt: async (data) => vault.decryptSecret(data),
    rotate: (data, version) => callersWords(() => vault.rotate(data, version)),
    import: async (body) => {
      const { password, form } = splitImport(body)
      try {
        return await vault.importEncrypted(form, password)
      } finally {
        password.wipe()
      }
    },
    sitePassword: (site, options) => callersWords(() => vault.sitePassword(site, options)),
  }
}
