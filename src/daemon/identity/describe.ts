import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { toHex } from '../../core/bytes.ts'
import { writeAtomic } from '../../identity/atomic-file.ts'
import { readPrivateFile } from '../../identity/home.ts'
import { spareDirectory } from '../../identity/spare.ts'
import type { ChainState, Device } from '../../identity/types.ts'
import type { PassphraseMode } from '../status.ts'
import { keysSinceMs } from './key-age.ts'

/** What anybody at this machine may know of its identity. Nothing secret. */
export interface IdentitySummary {
  readonly did: string
  readonly name: string
  /** The machine's link key, 64 hexadecimal digits. */
  readonly link_key: string
  readonly chain: { readonly index: number; readonly head: string }
  /** Since when the identity signs with its keys; absent in what older versions wrote. */
  readonly keys_since?: string
  readonly binding_expires_at: string
  /** Rises with each binding. */
  readonly serial: number
  readonly passphrase: PassphraseMode
}

export interface ChainEntryView {
  readonly index: number
  readonly kind: string
  readonly reason: string
  readonly time: string
  /** The generation's Ed25519 key, 64 hexadecimal digits. */
  readonly key: string
  readonly post_quantum: boolean
  /** Commitment to the next keys. */
  readonly next: string
  readonly hash: string
}

/** The device as opened from its file: `serial` is known only there. */
export type DescribedDevice = Device & { readonly serial: number }

export function describeDevice(device: DescribedDevice, passphrase: PassphraseMode): IdentitySummary {
  return {
    did: device.did,
    name: device.name,
    link_key: toHex(device.linkSigner.publicKey),
    chain: { index: device.chain.index, head: toHex(device.chain.head) },
    keys_since: new Date(keysSinceMs(device.chain)).toISOString(),
    binding_expires_at: new Date(device.bindingExpires).toISOString(),
    serial: device.serial,
    passphrase,
  }
}

export function describeChain(chain: ChainState): readonly ChainEntryView[] {
  return chain.entries.map((entry) => ({
    index: entry.index,
    kind: entry.kind,
    reason: entry.reason,
    time: new Date(entry.timeMs).toISOString(),
    key: toHex(entry.keys.ed25519),
    post_quantum: entry.keys.mldsa !== undefined,
    next: toHex(entry.next),
    hash: toHex(entry.hash),
  }))
}

const FILE = 'identity.json'
const MAX_FILE_BYTES = 65_536

/** The note says which identity was opened last, wherever that one's files lie (`identity/spare.ts`): it stands where people look for it. */
function homeOf(root: string): string {
  const home = dirname(root)
  return spareDirectory(home) === root && existsSync(join(home, 'kith.lock')) ? home : root
}

/** Keeps the summary beside the keys, so that asking for the DID needs no passphrase. It decides nothing. */
export async function saveSummary(home: string, summary: IdentitySummary): Promise<void> {
  await writeAtomic(join(homeOf(home), FILE), Buffer.from(`${JSON.stringify(summary, null, 2)}\n`))
}

/** `undefined` when it is missing or not what this version writes. */
export async function loadSummary(home: string): Promise<IdentitySummary | undefined> {
  const bytes = await readPrivateFile(join(homeOf(home), FILE), MAX_FILE_BYTES)
  if (bytes === undefined) return undefined
  try {
    const value = JSON.parse(Buffer.from(bytes).toString('utf8')) as Partial<IdentitySummary>
    return typeof value.did === 'string' && typeof value.name === 'string' && typeof value.link_key === 'string' ? (value as IdentitySummary) : undefined
  } catch {
    return undefined
  }
}
