import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { isKithError } from '../../core/errors.ts'
import { checkEntryName } from '../../vault/container-tar.ts'

/**
 * What of a home is in its backups: everything but what belongs to one machine or one run.
 *
 * ```text
 * never    device.age and what else holds keys or papers of this machine · id (what is kept outside the home hangs on it) · boot · lock, pid · control/ · log/
 *          identity.json, .sum (made anew) · snapshots/ · safety/ · everything that begins with a dot · links, sockets, pipes
 * ```
 */
const NEVER_FILES: readonly RegExp[] = [
  /^device\./,
  /^pending\./,
  /^identity\.(json|elsewhere)$/,
  /^(id|boot|backup\.json|keys\.change)$/,
  /^kith\.(lock|pid)/,
  /^kith\.db/,
  /^kith-(backup|manifest)\.json$/,
  /\.(sum|new|tmp|unopened|sock)$/,
]
/** Of a second keystore (`identity/spare.ts`): a backup of it is to look like any other. Older backups of one have them. */
const SPARE_FILES: ReadonlySet<string> = new Set(['note.age', 'mark'])
const NEVER_FOLDERS: ReadonlySet<string> = new Set(['control', 'log', 'snapshots', 'safety'])
export const STORE_NAME = 'kith.db'
const MAX_DEPTH = 8
/** Namespaces of the store that are never in a backup and never survive a restore: one-time keys of a machine, and tickets that a copy would make good again. */
export const NEVER_NAMESPACES: readonly string[] = ['mail/prekey', 'mesh/invites']

export interface HomeFile {
  /** In the backup. */
  readonly name: string
  readonly path: string
  readonly size: number
  /** When it was last written, ms since the epoch. */
  readonly mtimeMs: number
}

export interface HomeContents {
  readonly files: readonly HomeFile[]
  /** Files whose names no backup carries. */
  readonly leftOut: readonly string[]
}

/** Whether a file of this name belongs into a backup, and may come out of one. The store's own name does; its file is copied by other means. */
export function belongs(name: string): boolean {
  const parts = name.split('/')
  const [first = ''] = parts
  if (name === STORE_NAME) return true
  if (parts.some((part) => part.startsWith('.'))) return false
  if (parts.length > 1) return !NEVER_FOLDERS.has(first) && (first === 'inbox' || !/\.(sum|new|tmp)$/.test(name))
  return !NEVER_FILES.some((pattern) => pattern.test(name)) && !NEVER_FOLDERS.has(name)
}

/** Key files by their names: what else is called .age is a file as any other, such as a backup that somebody left in the home. */
const KEY_FILE = /^(?:(?:identity|identity-throw-away|recovery)\.age|vaults\/[^/]+\.age)$/
/** More than any key file has. */
export const MAX_KEY_FILE_BYTES: number = 2 << 20

/** A key file: sealed by the passphrase of the home. */
export function isKeyFile(name: string): boolean {
  return KEY_FILE.test(name)
}

/** Files of a home that a backup takes as they stand, without the store; in order of their names. */
export async function homeContents(root: string): Promise<HomeContents> {
  const files: HomeFile[] = []
  const leftOut: string[] = []
  const walk = async (folder: string, depth: number): Promise<void> => {
    for (const entry of (await readdir(join(root, folder), { withFileTypes: true })).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const name = folder === '' ? entry.name : `${folder}/${entry.name}`
      if (name === STORE_NAME || SPARE_FILES.has(name) || !belongs(name)) continue
      if (entry.isDirectory() && depth < MAX_DEPTH) await walk(name, depth + 1)
      if (!entry.isFile()) continue
      const path = join(root, name)
      // Taken out of the inbox since.
      const info = await lstat(path).catch(() => undefined)
      if (info === undefined) continue
      if (isName(name)) files.push({ name, path, size: info.size, mtimeMs: Math.max(0, info.mtimeMs) })
      else leftOut.push(name)
    }
  }
  await walk('', 1)
  return { files, leftOut }
}

function isName(name: string): boolean {
  try {
    checkEntryName(name)
    return true
  } catch (error) {
    if (isKithError(error, 'BACKUP_UNSAFE')) return false
    throw error
  }
}
