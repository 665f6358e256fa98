import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { concat, parseUtf8, utf8 } from '../core/bytes.ts'
import type { Store, StoreOp } from '../core/store/types.ts'
import type { Did } from '../identity/did.ts'
import { type FileSource, fileSource } from './blobs.ts'

/**
 * Finds received files by who sent them and what they hold, so that the sender can have them passed on. Only by both: content that came from one peer is never
 * found for another, whatever hash it names.
 *
 * ```text
 * inbox/held   key SHA-256 of the file (32) || DID of the sender   value its name in the inbox
 * ```
 */
const NAMESPACE = 'inbox/held'

/** To be written together with the row of the inbox. */
export function heldRow(from: Did, sha256: Uint8Array, name: string): StoreOp {
  return { type: 'put', ns: NAMESPACE, key: concat(sha256, utf8(from)), value: utf8(name) }
}

/** The file, opened for reading, if it still lies in the inbox as it came. */
export async function openHeld(
  store: Store,
  inbox: string,
  claim: { readonly from: Did; readonly sha256: Uint8Array; readonly size: number },
): Promise<(FileSource & { close(): Promise<void> }) | undefined> {
  const value = await store.get(NAMESPACE, concat(claim.sha256, utf8(claim.from)))
  const name = value === undefined ? undefined : parseUtf8(value)
  if (name === undefined) return undefined
  const file = await open(join(inbox, name), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(() => undefined)
  if (file === undefined) return undefined
  const found = await file.stat()
  if (!found.isFile() || found.size !== claim.size) {
    await file.close()
    return undefined
  }
  const { size, read } = fileSource(file, claim.size)
  return { size, read, close: () => file.close() }
}
