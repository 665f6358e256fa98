import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { KithError } from '../../core/errors.ts'
import { Secret } from '../../core/secret.ts'
import type { ConfiguredCredential } from '../../vault/credentials/config.ts'

/** Three tokens of the longest kind that issuers make. Fits what the control interface takes, sealed. */
export const MAX_SECRET_FILE_BYTES = 16_000

/** Absent where opening waits for nobody. */
const NONBLOCK = (constants as { readonly O_NONBLOCK?: number }).O_NONBLOCK ?? 0

/**
 * A file of secrets, straight into guarded memory. Pipes and `/dev/stdin` work, unless `pipes` is false: a node that waits for a pipe does nothing else.
 * @throws KithError `CREDENTIAL_INVALID` when it is missing, empty or too long, `HOME_UNSAFE` when it is a regular file that others can read.
 */
export function readSecretFile(path: string, { pipes = true }: { readonly pipes?: boolean } = {}): Secret {
  const buffer = Buffer.alloc(MAX_SECRET_FILE_BYTES + 1)
  let length = 0
  try {
    const file = openSync(path, constants.O_RDONLY | (pipes ? 0 : NONBLOCK))
    try {
      const info = fstatSync(file)
      if (!pipes && !info.isFile()) throw unusable(path, 'it is not a file')
      if (info.isFile() && process.platform !== 'win32' && (info.mode & 0o077) !== 0) {
        throw new KithError('HOME_UNSAFE', `${path} can be read by other users.`, { details: { path }, next: `chmod 600 ${path}` })
      }
      for (let read = -1; read !== 0 && length <= MAX_SECRET_FILE_BYTES; length += read) read = readSync(file, buffer, length, buffer.length - length, null)
    } finally {
      closeSync(file)
    }
    if (length > MAX_SECRET_FILE_BYTES) throw unusable(path, `it is longer than ${MAX_SECRET_FILE_BYTES} bytes`)
    if (length === 0) throw unusable(path, 'it is empty')
    return Secret.take(buffer.subarray(0, length))
  } catch (error) {
    if (error instanceof KithError) throw error
    throw unusable(path, (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'it is not there' : 'it cannot be read', error)
  } finally {
    buffer.fill(0)
  }
}

/** Reads what a configuration refers to: a file, or what the service manager put into `CREDENTIALS_DIRECTORY`. @throws as `readSecretFile`. */
export function secretReader(environment: Readonly<Record<string, string | undefined>>): (secret: ConfiguredCredential['secret']) => Secret {
  return (secret) => {
    if ('file' in secret) return readSecretFile(secret.file, { pipes: false })
    const directory = environment.CREDENTIALS_DIRECTORY
    if (directory === undefined || !isAbsolute(directory)) {
      throw new KithError('CREDENTIAL_INVALID', `The service manager hands over no credentials, so there is no ${secret.credential}.`, {
        details: { credential: secret.credential },
        next: `LoadCredential=${secret.credential}:FILE in the unit`,
      })
    }
    return readSecretFile(join(directory, secret.credential), { pipes: false })
  }
}

function unusable(path: string, reason: string, cause?: unknown): KithError {
  return new KithError('CREDENTIAL_INVALID', `${path} is no file with a secret: ${reason}.`, {
    details: { path, reason },
    next: `ls -l ${path}`,
    cause,
  })
}
