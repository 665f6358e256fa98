import { readdir, rename, unlink } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { KithError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import type { SealOptions } from './age-file.ts'
import { syncDirectory, writeAtomic } from './atomic-file.ts'
import { notSaved, replaceByStaged, stagedPath, stageKeyFile } from './keystore-file.ts'
import { readPrivateFile } from './private-file.ts'

/**
 * # Several key files changed as one
 *
 * A new passphrase seals every key file of a home anew. Cut in between, some would open by the old one and some by the new one. So:
 *
 * ```text
 * 1. every NAME.age.new is written and proven to open                    cut here: the old passphrase opens everything; leftovers are removed
 * 2. keys.change is written: which files, with their checksums           from here on the new passphrase opens everything
 * 3. each file is replaced, a kept passphrase moved or removed
 * 4. keys.change is removed                                              cut before: `finishKeyChange` does 3 and 4 when the home is next taken
 * ```
 *
 * Going on needs no passphrase. `keys.change` holds nothing secret: {"version":1,"files":[{"name","sum"}],"move":[from,to]?,"remove":[path]?}.
 */
const JOURNAL = 'keys.change'
const MAX_JOURNAL_BYTES = 65_536
/** Key files lie in the home or one directory below. */
const NAME = /^(?:[a-z][a-z0-9-]{0,31}\/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.age$/
const STATE_FILE = /^[0-9a-f]{32}\.(?:passphrase(?:\.new)?|sealed\.json)$/

interface Journal {
  readonly version: 1
  readonly files: readonly { readonly name: string; readonly sum: string }[]
  readonly move?: readonly [from: string, to: string]
  readonly remove?: readonly string[]
}

export interface KeyFileContent {
  /** Relative to the home, as `device.age`. */
  readonly name: string
  /** Stays the caller's. */
  readonly plaintext: Secret
}

export interface KeyChangeOptions extends SealOptions {
  /** The passphrase kept outside the home that takes effect with the change: [staged, final] path. */
  readonly move?: readonly [from: string, to: string]
  /** What is kept outside the home of the passphrase that ends with it. */
  readonly remove?: readonly string[]
}

/**
 * Seals all of these files by one passphrase, all or none.
 * @throws KithError `KEYSTORE_NOT_SAVED`: everything is as it was.
 */
export async function changeKeyFiles(root: string, files: readonly KeyFileContent[], passphrase: Secret, options: KeyChangeOptions): Promise<void> {
  const { move, remove, ...seal } = options
  const staged: { name: string; sum: string }[] = []
  try {
    for (const { name, plaintext } of files) {
      if (!NAME.test(name)) throw new TypeError(`not the name of a key file: ${name}`)
      staged.push({ name, sum: await stageKeyFile(join(root, name), plaintext, passphrase, seal) })
    }
    const journal: Journal = { version: 1, files: staged, ...(move === undefined ? {} : { move }), ...(remove === undefined ? {} : { remove }) }
    await writeAtomic(join(root, JOURNAL), Buffer.from(`${JSON.stringify(journal)}\n`))
  } catch (error) {
    for (const { name } of staged) await unlink(stagedPath(join(root, name))).catch(() => undefined)
    if (error instanceof KithError || error instanceof TypeError) throw error
    throw notSaved(join(root, JOURNAL), error)
  }
  await finishKeyChange(root)
}

/**
 * Ends a change that was cut: goes on where `keys.change` stands, else removes what was only prepared. Only the holder of the home's lock may call it.
 * @throws KithError `KEYSTORE_DAMAGED` when `keys.change` is not what is written there, `KEYSTORE_NOT_SAVED` when the disk is full; try again later.
 */
export async function finishKeyChange(root: string): Promise<void> {
  const path = join(root, JOURNAL)
  const journal = await readJournal(path)
  if (journal === undefined) return await removeStaged(root)
  try {
    // The kept passphrase goes first: from here on every opening is by the new one.
    if (journal.move !== undefined) await rename(...journal.move).catch(ignoreMissing)
    for (const { name, sum } of journal.files) await replaceByStaged(join(root, name), sum)
    for (const kept of journal.remove ?? []) await unlink(kept).catch(ignoreMissing)
    await unlink(path)
    await syncDirectory(root)
  } catch (error) {
    throw notSaved(path, error)
  }
}

async function readJournal(path: string): Promise<Journal | undefined> {
  const bytes = await readPrivateFile(path, MAX_JOURNAL_BYTES)
  if (bytes === undefined) return undefined
  try {
    const value = JSON.parse(Buffer.from(bytes).toString('utf8')) as Partial<Journal>
    if (value.version === 1 && Array.isArray(value.files) && value.files.every(isFile) && isMove(value.move) && areKept(value.remove)) return value as Journal
  } catch {}
  throw new KithError('KEYSTORE_DAMAGED', 'the note of a change of the key files is damaged', {
    details: { path },
    next: `mv ${path} ${path}.damaged, then open the keys with the old or the new passphrase`,
  })
}

function isFile(value: unknown): boolean {
  const { name, sum } = (value ?? {}) as { name?: unknown; sum?: unknown }
  return typeof name === 'string' && NAME.test(name) && typeof sum === 'string' && /^[0-9a-f]{64}$/.test(sum)
}

/** A home may come from elsewhere: its note must not move or remove anything but passphrases that are kept for homes. */
function isKept(path: unknown): boolean {
  return typeof path === 'string' && STATE_FILE.test(basename(path))
}

function areKept(paths: unknown): boolean {
  return paths === undefined || (Array.isArray(paths) && paths.length <= 2 && paths.every(isKept))
}

function isMove(value: unknown): boolean {
  return value === undefined || (Array.isArray(value) && value.length === 2 && value.every(isKept))
}

/** Leftovers of what never took effect. */
async function removeStaged(root: string): Promise<void> {
  for (const directory of [root, join(root, 'vaults')]) {
    for (const entry of await readdir(directory, { withFileTypes: true }).catch(() => [])) {
      if (entry.isFile() && entry.name.endsWith('.age.new')) await unlink(join(directory, entry.name)).catch(() => undefined)
    }
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error
}
