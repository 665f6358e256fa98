import { equal, utf8 } from '../core/bytes.ts'
import { hkdfSha256 } from '../core/crypto/hash.ts'
import { labeled } from '../core/crypto/labels.ts'
import { isKithError, KithError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import { MAX_AGE_FILE_BYTES, openAge, type SealOptions, sealAge } from './age-file.ts'
import { commitNext, publicKeysOf, wipeSeeds } from './keys.ts'
import { type IdentityContent, packIdentity, unpackIdentity } from './keystore-codec.ts'
import type { ChainEntry } from './types.ts'

/**
 * # An identity in one file
 *
 * ```text
 * age file, sealed by a passphrase      "kith-export" || u8 1 || identity.age's content (with its own version)
 * ```
 *
 * Holds what `identity.age` holds: present and next keys, the phrase, the chain. Never keys of a machine: whoever imports makes new ones. The passphrase is a
 * person's, or one that follows from the recovery phrase, so that the phrase opens it:
 *
 * ```text
 * base64url( HKDF-SHA256(ikm = BIP39 seed, salt = "", info = L("kith/export-key/v1"), 32 bytes) )         43 letters; `age -d` takes them too
 * ```
 */
const MAGIC = utf8('kith-export')
const VERSION = 1
const LABEL = 'kith/export-key/v1'
export const MAX_EXPORT_BYTES: number = MAX_AGE_FILE_BYTES

/** Under the full 256 bits that follow from a phrase stretching is no use. */
export const PHRASE_WORK_FACTOR = 12

/** @param seed the BIP39 seed of the phrase. */
export function exportPassphraseOf(seed: Secret): Secret {
  const key = seed.use((bytes) => hkdfSha256(bytes, new Uint8Array(0), labeled(LABEL), 32))
  try {
    const letters = Secret.alloc(43)
    const text = Buffer.from(Buffer.from(key).toString('base64url'))
    letters.fill((target) => target.set(text))
    text.fill(0)
    return letters
  } finally {
    key.fill(0)
  }
}

export async function sealExport(content: IdentityContent, passphrase: Secret, options: SealOptions): Promise<Uint8Array> {
  const packed = packIdentity(content)
  const whole = Secret.alloc(MAGIC.length + 1 + packed.length)
  whole.fill((target) => {
    target.set(MAGIC)
    target[MAGIC.length] = VERSION
    packed.use((bytes) => target.set(bytes, MAGIC.length + 1))
  })
  packed.wipe()
  try {
    return await sealAge(whole, passphrase, options)
  } finally {
    whole.wipe()
  }
}

/**
 * Opens an export. The caller owns the secrets in it.
 * @throws KithError `PASSPHRASE_WRONG` (also for damage in the header: nothing outside tells the two apart), `KEYSTORE_DAMAGED`, `KEYSTORE_UNSUPPORTED`,
 * `EXPORT_INVALID` when it is something else, or its keys are not those of its chain.
 */
export async function openExport(sealed: Uint8Array, passphrase: Secret): Promise<IdentityContent> {
  const opened = await openAge(sealed, passphrase).catch((error: unknown) => {
    if (!isKithError(error, 'PASSPHRASE_WRONG')) throw error
    throw new KithError('PASSPHRASE_WRONG', 'The passphrase does not open this file, or the first lines of the file are damaged.', {
      next: 'the passphrase it was exported with, or another copy of the file',
      cause: error,
    })
  })
  let packed: Secret
  try {
    packed = opened.use((bytes) => {
      const version = bytes[MAGIC.length]
      if (!equal(bytes.subarray(0, MAGIC.length), MAGIC) || version === undefined) throw invalid('it holds something else')
      if (version !== VERSION) {
        throw new KithError('KEYSTORE_UNSUPPORTED', `the export has version ${version}, which this build does not know`, {
          details: { version },
          next: 'run the version of kith that wrote it, or a newer one',
        })
      }
      if (bytes.length === MAGIC.length + 1) throw invalid('it ends too early')
      const inner = Secret.alloc(bytes.length - MAGIC.length - 1)
      inner.fill((target) => target.set(bytes.subarray(MAGIC.length + 1)))
      return inner
    })
  } finally {
    opened.wipe()
  }
  try {
    return checked(unpackIdentity(packed))
  } finally {
    packed.wipe()
  }
}

/** Keys that are not those of the chain would make a home that peers refuse. */
function checked(content: IdentityContent): IdentityContent {
  const { chain, seeds, next } = content
  const keys = publicKeysOf(seeds)
  const sound = equal(keys.ed25519, chain.keys.ed25519) && equal(commitNext(publicKeysOf(next)), (chain.entries[chain.index] as ChainEntry).next)
  if (sound) return content
  wipeSeeds(seeds)
  wipeSeeds(next)
  content.phrase?.wipe()
  throw invalid('its keys are not those of its chain')
}

function invalid(reason: string): KithError {
  return new KithError('EXPORT_INVALID', `the file is not an exported identity: ${reason}`, { details: { reason }, next: 'kith id export FILE' })
}
