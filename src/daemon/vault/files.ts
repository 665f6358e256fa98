import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { utf8 } from '../../core/bytes.ts'
import { encode, uint53 } from '../../core/codec.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import { makeFolder } from '../../core/make-folder.ts'
import type { Random } from '../../core/random.ts'
import { Secret } from '../../core/secret.ts'
import type { KeyFileContent } from '../../identity/key-change.ts'
import { loadKeyFile, saveKeyFile } from '../../identity/keystore-file.ts'
import { parsePhrase } from '../../vault/bip39.ts'

/**
 * # Vaults of a home beside the identity's own
 *
 * ```text
 * HOME/vaults/NAME.age  .sum       age, by a passphrase:  "kith-vault" || u8 1 || u64 created_ms || the phrase, UTF-8
 * ```
 *
 * The vault `default` has no file: its phrase is the identity's, in `identity.age`.
 */
export const DEFAULT_VAULT = 'default'
const DIRECTORY = 'vaults'
const NAME = /^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/
const MAGIC = utf8('kith-vault')
const VERSION = 1
const PREFIX_BYTES: number = MAGIC.length + 1 + 8
/** Each unlocked one holds locked memory. */
export const MAX_VAULTS = 64

/** @throws KithError `USAGE` for anything but 1 to 32 small letters, digits and inner hyphens. */
export function checkVaultName(name: string): string {
  if (NAME.test(name)) return name
  throw new KithError('USAGE', 'A vault is named by 1 to 32 small letters, digits and hyphens between them.', { next: 'kith vault status' })
}

/** Names of the vaults that have a file, sorted. */
export async function listVaultFiles(root: string): Promise<readonly string[]> {
  const directory = join(root, DIRECTORY)
  if (!existsSync(directory)) return []
  const names = (await readdir(directory)).filter((file) => file.endsWith('.age')).map((file) => file.slice(0, -'.age'.length))
  return names
    .filter((name) => NAME.test(name) && name !== DEFAULT_VAULT)
    .sort()
    .slice(0, MAX_VAULTS)
}

export function vaultFile(root: string, name: string): string {
  return join(root, DIRECTORY, `${checkVaultName(name)}.age`)
}

/**
 * Seals the phrase of a new vault. Both secrets stay the caller's.
 * @throws KithError `VAULT_EXISTS`, `USAGE` for the name or too many vaults, `KEYSTORE_NOT_SAVED`.
 */
export async function createVaultFile(
  root: string,
  name: string,
  phrase: Secret,
  passphrase: Secret,
  options: { readonly random: Random; readonly nowMs: number; readonly workFactor?: number },
): Promise<void> {
  const path = vaultFile(root, name)
  if (name === DEFAULT_VAULT || existsSync(path))
    throw new KithError('VAULT_EXISTS', undefined, { details: { vault: name }, next: `kith vault unlock ${name}` })
  if ((await listVaultFiles(root)).length >= MAX_VAULTS) throw new KithError('USAGE', `A home has at most ${MAX_VAULTS} vaults.`, { next: 'kith vault status' })
  makeFolder(join(root, DIRECTORY))
  const plaintext = pack(phrase, options.nowMs)
  try {
    await saveKeyFile(path, plaintext, passphrase, {
      random: options.random,
      ...(options.workFactor === undefined ? {} : { workFactor: options.workFactor }),
    })
  } finally {
    plaintext.wipe()
  }
}

/**
 * The phrase of a vault, which the caller wipes.
 * @throws KithError `VAULT_MISSING`, `PASSPHRASE_WRONG`, `KEYSTORE_DAMAGED`, `KEYSTORE_UNSUPPORTED`.
 */
export async function openVaultFile(root: string, name: string, passphrase: Secret): Promise<Secret> {
  const plaintext = await loadKeyFile(vaultFile(root, name), passphrase)
  if (plaintext === undefined) throw missing(name)
  try {
    return unpack(plaintext)
  } finally {
    plaintext.wipe()
  }
}

export function missing(name: string): KithError {
  return new KithError('VAULT_MISSING', undefined, { details: { vault: name }, next: `kith vault unlock ${name} --new` })
}

/** The vaults that `passphrase` opens, for a change of the passphrase: those with one of their own are left as they are. The caller wipes the plaintexts. */
export async function vaultKeyFiles(root: string, passphrase: Secret): Promise<readonly KeyFileContent[]> {
  const files: KeyFileContent[] = []
  for (const name of await listVaultFiles(root)) {
    try {
      const plaintext = await loadKeyFile(vaultFile(root, name), passphrase)
      if (plaintext !== undefined) files.push({ name: `${DIRECTORY}/${name}.age`, plaintext })
    } catch (error) {
      if (!isKithError(error, 'PASSPHRASE_WRONG') && !isKithError(error, 'KEYSTORE_DAMAGED') && !isKithError(error, 'KEYSTORE_UNSUPPORTED')) throw error
    }
  }
  return files
}

function pack(phrase: Secret, nowMs: number): Secret {
  const whole = Secret.alloc(PREFIX_BYTES + phrase.length)
  whole.fill((target) => {
    target.set(MAGIC)
    target[MAGIC.length] = VERSION
    target.set(encode(uint53, nowMs), MAGIC.length + 1)
    phrase.use((bytes) => target.set(bytes, PREFIX_BYTES))
  })
  return whole
}

function unpack(plaintext: Secret): Secret {
  return plaintext.use((bytes) => {
    if (bytes.length <= PREFIX_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw damaged()
    if (bytes[MAGIC.length] !== VERSION)
      throw new KithError('KEYSTORE_UNSUPPORTED', 'the vault was written by a newer version', { next: 'run the version of kith that wrote it, or a newer one' })
    const words = Secret.alloc(bytes.length - PREFIX_BYTES)
    try {
      words.fill((target) => bytes.copy(target, 0, PREFIX_BYTES))
      return parsePhrase(words)
    } catch (cause) {
      throw damaged(cause)
    } finally {
      words.wipe()
    }
  })
}

function damaged(cause?: unknown): KithError {
  return new KithError('KEYSTORE_DAMAGED', 'the vault opens but its content is not understood', { cause, next: 'restore it from its phrase' })
}
