import { lstat, mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { KithError } from '../core/errors.ts'
import { makeFolder } from '../core/make-folder.ts'
import { syncDirectory, writeAtomic } from './atomic-file.ts'
import { readPrivateFile } from './private-file.ts'

/**
 * # The content of a home replaced as one
 *
 * ```text
 * HOME/.restore-ID/new/        1. the new content is put together here, and synced          cut here: it is removed, the home is as it was
 * HOME/.restore-ID/commit      2. this note is written                                      from here on the new content counts
 * HOME/safety/NAME/            3. what was there is moved here, then the new content to its place
 *                              4. .restore-ID is removed                                    cut before: `finishSwitch` does 3 and 4 when the home is next taken
 * ```
 *
 * Every move is a rename within the home, so it needs no room and works where the home is a file system of its own. What is done already is seen by where things lie.
 * The note holds names only: {"version":1,"safety":NAME|null,"old":[names],"new":[names]}.
 */
const STAGE = /^\.restore-[0-9a-f]{16}$/
/** Copies of a store for a backup under way. */
const COPY = /^\.backup-[0-9a-f]{16}$/
const COMMIT = 'commit'
const NEW = 'new'
export const SAFETY = 'safety'
const MAX_NOTE_BYTES = 1 << 20
const MAX_NAMES = 10_000

interface Note {
  readonly version: 1
  readonly safety: string | null
  readonly old: readonly string[]
  readonly new: readonly string[]
}

/** Where the new content of a home is put together; `id` has 16 hexadecimal digits. */
export async function openSwitch(root: string, id: string): Promise<string> {
  const stage = join(root, `.restore-${id}`)
  if (!STAGE.test(`.restore-${id}`)) throw new TypeError('the name of a stage has 16 hexadecimal digits')
  await mkdir(stage, { mode: 0o700 })
  await mkdir(join(stage, NEW), { mode: 0o700 })
  return join(stage, NEW)
}

/**
 * Puts the new content into its place; `old` names what makes room for it and is kept below `safety/`. From when this has begun, it also happens after a kill.
 * Only the holder of the home's lock may call it.
 */
export async function switchHome(root: string, id: string, safety: string, old: readonly string[]): Promise<void> {
  const stage = join(root, `.restore-${id}`)
  const names = await readdir(join(stage, NEW))
  const note: Note = { version: 1, safety: old.length === 0 ? null : safety, old, new: names }
  if (!isNote(note)) throw new TypeError('a name that cannot be switched')
  await syncDirectory(join(stage, NEW))
  await writeAtomic(join(stage, COMMIT), Buffer.from(`${JSON.stringify(note)}\n`))
  await syncDirectory(root)
  await apply(root, stage, note)
}

/**
 * Ends a switch that was cut, or removes what was only prepared. Only the holder of the home's lock may call it.
 * @throws KithError `STORE_FAILED` when the note of a switch is damaged: nothing is touched then.
 */
export async function finishSwitch(root: string): Promise<void> {
  for (const name of await readdir(root)) {
    if (COPY.test(name)) await rm(join(root, name), { recursive: true, force: true })
    if (!STAGE.test(name)) continue
    const stage = join(root, name)
    const note = await readNote(join(stage, COMMIT))
    if (note === undefined) await rm(stage, { recursive: true, force: true })
    else await apply(root, stage, note)
  }
}

async function apply(root: string, stage: string, note: Note): Promise<void> {
  if (note.safety !== null) {
    const safety = join(root, SAFETY, note.safety)
    makeFolder(safety)
    for (const name of note.old) if (!(await exists(join(safety, name)))) await moveIfThere(join(root, name), join(safety, name))
    await syncDirectory(safety)
    await syncDirectory(join(root, SAFETY))
    await syncDirectory(root)
  }
  for (const name of note.new) await moveIfThere(join(stage, NEW, name), join(root, name))
  await syncDirectory(root)
  await rm(join(stage, NEW), { recursive: true, force: true })
  await rm(stage, { recursive: true, force: true })
  await syncDirectory(root)
}

async function moveIfThere(from: string, to: string): Promise<void> {
  await rename(from, to).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
}

async function exists(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    () => false,
  )
}

async function readNote(path: string): Promise<Note | undefined> {
  const bytes = await readPrivateFile(path, MAX_NOTE_BYTES)
  if (bytes === undefined) return undefined
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'))
    if (isNote(value)) return value
  } catch {}
  throw new KithError('STORE_FAILED', 'the note of a restore that was cut is damaged', {
    details: { path },
    next: `move ${path} away: the home is then as it was`,
  })
}

/** A home may come from elsewhere: its note must not move anything but what lies directly in it. */
function isNote(value: unknown): value is Note {
  const { version, safety, old, new: names } = (value ?? {}) as Record<string, unknown>
  return version === 1 && (safety === null || isName(safety)) && isNames(old) && isNames(names)
}

function isNames(value: unknown): boolean {
  return Array.isArray(value) && value.length <= MAX_NAMES && value.every(isName)
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value !== '.' && value !== '..' && !/[/\\\0]/.test(value) && value !== SAFETY
}
