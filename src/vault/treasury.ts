import { createCipheriv, createDecipheriv } from 'node:crypto'
import { concat, equal, type PublicKey, utf8 } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { bytesN, type Codec, decode, encode, struct, text, u8, uint53 } from '../core/codec.ts'
import { isPublicKey, publicKeyOfSeed, randomSeed } from '../core/crypto/ed25519.ts'
import { isKithError, KithError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'
import { Secret } from '../core/secret.ts'
import type { Store } from '../core/store/types.ts'
import { TREASURY } from './paths.ts'
import type { Vault } from './vault.ts'

/**
 * # Treasury keys
 *
 * Each a fresh random Ed25519 seed: never derived, least of all from anything public, and not in the recovery phrase. Kept in the store, sealed with a key of the
 * vault that seals nothing else, so that what decrypts for other purposes never opens one.
 *
 * ```text
 * row = u8 version=1 || text name || public key(32) || u64 created_ms || iv(12) || ciphertext(32) || tag(16)
 *       AES-256-GCM, key m/74'/2'/2'/0', associated data = "icn/treasury-key/v1" || everything before iv
 * ```
 *
 * Not exportable: nothing that a running node offers gives a seed out. `exportTreasuryKey` is for the command line, which works on the files of a stopped node.
 */
export interface TreasuryInfo {
  /** 1 to 64 lower-case letters, digits, dots, dashes and underscores. */
  readonly name: string
  readonly publicKey: PublicKey
  readonly createdMs: number
}

const NAMESPACE = 'vault/treasury'
const LABEL: Uint8Array = utf8('icn/treasury-key/v1')
const VERSION = 1
const CIPHER = 'aes-256-gcm'
const IV_BYTES = 12
const SEED_BYTES = 32
const TAG_BYTES = 16
export const MAX_TREASURIES = 256
const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/

interface Head {
  readonly version: number
  readonly name: string
  readonly publicKey: Uint8Array
  readonly createdMs: number
}

interface Row {
  readonly head: Head
  readonly sealed: Uint8Array
}

const headCodec: Codec<Head> = struct<Head>({ version: u8, name: text(64), publicKey: bytesN(32), createdMs: uint53 })
const rowCodec: Codec<Row> = struct<Row>({ head: headCodec, sealed: bytesN(IV_BYTES + SEED_BYTES + TAG_BYTES) })

export interface TreasuryOptions {
  readonly store: Store
  readonly vault: Vault
  readonly clock: Clock
  readonly random: Random
}

/** @throws KithError `USAGE` for the name or too many, `VAULT_LOCKED`, `STORE_FAILED`. */
export async function createTreasury({ store, vault, clock, random }: TreasuryOptions, name: string): Promise<TreasuryInfo> {
  const key = placeOf(name)
  if ((await store.get(NAMESPACE, key)) !== undefined)
    throw new KithError('USAGE', `There is a treasury named ${name} already.`, { next: 'kith vault treasury list' })
  if ((await listTreasuries(store)).length >= MAX_TREASURIES)
    throw new KithError('USAGE', `There are ${MAX_TREASURIES} treasuries already.`, { next: 'kith vault treasury list' })
  const seed = randomSeed(random)
  try {
    const publicKey = publicKeyOfSeed(seed)
    const head = { version: VERSION, name, publicKey, createdMs: Math.max(0, Math.floor(clock.now())) }
    await store.put(NAMESPACE, key, encode(rowCodec, { head, sealed: seal(vault, head, seed, random) }))
    return infoOf(head)
  } finally {
    seed.wipe()
  }
}

/** Needs no unlocked vault. @throws KithError `KEYSTORE_DAMAGED`, `STORE_FAILED`. */
export async function listTreasuries(store: Store): Promise<readonly TreasuryInfo[]> {
  const found: TreasuryInfo[] = []
  for await (const { value } of store.scan(NAMESPACE, { limit: MAX_TREASURIES })) found.push(infoOf(decodeTreasury(value).head))
  return found
}

/**
 * The seed, which the caller wipes.
 * @throws KithError `NOT_FOUND`, `VAULT_LOCKED`, `KEYSTORE_DAMAGED` when it does not open or is not the seed of its public key.
 */
export async function exportTreasuryKey({ store, vault }: Pick<TreasuryOptions, 'store' | 'vault'>, name: string): Promise<Secret> {
  const value = await store.get(NAMESPACE, placeOf(name))
  if (value === undefined) throw new KithError('NOT_FOUND', `There is no treasury named ${name}.`, { details: { name }, next: 'kith vault treasury list' })
  const { head, sealed } = decodeTreasury(value)
  const seed = open(vault, head, sealed)
  if (head.name === name && equal(publicKeyOfSeed(seed), head.publicKey)) return seed
  seed.wipe()
  throw damaged('it is not the key of this treasury')
}

/** One row of the store. @throws KithError `KEYSTORE_DAMAGED`. */
export function decodeTreasury(value: Uint8Array): Row {
  try {
    const row = decode(rowCodec, value)
    if (row.head.version !== VERSION || !NAME.test(row.head.name) || !isPublicKey(row.head.publicKey)) throw damaged('it is of no form that this version knows')
    return row
  } catch (error) {
    if (isKithError(error, 'WIRE_MALFORMED')) throw damaged('its bytes changed', error)
    throw error
  }
}

function seal(vault: Vault, head: Head, seed: Secret, random: Random): Uint8Array {
  const iv = random.bytes(IV_BYTES)
  return keyOf(vault).use((key) => {
    const cipher = createCipheriv(CIPHER, key, iv)
    cipher.setAAD(bound(head))
    const text = seed.use((bytes) => cipher.update(bytes))
    cipher.final()
    return concat(iv, text, cipher.getAuthTag())
  })
}

function open(vault: Vault, head: Head, sealed: Uint8Array): Secret {
  const key = keyOf(vault)
  const iv = sealed.subarray(0, IV_BYTES)
  const tag = sealed.subarray(IV_BYTES + SEED_BYTES)
  try {
    return key.use((bytes) => {
      const decipher = createDecipheriv(CIPHER, bytes, iv, { authTagLength: TAG_BYTES })
      decipher.setAAD(bound(head))
      decipher.setAuthTag(tag)
      const seed = Secret.take(decipher.update(sealed.subarray(IV_BYTES, IV_BYTES + SEED_BYTES)))
      try {
        decipher.final()
        return seed
      } catch (error) {
        seed.wipe()
        throw error
      }
    })
  } catch (error) {
    if (isKithError(error)) throw error
    throw damaged('it does not open with the key of this vault', error)
  }
}

/** The vault's own copy: it is wiped with the vault. */
function keyOf(vault: Vault): Secret {
  return vault.derive(TREASURY, { type: 'aes256', who: 'treasury' }).privateKey
}

function bound(head: Head): Uint8Array {
  return concat(LABEL, encode(headCodec, head))
}

function placeOf(name: string): Uint8Array {
  if (NAME.test(name)) return utf8(name)
  throw new KithError('USAGE', 'A treasury is named with 1 to 64 lower-case letters, digits, dots, dashes and underscores.', {
    next: 'kith vault treasury --help',
  })
}

function infoOf({ name, publicKey, createdMs }: Head): TreasuryInfo {
  return { name, publicKey: publicKey as PublicKey, createdMs }
}

function damaged(reason: string, cause?: unknown): KithError {
  return new KithError('KEYSTORE_DAMAGED', `A stored treasury key is damaged: ${reason}.`, {
    details: { reason },
    next: 'put back a backup of the home: kith restore FILE',
    cause,
  })
}
