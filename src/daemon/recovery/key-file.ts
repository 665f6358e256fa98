import { unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { equal, utf8 } from '../../core/bytes.ts'
import { parsePublicKey } from '../../core/crypto/ed25519.ts'
import { KithError } from '../../core/errors.ts'
import type { Random } from '../../core/random.ts'
import { Secret } from '../../core/secret.ts'
import { syncDirectory } from '../../identity/atomic-file.ts'
import { type Did, didPublicKey, formatDid } from '../../identity/did.ts'
import type { Home } from '../../identity/home.ts'
import type { KeystoreOptions } from '../../identity/keystore.ts'
import { loadKeyFile, saveKeyFile, sumPath } from '../../identity/keystore-file.ts'

/**
 * # `recovery.age`: the new keys of an identity that is being recovered
 *
 * ```text
 * plaintext = "kith-recovery" || u8 1 || bytes32 did || new phrase to the end            sealed by the passphrase of the home
 * ```
 *
 * The keys follow from the phrase and from the place of the recovery in the history. The file goes when the home has become one of that identity.
 */
const MAGIC = utf8('kith-recovery')
const VERSION = 1
const HEAD = MAGIC.length + 1 + 32
/** 24 words of eight letters. */
const MAX_BYTES = HEAD + 24 * 9

export const RECOVERY_FILE = 'recovery.age'

/** The phrase is the caller's to wipe. */
export interface RecoveryKeys {
  readonly did: Did
  readonly phrase: Secret
}

const pathOf = (home: Pick<Home, 'paths'>): string => join(home.paths.root, RECOVERY_FILE)

/** @throws KithError `KEYSTORE_NOT_SAVED`. */
export async function saveRecoveryKeys(home: Home, keys: RecoveryKeys, options: KeystoreOptions & { readonly random: Random }): Promise<void> {
  const plaintext = packRecoveryKeys(keys)
  try {
    const { random, workFactor } = options
    await saveKeyFile(pathOf(home), plaintext, options.passphrase, workFactor === undefined ? { random } : { random, workFactor })
  } finally {
    plaintext.wipe()
  }
}

/** Undefined when this home recovers nobody. @throws KithError `PASSPHRASE_WRONG`, `KEYSTORE_DAMAGED`, `KEYSTORE_UNSUPPORTED`, `HOME_UNSAFE`. */
export async function loadRecoveryKeys(home: Pick<Home, 'paths'>, passphrase: Secret): Promise<RecoveryKeys | undefined> {
  const plaintext = await loadKeyFile(pathOf(home), passphrase)
  if (plaintext === undefined) return undefined
  try {
    return unpackRecoveryKeys(plaintext)
  } finally {
    plaintext.wipe()
  }
}

export async function removeRecoveryKeys(home: Pick<Home, 'paths'>): Promise<void> {
  for (const path of [pathOf(home), sumPath(pathOf(home))]) {
    await unlink(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
    })
  }
  await syncDirectory(home.paths.root)
}

/** The caller wipes it. */
export function packRecoveryKeys({ did, phrase }: RecoveryKeys): Secret {
  const plaintext = Secret.alloc(HEAD + phrase.length)
  plaintext.fill((target) => {
    target.set(MAGIC)
    target[MAGIC.length] = VERSION
    target.set(didPublicKey(did), MAGIC.length + 1)
    phrase.use((bytes) => target.set(bytes, HEAD))
  })
  return plaintext
}

/** @throws KithError `KEYSTORE_DAMAGED`, `KEYSTORE_UNSUPPORTED`. */
export function unpackRecoveryKeys(plaintext: Secret): RecoveryKeys {
  return plaintext.use((bytes) => {
    if (bytes.length <= HEAD || bytes.length > MAX_BYTES || !equal(bytes.subarray(0, MAGIC.length), MAGIC)) throw damaged()
    if (bytes[MAGIC.length] !== VERSION) {
      throw new KithError('KEYSTORE_UNSUPPORTED', `the file has version ${bytes[MAGIC.length]}, which this build does not know`, { next: 'kith --version' })
    }
    const did = didOf(Uint8Array.from(bytes.subarray(MAGIC.length + 1, HEAD)))
    const phrase = Secret.alloc(bytes.length - HEAD)
    phrase.fill((target) => target.set(bytes.subarray(HEAD)))
    return { did, phrase }
  })
}

function didOf(key: Uint8Array): Did {
  try {
    return formatDid(parsePublicKey(key))
  } catch (cause) {
    throw damaged(cause)
  }
}

function damaged(cause?: unknown): KithError {
  return new KithError('KEYSTORE_DAMAGED', 'the file of a recovery opens but its content is not understood', { cause })
}
