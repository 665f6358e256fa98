import { existsSync } from 'node:fs'
import { lstat, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { memoryLocking } from '../../core/secret.ts'
import { version } from '../version.ts'
import { bad, type Check, fine } from './types.ts'

/** No machine that runs this version has an honest clock before this. */
const BUILT_MS = Date.UTC(2026, 0, 1)
const FAR_FUTURE_MS = Date.UTC(2100, 0, 1)
/** Files of the home that are younger than now by more than this show a clock that was set back. */
const TOLERANCE_MS = 600_000

export const checkVersions: Check = async () =>
  fine('versions', `kith ${version()}, node ${process.versions.node}, openssl ${process.versions.openssl ?? 'unknown'}, ${process.platform} ${process.arch}`)

/** Bindings and handshakes carry dates, so a wrong clock shuts a node out. */
export const checkClock: Check = async ({ clock, home, daemon }) => {
  const now = clock.now()
  const next = 'set the clock of this machine (timedatectl set-ntp true)'
  if (now < BUILT_MS || now > FAR_FUTURE_MS) return bad('clock', `the clock says ${new Date(now).toISOString()}, which cannot be`, next)
  const newest = await newestFile(home)
  if (newest > now + TOLERANCE_MS)
    return bad('clock', `a file of this home is from ${new Date(newest).toISOString()}, later than now (${new Date(now).toISOString()})`, next)
  const refused = daemon?.peers.find((peer) => peer.last_error?.code === 'HANDSHAKE_TIMESTAMP')
  if (refused !== undefined) return bad('clock', `this clock and that of ${refused.name ?? refused.did} are too far apart`, next)
  return fine('clock', new Date(now).toISOString())
}

/** Whether secrets can be kept out of swap. */
export const checkMemory: Check = async () => {
  const { ok, detail } = memoryLocking()
  return ok ? fine('memory', detail) : bad('memory', detail, 'raise the limit: ulimit -l unlimited (systemd: LimitMEMLOCK=infinity)')
}

/** Whether the node, or else this process, would leave its memory in a file when it ends badly. Guarded pages are never in it; what the runtime copied is. */
export const checkCoreDumps: Check = async ({ daemon }) => {
  const limits = await readFile(`/proc/${daemon?.pid ?? 'self'}/limits`, 'latin1').catch(() => '')
  const limit = /^Max core file size\s+(\S+)/m.exec(limits)?.[1]
  if (limit === undefined) return fine('core dumps', 'the limit cannot be read on this system')
  if (limit === '0') return fine('core dumps', 'off: nothing of the memory is written when the node ends badly')
  const size = limit === 'unlimited' ? 'of any size' : `up to ${limit} bytes`
  return bad('core dumps', `allowed, ${size}: a node that ends badly leaves parts of its memory in a file`, 'ulimit -c 0 before kith up (systemd: LimitCORE=0)')
}

/** The home is ours and closed to others, file by file. */
export const checkPermissions: Check = async ({ home }) => {
  if (process.platform === 'win32') return fine('permissions', 'guarded by the user’s profile')
  if (!existsSync(home)) return fine('permissions', `${home} is not there yet`)
  const open: string[] = []
  for (const path of [home, ...(await readdir(home)).map((name) => join(home, name))]) {
    const stat = await lstat(path)
    const bits = stat.isDirectory() ? 0o077 : /\.age$|\.db/.test(path) ? 0o077 : 0o022
    if (stat.uid !== process.getuid?.() || (stat.mode & bits) !== 0) open.push(path)
  }
  if (open.length === 0) return fine('permissions', `${home} is closed to other users`)
  return bad('permissions', `open to other users: ${open.join(', ')}`, `chmod -R go-rwx ${home}`)
}

async function newestFile(home: string): Promise<number> {
  try {
    const times = await Promise.all((await readdir(home)).map(async (name) => (await lstat(join(home, name))).mtimeMs))
    return Math.max(0, ...times)
  } catch {
    return 0
  }
}
