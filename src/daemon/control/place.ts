import { createHash } from 'node:crypto'
import { chmod, lstat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { KithError } from '../../core/errors.ts'
import { makeFolder } from '../../core/make-folder.ts'

/** Where the control socket of a home is, and the token that opens it. */
export interface ControlPlace {
  /** Path of the unix socket, or how the name of the pipe begins on Windows. */
  readonly socket: string
  readonly token: string
}

/** The kernel's `sun_path` holds 108 bytes with its final zero; macOS has 104. */
const MAX_SOCKET_BYTES = 103

/**
 * `HOME/control/control.sock` and `HOME/control/token`. A home with a long path keeps its socket in a directory of the user's own under `/tmp`, named by a
 * digest of the home, because the kernel's limit for socket paths is short. Both sides compute this from the home alone: nothing is searched and no
 * environment variable can lead them apart. `home` is absolute and free of links.
 */
export function controlPlace(home: string): ControlPlace {
  const token = join(home, 'control', 'token')
  const digest = createHash('sha256').update(home).digest('hex').slice(0, 32)
  if (process.platform === 'win32') return { socket: `\\\\.\\pipe\\kith-${digest}`, token }
  const socket = join(home, 'control', 'control.sock')
  if (Buffer.byteLength(socket) <= MAX_SOCKET_BYTES) return { socket, token }
  return { socket: join('/tmp', `kith-${process.getuid?.() ?? 0}-${digest.slice(0, 16)}`, 'control.sock'), token }
}

/**
 * What is listened on and connected to. The name of a pipe on Windows belongs to whoever opens it first; one that only readers of the token can foretell is
 * not taken before the node has it, so that nobody else is ever told the token or a passphrase.
 */
export function endpointOf(place: ControlPlace, token: string, platform: NodeJS.Platform = process.platform): string {
  if (platform !== 'win32') return place.socket
  return `${place.socket}-${createHash('sha256').update(`kith-control-pipe ${token}`).digest('hex').slice(0, 32)}`
}

/**
 * Makes the directory of a socket or token: 0700, ours, no symbolic link.
 * @throws KithError `HOME_UNSAFE` when another user could have put it there.
 */
export async function privateDirectory(path: string): Promise<void> {
  makeFolder(path)
  if (process.platform === 'win32') return
  const stat = await lstat(path)
  if (!stat.isDirectory() || stat.uid !== process.getuid?.()) {
    throw new KithError('HOME_UNSAFE', `${path} is not a directory of this user.`, { details: { path }, next: `rm ${path}` })
  }
  if ((stat.mode & 0o077) !== 0) await chmod(path, 0o700)
}

/** Daemon's side: makes the directories of socket and token. */
export async function prepareControlPlace(place: ControlPlace): Promise<void> {
  await privateDirectory(dirname(place.token))
  if (process.platform !== 'win32') await privateDirectory(dirname(place.socket))
}

/**
 * Client's side: a socket in a directory of somebody else is never spoken to, whatever it would answer.
 * @throws KithError `DAEMON_NOT_RUNNING` when the directory is not there; `HOME_UNSAFE` when it is not ours alone.
 */
export async function checkControlPlace(place: ControlPlace): Promise<void> {
  if (process.platform === 'win32') return
  const path = dirname(place.socket)
  const stat = await lstat(path).catch((cause: unknown) => {
    throw new KithError('DAEMON_NOT_RUNNING', undefined, { cause })
  })
  if (stat.uid !== process.getuid?.())
    throw new KithError('HOME_UNSAFE', `${path} belongs to another user.`, { details: { path }, next: 'run as its owner, or choose another --home' })
  if (!stat.isDirectory() || (stat.mode & 0o077) !== 0) {
    throw new KithError('HOME_UNSAFE', `${path} is open to other users.`, { details: { path }, next: `chmod 700 ${path}` })
  }
}
