import { fromHex, toHex } from '../../core/bytes.ts'
import { signLabeled, verifyLabeled } from '../../core/crypto/labels.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import { decodeBinding, verifyBinding } from '../../identity/binding.ts'
import { adoptChain } from '../../identity/chain.ts'
import { decodeChainState, encodeChainState } from '../../identity/chain-store.ts'
import type { ChainState, Device } from '../../identity/types.ts'
import type { BackupHeader, Seal } from './format.ts'

const LABEL = 'icn/backup-seal/v1'

/** Signs what was written, so that nobody who merely knows the recipients can make a backup of this identity. */
export function sealBackup(device: Device, digest: Uint8Array): Seal {
  return {
    binding: toHex(device.binding),
    chain: toHex(encodeChainState(device.chain)),
    signature: toHex(signLabeled(device.linkSigner, LABEL, digest)),
  }
}

/**
 * Holds a seal against what was read.
 * @returns the identity's chain as the maker knew it; `undefined` for a home that had no identity.
 * @throws KithError `BACKUP_FORGED`.
 */
export function checkSeal(seal: Seal | undefined, header: BackupHeader, digest: Uint8Array): ChainState | undefined {
  if (seal === undefined) {
    if (header.did === null) return undefined
    throw forged('it is not signed')
  }
  try {
    const chain = readChain(fromHex(seal.chain), header.created_ms)
    if (chain.did !== header.did) throw forged('its seal is of another identity')
    const bytes = fromHex(seal.binding)
    const { notBeforeMs, notAfterMs } = decodeBinding(bytes)
    // Whether the papers had run out when it was made says nothing about who made it.
    const now = Math.min(Math.max(header.created_ms, notBeforeMs), notAfterMs - 1)
    const { linkKey } = verifyBinding(bytes, { chain, now })
    if (!verifyLabeled(linkKey, fromHex(seal.signature), LABEL, digest)) throw forged('its signature does not verify')
    return chain
  } catch (cause) {
    if (isKithError(cause, 'BACKUP_FORGED')) throw cause
    throw forged('the papers of its maker do not verify', cause)
  }
}

/** Every entry is verified again. What trustees signed can only be verified with their chains, which peers will ask for anyway. */
function readChain(encoded: Uint8Array, now: number): ChainState {
  const stored = decodeChainState(encoded)
  if (stored.entries.some(({ kind }) => kind === 'recover')) return stored
  adoptChain(undefined, stored.entries, { now: Math.max(now, ...stored.adoptedMs) })
  return stored
}

function forged(reason: string, cause?: unknown): KithError {
  return new KithError('BACKUP_FORGED', `the backup cannot be relied on: ${reason}`, {
    details: { reason },
    next: 'do not restore this file; ask whoever gave it to you',
    cause,
  })
}
