import { type FileHandle, open, readdir, rename, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/**
 * Replaces a file so that a reader, or a machine that lost power at any moment, finds the old content or the new, never a mixture:
 * a temporary file beside it is written and synced, renamed over it, and the directory synced.
 */
export async function writeAtomic(path: string, content: Uint8Array): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.${++written}.tmp`)
  try {
    const file = await open(temporary, 'wx', 0o600)
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await unlink(temporary).catch(() => undefined)
    throw error
  }
  await syncDirectory(dirname(path))
}

/** Names of temporary files only have to differ within this process: one process holds a home. */
let written = 0

/** Removes what a killed process left behind. Only the holder of the home's lock may call it. */
export async function removeTemporaries(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (/^\..+\.[0-9]+\.[0-9]+\.tmp$/.test(name)) await unlink(join(directory, name)).catch(() => undefined)
  }
}

/** Makes a rename or a removal durable. Platforms that cannot sync a directory are as durable as they are. */
export async function syncDirectory(path: string): Promise<void> {
  let directory: FileHandle
  try {
    directory = await open(path, 'r')
  } catch {
    return
  }
  try {
    await directory.sync()
  } catch (error) {
    if (process.platform !== 'win32') throw error
  } finally {
    await directory.close()
  }
}
