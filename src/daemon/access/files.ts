import { type AuthorizedLine, parseAuthorizedKeys, type RefusedLine } from '../../access/authorized-keys.ts'
import { MAX_REVOCATIONS_BYTES, parseRevocations, type Revocations } from '../../access/ssh-revocations.ts'
import { parseUtf8 } from '../../core/bytes.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import { readNamedFile } from '../../identity/private-file.ts'
import type { Config } from '../config/settings.ts'

/** What the files that the configuration names say, read as a whole. */
export interface AccessFiles {
  readonly lines: readonly AuthorizedLine[]
  readonly refused: readonly RefusedLine[]
  readonly revocations: readonly Revocations[]
}

const MAX_KEYS_BYTES = 1 << 20
/** Whoever else may write such a file decides who logs in. */
const WRITABLE_BY_OTHERS = 0o022

/** All or nothing. @throws KithError `ACCESS_INVALID` with details.file, and the line where one is at fault. */
export async function readAccessFiles(config: Pick<Config, 'access.authorized_keys' | 'access.revocations'>): Promise<AccessFiles> {
  const lines: AuthorizedLine[] = []
  const refused: RefusedLine[] = []
  for (const file of config['access.authorized_keys']) {
    const text = parseUtf8(await readOwn(file, MAX_KEYS_BYTES))
    if (text === undefined) throw invalid(file, 'it is not text')
    const found = parseAuthorizedKeys(text, file)
    for (const line of found.lines) {
      const before = lines.find((other) => other.fingerprint === line.fingerprint && other.options.certAuthority === line.options.certAuthority)
      if (before !== undefined) throw invalid(file, `the key at ${line.place} stands at ${before.place} already, and only one of the lines can count`)
      lines.push(line)
    }
    refused.push(...found.refused)
  }
  const revocations: Revocations[] = []
  for (const file of config['access.revocations']) {
    const bytes = await readOwn(file, MAX_REVOCATIONS_BYTES)
    try {
      revocations.push(parseRevocations(bytes, file))
    } catch (error) {
      if (!isKithError(error, 'SSH_FORMAT')) throw error
      throw invalid(file, String(error.details?.reason), error)
    }
  }
  return { lines, refused, revocations }
}

async function readOwn(file: string, limit: number): Promise<Uint8Array> {
  const found = await readNamedFile(file, limit).catch((error: NodeJS.ErrnoException) => {
    throw invalid(file, error.code === 'ENOENT' ? 'there is no such file' : 'it cannot be read', error)
  })
  if (found.kind === 'other') throw invalid(file, 'it is not a file')
  if (found.kind === 'too-long') throw invalid(file, `it is larger than ${limit} bytes`)
  if (process.platform !== 'win32' && (found.mode & WRITABLE_BY_OTHERS) !== 0) throw invalid(file, 'others may write to it', undefined, `chmod go-w ${file}`)
  return found.bytes
}

function invalid(file: string, reason: string, cause?: unknown, next = 'kith config reload'): KithError {
  return new KithError('ACCESS_INVALID', `${file} is not valid: ${reason}.`, { details: { file, reason }, next, cause })
}
