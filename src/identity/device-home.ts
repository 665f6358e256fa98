import { unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { equal } from '../core/bytes.ts'
import { bytes, type Codec, constant, decode, encode, struct } from '../core/codec.ts'
import { publicKeyOfSeed } from '../core/crypto/ed25519.ts'
import { isKithError, KithError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import { MAX_AGE_FILE_BYTES } from './age-file.ts'
import { syncDirectory, writeAtomic } from './atomic-file.ts'
import { decodeBinding, MAX_BINDING_BYTES, verifyBinding } from './binding.ts'
import { MAX_CHAIN_BYTES } from './chain-codec.ts'
import { decodeChainState, encodeChainState } from './chain-store.ts'
import { encodeDeviceDocument, verifyDeviceDocument } from './device-document.ts'
import { type DeviceRoster, decodeRoster, encodeRoster } from './device-roster.ts'
import { type Home, readPrivateFile } from './home.ts'
import { type DeviceContent, type PendingContent, packPending, unpackPending } from './keystore-codec.ts'
import { loadKeyFile, saveKeyFile, sumPath } from './keystore-file.ts'
import type { ChainState } from './types.ts'

/**
 * # Files of a machine and of its fellows
 *
 * ```text
 * pending.age .sum     keys of this machine while it waits for its grant; gone once that was taken. Never in a backup
 * identity.elsewhere   this home has a device.age and means to have no identity.age: the identity is on another machine
 * device.papers        a newer binding and chain than device.age has; public, so that a renewal needs no passphrase
 * devices.doc          what the identity's device documents say together (`device-roster.ts`); public and signed
 * ```
 */
const MAX_ROSTER_BYTES = 1 << 20
const MARK = Buffer.from("The keys of this machine's identity are on another machine: kith id device\n")

interface Papers {
  readonly _version: undefined
  readonly binding: Uint8Array
  readonly chain: Uint8Array
}

const papersCodec: Codec<Papers> = struct<Papers>({ _version: constant(1), binding: bytes(MAX_BINDING_BYTES), chain: bytes(MAX_CHAIN_BYTES + 16 * 1024) })

type Place = Pick<Home, 'paths'>

const fileOf = ({ paths }: Place, name: string): string => join(paths.root, name)
const pendingPath = (home: Place): string => fileOf(home, 'pending.age')

/** Whether this machine belongs to an identity whose keys are on another one. */
export async function isDeviceOnly(home: Place): Promise<boolean> {
  if ((await readPrivateFile(fileOf(home, 'identity.elsewhere'), 1024)) === undefined) return false
  if ((await readPrivateFile(home.paths.identity, MAX_AGE_FILE_BYTES)) !== undefined) return false
  return (await readPrivateFile(home.paths.device, MAX_AGE_FILE_BYTES)) !== undefined
}

/** What is said where the identity would be needed. */
export async function identityMissing(home: Place): Promise<KithError> {
  if (!(await isDeviceOnly(home))) {
    const details = { path: home.paths.identity }
    if (!(await hasPending(home))) return new KithError('IDENTITY_MISSING', undefined, { details, next: 'kith init' })
    return new KithError('IDENTITY_MISSING', 'This machine asks to belong to an identity, and the grant is not here yet.', {
      details,
      next: 'kith id device add --grant FILE',
    })
  }
  return new KithError('IDENTITY_MISSING', 'The keys of this identity are on another machine, and this needs them.', {
    details: { path: home.paths.identity },
    next: 'run this on the machine that holds the identity',
  })
}

/** Written before the keys, so that they are never without it. */
export async function markDeviceOnly(home: Place): Promise<void> {
  await writeAtomic(fileOf(home, 'identity.elsewhere'), MARK)
}

/** Whether this home waits for a grant. */
export async function hasPending(home: Place): Promise<boolean> {
  return (await readPrivateFile(pendingPath(home), MAX_AGE_FILE_BYTES)) !== undefined
}

/** @throws KithError as `loadKeyFile`. Absent: `undefined`. The caller wipes what it gets. */
export async function loadPending(home: Place, passphrase: Secret): Promise<PendingContent | undefined> {
  const plaintext = await loadKeyFile(pendingPath(home), passphrase)
  if (plaintext === undefined) return undefined
  try {
    return unpackPending(plaintext)
  } finally {
    plaintext.wipe()
  }
}

export async function savePending(home: Place, content: PendingContent, passphrase: Secret, options: Parameters<typeof saveKeyFile>[3]): Promise<void> {
  const plaintext = packPending(content)
  try {
    await saveKeyFile(pendingPath(home), plaintext, passphrase, options)
  } finally {
    plaintext.wipe()
  }
}

export async function removePending(home: Place): Promise<void> {
  for (const path of [pendingPath(home), sumPath(pendingPath(home))]) await unlink(path).catch(absent)
  await syncDirectory(home.paths.root)
}

/** Keeps a renewed binding beside the keys. */
export async function savePapers(home: Place, { binding, chain }: { readonly binding: Uint8Array; readonly chain: ChainState }): Promise<void> {
  await writeAtomic(fileOf(home, 'device.papers'), encode(papersCodec, { _version: undefined, binding, chain: encodeChainState(chain) }))
}

/** A newer binding than the key file's, for the same keys; anything else there is passed over: the key file has the last word. */
export async function newerPapers(
  home: Place,
  content: Omit<DeviceContent, 'root'>,
): Promise<Pick<DeviceContent, 'binding' | 'chain' | 'serial' | 'name'> | undefined> {
  const stored = await readPrivateFile(fileOf(home, 'device.papers'), papersCodec.max)
  if (stored === undefined) return undefined
  try {
    const papers = decode(papersCodec, stored)
    const chain = decodeChainState(papers.chain)
    const { did, linkKey, serial, name, notBeforeMs } = decodeBinding(papers.binding)
    if (did !== content.chain.did || serial <= content.serial || chain.index < content.chain.index) return undefined
    if (!equal(linkKey, publicKeyOfSeed(content.seeds.ed25519))) return undefined
    verifyBinding(papers.binding, { chain, now: notBeforeMs })
    return { binding: papers.binding, chain, serial, name }
  } catch (error) {
    if (isKithError(error)) return undefined
    throw error
  }
}

/**
 * The own identity's machines, as last known here. The list is verified again: the file is not sealed.
 * @throws KithError `DEVICE_DOCUMENT_INVALID`, `WIRE_MALFORMED` when it was damaged.
 */
export async function loadRoster(home: Place, { chain, now }: { readonly chain: ChainState; readonly now: number }): Promise<DeviceRoster | undefined> {
  const stored = await readPrivateFile(fileOf(home, 'devices.doc'), MAX_ROSTER_BYTES)
  const roster = stored === undefined ? undefined : decodeRoster(stored)
  if (roster === undefined) return undefined
  try {
    // Keys that signed an older one may have been given up since: what it revoked stays revoked, and the next document says it again.
    if (!chain.entries.slice(roster.latest.chainIndex + 1).some(({ reason, kind }) => reason === 'compromised' || kind === 'recover')) {
      verifyDeviceDocument(encodeDeviceDocument(roster.latest), { chain, now })
    }
    return roster
  } catch (error) {
    if (!isKithError(error)) throw error
    throw new KithError(error.code, error.message, {
      details: error.details,
      next: `remove ${fileOf(home, 'devices.doc')}: peers keep what was revoked`,
      cause: error,
    })
  }
}

/** The same without looking at signatures, which takes the chain: for showing only. `undefined` when it cannot be read. */
export async function readRoster(home: Place): Promise<DeviceRoster | undefined> {
  const stored = await readPrivateFile(fileOf(home, 'devices.doc'), MAX_ROSTER_BYTES)
  try {
    return stored === undefined ? undefined : decodeRoster(stored)
  } catch (error) {
    if (isKithError(error)) return undefined
    throw error
  }
}

export async function saveRoster(home: Place, roster: DeviceRoster): Promise<void> {
  await writeAtomic(fileOf(home, 'devices.doc'), encodeRoster(roster))
}

async function absent(error: NodeJS.ErrnoException): Promise<void> {
  if (error.code !== 'ENOENT') throw error
}
