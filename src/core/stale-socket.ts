import { once } from 'node:events'
import { lstat, unlink } from 'node:fs/promises'
import { connect } from 'node:net'

/**
 * Makes way for a listener at a socket file: one that nobody answers on was left by a process that was killed, and is removed.
 * @returns what is in the way and was left as it is: `other` is no socket, `live` is one that somebody answers on; undefined when nothing is there now.
 */
export async function removeStaleSocket(path: string): Promise<'other' | 'live' | undefined> {
  const stat = await lstat(path).catch(() => undefined)
  if (stat === undefined) return undefined
  if (!stat.isSocket()) return 'other'
  const probe = connect(path)
  try {
    await once(probe, 'connect')
  } catch {
    await unlink(path)
    return undefined
  } finally {
    probe.destroy()
  }
  return 'live'
}
