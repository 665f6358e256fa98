import { Decrypter, Encrypter, type Identity, type Recipient } from 'age-encryption'
import { utf8 } from '../core/bytes.ts'
import { TAG_BYTES } from '../core/crypto/aead.ts'
import { hkdfSha256 } from '../core/crypto/hash.ts'
import { isKithError, KithError } from '../core/errors.ts'
import { type KeyLease, leaseKey } from '../core/key-slab.ts'
import type { Random } from '../core/random.ts'
import { CheckIdentity, CheckRecipient } from './container-recipients.ts'

/**
 * The header of an age file, written and parsed by the age library and authenticated by its MAC; what follows it is `container-stream.ts`.
 *
 * ```text
 * age-encryption.org/v1
 * -> ...                      one stanza per recipient, and our check
 * --- <MAC>
 * nonce(16)                   payload key = HKDF-SHA-256(file key, salt = nonce, "payload")
 * ```
 */
export const NONCE_BYTES = 16
/** 64 stanzas of the common kinds have 10 KiB. */
export const MAX_HEADER_BYTES = 65_536
const INTRO = utf8('age-encryption.org/v1\n')
const MAC_LINE = Buffer.from('\n--- ')
const KEY_BYTES = 32

export interface ContainerRecipients {
  /** Whoever holds one of their keys opens the container. A passphrase stands alone, as the format asks. */
  readonly recipients: readonly Recipient[]
  /** The only recipient is a passphrase. */
  readonly passphrase?: boolean
  readonly random: Random
}

/** A header with its nonce, and the key of the payload, which the caller releases. */
export async function sealHeader({ recipients, passphrase, random }: ContainerRecipients): Promise<{ header: Uint8Array; key: KeyLease }> {
  if (recipients.length === 0) throw new TypeError('a container has a recipient')
  const key = leaseKey(KEY_BYTES)
  const nonce = random.bytes(NONCE_BYTES)
  const encrypter = new Encrypter()
  let fileKey: Uint8Array | undefined
  encrypter.addRecipient({
    wrapFileKey: async (given) => {
      fileKey = given
      return []
    },
  })
  const all = passphrase === true ? recipients : new CheckRecipient(recipients, random).all
  for (const recipient of all) encrypter.addRecipient(recipient)
  try {
    // The library writes the header for an empty payload (nonce and one empty chunk), which is then replaced.
    const empty = await encrypter.encrypt(new Uint8Array(0))
    const header = empty.slice(0, empty.length - TAG_BYTES)
    header.set(nonce, header.length - NONCE_BYTES)
    payloadKey(fileKey as Uint8Array, nonce, key)
    return { header, key }
  } catch (error) {
    key.release()
    throw error
  } finally {
    fileKey?.fill(0)
  }
}

/** Where the header with its nonce ends in the first bytes of a file. `undefined`: more bytes are needed. @throws KithError `BACKUP_INVALID`, `BACKUP_DAMAGED`. */
export function headerEnd(head: Buffer): number | undefined {
  const compared = Math.min(head.length, INTRO.length)
  if (!head.subarray(0, compared).equals(INTRO.subarray(0, compared))) {
    throw new KithError('BACKUP_INVALID', 'this is not an age file', { details: { reason: 'not age' }, next: 'kith snapshot list' })
  }
  const mac = head.indexOf(MAC_LINE)
  const line = mac < 0 ? -1 : head.indexOf(0x0a, mac + MAC_LINE.length)
  if (line >= 0 && line + 1 + NONCE_BYTES <= MAX_HEADER_BYTES) return head.length < line + 1 + NONCE_BYTES ? undefined : line + 1 + NONCE_BYTES
  if (head.length >= MAX_HEADER_BYTES) throw damagedHeader('its header has no end')
  return undefined
}

/** What a header tells before any key is tried. */
export interface HeaderLook {
  /** It was sealed with a passphrase, not to keys. */
  readonly passphrase: boolean
}

/** @throws KithError `BACKUP_DAMAGED` for a header that does not parse or does not match its check. */
export async function lookAtHeader(header: Uint8Array): Promise<HeaderLook> {
  const check = new CheckIdentity()
  const decrypter = new Decrypter()
  decrypter.addIdentity(check)
  try {
    await decrypter.decryptHeader(header.slice(0, header.length - NONCE_BYTES))
  } catch (error) {
    if (isKithError(error)) throw error
    // Nobody's key was given: getting as far as missing it means that the header parses.
    if (!(error instanceof Error && error.message.startsWith('no identity matched'))) throw damagedHeader('its header is not understood', error)
  }
  if (check.intact === false) throw damagedHeader('bytes of its header changed')
  return { passphrase: check.passphrase }
}

/** The key of the payload; the caller releases it. @throws KithError `BACKUP_KEY_WRONG`, `BACKUP_DAMAGED`, and what an identity throws. */
export async function openHeader(header: Uint8Array, identities: readonly Identity[]): Promise<KeyLease> {
  const { passphrase } = await lookAtHeader(header)
  const decrypter = new Decrypter()
  let opened = false
  for (const identity of identities) {
    decrypter.addIdentity({
      unwrapFileKey: async (stanzas) => {
        const fileKey = await identity.unwrapFileKey(stanzas)
        opened ||= fileKey !== null
        return fileKey
      },
    })
  }
  let fileKey: Uint8Array
  try {
    fileKey = await decrypter.decryptHeader(header.slice(0, header.length - NONCE_BYTES))
  } catch (error) {
    if (isKithError(error)) throw error
    if (opened) throw damagedHeader('its header does not verify', error)
    throw wrongKey(passphrase)
  }
  const key = leaseKey(KEY_BYTES)
  payloadKey(fileKey, header.subarray(header.length - NONCE_BYTES), key)
  fileKey.fill(0)
  return key
}

function payloadKey(fileKey: Uint8Array, nonce: Uint8Array, target: KeyLease): void {
  const derived = hkdfSha256(fileKey, nonce, utf8('payload'), KEY_BYTES)
  target.bytes.set(derived)
  derived.fill(0)
}

function wrongKey(passphrase: boolean): KithError {
  return passphrase
    ? new KithError('BACKUP_KEY_WRONG', 'this passphrase does not open the backup, or its first lines are damaged', {
        details: { sealed: 'passphrase' },
        next: 'try again with the passphrase it was made with, or another copy of the file',
      })
    : new KithError('BACKUP_KEY_WRONG', 'the backup was not sealed to this phrase or key', {
        details: { sealed: 'keys' },
        next: 'give the recovery phrase of its node, or a key that was named with --recipient: --key-file FILE',
      })
}

function damagedHeader(reason: string, cause?: unknown): KithError {
  return new KithError('BACKUP_DAMAGED', `the backup is damaged: ${reason}`, { details: { reason, at: 0 }, next: 'use another copy of the file', cause })
}
