import fs from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'

/** What every call behind the moment of death throws. */
export class Killed extends Error {}

/**
 * Runs something while the file system fails from a certain step on; steps are the calls that change what is on the disk. `kill`: nothing happens any more, as after
 * SIGKILL. `full`: what needs room fails, renaming and removing still work.
 * @returns how many steps there were, and what the work threw.
 */
export async function withFault(mode: 'kill' | 'full', at: number, run: () => Promise<unknown>): Promise<{ steps: number; error: unknown }> {
  const { open, rename, unlink, rm, mkdir } = fs.promises
  let step = 0
  const full = (): Error => Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
  const change = <A extends readonly unknown[], R>(call: (...args: A) => Promise<R>, needsRoom: boolean) => {
    return async (...args: A): Promise<R> => {
      if (++step < at) return await call(...args)
      if (mode === 'kill') throw new Killed()
      if (needsRoom) throw full()
      return await call(...args)
    }
  }
  const faulty = (handle: FileHandle): FileHandle => {
    handle.sync = change(handle.sync.bind(handle), true)
    handle.writeFile = change(handle.writeFile.bind(handle), true) as FileHandle['writeFile']
    handle.write = change(handle.write.bind(handle) as (...args: unknown[]) => Promise<unknown>, true) as FileHandle['write']
    return handle
  }
  fs.promises.rename = change(rename, false)
  fs.promises.unlink = change(unlink, false)
  fs.promises.rm = change(rm, false) as typeof rm
  fs.promises.mkdir = change(mkdir as (...args: unknown[]) => Promise<string | undefined>, true) as typeof mkdir
  fs.promises.open = (async (path: string, flags = 'r', bits?: number) => {
    if (flags === 'r') return await open(path, flags)
    return faulty(await change(() => open(path, flags, bits), true)())
  }) as typeof open
  syncBuiltinESMExports()
  let error: unknown
  try {
    await run()
  } catch (caught) {
    error = caught
  } finally {
    Object.assign(fs.promises, { open, rename, unlink, rm, mkdir })
    syncBuiltinESMExports()
  }
  return { steps: step, error }
}
