import { lstatSync } from 'node:fs'
import { unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { utf8 } from '../../core/bytes.ts'
import { openOnce, sealOnce, TAG_BYTES } from '../../core/crypto/aead.ts'
import { labeled } from '../../core/crypto/labels.ts'
import { KithError } from '../../core/errors.ts'
import { makeFolder } from '../../core/make-folder.ts'
import type { Random } from '../../core/random.ts'
import { Secret } from '../../core/secret.ts'
import { writeAtomic } from '../atomic-file.ts'
import { readPrivateFile } from '../private-file.ts'
import { statePath } from '../state-directory.ts'
import { lookUpInKeyring, removeFromKeyring, storeInKeyring } from './keyring.ts'
import { MAX_PCR, SEAL_AGAIN, sealByTpm, type TpmSealed, unsealByTpm } from './tpm.ts'

/**
 * # A passphrase that the machine gives by itself
 *
 * ```text
 * STATE/HOME-ID.sealed.json   { version: 1, home, kind: "tpm" | "keyring", random, box, tpm? }
 * key   32 random bytes, used once: in the keyring, or sealed by the TPM
 * box   ChaCha20-Poly1305( key, L("kith/sealed/v1") || home || kind, passphrase )
 * ```
 *
 * Neither the file nor the place of the key alone gives anything away, and neither is in the home, so no copy of it carries them.
 */
export type SealKind = 'tpm' | 'keyring'

export interface Sealed {
  readonly home: string
  readonly kind: SealKind
  /** The passphrase is random: nobody knows it, unless its recovery file was kept. */
  readonly random: boolean
  readonly box: Uint8Array
  readonly tpm: TpmSealed | undefined
}

type HomeName = { readonly id: string }

const KEY_BYTES = 32
const MAX_FILE_BYTES = 32 * 1024
/** Of a passphrase, as everywhere. */
const MAX_PASSPHRASE_BYTES = 4096
/** Of one part that the TPM made. */
const MAX_PART_BYTES = 4096

/** `undefined` when nothing is sealed for this home. @throws KithError `SEAL_INVALID`, `HOME_UNSAFE`. */
export async function loadSealed(home: HomeName, environment: NodeJS.ProcessEnv): Promise<Sealed | undefined> {
  const bytes = await readPrivateFile(statePath(home.id, 'sealed.json', environment), MAX_FILE_BYTES)
  if (bytes === undefined) return undefined
  const sealed = parseSealed(Buffer.from(bytes).toString('utf8'))
  if (sealed.home !== home.id) throw damaged('it is of another home')
  return sealed
}

export function isSealed(home: HomeName, environment: NodeJS.ProcessEnv): boolean {
  return lstatSync(statePath(home.id, 'sealed.json', environment), { throwIfNoEntry: false }) !== undefined
}

/** The passphrase, from where it is sealed. The caller wipes it. @throws KithError `SEAL_BROKEN`, `SEAL_INVALID`, `SEAL_UNAVAILABLE`. */
export async function unseal(sealed: Sealed, environment: NodeJS.ProcessEnv): Promise<Secret> {
  using key = sealed.tpm === undefined ? await lookUpInKeyring(sealed.home, environment) : await unsealByTpm(sealed.tpm, environment)
  const opened = openOnce(key, associated(sealed.home, sealed.kind), sealed.box)
  if (opened === undefined) throw damaged('the key does not open it')
  return Secret.take(opened)
}

export interface SealOptions {
  readonly environment: NodeJS.ProcessEnv
  readonly random: Random
  /** Whether the passphrase is random. */
  readonly unknown: boolean
}

/**
 * Seals a passphrase, tries whether it comes back, and only then puts it in the place of what was sealed before. The passphrase stays the caller's.
 * @throws KithError `SEAL_UNAVAILABLE`, `SEAL_INVALID`.
 */
export async function seal(home: HomeName, passphrase: Secret, where: { readonly pcrs: readonly number[] } | 'keyring', options: SealOptions): Promise<Sealed> {
  const { environment, random, unknown } = options
  const kind = where === 'keyring' ? 'keyring' : 'tpm'
  using key = Secret.random(KEY_BYTES, random)
  const box = passphrase.use((bytes) => sealOnce(key, associated(home.id, kind), bytes))
  const tpm = where === 'keyring' ? undefined : await sealByTpm(key, where.pcrs, environment)
  if (tpm === undefined) await storeInKeyring(home.id, key, environment)
  const sealed: Sealed = { home: home.id, kind, random: unknown, box, tpm }
  const back = await unseal(sealed, environment)
  const same = back.equals(passphrase)
  back.wipe()
  if (!same) throw damaged('what comes back is not what was sealed')
  const path = statePath(home.id, 'sealed.json', environment)
  makeFolder(dirname(path))
  await writeAtomic(path, Buffer.from(formatSealed(sealed)))
  return sealed
}

/** From now on nothing is sealed. Nothing to forget is fine. */
export async function forgetSealed(home: HomeName, environment: NodeJS.ProcessEnv): Promise<void> {
  const path = statePath(home.id, 'sealed.json', environment)
  // Damaged or not: a file that is of no use is removed, and the keyring is asked to forget only where it may know something.
  const kind = await loadSealed(home, environment).then(
    (sealed) => sealed?.kind,
    () => undefined,
  )
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
  if (kind === 'keyring') await removeFromKeyring(home.id, environment).catch(() => undefined)
}

export function formatSealed({ home, kind, random, box, tpm }: Sealed): string {
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
  const part = tpm === undefined ? {} : { tpm: { pcrs: tpm.pcrs, values: tpm.values, public: base64(tpm.publicPart), private: base64(tpm.privatePart) } }
  return `${JSON.stringify({ version: 1, home, kind, random, box: base64(box), ...part }, null, 2)}\n`
}

/** @throws KithError `SEAL_INVALID` for anything that `formatSealed` does not write. */
export function parseSealed(text: string): Sealed {
  const { version, home, kind, random, box, tpm } = parseObject(text)
  if (version !== 1) throw damaged('it is of another version')
  if (typeof home !== 'string' || !/^[0-9a-f]{32}$/.test(home)) throw damaged('home')
  if ((kind !== 'tpm' && kind !== 'keyring') || typeof random !== 'boolean') throw damaged('kind')
  const sealed = { home, kind, random, box: bytesOf(box, TAG_BYTES + 1, MAX_PASSPHRASE_BYTES + TAG_BYTES) } as const
  if ((tpm !== undefined) !== (kind === 'tpm')) throw damaged('kind')
  return { ...sealed, tpm: tpm === undefined ? undefined : parseTpm(tpm) }
}

function parseTpm(value: unknown): TpmSealed {
  if (typeof value !== 'object' || value === null) throw damaged('tpm')
  const { pcrs, values, public: publicPart, private: privatePart } = value as { readonly [name: string]: unknown }
  const isPcr = (pcr: unknown, i: number, all: readonly unknown[]): boolean =>
    Number.isInteger(pcr) && (pcr as number) >= 0 && (pcr as number) <= MAX_PCR && (i === 0 || (all[i - 1] as number) < (pcr as number))
  if (!Array.isArray(pcrs) || pcrs.length === 0 || !pcrs.every(isPcr)) throw damaged('pcrs')
  if (!Array.isArray(values) || values.length !== pcrs.length || !values.every((digest) => typeof digest === 'string' && /^[0-9a-f]{64}$/.test(digest))) {
    throw damaged('values')
  }
  return { pcrs, values, publicPart: bytesOf(publicPart, 1, MAX_PART_BYTES), privatePart: bytesOf(privatePart, 1, MAX_PART_BYTES) }
}

function parseObject(text: string): { readonly [name: string]: unknown } {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value as { readonly [name: string]: unknown }
  } catch {}
  throw damaged('it is no JSON object')
}

/** Canonical base64 of `least` to `most` bytes. */
function bytesOf(value: unknown, least: number, most: number): Uint8Array {
  if (typeof value !== 'string' || value.length > Math.ceil(most / 3) * 4) throw damaged('base64')
  const bytes = Buffer.from(value, 'base64')
  if (bytes.toString('base64') !== value || bytes.length < least || bytes.length > most) throw damaged('base64')
  return Uint8Array.from(bytes)
}

function associated(home: string, kind: SealKind): Uint8Array {
  return labeled('kith/sealed/v1', utf8(`${home} ${kind}`))
}

function damaged(reason: string): KithError {
  return new KithError('SEAL_INVALID', `what was sealed is not used: ${reason}`, { details: { reason }, next: SEAL_AGAIN })
}
