import { type FileHandle, link, open, readdir, rename, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/**
 * Replaces a file so that a reader, or a machine that lost power at any moment, finds the old content or the new, never a mixture:
 * a temporary file beside it is written and synced, renamed over it, and the directory synced.
 */
export async function writeAtomic(path: string, content: Uint8Array): Promise<void> {
  const temporary = temporaryOf(path)
  try {
    await writeSynced(temporary, content)
    await rename(temporary, path)
  } catch (error) {
    await unlink(temporary).catch(() => undefined)
    throw error
  }
  await syncDirectory(dirname(path))
}

/** Names of temporary files only have to differ within this process: one process holds a home. */
let written = 0

function temporaryOf(path: string): string {
  return join(dirname(path), `.${basename(path)}.${process.pid}.${++written}.tmp`)
}

async function writeSynced(path: string, content: Uint8Array): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
}

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

/**
 * Writes a file that must not exist yet: whole or not at all, 0600.
 * @throws the system's error, with code `EEXIST` when something of that name is there.
 */
export async function writeNew(path: string, content: Uint8Array): Promise<void> {
  const temporary = temporaryOf(path)
  try {
    await writeSynced(temporary, content)
    await linkNew(temporary, path)
  } finally {
    await unlink(temporary).catch(() => undefined)
  }
  await syncDirectory(dirname(path))
}

/** A second name for the file fails where the name is taken, which a renaming does not. File systems of memory sticks have no second names. */
async function linkNew(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'ENOSYS' && code !== 'EOPNOTSUPP') throw error
    const reserved = await open(path, 'wx', 0o600)
    await reserved.close()
    await rename(temporary, path)
  }
}
