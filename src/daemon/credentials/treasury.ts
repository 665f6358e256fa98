import { constants } from 'node:fs'
import { open, unlink } from 'node:fs/promises'
import { systemClock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { Audit } from '../../core/observe/audit.ts'
import { systemRandom } from '../../core/random.ts'
import type { Secret } from '../../core/secret.ts'
import type { Store } from '../../core/store/types.ts'
import { formatDid } from '../../identity/did.ts'
import type { Passphrase } from '../../identity/passphrase.ts'
import { ed25519Pem } from '../../vault/pkcs8.ts'
import { createTreasury, exportTreasuryKey, listTreasuries, type TreasuryInfo, type TreasuryOptions } from '../../vault/treasury.ts'
import { type OfflineVault, withOfflineVault } from './offline.ts'

export interface TreasuryView {
  readonly name: string
  readonly did: string
  /** RFC 3339. */
  readonly created_at: string
}

/** Makes a treasury key and notes it. @throws as `createTreasury`. */
export async function makeTreasury(options: TreasuryOptions, audit: Audit, name: string): Promise<TreasuryView> {
  const view = viewOf(await createTreasury(options, name))
  await audit.append({ actor: 'owner', action: 'treasury.create', subject: name, reason: '', details: { did: view.did } })
  return view
}

export async function viewTreasuries(store: Store): Promise<readonly TreasuryView[]> {
  return (await listTreasuries(store)).map(viewOf)
}

/** As `makeTreasury`, on the files of a home while no node runs. */
export async function makeTreasuryOffline(directory: string, passphrase: Passphrase, name: string): Promise<TreasuryView> {
  return await withOfflineVault(directory, passphrase, ({ vault, store, audit }) =>
    makeTreasury({ store, vault, clock: systemClock, random: systemRandom }, audit, name),
  )
}

export async function viewTreasuriesOffline(directory: string, passphrase: Passphrase): Promise<readonly TreasuryView[]> {
  return await withOfflineVault(directory, passphrase, ({ store }) => viewTreasuries(store))
}

/**
 * Writes a treasury's private key to a new file (0600, PKCS#8). Only here, on the files of a stopped node: no route of a running one reaches this.
 * It is noted before the file is written, so that no key leaves unnoted.
 * @throws KithError `HOME_IN_USE` while a node runs, `NOT_FOUND`, `FILE_EXISTS`, `PASSPHRASE_WRONG`.
 */
export async function exportTreasury(directory: string, passphrase: Passphrase, name: string, path: string): Promise<void> {
  await withOfflineVault(directory, passphrase, async (opened) => {
    const pem = await pemOf(opened, name)
    try {
      await opened.audit.append({ actor: 'owner', action: 'treasury.export', subject: name, reason: 'the private key left the vault' })
      await writeNew(path, pem)
    } finally {
      pem.wipe()
    }
  })
}

async function pemOf({ store, vault }: OfflineVault, name: string): Promise<Secret> {
  const seed = await exportTreasuryKey({ store, vault }, name)
  try {
    return ed25519Pem(seed)
  } finally {
    seed.wipe()
  }
}

/** Never over something that is there, and nothing half-written stays. */
async function writeNew(path: string, content: Secret): Promise<void> {
  const file = await open(path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'EEXIST') throw new KithError('FILE_EXISTS', `${path} is there already.`, { details: { path }, next: 'name another with --out', cause })
    throw new KithError('STORE_FAILED', `${path} cannot be written: ${cause.code ?? 'unknown reason'}.`, {
      details: { path },
      next: 'name another folder with --out',
      cause,
    })
  })
  const copy = content.use((bytes) => Buffer.from(bytes))
  try {
    await file.writeFile(copy)
    await file.sync()
  } catch (cause) {
    await unlink(path).catch(() => undefined)
    throw new KithError('STORE_FAILED', `${path} cannot be written.`, {
      details: { path },
      next: 'name a file on another disk with --out; nothing was left there',
      cause,
    })
  } finally {
    copy.fill(0)
    await file.close()
  }
}

function viewOf({ name, publicKey, createdMs }: TreasuryInfo): TreasuryView {
  return { name, did: formatDid(publicKey), created_at: new Date(createdMs).toISOString() }
}
