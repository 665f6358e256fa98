import { constants } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { equalSecret, toHex, utf8 } from '../../core/bytes.ts'
import { KithError } from '../../core/errors.ts'
import type { Random } from '../../core/random.ts'

const TOKEN_BYTES = 32
const TOKEN_PATTERN = /^[0-9a-f]{64}$/

/** Writes a fresh random token, readable by this user only. It lives as long as the daemon's run. */
export async function writeToken(path: string, random: Random): Promise<string> {
  const token = toHex(random.bytes(TOKEN_BYTES))
  const temporary = `${path}.new`
  await rm(temporary, { force: true })
  // Exclusive creation follows no link that somebody left there.
  const file = await open(temporary, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600)
  try {
    await file.writeFile(`${token}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
  return token
}

/** Ends the token with the run it belongs to: nothing that waits under the node's name afterwards is told it. */
export async function removeToken(path: string): Promise<void> {
  await rm(path, { force: true })
}

/**
 * The token of the running daemon.
 * @throws KithError `DAEMON_NOT_RUNNING` when there is none; `HOME_UNSAFE` when others can read or could have placed it.
 */
export async function readToken(path: string): Promise<string> {
  let file: Awaited<ReturnType<typeof open>>
  try {
    file = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0))
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') throw new KithError('DAEMON_NOT_RUNNING')
    throw new KithError('HOME_UNSAFE', `The control token cannot be read: ${path}.`, { details: { path }, cause })
  }
  try {
    const stat = await file.stat()
    if (process.platform !== 'win32' && ((stat.mode & 0o077) !== 0 || stat.uid !== process.getuid?.())) {
      throw new KithError('HOME_UNSAFE', `The control token is open to other users: ${path}.`, { details: { path }, next: `chmod 600 ${path}` })
    }
    const buffer = Buffer.alloc(TOKEN_BYTES * 2 + 2)
    const { bytesRead } = await file.read(buffer, 0, buffer.length, 0)
    const token = buffer.toString('latin1', 0, bytesRead).trim()
    if (!TOKEN_PATTERN.test(token)) throw new KithError('CONTROL_FAILED', `The control token is damaged: ${path}.`, { details: { path }, next: 'kith up' })
    return token
  } finally {
    await file.close()
  }
}

/** Whether an `Authorization` header carries the token, in time that tells nothing about it. */
export function authorized(header: string | undefined, token: string): boolean {
  const given = header?.startsWith('Bearer ') === true ? header.slice(7) : ''
  return equalSecret(utf8(given), utf8(token))
}
