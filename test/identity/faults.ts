import fs from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'

/** What every call behind the moment of death throws. */
export class Killed extends Error {}

/**
 * Runs something while the file system fails from a certain step on. Steps are the calls that change what is on the disk: opening for writing, writing, syncing,
 * renaming, removing.
 *
 * `kill`: the step is done half (a write writes half of its bytes), and nothing after it happens: the disk is as after SIGKILL. `full`: whatever needs room
 * fails with ENOSPC; renaming and removing still work, as on a real disk.
 * @returns how many steps there were, and what the work threw.
 */
export async function withFault(mode: 'kill' | 'full', at: number, run: () => Promise<unknown>): Promise<{ steps: number; error: unknown }> {
  const { open, rename, unlink } = fs.promises
  let step = 0
  const reached = (): 'before' | 'now' | 'after' => (++step < at ? 'before' : step === at ? 'now' : 'after')
  const full = (): Error => Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
  const change = <A extends unknown[], R>(call: (...args: A) => Promise<R>, needsRoom: boolean) => {
    return async (...args: A): Promise<R> => {
      const when = reached()
      if (when === 'before') return await call(...args)
      if (mode === 'kill') throw new Killed()
      if (needsRoom) throw full()
      return await call(...args)
    }
  }
  fs.promises.rename = change(rename, false) as typeof rename
  fs.promises.unlink = change(unlink, false) as typeof unlink
  fs.promises.open = (async (path: string, flags: string, modeBits?: number) => {
    if (flags === 'r') return await open(path, flags)
    const handle = await change(() => open(path, flags, modeBits), true)()
    return faulty(handle)
  }) as typeof open
  const faulty = (handle: FileHandle): FileHandle => {
    const { writeFile, sync } = handle
    handle.sync = change(sync.bind(handle), true)
    handle.writeFile = (async (content: Uint8Array) => {
      const when = reached()
      if (when === 'now') await writeFile.call(handle, content.subarray(0, content.length >> 1))
      if (when !== 'before') throw mode === 'kill' ? new Killed() : full()
      return await writeFile.call(handle, content)
    }) as FileHandle['writeFile']
    return handle
  }
  syncBuiltinESMExports()
  let error: unknown
  try {
    await run()
  } catch (caught) {
    error = caught
  } finally {
    Object.assign(fs.promises, { open, rename, unlink })
    syncBuiltinESMExports()
  }
  return { steps: step, error }
}
